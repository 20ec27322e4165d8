"""The run: plan what is missing, score it, append rows, compact, summarise."""

from __future__ import annotations

import contextlib
import hashlib
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from typing import Protocol as TypingProtocol

from avbench.aggregate import summarize_parts
from avbench.doctor.environment import describe_environment
from avbench.encoders import WeightsConfig
from avbench.errors import UsageError
from avbench.files import below_or_name
from avbench.media import Limits
from avbench.metrics.base import Scorer, get_scorers
from avbench.repair import earlier_info, made_again, restore_record
from avbench.results import SCHEMA_VERSION, UNAVAILABLE, ClipRow, RunFolder, load_run, read_by_metric
from avbench.results.compact import compact
from avbench.results.damage import DamagedRunError
from avbench.results.info import read_summary
from avbench.run.content import Content
from avbench.run.plan import Known, Plan, disown, feature_space, make_plan
from avbench.run.reference_sets import load_reference
from avbench.run.schedule import Room, steps_of
from avbench.run.score_clip import ClipJob, Protocol, RunContext, clip_facts, unavailable_rows
from avbench.run.set_metrics import Sets, judge_sets, set_digests
from avbench.run.worker_process import Workers, refuse_unguarded
from avbench.run.workers import run_jobs
from avbench.sources import Source
from avbench.suites import Suite
from avbench.terminal.interrupts import ending_in_order


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
        limits: what one clip may cost.
        retry_errors: score clips again whose earlier row is an error.
        command: what the user typed, for the record.
    """

    workers: int = 1
    devices: tuple[str, ...] = ("cpu",)
    max_resident: int = 2
    setup: WeightsConfig = field(default_factory=WeightsConfig)
    protocol: Protocol = field(default_factory=Protocol)
    reference: Path | None = None
    cache: Path | None = None
    cache_bytes: int = 10 * 2**30
    spool_bytes: int = 8 * 2**30
    limits: Limits = field(default_factory=Limits)
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
            seconds_per_clip=self.limits.seconds_per_clip,
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
        notes: files of the folder that were damaged and were made again.
    """

    path: Path
    summary: dict[str, Any]
    n_clips: int
    failed: tuple[str, ...]
    stopped: dict[str, str]
    computed: int
    reused: int
    unavailable: int
    notes: tuple[str, ...] = ()


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
    refuse_unguarded()
    options = options or RunOptions()
    if options.workers < 1:
        raise UsageError(f"--workers must be at least 1, got {options.workers}")
    scorers = get_scorers(suite.metrics)
    reference = load_reference(options.reference) if options.reference else None
    with ending_in_order(), RunFolder(out) as folder:
        info, notes = _open_run(folder, source, suite, scorers, options)
        context = RunContext(info["run_id"], suite.name, suite.version, options.setup, options.protocol, source.root)
        known = Known(folder.rows())
        plan = make_plan(
            source.clips,
            scorers,
            known,
            context,
            folder=folder,
            workers=options.processes(out).count,
            retry_errors=options.retry_errors,
            limits=options.limits,
        )
        folder.append(plan.ready)
        if progress:
            progress.start(sum(map(steps_of, plan.jobs)), plan.complete)
        stopped, computed, features = _work(folder, plan, scorers, options, progress)
        sets = Sets(folder, source.clips, plan, context, reference, stopped)
        rows = judge_sets(sets, scorers, known, fresh=features > 0)
        folder.append(rows)
        computed += len(rows)
        changed = bool(computed or plan.ready)
        plan.jobs.clear()
        plan.ready.clear()
        finished = _finish(folder, source, plan, info, changed)
        return replace(
            finished,
            stopped=stopped,
            computed=computed,
            reused=finished.reused - computed,
            notes=(*notes, *finished.notes),
        )


def _open_run(
    folder: RunFolder, source: Source, suite: Suite, scorers: Sequence[Scorer], options: RunOptions
) -> tuple[dict[str, Any], list[str]]:
    """Write run.json: created once, then brought up to date by each invocation. With notes on what was damaged."""
    notes = restore_record(folder)
    old, damage = earlier_info(folder, {clip.clip_id: clip.prompt for clip in source.clips}, options.setup)
    _refuse_mixture(folder.path, old, scorers, options)
    now = datetime.now(UTC).isoformat(timespec="seconds")
    run_id = old.get("run_id") or hashlib.sha256(f"{now}{os.getpid()}{folder.path}".encode()).hexdigest()[:12]
    info = {
        "schema_version": SCHEMA_VERSION,
        "run_id": run_id,
        "created": old.get("created") or now,
        "command": options.command,
        "source": below_or_name(source.root, Path.cwd()),
        "source_kind": source.kind,
        "matching": source.matching,
        "suite": suite.name,
        "suite_version": suite.version,
        "metrics": old.get("metrics", {}) | {s.name: s.metadata() for s in scorers},
        "environment": describe_environment(),
        "weights": options.setup.weights,
        "precision": options.setup.precision,
        "protocol": options.protocol.name or None,
        "reference": below_or_name(options.reference, Path.cwd()) if options.reference else None,
        "notes": [*source.notes, *_notes(options)],
        "n_clips": len(source.clips),
    }
    if {k: v for k, v in old.items() if k != "command"} != {k: v for k, v in info.items() if k != "command"}:
        folder.write_json("run.json", info)
    return info, [*notes, *damage]


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


