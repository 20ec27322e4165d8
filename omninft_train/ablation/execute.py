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
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

from avbench.errors import EnvironmentProblem
from omninft_train.ablation.grid import Grid
from omninft_train.ablation.prompt_files import write_prompts
from omninft_train.ablation.state import locked, make_folder, read_record, status, write_record
from omninft_train.ablation.steps import Step
from omninft_train.ablation.trainer_calls import environment, filled, message_of

_LOG = logging.getLogger(__name__)
_GRACE = 10.0  # seconds that a step has to end by itself after an interruption
_TAIL = 4000  # characters of the log that are looked through for a message


@dataclass(frozen=True)
class Finished:
    """What became of a step.

    `state`: "done"; "cached", another process had done it; "busy", another process is at it; "failed"; "interrupted".
    """

    step_id: str
    state: Literal["done", "cached", "busy", "failed", "interrupted"]
    seconds: float = 0.0
    message: str = ""
    exit_code: int = 0


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
        found = status(out, step)
        if found.state == "complete":
            return Finished(step.id, "cached")
        if found.state == "stale":
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
        "facts": step.facts,
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
    command = filled(step.command, _places(out), grid.source)
    make_folder(out / step.folder)
    log, said = out / step.folder / f"{step.record}.log", out / step.folder / f"{step.record}.out"
    with log.open("ab") as errors, said.open("wb") as output:
        try:
            child = subprocess.Popen(  # noqa: S603 - the grid's own command, without a shell
                command, stdin=subprocess.DEVNULL, stdout=output, stderr=errors, env=environment(grid.threads),
                start_new_session=True, pass_fds=(held,) if held >= 0 else (),
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
    message = ""
    if exit_code:
        text = log.read_text(encoding="utf-8", errors="replace")[-_TAIL:]
        what = f"exit code {exit_code}" if exit_code > 0 else f"killed by signal {-exit_code}"
        message = f"{what}: {message_of(text)} (log: {log})"
    return {"exit_code": exit_code, "message": message, "memory_gb": memory, "command": command}


def _wait(child: subprocess.Popen[bytes]) -> tuple[int, float | None]:
    """Exit code, and the largest memory of the process and those below it that it waited for, in GB."""
    if not hasattr(os, "wait4"):
        return child.wait(), None
    _, state, usage = os.wait4(child.pid, 0)
    child.returncode = os.waitstatus_to_exitcode(state)
    unit = 1 if sys.platform == "darwin" else 1024
    return child.returncode, round(usage.ru_maxrss * unit / 1e9, 3)


def _places(out: Path) -> dict[str, str]:
    return {"python": sys.executable, "out": str(out.resolve()), "pretrained": _pretrained(out)}


def _pretrained(out: Path) -> str:
    """Folder of the base policy that was pretrained here; of no meaning before."""
    said = out / "base" / "pretrain.out"
    lines = said.read_text(encoding="utf-8", errors="replace").split("\n") if said.is_file() else []
    named = [line.strip() for line in lines if line.strip()]
    return str((out / "base" / Path(named[-1]).name).resolve()) if named else str(out / "base" / "PRETRAINED")


def _pretrained_files(out: Path) -> dict[str, int]:
    folder = Path(_pretrained(out))
    return {f"base/{folder.name}/{path.name}": path.stat().st_size for path in folder.glob("*") if path.is_file()}


def shown_command(out: Path, step: Step) -> Sequence[str]:
    """The step's command as it would run now, with environment variables left as they are."""
    places: Mapping[str, str] = _places(out)
    done = []
    for part in step.command:
        for name, value in places.items():
            part = part.replace("{" + name + "}", value)
        done.append(part)
    return done


def _finish(out: Path, step: Step, content: Mapping[str, Any], used: Mapping[str, Any], seconds: float) -> Finished:
    outputs = _pretrained_files(out) if step.kind == "pretrain" else {}
    if step.kind == "pretrain" and not outputs:
        message = f"the trainer named no folder below {out / 'base'} in the last line that it printed."
        return Finished(step.id, "failed", seconds, message, 1)
    for name in step.outputs:
        path = out / step.folder / name
        if not path.is_file():
            message = f"{path} is missing although the command ended well. Look into {step.record}.log beside it."
            return Finished(step.id, "failed", seconds, message, 1)
        outputs[f"{step.folder}/{name}"] = path.stat().st_size
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
