"""`python -m omninft_train` and the console script."""

from __future__ import annotations

from avbench.terminal.start import start


def main() -> None:
    """Run the command line."""
    start("omninft-train", _run)


def _run() -> None:
    from omninft_train import cli

    cli.main()


if __name__ == "__main__":
    main()
