"""The order of steps: whatever can run does, on this machine or on Ray, until all are done or have failed."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from avbench.errors import EnvironmentProblem, UsageError
from omninft_train.ablation.backends import Backend
from omninft_train.ablation.execute import Finished
from omninft_train.ablation.grid import Grid
from omninft_train.ablation.state import status
from omninft_train.ablation.steps import Step

_POLL = 0.5  # seconds between looks at what is running
_RETRY = 3.0  # seconds until a step that another process was at is looked at again
Report = Callable[[Finished, int, int], None]
"""Called after each step: the step, how many are done, and of how many."""


@dataclass
class _Progress:
    """What is known while steps run."""

    pending: list[Step]
    complete: set[str]
    failed: dict[str, Finished]
    later: dict[str, float]
    total: int


def run_steps(
    grid: Grid, out: Path, steps: Sequence[Step], backend: Backend, report: Report | None = None
) -> list[Finished]:
    """Run steps whose needs are complete, in their order, until all are done.

    A step that fails does not stop those that do not need it. Steps that other processes are at are waited for.

    Args:
        grid: the ablation.
        out: its folder.
        steps: those to run; what they need besides must be complete.
        backend: where they run; closed at the end.
        report: called for each step that ends.

    Returns:
        Steps that were run here.

    Raises:
        UsageError: a step failed because of its arguments.
        EnvironmentProblem: a step failed otherwise, after all others were done.
        BaseException: an interruption, after the running steps have been ended.
    """
    waiting = [step for step in steps if status(out, step).state != "complete"]
    known = {step.id for step in steps}
    done = known - {step.id for step in waiting}
    progress = _Progress(waiting, done | _complete_needs(steps, known), {}, {}, len(waiting))
    finished: list[Finished] = []
    running: set[str] = set()
    stop = True
    try:
        while progress.pending or running:
            _submit(grid, out, progress, running, backend)
            if not running and not progress.later:
                break
            for ended in backend.collect(_POLL) if running else _sleep():
                running.discard(ended.step_id)
                _note(ended, steps, progress)
                if ended.state == "done":
                    finished.append(ended)
                if report is not None and ended.state in ("done", "cached", "failed"):
                    report(ended, progress.total - len(progress.pending) - len(running), progress.total)
        stop = False
    finally:
        backend.close(stop=stop)
    _raise_failures(progress)
    return finished


def _sleep() -> list[Finished]:
    time.sleep(_POLL)
    return []


def _complete_needs(steps: Sequence[Step], known: set[str]) -> set[str]:
    """Needs outside of what is run: `check_needs` has seen that they are complete."""
    return {name for step in steps for name in step.needs if name not in known}


def _submit(grid: Grid, out: Path, progress: _Progress, running: set[str], backend: Backend) -> None:
    now = time.monotonic()
    for step in list(progress.pending):
        if len(running) >= backend.slots:
            return
        if any(name in progress.failed for name in step.needs):
            progress.pending.remove(step)
            progress.failed[step.id] = Finished(step.id, "failed", message="", exit_code=0)
        elif all(name in progress.complete for name in step.needs) and progress.later.get(step.id, 0) <= now:
            progress.pending.remove(step)
            progress.later.pop(step.id, None)
            running.add(step.id)
            backend.submit(grid, out, step)


def _note(ended: Finished, steps: Sequence[Step], progress: _Progress) -> None:
    if ended.state in ("done", "cached"):
        progress.complete.add(ended.step_id)
    elif ended.state == "failed":
        progress.failed[ended.step_id] = ended
    elif ended.state == "busy":
        progress.later[ended.step_id] = time.monotonic() + _RETRY
        order = [step.id for step in steps]
        progress.pending.append(next(step for step in steps if step.id == ended.step_id))
        progress.pending.sort(key=lambda step: order.index(step.id))


def _raise_failures(progress: _Progress) -> None:
    failures = [ended for ended in progress.failed.values() if ended.message]
    if not failures:
        return
    rest = len(progress.failed) - 1
    more = f" {rest} more steps failed or could not start." if rest > 1 else " 1 more step failed or could not start."
    first = failures[0]
    text = f"{first.step_id} failed, {first.message}.{more if rest else ''} The same command goes on from here."
    raise UsageError(text) if first.exit_code == 2 else EnvironmentProblem(text)


def check_needs(out: Path, steps: Sequence[Step], all_steps: Sequence[Step], again: str) -> None:
    """Whether what some steps need besides each other is complete.

    Args:
        out: the ablation's folder.
        steps: those to run.
        all_steps: those of the whole ablation.
        again: the command line without a choice of steps, for messages.

    Raises:
        UsageError: the first that is not, and the command that makes it.
    """
    chosen = {step.id for step in steps}
    by_id = {step.id: step for step in all_steps}
    for step in steps:
        for name in step.needs:
            if name not in chosen and (current := status(out, by_id[name])).state != "complete":
                raise UsageError(unfinished(out, by_id[name], current.state, again, f"'{step.id}' needs it"))


def unfinished(out: Path, step: Step, state: str, again: str, why: str) -> str:
    """A message about a step that is not complete, with the command that completes it."""
    half = {"started": "half written", "damaged": "damaged", "stale": "made with other settings"}.get(state, "not made")
    command = f"{again} --only {step.kind}"
    if step.variant:
        command += f" --variant {step.variant} --seed {step.seed}"
    return f"{out / step.folder}: '{step.id}' is {half}, and {why}. Go on with: {command}"