def _work(
    folder: RunFolder, plan: Plan, scorers: Sequence[Scorer], options: RunOptions, progress: Progress | None
) -> tuple[dict[str, str], int, int]:
    """Metrics that stopped with the reason, and how many rows and features of set metrics were written."""
    stopped: dict[str, str] = {}
    computed = features = 0
    asked = {job.clip.clip_id: job for job in plan.jobs}
    open_metrics: dict[str, set[str]] = {job.clip.clip_id: set(job.metrics) for job in plan.jobs}
    left = {job.clip.clip_id: steps_of(job) for job in plan.jobs} if progress else {}
    # Closed also when a row cannot be written: worker processes and temporary folders go before the exception.
    with contextlib.closing(run_jobs(plan.jobs, options.processes(folder.path), stopped)) as results:
        for result in results:
            clip_id = result.clip_row.clip_id
            job, rows = asked[clip_id], result.rows
            if result.clip_row.clip_sha256 != job.sha256:
                job, others = disown(plan, job, result, scorers)
                rows = rows + others
            if result.first:
                folder.append_clip(result.clip_row)
            folder.append(rows)
            for name, value in result.features.items():
                folder.put_feature(feature_space(get_scorers([name])[0], job.context), job.media_key, value)
            stopped.update(result.stopped)
            computed += len(rows)
            features += len(result.features)
            open_metrics[clip_id] -= {row.metric for row in rows}
            if result.last:
                # A metric that stopped still has a row for every clip: no clip leaves a denominator.
                missed = open_metrics.pop(clip_id)
                folder.append(unavailable_rows(job, {name: stopped[name] for name in missed if name in stopped}))
            if progress:
                steps = left[clip_id] if result.last else 1
                left[clip_id] -= steps
                progress.advance(clip_id, any(row.status == "error" for row in rows), steps)
    return stopped, computed, features


def _finish(folder: RunFolder, source: Source, plan: Plan, info: dict[str, Any], changed: bool) -> Outcome:
    places = compact(folder.scan(), plan.shas, set_digests(source.clips, plan.shas))
    damaged = None if changed else _damage(folder.path, len(places))
    if changed or damaged is not None:
        folder.write_tables(folder.read_at(places), _clip_table(folder, source, plan, info), source.clips)
        folder.write_json("summary.json", _summarize(folder.path, source))
    summary = read_summary(folder.path)
    failed: set[str] = set()
    unavailable = 0
    for scores in read_by_metric(folder.path):
        failed.update(scores.loc[scores["status"] == "error", "clip_id"].dropna())
        unavailable += int((scores["weights_digest"] == UNAVAILABLE).sum())
    in_order = tuple(clip.clip_id for clip in source.clips if clip.clip_id in failed)
    counts = (0, len(places) - unavailable, unavailable)
    return Outcome(folder.path, summary, len(source.clips), in_order, {}, *counts, notes=(damaged,) if damaged else ())


def _damage(path: Path, rows: int) -> str | None:
    """A note where tables and summary do not say what they should; empty where they are only missing."""
    try:
        fits = len(load_run(path).scores) == rows
        read_summary(path)
    except DamagedRunError as error:
        return made_again(error)
    except UsageError:  # unfinished
        return ""
    return None if fits else ""


def _summarize(path: Path, source: Source) -> dict[str, list[dict[str, Any]]]:
    import pandas as pd

    labels = [(clip.clip_id, label.aspect, label.name) for clip in source.clips for label in clip.categories]
    return summarize_parts(read_by_metric(path), pd.DataFrame(labels, columns=["clip_id", "aspect", "category"]))


def _clip_table(folder: RunFolder, source: Source, plan: Plan, info: dict[str, Any]) -> Iterator[ClipRow]:
    """Names and prompts as the source gives them now, media facts as they were decoded."""
    context = RunContext(info["run_id"], info["suite"], info["suite_version"], root=source.root)
    decoded = {row.clip_sha256: row for row in folder.clip_rows()}
    names = ("audio_source", "duration", "audio_duration", "fps", "frames", "width", "height", "sample_rate")
    for clip in source.clips:
        row = clip_facts(ClipJob(clip, Content(plan.shas[clip.clip_id]), (), context), None, None)
        facts = decoded.get(row.clip_sha256, row)
        yield replace(row, **{name: getattr(facts, name) for name in (*names, "channels", "problem")})


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
