"""`omninft-train prompts`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from avbench.terminal.output import say

app = typer.Typer(help="Download published prompt lists for training.", no_args_is_help=True, rich_markup_mode=None)


@app.callback()
def _group() -> None:
    """A group, so that there is a command below it."""


@app.command("pull")
def pull(
    names: Annotated[list[str], typer.Argument(help="Lists: vggsound-20k, the release's training prompts.")],
    prompts_dir: Annotated[
        Path | None, typer.Option(help="Folder for them; else $AVBENCH_PROMPTS, else the user's cache.")
    ] = None,
) -> None:
    """Download prompt lists; a file that is in the folder already is checked."""
    from omninft_train.prompt_lists import lists_folder, pull_list

    for name in names:
        done = pull_list(name, lists_folder(prompts_dir))
        say(f"{done.path}\t{done.count} prompts, {'downloaded' if done.fresh else 'already here'}")
        say(f"sha256 {done.sha256}; terms: {done.entry.terms}; prompts.class_key={done.entry.class_key}", err=True)
