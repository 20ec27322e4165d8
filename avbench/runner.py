"""The run: plan what is missing, score it, append rows, compact, summarise."""

from __future__ import annotations

import hashlib
import json
import os
import sys
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Protocol

from avbench.aggregate import summarize_run
from avbench.environment import describe_environment
from avbench.errors import UsageError
from avbench.metrics.base import Scorer, get_scorers
from avbench.plan import Known, Plan, make_plan
from avbench.pool import run_jobs
from avbench.results import SCHEMA_VERSION, UNAVAILABLE, ClipRow, RunFolder, ScoreRow, read_by_metric
from avbench.scoring import ClipJob, RunContext, clip_facts, unavailable_rows
from avbench.sources import Source
from avbench.suites import Suite


class Progress(Protocol):
    """Told about the run; the command line draws a bar from it."""

    def start(self, total: int, reused: int) -> None:
        """`total` clips to score, `reused` clips complete from an earlier run."""

    def advance(self, clip_id: str, failed: bool) -> None:
        """One clip is done and its rows are on disk."""


@dataclass(frozen=True)
class RunOptions:
    """How to run; nothing here changes a number.

    Attributes:
        workers: processes; 1 stays in this process.
        device: where networks run.
        max_resident: networks kept loaded per process.
        retry_errors: score clips again whose earlier row is an error.
        command: what the user typed, for the record.
    """

    workers: int = 1
    device: str = "cpu"
    max_resident: int = 2
    retry_errors: bool = False
    command: str = ""


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
    with RunFolder(out) as folder:
        info = _open_run(folder, source, suite, scorers, options)
        context = RunContext(info["run_id"], suite.name, suite.version)
        plan = make_plan(
            source.clips,
            scorers,
            Known(folder.rows()),
            context,
            workers=options.workers,
            retry_errors=options.retry_errors,
        )
        folder.append(plan.ready)
        if progress:
            progress.start(len(plan.jobs), plan.complete)
        stopped, computed = _work(folder, plan.jobs, options, progress)
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
        "notes": list(source.notes),
        "n_clips": len(source.clips),
    }
    if {k: v for k, v in old.items() if k != "command"} != {k: v for k, v in info.items() if k != "command"}:
        folder.write_json("run.json", info)
    return info


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
) -> tuple[dict[str, str], int]:
    stopped: dict[str, str] = {}
    computed = 0
    asked = {job.clip.clip_id: job for job in jobs}
    results = run_jobs(
        jobs,
        workers=options.workers,
        device=options.device,
        max_resident=options.max_resident,
        stopped=stopped,
    )
    for result in results:
        folder.append_clip(result.clip_row)
        folder.append(result.rows)
        stopped.update(result.stopped)
        computed += len(result.rows)
        # A metric that stopped still has a row for every clip: no clip leaves a denominator.
        job, have = asked[result.clip_row.clip_id], {row.metric for row in result.rows}
        folder.append(unavailable_rows(job, {name: stopped[name] for name in job.metrics if name not in have}))
        if progress:
            progress.advance(result.clip_row.clip_id, any(row.status == "error" for row in result.rows))
    return stopped, computed


def _finish(folder: RunFolder, source: Source, plan: Plan, info: dict[str, Any], changed: bool) -> Outcome:
    places = compact(folder.scan(), plan.shas)
    if changed or not _tables_fit(folder.path, len(places)):
        folder.write_tables(folder.read_at(places), _clip_table(folder, source, plan, info), source.clips)
        folder.write_json("summary.json", _summarize(folder.path, source))
    summary = json.loads((folder.path / "summary.json").read_text(encoding="utf-8"))
    failed: set[str] = set()
    unavailable = 0
    for scores in read_by_metric(folder.path):
        failed.update(scores.loc[scores["status"] == "error", "clip_id"])
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


def compact(rows: Iterable[tuple[int, ScoreRow]], shas: dict[str, str]) -> list[int]:
    """Places of the newest row per clip and metric, in clip order then by metric.

    Rows of clips that are not asked for, and of earlier contents of a clip, are left out.
    """
    order = {clip_id: index for index, clip_id in enumerate(shas)}
    newest: dict[tuple[int, str], int] = {}
    for place, row in rows:
        if row.clip_id is not None and shas.get(row.clip_id) == row.clip_sha256:
            newest[order[row.clip_id], sys.intern(row.metric)] = place
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
