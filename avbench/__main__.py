"""`python -m avbench` and the console script."""

from __future__ import annotations

import signal
import sys

from avbench.terminal.interrupts import ALL


def main() -> None:
    """Run the command line, and end quietly whenever a signal comes."""
    try:
        from avbench import cli

        cli.main()
    except KeyboardInterrupt:  # while modules were imported
        sys.exit(130)
    except Exception as error:  # noqa: BLE001 - while modules were imported: Python's own exit code means a regression
        sys.exit(_broken_installation(error))
    finally:
        for number in ALL:  # all is written: the exit code stays what it is
            signal.signal(number, signal.SIG_IGN)


def _broken_installation(error: Exception) -> int:
    """Say that a package which avbench needs is missing or broken, or that avbench itself is."""
    from avbench.errors import EnvironmentProblem
    from avbench.terminal.crash import report_crash
    from avbench.terminal.output import say

    if not isinstance(error, ImportError) or (error.name or "").split(".")[0] == "avbench":
        return report_crash(error, "avbench")
    say(f"avbench: cannot start, {error}. Install it again: python -m pip install --upgrade avbench", err=True)
    return EnvironmentProblem.exit_code


if __name__ == "__main__":
    main()
