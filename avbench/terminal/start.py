"""Start a command line: also what fails while modules are imported ends with one line and an exit code.

Nothing but the standard library is imported before the command line is.
"""

from __future__ import annotations

import signal
import sys
from collections.abc import Callable

from avbench.terminal.interrupts import ALL

_OURS = ("avbench", "omninft_train")


def start(program: str, main: Callable[[], None]) -> None:
    """Run a command line, and end quietly whenever a signal comes.

    Args:
        program: its name, in front of every message.
        main: imports the command line and runs it.
    """
    try:
        main()
    except KeyboardInterrupt:  # while modules were imported
        sys.exit(130)
    except Exception as error:  # noqa: BLE001 - while modules were imported: Python's own exit code means a regression
        sys.exit(_broken_installation(error, program))
    finally:
        for number in ALL:  # all is written: the exit code stays what it is
            signal.signal(number, signal.SIG_IGN)


def _broken_installation(error: Exception, program: str) -> int:
    """Say that a package which the program needs is missing or broken, or that the program itself is."""
    from avbench.errors import EnvironmentProblem
    from avbench.terminal.crash import report_crash
    from avbench.terminal.output import say

    if not isinstance(error, ImportError) or (error.name or "").split(".")[0] in _OURS:
        return report_crash(error, program)
    say(f"{program}: cannot start, {error}. Install it again: python -m pip install --upgrade avbench", err=True)
    return EnvironmentProblem.exit_code
