"""`omninft-train show-config`."""

from __future__ import annotations

from avbench.terminal.output import print_data
from omninft_train.cli.options import BackboneName, Overrides, Recipe


def command(recipe: Recipe = "omninft", backbone: BackboneName = None, set_: Overrides = None) -> None:
    """Print the resolved recipe, every default included, as a TOML file that --recipe takes back."""
    from omninft_train.recipe import load, to_toml

    print_data(to_toml(load(recipe, backbone, set_ or [])))
