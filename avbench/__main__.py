"""`python -m avbench` and the console script."""

from __future__ import annotations

import signal
import sys


def main() -> None:
    """Run the command line, and end quietly whenever the interrupt key is pressed."""
    try:
        from avbench import cli

        cli.main()
    except KeyboardInterrupt:  # while modules were imported
        sys.exit(130)
    finally:
        signal.signal(signal.SIGINT, signal.SIG_DFL)  # all is written; no traceback from what Python still does


if __name__ == "__main__":
    main()
