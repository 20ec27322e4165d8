"""run.json and summary.json: read and checked."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from types import NoneType
from typing import Any

from avbench.errors import UsageError
from avbench.results.damage import DamagedRunError, open_entry, why
from avbench.results.rules import LARGEST
from avbench.results.schema import SCHEMA_VERSION

MOST_BYTES = 64 * 2**20
_TEXTS = (
    "run_id", "created", "command", "source", "source_kind", "matching", "suite", "suite_version", "weights",
    "precision", "transcriber", "protocol", "reference",
)  # fmt: skip
_METADATA: Mapping[str, tuple[type, ...]] = {
    **dict.fromkeys(("family", "summary", "unit", "source", "caveat", "checkpoint", "licence"), (str, NoneType)),
    "higher_is_better": (bool, NoneType),
    "version": (int,),
    "params": (dict,),
    "needs": (list,),
    "range": (list,),
}
_COUNTS = ("n", "n_ok", "n_skipped", "n_error")
_NUMBERS = ("mean", "low", "high", "median")


def read_info(folder: Path) -> dict[str, Any]:
    """The content of run.json; keys that this avbench does not know are kept.

    Raises:
        DamagedRunError: it is no such object.
        UsageError: it was written by a newer avbench.
    """
    info = _read_object(folder, "run.json")
    version = info.get("schema_version")
    if type(version) is int and version > SCHEMA_VERSION:
        raise UsageError(
            f"{folder} was written with result schema {version}, this avbench reads up to {SCHEMA_VERSION}. "
            "Upgrade avbench."
        )
    if problem := _info_problem(info):
        raise DamagedRunError(folder, "run.json", problem)
    return info


def read_summary(folder: Path) -> dict[str, Any]:
    """The content of summary.json.

    Raises:
        DamagedRunError: it is no such object.
    """
    summary = _read_object(folder, "summary.json")
    for key in ("overall", "categories", "models"):
        entries = summary.get(key)
        if not isinstance(entries, list) or not all(isinstance(e, dict) and _is_entry(e) for e in entries):
            raise DamagedRunError(folder, "summary.json", f"{key} is not a list of summary entries")
    return summary


def _read_object(folder: Path, name: str) -> dict[str, Any]:
    try:
        with open_entry(folder, name, most=MOST_BYTES) as file:
            content = json.loads(file.read(MOST_BYTES))
        # Refuses NaN, and halves of surrogate pairs, which no file and no terminal takes.
        json.dumps(content, ensure_ascii=False, allow_nan=False).encode()
    except (OSError, ValueError, RecursionError, MemoryError) as error:
        raise DamagedRunError(folder, name, why(error)) from error
    if not isinstance(content, dict):
        raise DamagedRunError(folder, name, f"it holds a {type(content).__name__}, expected an object")
    return content


def _info_problem(info: Mapping[str, Any]) -> str | None:
    version = info.get("schema_version")
    if type(version) is not int or version < 1:
        return f"schema_version is {version!r}, expected {SCHEMA_VERSION}"
    for key in _TEXTS:
        if not isinstance(info.get(key), (str, NoneType)):
            return f"{key} is not a text"
    notes, count = info.get("notes", []), info.get("n_clips", 0)
    if not isinstance(notes, list) or not all(isinstance(note, str) for note in notes):
        return "notes is not a list of texts"
    if type(count) is not int or count < 0:
        return f"n_clips is {count!r}, expected a count"
    environment = info.get("environment") or {}
    if not isinstance(environment, dict) or not all(isinstance(value, str) for value in environment.values()):
        return "environment is not an object of texts"
    metrics = info.get("metrics", {})
    if not isinstance(metrics, dict):
        return "metrics is not an object"
    return next(
        (f"metric {name}: {problem}" for name, metadata in metrics.items() if (problem := _metadata_problem(metadata))),
        None,
    )


def _metadata_problem(metadata: object) -> str | None:
    if not isinstance(metadata, dict):
        return "its metadata is not an object"
    for key, kinds in _METADATA.items():
        if key in metadata and type(metadata[key]) not in kinds:
            return f"{key} is of a wrong type ({type(metadata[key]).__name__})"
    ends = metadata.get("range", [])
    if len(ends) not in (0, 2) or not all(end is None or _is_number(end) for end in ends):
        return "range is not a pair of numbers or nulls"
    return None


def _is_entry(entry: Mapping[str, Any]) -> bool:
    counts = all(type(entry.get(key)) is int and entry[key] >= 0 for key in _COUNTS)
    numbers = all(entry.get(key) is None or _is_number(entry[key]) for key in _NUMBERS)
    reasons = entry.get("reasons")
    return (
        isinstance(entry.get("metric"), str)
        and counts
        and numbers
        and isinstance(reasons, dict)
        and all(type(count) is int for count in reasons.values())
    )


def _is_number(value: object) -> bool:
    # An int can be too large for a float; NaN is in no interval.
    return isinstance(value, (int, float)) and not isinstance(value, bool) and -LARGEST <= value <= LARGEST
