"""`python -m avbench` and the console script."""

from __future__ import annotations

from avbench.terminal.start import start


def main() -> None:
    """Run the command line."""
    start("avbench", _run)


def _run() -> None:
    from avbench import cli

    cli.main()


if __name__ == "__main__":
    main()
