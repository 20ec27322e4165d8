"""One step, from its lock to its record; the same on this machine and on a Ray worker."""

from __future__ import annotations

import logging
import os
import platform
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

from avbench.config import located
from avbench.errors import AvbenchError, EnvironmentProblem
from avbench.files import make_folder
from avbench.results.read import load_run
from avbench.toml import Origin
from omninft_train.ablation.grid import Grid
from omninft_train.ablation.processes import environment, failure, filled
from omninft_train.ablation.prompt_files import write_prompts
from omninft_train.ablation.state import locked, read_record, status, write_record
from omninft_train.ablation.steps import Step

_LOG = logging.getLogger(__name__)
_GRACE = 10.0  # seconds that a step has to end by itself after an interruption


@dataclass(frozen=True)
class Finished:
    """Outcome of a step.

    `state`: "done"; "cached", another process had done it; "busy", another process is at it; "failed"; "interrupted".
    """

    step_id: str
    state: Literal["done", "cached", "busy", "failed", "interrupted"]
    seconds: float = 0.0
    message: str = ""
    exit_code: int = 0


def outcome(step_id: str, result: Callable[[], Finished]) -> Finished:
    """Result of a step; an error that it raised is a failure of that step."""
    try:
        return result()
    except AvbenchError as error:
        return Finished(step_id, "failed", message=str(error), exit_code=error.exit_code)


class Children:
    """Processes that this process started, so that an interruption ends them as well."""

    def __init__(self) -> None:
        self._running: set[subprocess.Popen[bytes]] = set()
        self._lock = threading.Lock()
        self.stopped = threading.Event()

    def add(self, child: subprocess.Popen[bytes]) -> None:
        """Remember a child; one that comes after the interruption is ended at once."""
        with self._lock:
            self._running.add(child)
        if self.stopped.is_set():
            _signal(child, signal.SIGINT)

    def remove(self, child: subprocess.Popen[bytes]) -> None:
        """Forget a child that has ended."""
        with self._lock:
            self._running.discard(child)

    def stop(self, grace: float = _GRACE) -> None:
        """Ask all children to end, and end them if they do not."""
        self.stopped.set()
        with self._lock:
            children = list(self._running)
        for child in children:
            _signal(child, signal.SIGINT)
        deadline = time.monotonic() + grace
        try:
            while any(self._alive(child) for child in children) and time.monotonic() < deadline:
                time.sleep(0.05)
        finally:
            for child in children:
                if self._alive(child):
                    _signal(child, signal.SIGKILL)

    def _alive(self, child: subprocess.Popen[bytes]) -> bool:
        with self._lock:
            return child in self._running


def _signal(child: subprocess.Popen[bytes], number: int) -> None:
    try:
        os.killpg(child.pid, number)  # its session: torchrun's workers belong to it
    except (ProcessLookupError, PermissionError):
        _LOG.debug("process %d has ended already", child.pid)


def execute(grid: Grid, out: Path, step: Step, children: Children | None = None) -> Finished:
    """Run one step unless it is done or another process is at it.

    Raises:
        UsageError: an environment variable of the grid is not set, or prompts do not fit.
        EnvironmentProblem: something cannot be started or written.
    """
    with locked(out, step) as held:
        if held is None:
            return Finished(step.id, "busy")
        current = status(out, step)
        if current.state == "complete":
            return Finished(step.id, "cached")
        if current.state == "stale":
            _clear(out, step)
        started = time.perf_counter()
        content = _begin(out, step)
        if step.kind == "prompts":
            write_prompts(grid, out / step.folder)
            used: dict[str, Any] = {"exit_code": 0}
        else:
            used = _run(grid, out, step, held, children or Children())
        seconds = time.perf_counter() - started
        if children is not None and children.stopped.is_set():
            return Finished(step.id, "interrupted", seconds)
        if used["exit_code"]:
            return Finished(step.id, "failed", seconds, used["message"], used["exit_code"])
        return _finish(out, step, content, used, seconds)


def _clear(out: Path, step: Step) -> None:
    """Remove what the step left before; a trainer must not go on from a run with other settings."""
    for name in dict.fromkeys(name.split("/")[0] for name in step.outputs):
        path = out / step.folder / name
        if path.is_dir():
            shutil.rmtree(path)
        else:
            path.unlink(missing_ok=True)


