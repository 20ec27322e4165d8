"""The run: plan what is missing, score it, append rows, compact, summarise."""

from __future__ import annotations

import hashlib
import json
import os
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from typing import Protocol as TypingProtocol

from avbench.aggregate import summarize_run
from avbench.encoders import Setup
from avbench.encoders.references import load_reference
from avbench.environment import describe_environment
from avbench.errors import UsageError
from avbench.metrics.base import Scorer, get_scorers
from avbench.plan import Known, Plan, feature_space, make_plan
from avbench.pool import Workers, run_jobs
from avbench.results import SCHEMA_VERSION, UNAVAILABLE, ClipRow, RunFolder, ScoreRow, read_by_metric
from avbench.scoring import ClipJob, Protocol, RunContext, clip_facts, unavailable_rows
from avbench.sets import Sets, judge_sets, set_digests
from avbench.sources import Source
from avbench.staging import Room, steps_of
from avbench.suites import Suite


class Progress(TypingProtocol):
    """Told about the run; the command line draws a bar from it."""

    def start(self, total: int, reused: int) -> None:
        """`total` steps to go (a clip takes one, and one per large network); `reused` clips complete already."""

    def advance(self, clip_id: str, failed: bool, steps: int) -> None:
        """Steps of one clip are done and their rows are on disk."""


@dataclass(frozen=True)
class RunOptions:
    """How to run.

    Attributes:
        workers: processes; 1 stays in this process.
        devices: where networks run; with several, one process for each.
        max_resident: networks kept loaded per process.
        setup: weights and precision.
        protocol: what is done to every clip first.
        reference: features of real clips that set metrics compare with, or None.
        cache: folder of embeddings on disk, or None.
        cache_bytes: its bound.
        spool_bytes: decoded inputs that may wait on disk for their networks.
        retry_errors: score clips again whose earlier row is an error.
        command: what the user typed, for the record.
    """

    workers: int = 1
    devices: tuple[str, ...] = ("cpu",)
    max_resident: int = 2
    setup: Setup = field(default_factory=Setup)
    protocol: Protocol = field(default_factory=Protocol)
    reference: Path | None = None
    cache: Path | None = None
    cache_bytes: int = 10 * 2**30
    spool_bytes: int = 8 * 2**30
    retry_errors: bool = False
    command: str = ""

    def processes(self, run: Path) -> Workers:
        """The processes that score into the folder `run`."""
        return Workers(
            count=max(self.workers, len(self.devices)),
            devices=self.devices,
            max_resident=self.max_resident,
            setup=self.setup,
            cache=self.cache,
            cache_bytes=self.cache_bytes,
            room=Room(run, self.spool_bytes),
        )


@dataclass(frozen=True)
class Outcome:
    """What a run came to.

    Attributes:
        summary: content of summary.json.
        failed: ids of clips with at least one error row.
        stopped: metrics that could not go on, with reason.
        computed, reused, unavailable: score rows made now, kept from an earlier run, and without a value because
            this machine lacks something.
    """

    path: Path
    summary: dict[str, Any]
    n_clips: int
    failed: tuple[str, ...]
    stopped: dict[str, str]
    computed: int
    reused: int
    unavailable: int


def run_source(
    source: Source,
    suite: Suite,
    out: Path,
    options: RunOptions | None = None,
    progress: Progress | None = None,
) -> Outcome:
    """Score every clip of a source with every metric of a suite into a run folder; go on where it stopped.

    Raises:
        EnvironmentProblem: the folder is locked, read-only or full. Rows written so far are kept.
        UsageError: unknown metric, or a folder that holds something else.
    """
    options = options or RunOptions()
    if options.workers < 1:
        raise UsageError(f"--workers must be at least 1, got {options.workers}")
    scorers = get_scorers(suite.metrics)
    reference = load_reference(options.reference) if options.reference else None
    with RunFolder(out) as folder:
        info = _open_run(folder, source, suite, scorers, options)
        context = RunContext(info["run_id"], suite.name, suite.version, options.setup, options.protocol)
        known = Known(folder.rows())
        plan = make_plan(
            source.clips,
            scorers,
            known,
            context,
            folder=folder,
            workers=options.processes(out).count,
            retry_errors=options.retry_errors,
        )
        folder.append(plan.ready)
        if progress:
            progress.start(sum(map(steps_of, plan.jobs)), plan.complete)
        stopped, computed, features = _work(folder, plan.jobs, options, progress)
        sets = Sets(folder, source.clips, plan, context, reference, stopped)
        rows = judge_sets(sets, scorers, known, fresh=features > 0)
        folder.append(rows)
        computed += len(rows)
        changed = bool(computed or plan.ready)
        plan.jobs.clear()
        plan.ready.clear()
        finished = _finish(folder, source, plan, info, changed)
        return replace(finished, stopped=stopped, computed=computed, reused=finished.reused - computed)


