"""Merge the shards of a run into one run folder, as if one machine had scored all clips.

Scores of clips are taken as they are. Metrics over all clips, the tables and the summary are computed anew.
"""

from __future__ import annotations

import heapq
import shutil
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from itertools import groupby, product
from operator import itemgetter
from pathlib import Path
from typing import Any

import numpy as np

from avbench.errors import EnvironmentProblem, UsageError
from avbench.files import make_folder, new_folder, rename
from avbench.metrics.base import Scorer
from avbench.remote.run_folders import local_shard
from avbench.results import ClipRow, RunFolder, ScoreRow
from avbench.run.earlier import EarlierRows
from avbench.run.jobs import RunContext, Stopped
from avbench.run.merge_inputs import (
    MetricDigests,
    RowPosition,
    ShardRun,
    clips_of,
    notes_on_differences,
    read_shards,
    scorers_of,
    united,
)
from avbench.run.outcome import Outcome, judge_whole
from avbench.run.protocol import PROTOCOLS, Protocol
from avbench.run.reference_sets import load_reference
from avbench.run.remote_clips import RemoteDigests, read_digests
from avbench.run.result_tables import finish_run
from avbench.run.run_info import new_run_id
from avbench.run.set_metrics import SetInputs
from avbench.sources import Source


@dataclass(frozen=True)
class _Whole:
    """The source as the shards know it, and what every row of the merged run repeats."""

    source: Source
    rows: list[ClipRow]
    scorers: list[Scorer]
    context: RunContext

    @property
    def shas(self) -> dict[str, str]:
        return {row.clip_id: row.clip_sha256 for row in self.rows}


def merge_runs(paths: Sequence[Path | str], out: Path, *, reference: Path | None = None, command: str = "") -> Outcome:
    """Write the run that all clips of the shards make up. Either the whole folder appears or nothing.

    Args:
        paths: run folders of all shards of one source, or their addresses; of a shard that is there twice, equal
            rows are kept once.
        out: the run folder to make.
        reference: features of real clips, for set metrics.
        command: what the user typed, for the record.

    Raises:
        UsageError: the shards are not of one run, lack one, or contradict each other; or `out` holds something.
        EnvironmentProblem: `out` cannot be written, or a store refuses.
    """
    if out.is_symlink() or (out.exists() and (not out.is_dir() or any(out.iterdir()))):
        raise UsageError(f"{out} is there already: choose another run folder (--out), or move it away.")
    with ExitStack() as copies:
        runs = read_shards([copies.enter_context(local_shard(str(path))) for path in paths])
        _require_reference(runs, reference)
        return _merge(runs, out, reference, command)


def _merge(runs: Sequence[ShardRun], out: Path, reference: Path | None, command: str) -> Outcome:
    make_folder(out.absolute().parent, "--out")
    aside = new_folder(out.absolute().parent, prefix=f".{out.name}.merge-")
    try:
        outcome = _write(runs, aside, reference, command)
        aside.chmod(out.parent.stat().st_mode & 0o777)
        rename(aside, out)
    except OSError as error:
        raise EnvironmentProblem(f"cannot write {out}: {error.strerror or error}") from error
    finally:
        shutil.rmtree(aside, ignore_errors=True)
    return replace(outcome, path=out)


def _require_reference(runs: Sequence[ShardRun], reference: Path | None) -> None:
    """Refuse to lose distances that the shards were meant to give."""
    named = next((name for run in runs if (name := run.info.get("reference"))), None)
    if named and reference is None:
        raise UsageError(f"the shards were scored with the reference set {named}: give it again (--reference).")


