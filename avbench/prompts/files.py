"""Locate the files of prompt suites: beside the package, in a folder of the user, or in the hub's cache."""

from __future__ import annotations

import os
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

from avbench.errors import EnvironmentProblem
from avbench.files import expand_home
from avbench.prompts.catalogue import Hub, PromptSuite, get_prompt_suite
from avbench.sources.prompts import PromptList, read_prompts
from avbench.sources.shipped import shipped_folder
from avbench.weights.checksums import cache_folder


def prompts_folder(given: Path | None = None) -> Path | None:
    """The user's folder for pulled prompt lists: `given`, else $AVBENCH_PROMPTS, else None for a cache."""
    named = os.environ.get("AVBENCH_PROMPTS")
    return given or (expand_home(named) if named else None)


def find_prompts(suite: PromptSuite, folder: Path | None = None) -> Path | None:
    """The file of a suite, or None when it has to be pulled first.

    Args:
        folder: of the user, looked at before $AVBENCH_PROMPTS and the hub's cache.
    """
    if suite.shipped:
        return shipped_folder() / suite.file
    return next((path for path in _candidates(suite, folder) if path.is_file()), None)


def prompt_file(name: str, folder: Path | None = None) -> Path:
    """The file of the suite of this name.

    Raises:
        UsageError: unknown name.
        EnvironmentProblem: it is not here; with the command that gets it.
    """
    suite = get_prompt_suite(name)
    path = find_prompts(suite, folder)
    if path is None:
        raise EnvironmentProblem(
            f"{name}: {suite.file} is not here. Get it with 'avbench prompts pull {name}', or name the folder that "
            "holds it (--prompts-dir or AVBENCH_PROMPTS)."
        )
    return path


def load_prompt_suite(name: str, folder: Path | None = None) -> PromptList:
    """The prompts of a suite, in the order of its file.

    Raises:
        UsageError: unknown name, or a file that is no prompt list.
        EnvironmentProblem: the file is not here.
    """
    return read_prompts(prompt_file(name, folder))


def web_folder() -> Path:
    """Where lists that come from elsewhere than the hub go, unless the user names a folder."""
    return cache_folder() / "prompts"


def _candidates(suite: PromptSuite, folder: Path | None) -> Iterator[Path]:
    for root in (folder, prompts_folder()):
        if root is not None:
            yield root / suite.file
            if suite.hub is not None:
                yield root / suite.hub.folder / suite.file
    if suite.hub is None:
        yield web_folder() / suite.file
    elif find_spec("huggingface_hub") is not None:
        yield from _in_hub_cache(suite, suite.hub)


def _in_hub_cache(suite: PromptSuite, hub: Hub) -> Iterator[Path]:
    from huggingface_hub import try_to_load_from_cache

    for repo in hub.repos:
        path = try_to_load_from_cache(repo, suite.file, revision=hub.revision, repo_type="dataset")
        if isinstance(path, str):
            yield Path(path)