def _open_run(
    folder: RunFolder, source: Source, suite: Suite, scorers: Sequence[Scorer], options: RunOptions
) -> dict[str, Any]:
    """Write run.json: created once, then brought up to date by each invocation."""
    path = folder.path / "run.json"
    old: dict[str, Any] = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
    if old and old.get("schema_version") != SCHEMA_VERSION:
        raise UsageError(f"{folder.path} holds a run of schema {old.get('schema_version')}; choose another --out.")
    _refuse_mixture(folder.path, old, scorers, options)
    now = datetime.now(UTC).isoformat(timespec="seconds")
    run_id = old.get("run_id") or hashlib.sha256(f"{now}{os.getpid()}{folder.path}".encode()).hexdigest()[:12]
    info = {
        "schema_version": SCHEMA_VERSION,
        "run_id": run_id,
        "created": old.get("created", now),
        "command": options.command,
        "source": _as_given(source.root),
        "source_kind": source.kind,
        "matching": source.matching,
        "suite": suite.name,
        "suite_version": suite.version,
        "metrics": old.get("metrics", {}) | {s.name: scorer_facts(s) for s in scorers},
        "environment": describe_environment(),
        "weights": options.setup.weights,
        "precision": options.setup.precision,
        "protocol": options.protocol.name or None,
        "reference": _as_given(options.reference) if options.reference else None,
        "notes": [*source.notes, *_notes(options)],
        "n_clips": len(source.clips),
    }
    if {k: v for k, v in old.items() if k != "command"} != {k: v for k, v in info.items() if k != "command"}:
        folder.write_json("run.json", info)
    return info


def _refuse_mixture(path: Path, old: dict[str, Any], scorers: Sequence[Scorer], options: RunOptions) -> None:
    """One folder holds one way of judging: numbers that cannot be compared must not share a table unmarked.

    Raises:
        UsageError: the folder was begun with other weights, another precision or another protocol.
    """
    asked = {"weights": options.setup.weights, "precision": options.setup.precision}
    learned = any(scorer.checkpoint for scorer in scorers)
    learned_before = any(facts.get("checkpoint") for facts in old.get("metrics", {}).values())
    checked = (asked if learned or learned_before else {}) | {"protocol": options.protocol.name or None}
    for name, value in checked.items():
        if name in old and old[name] != value:
            raise UsageError(
                f"{path} was begun with {name} {old[name] or 'none'}, and {value or 'none'} is asked for: their "
                "numbers cannot be compared. Choose another --out."
            )


def _notes(options: RunOptions) -> list[str]:
    """What a reader of the tables has to know about how the run was made."""
    notes = []
    if options.setup.is_test:
        notes.append(f"TEST RUN: networks have {options.setup.weights} weights, so learned metrics mean nothing")
    if options.protocol.seconds is not None:
        notes.append(
            f"protocol {options.protocol.name}: only the first {options.protocol.seconds:g} s of picture and sound are "
            "judged; nothing else is cut, and frame rates are kept"
        )
    return notes


def _as_given(path: Path) -> str:
    """The path as a person would type it: relative where it lies below the current folder."""
    absolute = path.absolute()
    return str(absolute.relative_to(Path.cwd())) if absolute.is_relative_to(Path.cwd()) else str(absolute)


def scorer_facts(scorer: Scorer) -> dict[str, Any]:
    """Facts of a metric as run.json and `avbench ls --json` show them; unbounded ends of the range are null."""
    bounds = [None if abs(bound) == float("inf") else bound for bound in scorer.range]
    return {
        "family": scorer.family,
        "summary": scorer.summary,
        "unit": scorer.unit,
        "higher_is_better": scorer.higher_is_better,
        "range": bounds,
        "version": scorer.version,
        "params": dict(scorer.params),
        "needs": sorted(scorer.needs),
        "source": scorer.source,
        "caveat": scorer.caveat,
        "checkpoint": scorer.checkpoint,
        "licence": scorer.licence,
    }


def _work(
    folder: RunFolder, jobs: Sequence[ClipJob], options: RunOptions, progress: Progress | None
) -> tuple[dict[str, str], int, int]:
    """Metrics that stopped with the reason, and how many rows and features of set metrics were written."""
    stopped: dict[str, str] = {}
    computed = features = 0
    asked = {job.clip.clip_id: job for job in jobs}
    open_metrics: dict[str, set[str]] = {job.clip.clip_id: set(job.metrics) for job in jobs}
    left = {job.clip.clip_id: steps_of(job) for job in jobs} if progress else {}
    for result in run_jobs(jobs, options.processes(folder.path), stopped):
        clip_id = result.clip_row.clip_id
        job = asked[clip_id]
        if result.first:
            folder.append_clip(result.clip_row)
        folder.append(result.rows)
        for name, value in result.features.items():
            folder.put_feature(feature_space(get_scorers([name])[0], job.context), job.media_key, value)
        stopped.update(result.stopped)
        computed += len(result.rows)
        features += len(result.features)
        open_metrics[clip_id] -= {row.metric for row in result.rows}
        if result.last:
            # A metric that stopped still has a row for every clip: no clip leaves a denominator.
            missed = open_metrics.pop(clip_id)
            folder.append(unavailable_rows(job, {name: stopped[name] for name in missed if name in stopped}))
        if progress:
            steps = left[clip_id] if result.last else 1
            left[clip_id] -= steps
            progress.advance(clip_id, any(row.status == "error" for row in result.rows), steps)
    return stopped, computed, features