def _write(runs: Sequence[ShardRun], path: Path, reference: Path | None, command: str) -> Outcome:
    whole = _assemble(runs, path)
    known = load_reference(reference) if reference else None
    notes = notes_on_differences(runs)
    with RunFolder(path) as folder:
        folder.write_json("run.json", _info(runs, whole, reference, command, notes))
        for row in whole.rows:
            if row.is_decoded:
                folder.append_clip(row)
        folder.append(replace(row, run_id=whole.context.run_id) for row in _clip_scores(runs))
        _copy_features(runs, folder, whole.context.protocol)
        # So that a run into the merged folder does not fetch remote clips again.
        RemoteDigests(path).add(digest for run in runs for digest in read_digests(run.path))
        networks = {name: network for run in runs for name, network in run.record.networks.items()}
        missing = {n: why for run in runs for n, why in run.record.missing.items() if n not in networks}
        sets = SetInputs(
            folder, whole.source.clips, whole.shas, whole.context, known, missing, Stopped(), networks
        )  # fmt: skip
        computed = judge_whole(sets, whole.source, whole.scorers, EarlierRows.of_rows(()), fresh=True)
        tables = finish_run(folder, whole.source, whole.shas)
    return Outcome.of(path, tables, n_clips=len(whole.rows), computed=computed, stopped={}, notes=notes)


def _assemble(runs: Sequence[ShardRun], root: Path) -> _Whole:
    clips = clips_of(runs, root)
    info = runs[0].info
    kind, matching = info.get("source_kind") or "manifest", info.get("matching") or ""
    source = Source(root, kind, tuple(clip for clip, _ in clips), matching)
    protocol = PROTOCOLS.get(info.get("protocol") or "", Protocol())
    context = RunContext(new_run_id(root), info["suite"], info["suite_version"], protocol=protocol, root=root)
    return _Whole(source, [row for _, row in clips], scorers_of(runs), context)


def _info(
    runs: Sequence[ShardRun], whole: _Whole, reference: Path | None, command: str, notes: Iterable[str]
) -> dict[str, Any]:
    """run.json of the first shard, for all clips."""
    first = runs[0]
    own = f"shard {first.part.shard}: "
    kept = [note for note in first.info.get("notes", []) if not note.startswith(own)]
    return first.info | {
        "run_id": whole.context.run_id,
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
        "command": command,
        "metrics": {scorer.name: scorer.metadata() for scorer in whole.scorers},
        "reference": reference.name if reference else None,
        "notes": [*kept, f"merged from {first.part.shard.count} shards", *notes],
        "n_clips": len(whole.source.clips),
    }


def _clip_scores(runs: Iterable[ShardRun]) -> Iterator[ScoreRow]:
    """The rows of all shards, read side by side where a shard is there twice: few of them are in memory at a time."""
    digests = MetricDigests()

    def checked(run: ShardRun) -> Iterator[tuple[RowPosition, ScoreRow, Path]]:
        for position, row in run.scores():
            digests.check(row, run.path)
            yield position, row, run.path

    for _, same in groupby(runs, key=lambda run: run.part.shard.index):
        rows = heapq.merge(*map(checked, same), key=itemgetter(0))
        for _, same_position in groupby(rows, key=itemgetter(0)):
            (_, row, path), *others = same_position
            for _, other, other_path in others:
                kept = united(row, other, (path, other_path))
                row, path = (kept, path) if kept is row else (other, other_path)
            yield row


def _copy_features(runs: Sequence[ShardRun], folder: RunFolder, protocol: Protocol) -> None:
    """The features of all shards. Clips of equal content in two shards keep those of the first, as one row each would.

    Raises:
        UsageError: a shard that is there twice has different ones; names metric, clip and folders.
    """
    origin: dict[tuple[str, str], ShardRun] = {}
    for run in runs:
        held = RunFolder(run.path)  # only read
        for (name, network), row in product(run.record.networks.items(), run.rows):
            key = network.feature_space, protocol.media_key(row.clip_sha256)
            features = held.feature(*key)
            if features is None:
                continue
            first = origin.setdefault(key, run)
            if first is run:
                folder.put_feature(*key, features)
                continue
            known = folder.feature(*key)
            if first.part == run.part and (known is None or not np.array_equal(features, known)):
                what = f"features of {name} of clip {row.clip_id} differ"
                raise UsageError(f"{first.path} and {run.path} contradict each other: {what}.")