def _begin(out: Path, step: Step) -> dict[str, Any]:
    before = read_record(out, step) or {}
    attempts = before.get("attempts", 0) if before.get("digest") == step.digest else 0
    content = {
        "step": step.id,
        "state": "started",
        "digest": step.digest,
        "facts": step.settings,
        "amount": step.amount,
        "host": platform.machine(),
        "started": _now(),
        "attempts": attempts + 1,
    }
    write_record(out, step, content)
    return content


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")


def _run(grid: Grid, out: Path, step: Step, held: int, children: Children) -> dict[str, Any]:
    """The step's command, its output into a log; resources that it used."""
    with located(grid.origins or Origin(grid.source)):
        command = filled(step.command, out)
    folder = out / step.folder
    make_folder(folder, "--out")
    log, error_file = folder / f"{step.record}.log", folder / f"{step.record}.error.json"
    error_file.unlink(missing_ok=True)
    with log.open("ab") as output:
        try:
            child = subprocess.Popen(  # noqa: S603 - the grid's own command, without a shell
                command, stdin=subprocess.DEVNULL, stdout=output, stderr=output, start_new_session=True,
                env=environment(grid.threads, error_file), pass_fds=(held,) if held >= 0 else (),
            )  # fmt: skip
        except OSError as error:
            raise EnvironmentProblem(
                f"{step.id}: cannot start {command[0]}: {error.strerror or error}. Check [trainer] of {grid.source}."
            ) from error
        children.add(child)
        try:
            exit_code, memory = _wait(child)
        except BaseException:  # a Ray task that is cancelled
            _signal(child, signal.SIGINT)
            raise
        finally:
            children.remove(child)
    exit_code, message = failure(exit_code, error_file, log) if exit_code else (0, "")
    return {"exit_code": exit_code, "message": message, "memory_gb": memory, "command": command}


def _wait(child: subprocess.Popen[bytes]) -> tuple[int, float | None]:
    """Exit code, and the largest memory of the process and those below it that it waited for, in GB."""
    if not hasattr(os, "wait4"):
        return child.wait(), None
    _, state, usage = os.wait4(child.pid, 0)
    child.returncode = os.waitstatus_to_exitcode(state)
    unit = 1 if sys.platform == "darwin" else 1024
    return child.returncode, round(usage.ru_maxrss * unit / 1e9, 3)


def _without_weights(folder: Path) -> str | None:
    """Why a metric of a run judged nothing, where weights or a licence are all that it lacks."""
    scores = load_run(folder).scores
    skipped = scores[scores["status"] == "skipped"]
    lacking = skipped["reason"].astype(str).str.startswith(("weights missing", "licence not accepted"))
    return str(skipped[lacking]["reason"].iloc[0]) if lacking.any() else None


def _finish(out: Path, step: Step, content: Mapping[str, Any], used: Mapping[str, Any], seconds: float) -> Finished:
    outputs: dict[str, int] = {}
    if step.kind == "pretrain":  # the trainer decides which files there are
        folder = out / step.folder / str(step.settings["name"])
        outputs = {f"{step.folder}/{folder.name}/{p.name}": p.stat().st_size for p in folder.glob("*") if p.is_file()}
        if not outputs:
            message = f"{folder} is missing although the command ended well. Look into {step.record}.log beside it."
            return Finished(step.id, "failed", seconds, message, 1)
    for name in step.outputs:
        path = out / step.folder / name
        if not path.is_file():
            message = f"{path} is missing although the command ended well. Look into {step.record}.log beside it."
            return Finished(step.id, "failed", seconds, message, 1)
        outputs[f"{step.folder}/{name}"] = path.stat().st_size
    lack = _without_weights((out / step.folder / step.outputs[0]).parent) if step.kind == "score" else None
    if lack is not None:
        return Finished(step.id, "failed", seconds, lack, EnvironmentProblem.exit_code)
    done = {
        **content,
        "state": "complete",
        "finished": _now(),
        "seconds": round(seconds, 1),
        "outputs": outputs,
        "memory_gb": used.get("memory_gb"),
        "command": used.get("command", []),
    }
    write_record(out, step, done)
    return Finished(step.id, "done", seconds)
