"""Progress on stderr: a bar with rate and remaining time on a terminal, nothing elsewhere."""

from __future__ import annotations

from types import TracebackType

from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeRemainingColumn

from avbench.terminal.output import console


class BarProgress:
    """Draws a run. Silent when `quiet` or when stderr is not a terminal."""

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
        )
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

    def start(self, total: int, reused: int) -> None:
        """The number of steps to go is known."""
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
        speed = self._bar.tasks[self._task].speed
        self._bar.update(self._task, note=note, rate=f"{speed:.2f} steps/s" if speed else "")

    def note(self, text: str) -> None:
        """Who works, and how fast."""
        if self._task is not None:
            self._bar.update(self._task, nodes=text)
