"""Prompts of an ablation: where they come from, and the files that the trainer reads."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

from avbench.errors import UsageError
from avbench.files import write_atomically
from avbench.prompts import as_records, get_prompt_suite, list_prompt_suites, prompt_file, select_rows
from avbench.sources.prompts import read_prompts
from avbench.toml import KeyPath
from omninft_train.ablation.grid import Grid

_TEXTS = ("prompt_av", "prompt_v", "prompt_a")


def prompt_metadata(grid: Grid) -> dict[str, Any]:
    """Settings that determine the prompts, without reading lists that would have to be pulled first.

    Raises:
        UsageError: a list that is neither a suite nor a file.
    """
    how = grid.evaluation
    lists = {"train": grid.train_prompts, "evaluate": how.prompts}
    return {
        **{use: _identity(grid, name) for use, name in lists.items() if name},
        "limit": how.limit,
        "parts": how.parts,
    }


def evaluated_count(grid: Grid) -> int:
    """Prompts that policies are judged on, as far as that is known beforehand."""
    how = grid.evaluation
    known = {suite.name: suite.count for suite in list_prompt_suites()}
    if not how.prompts:
        count = grid.cost.own_prompts
    elif how.prompts in known:
        count = known[how.prompts]
    else:
        count = len(read_prompts(_file(grid, how.prompts)).rows)
    if how.parts > min(count, how.limit or count):
        raise grid.refuse(
            f"[evaluate] parts {how.parts} > {min(count, how.limit or count)} prompts: a part would be empty. Make "
            "fewer parts.",
            ("evaluate", "parts"),
        )
    return min(count, how.limit or count)


def write_prompts(grid: Grid, folder: Path) -> None:
    """Write the prompt files of the plan; prompts that are evaluated are left out of training.

    Raises:
        UsageError: a prompt lacks one of its three texts.
        EnvironmentProblem: a list has to be pulled first, or a file cannot be written.
    """
    how = grid.evaluation
    judged = _records(grid, how.prompts, how.limit) if how.prompts else []
    if judged:
        size, rest = divmod(len(judged), how.parts)
        start = 0
        for part in range(how.parts):
            end = start + size + (part < rest)
            _write(folder / f"evaluate-{part:02d}.jsonl", judged[start:end])
            start = end
    if grid.train_prompts:
        held_out = {record["prompt_av"] for record in judged}
        kept = [r for r in _records(grid, grid.train_prompts, None) if r["prompt_av"] not in held_out]
        if not kept:
            reason = "every prompt of train_prompts is evaluated as well. Name another list."
            raise grid.refuse(reason, ("train_prompts",))
        _write(folder / "train.jsonl", kept)


def _file(grid: Grid, name: str) -> Path:
    if name in {suite.name for suite in list_prompt_suites()}:
        return prompt_file(name)
    path = grid.folder / name
    key: KeyPath = ("train_prompts",) if name == grid.train_prompts else ("evaluate", "prompts")
    if not path.is_file():
        if "." not in name:
            try:
                get_prompt_suite(name)  # says which suites there are
            except UsageError as error:
                raise grid.refuse(str(error), key) from error
        raise grid.refuse(f"no prompt list {path}. Name a suite of 'avbench prompts list', or a file.", key)
    return path


def _identity(grid: Grid, name: str) -> str:
    suites = {suite.name: suite for suite in list_prompt_suites()}
    if name in suites and (hub := suites[name].hub) is not None:
        return f"{name}@{hub.revision}"
    return f"{name}@{hashlib.sha256(_file(grid, name).read_bytes()).hexdigest()[:16]}"


def _records(grid: Grid, name: str, limit: int | None) -> list[dict[str, str]]:
    path = _file(grid, name)
    rows = select_rows(read_prompts(path).rows, (), limit)
    records = as_records(rows)
    for row, record in zip(rows, records, strict=True):
        missing = [text for text in _TEXTS if not record.get(text)]
        if missing:
            raise UsageError(f"{path} {row.where}: no {', '.join(missing)}. The trainer needs all three texts.")
    return records


def _write(path: Path, records: list[dict[str, str]]) -> None:
    write_atomically(path, "".join(json.dumps(record, ensure_ascii=False) + "\n" for record in records).encode())
