"""Processes of steps: their commands with everything filled in, and why one failed."""

from __future__ import annotations

import json
import os
import shutil
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from avbench.errors import EnvironmentProblem, SettingError
from avbench.terminal.entry import ERROR_FILE


def filled(command: Sequence[str], out: Path | None = None) -> list[str]:
    """A command with its placeholders and environment variables filled in.

    Args:
        command: with "{python}", "{out}" and "$NAME".
        out: the ablation's folder; None where the command does not name it.

    Raises:
        SettingError: an environment variable is not set.
    """
    done = []
    for part in with_paths(command, out):
        expanded = os.path.expandvars(part) if "$" in part else part
        if "$" in expanded and expanded == part:
            reason = f"[trainer] {part!r} names an environment variable that is not set. Set it."
            raise SettingError(reason, "trainer.command", "trainer.launch")
        done.append(expanded)
    return done


def with_paths(command: Sequence[str], out: Path | None = None) -> list[str]:
    """A command with placeholders filled in, and environment variables left as they are."""
    parts = [part.replace("{python}", sys.executable) for part in command]
    return parts if out is None else [part.replace("{out}", str(out.resolve())) for part in parts]


def check_command(command: Sequence[str], source: str) -> None:
    """Whether there is such a program, before anything is made.

    Raises:
        SettingError: an environment variable is not set.
        EnvironmentProblem: there is none.
    """
    program = filled(command)[0]
    if shutil.which(program) is None:
        raise EnvironmentProblem(f"cannot start {program}: no such program. Check [trainer] command of {source}.")


def environment(threads: int, error_file: Path) -> dict[str, str]:
    """Of a step: as many threads as the grid says, in each library that has its own, and where to leave an error."""
    counts = dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"), str(threads))
    fixed = {"PYTHONUNBUFFERED": "1", "PYTHONIOENCODING": "utf-8", ERROR_FILE: str(error_file.resolve())}
    return {**os.environ, **counts, **fixed}


def failure(exit_code: int, error_file: Path, log: Path) -> tuple[int, str]:
    """Exit code and message of a process that failed: its own, where it left them.

    A launcher such as torchrun ends with an exit code of its own, and one that was killed leaves nothing.
    """
    left: Mapping[str, object] = {}
    if error_file.is_file():
        left = json.loads(error_file.read_text(encoding="utf-8"))
    code = int(str(left.get("exit_code", exit_code)))
    what = f"exit code {code}" if code > 0 else f"killed by signal {-code}"
    reason = f": {left['message']}" if left else ""
    return code, f"{what}{reason} (log: {log})"
