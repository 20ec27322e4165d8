"""The run of a source through a suite: plan what is missing, score it, judge the set, write tables and summary."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from pathlib import Path

from avbench.errors import UsageError
from avbench.metrics.base import Scorer, get_scorers
from avbench.results import RunFolder
from avbench.run.earlier import EarlierRows
from avbench.run.jobs import RunContext, Stopped
from avbench.run.options import RunOptions
from avbench.run.outcome import Outcome, judge_whole
from avbench.run.plan import make_plan
from avbench.run.recorder import Progress, Recorder
from avbench.run.reference_sets import load_reference
from avbench.run.result_tables import finish_run
from avbench.run.run_info import begin_run, record_part
from avbench.run.set_metrics import SetInputs, set_digests
from avbench.run.worker_process import refuse_unguarded
from avbench.run.workers import Backend, LocalBackend
from avbench.sources import Source
from avbench.suites import Suite
from avbench.terminal.interrupts import ending_in_order


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
        of_all = judge_whole(
            sets, source, scorers, earlier, fresh=recorder.features > 0, retry_errors=options.retry_errors
        )  # fmt: skip
        computed = recorder.computed + of_all
        changed = bool(recorder.written or of_all or plan.ready)
        plan.jobs.clear()  # tables of a long run need the memory
        plan.ready.clear()
        rows = None if changed else earlier.count(plan.shas, set_digests(source.clips, plan.shas))
        del earlier, recorder
        tables = finish_run(folder, source, plan.shas, unchanged=rows)
    return Outcome.of(
        folder.path, tables, n_clips=len(source.clips), computed=computed, stopped=stopped.reasons(), notes=notes
    )  # fmt: skip


@contextlib.contextmanager
def _backend(options: RunOptions, out: Path, source: Source, scorers: Sequence[Scorer]) -> Iterator[Backend]:
    """What scores. A cluster is joined, and its nodes are checked, before a run folder is begun."""
    workers = options.processes(out)
    if options.ray is None:
        yield LocalBackend(workers)
        return
    from avbench.run.cluster.backend import open_cluster

    clips = None if (out / "run.json").is_file() else source.clips
    with open_cluster(options.ray, workers, clips, scorers) as cluster:
        yield cluster


def _unheard(_text: str) -> None: ...
