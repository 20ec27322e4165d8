"""JavisBench's categories with their definitions: five aspects, nineteen categories."""

from __future__ import annotations

import json
from dataclasses import dataclass

from avbench.sources.shipped import shipped_folder


@dataclass(frozen=True)
class Kind:
    """A category or a part of one.

    Attributes:
        name: its name, as in clip tables.
        description: what belongs to it.
        parts: finer kinds; empty for most.
    """

    name: str
    description: str
    parts: tuple[Kind, ...] = ()


@dataclass(frozen=True)
class Aspect:
    """One way to sort prompts.

    Attributes:
        name: its name, as in clip tables.
        instruction: the question that a prompt is sorted by.
        categories: in the order of the indices in JavisBench's tables.
    """

    name: str
    instruction: str
    categories: tuple[Kind, ...]


def taxonomy() -> tuple[Aspect, ...]:
    """The five aspects. Source: JavisVerse/JavisDiT, eval/javisbench/configs/category.json.

    Raises:
        EnvironmentProblem: the file that comes with avbench is missing.
    """
    content = json.loads((shipped_folder() / "javisbench-taxonomy.json").read_text(encoding="utf-8"))
    return tuple(
        Aspect(entry["aspect"], entry["instruction"], tuple(_kind(kind) for kind in entry["categories"]))
        for entry in content
    )


def _kind(entry: dict[str, object]) -> Kind:
    parts = entry.get("subcategories")
    return Kind(
        str(entry["title"]),
        str(entry["description"]),
        tuple(_kind(part) for part in parts) if isinstance(parts, list) else (),
    )
