"""Run a typer app as a process: errors become one line, and each exit code means one thing."""

from __future__ import annotations

import io
import json
import logging
import os
import sys
from glob import glob
from pathlib import Path
from typing import Any

import typer

from avbench.errors import CRASH, INTERRUPTED, AvbenchError, EnvironmentProblem
from avbench.files import write_atomically
from avbench.terminal.crash import report_crash
from avbench.terminal.interrupts import Interrupted, interruptible
from avbench.terminal.output import LogFormatter, lost_output, prepare_streams, say
from avbench.terminal.text import visible

_log = logging.getLogger(__name__)
ERROR_FILE = "AVBENCH_ERROR_FILE"
"""Environment variable: a file that gets `{"exit_code": ..., "message": ...}` when the command fails.

For programs that start this one, so that nobody has to read messages out of its output.
"""


def run_app(app: typer.Typer, program: str, *, interrupted: str) -> None:
    """Run a command line and end the process.

    Args:
        app: the commands.
        program: its name, in front of every message.
        interrupted: what an interrupted user has to know.
    """
    prepare_streams()
    with interruptible():  # also while the outcome is printed
        code = _exit_code(app, program, interrupted)
    if reason := lost_output():
        say(f"{program}: stdout could not be written ({reason}); the exit code does not depend on it", err=True)
    sys.exit(code)


def start_logging(*, level: int, form: str) -> None:
    """Log to stderr."""
    handler = logging.StreamHandler()
    handler.setFormatter(LogFormatter(form))
    logging.basicConfig(level=level, handlers=[handler])


def _exit_code(app: typer.Typer, program: str, interrupted: str) -> int:
    # Not `app()`: that gives exit code 1, which means a regression, to a broken pipe, to an end of input and to some
    # wrong options.
    command: Any = typer.main.get_command(app)
    try:
        with command.make_context(program, _arguments()) as context:
            command.invoke(context)
    except typer.Exit as end:
        return int(end.exit_code)
    except AvbenchError as error:
        return _fail(program, str(error), error.exit_code)
    except Interrupted as stop:
        stop.settle()
        say(f"{program}: interrupted. {interrupted}", err=True)
        return stop.exit_code
    except (KeyboardInterrupt, typer.Abort):
        say(f"{program}: interrupted. {interrupted}", err=True)
        return INTERRUPTED
    except SystemExit as end:  # a library's; with a text, or 1, it would pass for a regression
        return end.code if isinstance(end.code, int) and end.code != 1 else _crash(end, program) if end.code else 0
    except Exception as error:  # noqa: BLE001 - whatever it is, it must not pass for a regression
        return _wrong_option(error) or _out_of_memory(error, program) or _crash(error, program)
    return 0


def _arguments() -> list[str]:
    """Arguments of the process; patterns of file names are filled in where no shell does so."""
    arguments = sys.argv[1:]
    if os.name != "nt":
        return arguments
    return [path for one in arguments for path in (sorted(glob(one)) or [one])]  # noqa: PTH207 - absolute ones too


def _wrong_option(error: Any) -> int:
    """Show what the parser of options says; 0 for an exception that is not its own."""
    show = getattr(error, "show", None)  # its class has another place in each release of typer
    if show is None or not hasattr(error, "format_message"):
        return 0
    text = io.StringIO()
    show(text)
    sys.stderr.write(visible(text.getvalue(), keep="\n"))
    _leave(str(error.format_message()), AvbenchError.exit_code)
    return AvbenchError.exit_code


def _fail(program: str, message: str, code: int) -> int:
    say(f"{program}: {message}", err=True)
    _leave(message, code)
    return code


def _leave(message: str, code: int) -> None:
    """Leave the message for the program that started this one, where it asked for that."""
    if path := os.environ.get(ERROR_FILE):
        try:
            write_atomically(Path(path), json.dumps({"exit_code": code, "message": message}).encode())
        except AvbenchError as error:  # the message has been printed, and the exit code is what counts
            _log.warning("%s", error)


def _out_of_memory(error: Exception, program: str) -> int:
    """Say that memory is short, on the machine or on a device; 0 for another exception."""
    if not isinstance(error, MemoryError) and type(error).__name__ != "OutOfMemoryError":  # torch's, without torch
        return 0
    return _fail(program, f"out of memory: {error}".rstrip(": "), EnvironmentProblem.exit_code)


def _crash(error: BaseException, program: str) -> int:
    _leave(f"internal error, {type(error).__name__}: {error}", CRASH)
    return report_crash(error, program)
