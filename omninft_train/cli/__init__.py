"""The command line. Each command parses, calls one library function and renders."""

from __future__ import annotations

import logging
from typing import Annotated

import typer

from avbench.terminal.entry import run_app, start_logging
from omninft_train.cli import (
    conflicts,
    evaluate,
    export,
    miniature,
    pretrain,
    prompts,
    report,
    sample,
    score,
    show_config,
    train,
)

app = typer.Typer(
    name="omninft-train",
    help="Post-train a joint audio-video generator with online RL.",
    epilog="Exit codes: 0 ok, 2 wrong usage, 3 training stopped (non-finite loss, failed rewards), "
    "4 environment (package, weights, disk), 70 a fault of the trainer itself, 130 interrupted, "
    "143 ended by SIGTERM, 129 by SIGHUP.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
app.command("miniature")(miniature.command)
app.command("show-config")(show_config.command)
app.command("train")(train.command)
app.command("sample")(sample.command)
app.command("score")(score.command)
app.command("conflicts")(conflicts.command)
app.command("evaluate")(evaluate.command)
app.command("export")(export.command)
app.command("report")(report.command)
app.command("pretrain")(pretrain.command)
app.add_typer(prompts.app, name="prompts")


@app.callback()
def _root(
    verbose: Annotated[bool, typer.Option("--verbose", help="Log what happens, with tracebacks.")] = False,
) -> None:
    start_logging(level=logging.DEBUG if verbose else logging.WARNING, form="%(message)s")
    if not verbose:
        logging.getLogger("omninft_train").setLevel(logging.INFO)
        # What these say of torchao when they are imported concerns their authors; 8 bits work.
        for name in ("torch.utils._pytree", "diffusers.quantizers.torchao.torchao_quantizer"):
            logging.getLogger(name).setLevel(logging.ERROR)


def main() -> None:
    """Run the command line; map our errors to one line and an exit code."""
    run_app(app, "omninft-train", interrupted="A run goes on from its last checkpoint; a pretraining starts anew.")
