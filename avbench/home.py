"""The user's home folder, also where there is none."""

from __future__ import annotations

import os
from pathlib import Path


def home_folder() -> Path:
    """The home folder; "/" for a user without one, as containers set HOME then. It may be missing or read-only."""
    return expand_home("~")


def expand_home(path: str) -> Path:
    """`path` with the home folder for a leading ~."""
    if path != "~" and not path.startswith("~/"):
        return Path(path)
    # Path.home raises without HOME and without an entry for the user; os.path then leaves the ~ there.
    expanded = os.path.expanduser(path)  # noqa: PTH111
    return Path("/", path[2:]) if expanded == path else Path(expanded)
