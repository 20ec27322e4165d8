"""Report a crash of avbench: one line for the user, the traceback in a file, exit code 70.

Imports nothing but Python's own library, so that it works where a package is missing or broken.
"""

from __future__ import annotations

import logging
import sys
import tempfile
import traceback
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from avbench.errors import CRASH
from avbench.files import new_file
from avbench.remote.addresses import without_secrets
from avbench.terminal.output import say
from avbench.terminal.text import visible

_log = logging.getLogger(__name__)
_LONGEST = 400
"""Characters of an exception's text on the terminal."""


def report_crash(error: BaseException, program: str) -> int:
    """Ask for a report, with the traceback in a file; on stderr where no file can be written.

    Returns:
        The exit code, which no other outcome has.
    """
    fault = f"{program}: internal error, {type(error).__name__}: {str(error)[:_LONGEST]}".rstrip(": ")
    report = "".join(traceback.format_exception(error))
    fault, report = without_secrets(fault), without_secrets(report)
    _log.debug("%s", report)
    try:
        path, file = new_file(Path(tempfile.gettempdir()), prefix=f"{program}-", suffix=".txt")
        with file:
            file.write(f"{without_secrets(_header(program))}\n\n{report}".encode("utf-8", "backslashreplace"))
        say(
            f"{fault}. Please report it, with the traceback in {path} and what 'avbench doctor --json' prints", err=True
        )
    except OSError as problem:
        sys.stderr.write(visible(report, keep="\n"))
        say(f"{fault}. Please report it, with the lines above (no file for them: {problem})", err=True)
    return CRASH


def _header(program: str) -> str:
    """What was called, and by which versions."""
    try:
        avbench_version = version("avbench")
    except PackageNotFoundError:
        avbench_version = "not installed"
    return f"{program} {' '.join(sys.argv[1:])}\navbench {avbench_version}\nPython {sys.version}\n{sys.platform}"
