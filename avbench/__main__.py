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
    finally:
        for number in ALL:  # all is written: the exit code stays what it is
            signal.signal(number, signal.SIG_IGN)


if __name__ == "__main__":
    main()
