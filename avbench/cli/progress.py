"""Progress on stderr: a bar with rate and remaining time on a terminal, a line a minute elsewhere."""

from __future__ import annotations

import time
from datetime import timedelta
from types import TracebackType

from rich.progress import BarColumn, MofNCompleteColumn, Progress, Task, TaskID, TextColumn, TimeRemainingColumn

from avbench.terminal.output import console, say

_LINE_S = 60.0
_SPEED_S = 300.0  # clips come in shards, network by network


class BarProgress:
    """Draws a run, or writes lines where stderr is not a terminal. Silent when `quiet`."""

    def __init__(self, quiet: bool) -> None:
        into = console(err=True)
        self._bar = Progress(
            TextColumn("scoring"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("{task.fields[rate]}"),
            TimeRemainingColumn(),
            TextColumn("{task.fields[note]}"),
            TextColumn("{task.fields[nodes]}", markup=False),
            console=into,
            disable=quiet or not into.is_terminal,
            transient=True,
            speed_estimate_period=_SPEED_S,
            get_time=time.monotonic,
        )
        self._last_line = None if quiet or into.is_terminal else time.monotonic()
        self._clips_per_step = 1.0
        self._nodes = ""
        self._task: TaskID | None = None
        self._failed: set[str] = set()
        self._note = ""

    def __enter__(self) -> BarProgress:
        self._bar.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if not self._bar.disable:  # older versions of rich end a bar that they never drew with an empty line
            self._bar.stop()

    def start(self, total: int, reused: int, clips: int) -> None:
        """The numbers of steps and clips to go are known."""
        self._clips_per_step = clips / total if total else 1.0
        self._note = f"{reused} complete already" if reused else ""
        self._task = self._bar.add_task("scoring", total=total, rate="", note=self._note, nodes="")

    def advance(self, clip_id: str, failed: bool, steps: int) -> None:
        """Steps of one clip are done."""
        if self._task is None:
            return
        if failed:
            self._failed.add(clip_id)
        note = f"{len(self._failed)} failed" if self._failed else self._note
        self._bar.advance(self._task, steps)
        task = self._bar.tasks[self._task]
        rate = f"{task.speed * self._clips_per_step:.2f} clips/s" if task.speed else ""
        self._bar.update(self._task, note=note, rate=rate)
        if self._last_line is not None and time.monotonic() - self._last_line > _LINE_S:
            self._last_line = time.monotonic()
            say(self._line(task, rate, note), err=True)

    def note(self, text: str) -> None:
        """Who works, and how fast."""
        self._nodes = text
        if self._task is not None:
            self._bar.update(self._task, nodes=text)

    def _line(self, task: Task, rate: str, note: str) -> str:
        left = "" if task.time_remaining is None else f"{timedelta(seconds=round(task.time_remaining))} to go"
        parts = (f"{task.percentage:.0f} %", "" if self._nodes else rate, left, note, self._nodes)
        return f"scoring: {', '.join(part for part in parts if part)}"
