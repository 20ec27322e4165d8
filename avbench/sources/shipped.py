"""The folder of prompt lists that come with avbench."""

from __future__ import annotations

from importlib.resources import files
from pathlib import Path

from avbench.errors import EnvironmentProblem


def shipped_folder() -> Path:
    """The folder of the prompt lists that come with avbench.

    A wheel has it inside the package, a checkout beside it.

    Raises:
        EnvironmentProblem: neither is there.
    """
    package = Path(str(files("avbench")))
    options = (package / "_data" / "prompts", package.parent / "prompts")
    for folder in options:
        if (folder / "avbench-175.jsonl").is_file():
            return folder
    raise EnvironmentProblem(f"prompt lists are missing; expected in {options[0]}. Install avbench again.")
