"""Files that ship inside a package."""

from __future__ import annotations

from functools import cache
from importlib.resources import files


@cache
def asset(package: str, name: str) -> str:
    """The text of a file of a package, such as a style sheet or a template."""
    return files(package).joinpath(*name.split("/")).read_text(encoding="utf-8")