def _finish(folder: RunFolder, source: Source, plan: Plan, info: dict[str, Any], changed: bool) -> Outcome:
    places = compact(folder.scan(), plan.shas, set_digests(source.clips, plan.shas))
    if changed or not _tables_fit(folder.path, len(places)):
        folder.write_tables(folder.read_at(places), _clip_table(folder, source, plan, info), source.clips)
        folder.write_json("summary.json", _summarize(folder.path, source))
    summary = json.loads((folder.path / "summary.json").read_text(encoding="utf-8"))
    failed: set[str] = set()
    unavailable = 0
    for scores in read_by_metric(folder.path):
        failed.update(scores.loc[scores["status"] == "error", "clip_id"].dropna())
        unavailable += int((scores["weights_digest"] == UNAVAILABLE).sum())
    in_order = tuple(clip.clip_id for clip in source.clips if clip.clip_id in failed)
    return Outcome(folder.path, summary, len(source.clips), in_order, {}, 0, len(places) - unavailable, unavailable)


def _summarize(path: Path, source: Source) -> dict[str, list[dict[str, Any]]]:
    import pandas as pd

    labels = [(clip.clip_id, label.aspect, label.name) for clip in source.clips for label in clip.categories]
    categories = pd.DataFrame(labels, columns=["clip_id", "aspect", "category"])
    parts = [summarize_run(scores, categories) for scores in read_by_metric(path)]
    return {key: [entry for part in parts for entry in part[key]] for key in ("overall", "categories", "models")}


def _clip_table(folder: RunFolder, source: Source, plan: Plan, info: dict[str, Any]) -> Iterator[ClipRow]:
    """Names and prompts as the source gives them now, media facts as they were decoded."""
    context = RunContext(info["run_id"], info["suite"], info["suite_version"])
    decoded = {row.clip_sha256: row for row in folder.clip_rows()}
    names = ("audio_source", "duration", "audio_duration", "fps", "frames", "width", "height", "sample_rate")
    for clip in source.clips:
        row = clip_facts(ClipJob(clip, plan.shas[clip.clip_id], (), context), None, None)
        facts = decoded.get(row.clip_sha256, row)
        yield replace(row, **{name: getattr(facts, name) for name in (*names, "channels", "problem")})


def compact(rows: Iterable[tuple[int, ScoreRow]], shas: dict[str, str], sets: Mapping[str, str]) -> list[int]:
    """Places of the newest row per clip and metric, in clip order then by metric; then those of set metrics.

    Rows of clips that are not asked for, of earlier contents of a clip, and of other sets of clips are left out.

    Args:
        rows: with their places.
        shas: content digest of each clip.
        sets: digest of each set of clips, by scope.
    """
    order = {clip_id: index for index, clip_id in enumerate(shas)}
    newest: dict[tuple[int, str, str], int] = {}
    for place, row in rows:
        if row.clip_id is None and sets.get(row.scope) == row.clip_sha256:
            newest[len(order), sys.intern(row.metric), sys.intern(row.scope)] = place
        elif row.clip_id is not None and shas.get(row.clip_id) == row.clip_sha256:
            newest[order[row.clip_id], sys.intern(row.metric), ""] = place
    return [newest[key] for key in sorted(newest)]


def _tables_fit(path: Path, rows: int) -> bool:
    """Whether tables and summary exist and hold as many rows as they should."""
    import pyarrow.parquet as pq

    table = path / "scores.parquet"
    names = ("clips.parquet", "categories.parquet", "summary.json")
    return all((path / name).exists() for name in names) and table.exists() and pq.read_metadata(table).num_rows == rows


def check_failures(outcome: Outcome, max_failed: float) -> str | None:
    """A sentence when more clips failed than allowed, else None.

    Args:
        outcome: the run.
        max_failed: below 1 a share of the clips, otherwise a count.
    """
    limit = max_failed * outcome.n_clips if max_failed < 1 else max_failed
    if len(outcome.failed) <= limit:
        return None
    return f"{len(outcome.failed)} of {outcome.n_clips} clips failed (allowed: {limit:g})"
