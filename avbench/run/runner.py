"""The run of a source through a suite: plan what is missing, score it, judge the set, write tables and summary."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from avbench.errors import UsageError
from avbench.metrics.base import Scorer, get_scorers
from avbench.results import RunFolder
from avbench.run.derived import derived_rows
from avbench.run.earlier import EarlierRows
from avbench.run.jobs import RunContext, Stopped
from avbench.run.options import RunOptions
from avbench.run.plan import make_plan
from avbench.run.recorder import Progress, Recorder
from avbench.run.reference_sets import load_reference
from avbench.run.result_tables import finish_run
from avbench.run.run_info import begin_run, record_part
from avbench.run.set_metrics import SetInputs, score_sets, set_digests
from avbench.run.worker_process import refuse_unguarded
from avbench.run.workers import Backend, LocalBackend
from avbench.sources import Source
from avbench.suites import Suite
from avbench.terminal.interrupts import ending_in_order


@dataclass(frozen=True)
class Outcome:
    """Result of a run.

    Attributes:
        path: the run folder.
        summary: content of summary.json.
        n_clips: number of clips of the source.
        failed: ids of clips with an error row, in the order of the source.
        stopped: metrics that could not go on, with the reason.
        computed: new rows.
        reused: rows that were there already.
        unavailable: rows of metrics that lack a package or weights here.
        not_asked: rows of metrics that the suite does not ask of their clip.
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
    not_asked: int = 0
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
        raise UsageError(f"the number of workers must be at least 1, got {options.workers}")
    scorers = get_scorers(suite.metrics)
    reference = load_reference(options.reference) if options.reference else None
    with ending_in_order(), _backend(options, out, source, scorers) as backend, RunFolder(out) as folder:
        info, notes = begin_run(folder, source, suite, scorers, options)
        context = RunContext(
            info["run_id"], suite.name, suite.version, options.setup, options.protocol, source.root, suite.only
        )
        earlier = EarlierRows.of_folder(folder)
        plan = make_plan(
            source.clips,
            scorers,
            earlier,
            context,
            folder=folder,
            workers=backend.count,
            retry_errors=options.retry_errors,
            limits=options.limits,
            digests=options.digests,
        )
        record_part(folder, source, scorers, plan.missing, options.setup)
        folder.append(plan.ready)
        stopped = Stopped()
        recorder = Recorder(folder, plan, scorers, earlier, stopped, progress)
        # Closed also when a row cannot be written: worker processes and temporary folders go before the exception.
        with contextlib.closing(backend.run(plan.jobs, stopped, progress.note if progress else _unheard)) as results:
            for result in results:
                recorder.write(result)
        sets = SetInputs(folder, source.clips, plan.shas, context, reference, plan.missing, stopped)
        set_rows = score_sets(sets, scorers, earlier, fresh=recorder.features > 0, retry_errors=options.retry_errors)
        folder.append(set_rows)
        derived = derived_rows(folder, source, plan.shas, context, scorers)
        folder.append(derived)
        computed = recorder.computed + len(set_rows) + len(derived)
        changed = bool(recorder.written or set_rows or derived or plan.ready)
        plan.jobs.clear()  # tables of a long run need the memory
        plan.ready.clear()
        rows = None if changed else earlier.count(plan.shas, set_digests(source.clips, plan.shas))
        del earlier, recorder
        tables = finish_run(folder, source, plan.shas, unchanged=rows)
    return Outcome(
        path=folder.path,
        summary=tables.summary,
        n_clips=len(source.clips),
        failed=tables.failed,
        stopped=stopped.reasons(),
        computed=computed,
        reused=tables.rows - computed,
        unavailable=tables.unavailable,
        not_asked=tables.not_asked,
        notes=(*notes, *tables.notes),
    )


@contextlib.contextmanager
def _backend(options: RunOptions, out: Path, source: Source, scorers: Sequence[Scorer]) -> Iterator[Backend]:
    """What scores. A cluster is joined, and its nodes are checked, before the run folder is touched."""
    workers = options.processes(out)
    if options.ray is None:
        yield LocalBackend(workers)
        return
    from avbench.run.cluster.backend import open_cluster

    with open_cluster(options.ray, workers, source.clips, scorers) as cluster:
        yield cluster


def _unheard(_text: str) -> None: ...


def check_failures(outcome: Outcome, max_failed: float) -> str | None:
    """A sentence when more clips failed than allowed, else None.

    Args:
        outcome: the run.
        max_failed: below 1 a fraction of the clips, otherwise a count.
    """
    limit = max_failed * outcome.n_clips if max_failed < 1 else max_failed
    if len(outcome.failed) <= limit:
        return None
    return f"{len(outcome.failed)} of {outcome.n_clips} clips failed (allowed: {limit:g})"
