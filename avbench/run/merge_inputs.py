"""Shards to be merged: read, and refused where they are not all of one run."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from avbench.clips import Category, Clip
from avbench.errors import UsageError
from avbench.metrics.base import Scorer, get_scorers
from avbench.remote.addresses import is_address
from avbench.results import UNAVAILABLE, ClipRow, ScoreRow
from avbench.results.damage import DamagedRunError
from avbench.results.parquet import read_rows, to_rows
from avbench.results.read import read_clips, read_labels, read_scores, require_finished
from avbench.results.shard import ShardRecord, read_shard
from avbench.shards import Part, source_digest
from avbench.statistics.summary import NOT_ASKED

_SETTINGS = ("suite", "suite_version", "weights", "precision", "protocol")
_MADE_BY = ("avbench", "torch")
RowPosition = tuple[int, str]
"""Where a row stands in the table of a shard: index of its clip, and metric."""


@dataclass(frozen=True)
class ShardRun:
    """The run folder of one shard, without its scores.

    Attributes:
        path: the folder.
        info: content of run.json.
        record: content of shard.json.
        rows: its clips, in the order of the source.
        labels: categories by clip.
    """

    path: Path
    info: dict[str, Any]
    record: ShardRecord
    rows: list[ClipRow]
    labels: Mapping[str, tuple[Category, ...]]

    @property
    def part(self) -> Part:
        """Which clips of the source it holds."""
        return self.record.part

    def clip(self, row: ClipRow, root: Path) -> Clip:
        """A clip as the source named it; its files are taken to lie below `root`."""
        audio = root / row.audio_path if row.audio_path else None
        labels = self.labels.get(row.clip_id, ())
        return Clip(row.clip_id, root / row.video_path, audio, row.prompt, labels, row.model, row.sample_index)

    def scores(self) -> Iterator[tuple[RowPosition, ScoreRow]]:
        """Its rows of single clips, and where each stands; those of sets are of the shard alone.

        Raises:
            DamagedRunError: they are not in the order of the clips, as `avbench score` writes them.
        """
        order = {row.clip_id: index for index, row in enumerate(self.rows)}
        last: RowPosition = (-1, "")
        for row in read_rows(self.path, "scores.parquet", ScoreRow):
            if row.clip_id is None:
                continue
            position = (order[row.clip_id], row.metric)
            if position <= last:
                raise DamagedRunError(self.path, "scores.parquet", "its rows are not in the order of the clips")
            last = position
            yield position, row


def read_shards(paths: Sequence[Path]) -> list[ShardRun]:
    """All shards of one source, by index; a shard may be there twice.

    Raises:
        UsageError: one is no finished shard, one is missing, or they are not of one run: names the folders.
    """
    runs = sorted((_read(path) for path in paths), key=lambda run: run.part.shard.index)
    for run in runs[1:]:
        _refuse_mixture(runs[0], run)
    _refuse_two_sources(runs)
    count = runs[0].part.shard.count
    lacking = sorted(set(range(1, count + 1)) - {run.part.shard.index for run in runs})
    if lacking:
        names = ", ".join(f"{index}/{count}" for index in lacking[:5]) + (" …" if len(lacking) > 5 else "")
        raise UsageError(f"shard {names} is missing: score it, and give its run folder too.")
    return runs


def clips_of(runs: Sequence[ShardRun], root: Path) -> list[tuple[Clip, ClipRow]]:
    """The clips of the source in its order.

    Raises:
        UsageError: a shard's tables are of other clips than its shard.json, or a clip has two contents.
    """
    by_position: dict[int, tuple[ShardRun, ClipRow]] = {}
    for run in runs:
        if source_digest(run.clip(row, root) for row in run.rows) != run.part.sha256:
            raise UsageError(
                f"{run.path} is an unfinished run (its tables are not of the clips that shard.json names). "
                "Run the same 'avbench score' command again: it goes on where it stopped."
            )
        for position, row in zip(run.part.positions, run.rows, strict=True):
            other, known = by_position.setdefault(position, (run, row))
            if known.clip_sha256 != row.clip_sha256:
                raise UsageError(f"{other.path} and {run.path} hold different contents of clip {row.clip_id}.")
    clips = [(run.clip(row, root), row) for _, (run, row) in sorted(by_position.items(), key=lambda item: item[0])]
    if source_digest(clip for clip, _ in clips) != runs[0].part.source_sha256:
        raise UsageError("the shards do not make up their source: score them again into new run folders.")
    return clips


def scorers_of(runs: Sequence[ShardRun]) -> list[Scorer]:
    """The metrics of the shards, as they are registered here.

    Raises:
        UsageError: a metric is unknown here, or has another version.
    """
    asked = {name: metadata for run in runs for name, metadata in run.info.get("metrics", {}).items()}
    scorers = get_scorers(asked)
    for scorer in scorers:
        version = asked[scorer.name].get("version")
        if version != scorer.version:
            raise UsageError(
                f"{runs[0].path} holds version {version} of {scorer.name}, this avbench has version {scorer.version}. "
                "Merge with the avbench that scored."
            )
    return scorers


def notes_on_differences(runs: Sequence[ShardRun]) -> list[str]:
    """Sentences on what differs between shards and is no reason to refuse them.

    The folder of clips may lie elsewhere on another machine. Limits decide which clips are refused. Other versions of
    packages, as other machines, can move last digits.
    """
    notes = []
    sources = sorted({source for run in runs if (source := _source(run))})
    if len(sources) > 1:
        notes.append(f"shards name different sources: {', '.join(sources)}")
    limits = sorted({", ".join(map(str, run.info.get("limits") or ["none"])) for run in runs})
    if len(limits) > 1:
        notes.append(f"shards were scored with different limits (--limit): {'; '.join(limits)}")
    for name in _MADE_BY:
        versions = sorted({str((run.info.get("environment") or {}).get(name)) for run in runs})
        if len(versions) > 1:
            notes.append(f"shards were scored with different versions of {name}: {', '.join(versions)}")
    return notes


class MetricDigests:
    """Refuses a metric that shards computed in different ways."""

    def __init__(self) -> None:
        self._seen: dict[str, tuple[tuple[int, str], Path]] = {}

    def check(self, row: ScoreRow, path: Path) -> None:
        """Compare a row with the first of its metric.

        Raises:
            UsageError: another version or other weights; names the metric and both folders.
        """
        if row.weights_digest in (UNAVAILABLE, NOT_ASKED):
            return
        way = (row.metric_version, row.weights_digest)
        first, where = self._seen.setdefault(row.metric, (way, path))
        if first != way:
            what = "version" if first[0] != way[0] else "weights"
            raise UsageError(f"{where} and {path} computed {row.metric} with different {what}: {first} and {way}.")


def united(first: ScoreRow, second: ScoreRow, paths: tuple[Path, Path]) -> ScoreRow:
    """One row for two of the same clip and metric; one that could not be computed gives way.

    Raises:
        UsageError: they contradict each other; names clip, metric and folders.
    """
    if UNAVAILABLE in (first.weights_digest, second.weights_digest):
        return second if first.weights_digest == UNAVAILABLE else first
    for name in ("key", "status", "value", "reason", "detail"):
        one, two = getattr(first, name), getattr(second, name)
        if one != two:
            what = "digests" if name == "key" else f"{name} {one!r:.60} and {two!r:.60}"
            raise UsageError(
                f"{paths[0]} and {paths[1]} contradict each other: {first.metric} of clip {first.clip_id} has {what}."
            )
    return first


def _read(path: Path) -> ShardRun:
    info, record, table = require_finished(path), read_shard(path), read_clips(path)
    labels: dict[str, list[Category]] = {}
    for clip_id, aspect, name in read_labels(path, table).itertuples(index=False):
        labels.setdefault(clip_id, []).append(Category(aspect, name))
    read_scores(path, table, slim=True)  # refused as a whole, before it is read row by row
    rows = list(to_rows(table, ClipRow))
    return ShardRun(path, info, record, rows, {name: tuple(categories) for name, categories in labels.items()})


def _refuse_mixture(first: ShardRun, run: ShardRun) -> None:
    one, two = first.part, run.part
    differing = [(name, first.info.get(name), run.info.get(name)) for name in _SETTINGS]
    differing += [
        ("number of shards", one.shard.count, two.shard.count),
        ("source", one.source_sha256, two.source_sha256),
    ]
    for name, known, value in differing:
        if known != value:
            raise UsageError(
                f"{first.path} and {run.path} are not shards of one run: {name} {_shown(known)} and {_shown(value)}."
            )
    for name, network in run.record.networks.items():
        if first.record.networks.get(name, network) != network:
            raise UsageError(f"{first.path} and {run.path} computed features of {name} with different weights.")


def _refuse_two_sources(runs: Sequence[ShardRun]) -> None:
    """Refuse clips of equal names and prompts from two places, such as those of two checkpoints.

    Raises:
        UsageError: names of two folders, or two addresses; names the shards.
    """
    named = [(run.path, _source(run)) for run in runs if PurePosixPath(_source(run)).name]
    for path, source in named[1:]:
        if not _may_be_one(named[0][1], source):
            raise UsageError(
                f"{named[0][0]} and {path} are not shards of one run: "
                f"they name different sources, {named[0][1]} and {source}."
            )


def _may_be_one(one: str, two: str) -> bool:
    """Whether two names can mean one source: a folder keeps its own name where it is mounted in another one."""
    if is_address(one) and is_address(two):
        return one.rstrip("/") == two.rstrip("/")
    return PurePosixPath(one).name == PurePosixPath(two).name


def _source(run: ShardRun) -> str:
    return str(run.info.get("source") or "")


def _shown(value: object) -> str:
    return "none" if value is None else f"{value!s:.16}"
