"""Get prompt lists: pinned to a commit or a checksum, or found where the user put them."""

from __future__ import annotations

import json
import logging
import os
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

from avbench.errors import EnvironmentProblem
from avbench.files import make_folder, temporary_folder, write_atomically
from avbench.prompts.catalogue import Hub, PromptSuite, get_prompt_suite
from avbench.prompts.files import find_prompts, prompts_folder, web_folder
from avbench.sources.prompts import read_prompts
from avbench.sources.tables import read_table
from avbench.weights.download import download, unreachable
from avbench.weights.schema import CheckpointFile


@dataclass(frozen=True)
class Pulled:
    """A prompt list that is here now.

    Attributes:
        path: its file.
        count: prompts in it.
        fresh: whether it was downloaded by this call.
        note: what is odd about it; empty for nothing.
    """

    suite: PromptSuite
    path: Path
    count: int
    fresh: bool
    note: str = ""


def pull_prompts(name: str, folder: Path | None = None) -> Pulled:
    """Download a prompt list unless it is here; it is read once, so that a damaged file is noticed now.

    Args:
        name: of a suite.
        folder: to look into and to download to; else $AVBENCH_PROMPTS, else a cache.

    Raises:
        UsageError: unknown name, or the file is no prompt list.
        EnvironmentProblem: no network, offline mode, no hub client, or the folder cannot be written.
    """
    suite = get_prompt_suite(name)
    path = find_prompts(suite, folder)
    fresh = path is None
    if path is None:
        path = _download(suite, prompts_folder(folder))
    count = len(read_prompts(path).rows)
    note = "" if count == suite.count else f"{path} holds {count} prompts, expected {suite.count}"
    return Pulled(suite, path, count, fresh, note)


def _download(suite: PromptSuite, folder: Path | None) -> Path:
    by_hand = f"Or put {suite.file} into your own folder of prompt lists (--prompts-dir or AVBENCH_PROMPTS)."
    if os.environ.get("HF_HUB_OFFLINE", "").upper() in ("1", "ON", "YES", "TRUE"):
        raise EnvironmentProblem(
            f"HF_HUB_OFFLINE is set, so nothing is downloaded; missing: {suite.name}. Unset it. {by_hand}"
        )
    if suite.web:
        return _from_web(suite, folder or web_folder())
    assert suite.hub is not None  # shipped ones are always found
    return _from_hub(suite, suite.hub, folder, by_hand)


def _from_web(suite: PromptSuite, folder: Path) -> Path:
    try:
        if len(suite.web) == 1:
            return _fetched(suite.web[0], folder / suite.file)
        make_folder(folder, "--prompts-dir")
        with temporary_folder(folder, prefix=".parts-") as parts:
            lists = [_fetched(file, parts / file.name) for file in suite.web]
            write_atomically(folder / suite.file, _joined(suite.name, lists).encode())
    except OSError as error:
        raise EnvironmentProblem(
            f"cannot write to {folder}: {error.strerror or error}. Choose another folder (--prompts-dir)."
        ) from error
    return folder / suite.file


def _fetched(file: CheckpointFile, target: Path) -> Path:
    return download(file, target, lambda name, done, total: None)


def _joined(name: str, lists: Sequence[Path]) -> str:
    """Prompt lists one after the other as JSON lines, with a name for each prompt and its list as a category."""
    rows = [(path.stem, row.cells) for path in lists for row in read_table(path).rows]
    records = (
        {"prompt_id": f"{name}-{number:03d}", **cells, "cat:List": part} for number, (part, cells) in enumerate(rows)
    )
    return "".join(json.dumps(record, ensure_ascii=False) + "\n" for record in records)


def _from_hub(suite: PromptSuite, hub: Hub, folder: Path | None, by_hand: str) -> Path:
    if find_spec("huggingface_hub") is None:
        raise EnvironmentProblem(f"huggingface_hub is not installed; pip install 'avbench[models]'. {by_hand}")
    from huggingface_hub import constants, hf_hub_download
    from huggingface_hub.utils.tqdm import disable_progress_bars

    logging.getLogger("huggingface_hub").setLevel(logging.ERROR)  # our message says it in one line
    if not sys.stderr.isatty():
        disable_progress_bars()
    if reason := unreachable(constants.ENDPOINT):
        raise EnvironmentProblem(f"cannot reach {constants.ENDPOINT} ({reason}). Try again later. {by_hand}")
    try:
        path = hf_hub_download(hub.repos[0], suite.file, repo_type="dataset", revision=hub.revision, local_dir=folder)
    except (OSError, ValueError) as error:
        first = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise EnvironmentProblem(
            f"cannot get {suite.file} of {hub.repos[0]} at {hub.revision} ({first[:200]}). {by_hand}"
        ) from error
    return Path(path)
