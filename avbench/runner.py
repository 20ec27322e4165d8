"""The run: plan what is missing, score it, append rows, compact, summarise."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Sequence
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
from avbench.results import SCHEMA_VERSION, UNAVAILABLE, ClipRow, RunFolder, ScoreRow, load_run
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
        finished = _finish(folder, source, plan, info, computed or plan.ready)
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


def _finish(folder: RunFolder, source: Source, plan: Plan, info: dict[str, Any], changed: object) -> Outcome:
    rows = compact(folder.rows(), plan.shas)
    if changed or not _tables_fit(folder.path, rows):
        facts = {(row.clip_id, row.clip_sha256): row for row in folder.clip_rows()}
        context = RunContext(info["run_id"], info["suite"], info["suite_version"])
        clips: list[ClipRow] = []
        for clip in source.clips:
            sha = plan.shas[clip.clip_id]
            clips.append(_with_media_facts(clip_facts(ClipJob(clip, sha, (), context), None, None), facts))
        folder.write_tables(rows, clips, source.clips)
        run = load_run(folder.path)
        folder.write_json("summary.json", summarize_run(run.scores, run.categories))
    summary = json.loads((folder.path / "summary.json").read_text(encoding="utf-8"))
    failed = tuple(dict.fromkeys(row.clip_id or "" for row in rows if row.status == "error"))
    unavailable = sum(row.weights_digest == UNAVAILABLE for row in rows)
    return Outcome(folder.path, summary, len(source.clips), failed, {}, 0, len(rows) - unavailable, unavailable)


def _with_media_facts(row: ClipRow, facts: dict[tuple[str, str], ClipRow]) -> ClipRow:
    """Names and prompts as the source gives them now, media facts as they were decoded."""
    decoded = facts.get((row.clip_id, row.clip_sha256))
    if decoded is None:
        decoded = next((fact for (_, sha), fact in facts.items() if sha == row.clip_sha256), row)
    names = ("audio_source", "duration", "audio_duration", "fps", "frames", "width", "height", "sample_rate")
    return replace(row, **{name: getattr(decoded, name) for name in (*names, "channels", "problem")})


def compact(rows: Sequence[ScoreRow], shas: dict[str, str]) -> list[ScoreRow]:
    """The newest row per clip and metric, in clip order then by metric; other contents of a clip are left out."""
    newest = {(row.clip_id, row.metric): row for row in rows if shas.get(row.clip_id or "") == row.clip_sha256}
    order = {clip_id: index for index, clip_id in enumerate(shas)}
    return sorted(newest.values(), key=lambda row: (order[row.clip_id or ""], row.metric))


def _tables_fit(path: Path, rows: Sequence[ScoreRow]) -> bool:
    """Whether tables and summary exist and hold as many rows as they should."""
    import pyarrow.parquet as pq

    table = path / "scores.parquet"
    names = ("clips.parquet", "categories.parquet", "summary.json")
    return (
        all((path / name).exists() for name in names)
        and table.exists()
        and pq.read_metadata(table).num_rows == len(rows)
    )


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
