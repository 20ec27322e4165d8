"""Categories of a clip: JavisBench's taxonomy by index, and free categories as text."""

from __future__ import annotations

import re
from collections.abc import Iterable

from avbench.clips import Category
from avbench.errors import UsageError
from avbench.sources.text_files import parse_json

DEFAULT_ASPECT = "category"

# Order of the indices: eval/javisbench/configs/category.json in JavisVerse/JavisDiT, not its README.
JAVISBENCH: tuple[tuple[str, tuple[str, ...]], ...] = (
    (
        "Event Scenario",
        (
            "Natural Scenario",
            "Urban Scenario",
            "Living Scenario",
            "Industrial Scenario",
            "Virtual Scenario",
        ),
    ),
    ("Visual Style", ("Camera Shooting", "2D-Animate", "3D-Animate")),
    (
        "Sound Type",
        ("Ambient sounds", "Biological sounds", "Mechanical sounds", "Musical sounds", "Speech sounds"),
    ),
    ("Temporal Composition", ("Single event", "Sequential events", "Simultaneous events")),
    ("Spatial Composition", ("Single subject", "Multiple subjects", "Off-screen sound")),
)

# pandas writes an integer column with gaps as floats: "2.0".
_INTEGER = re.compile(r"\s*([+-]?[0-9]{1,9})(?:\.0*)?\s*")


def parse_integer(text: str) -> int | None:
    """The integer that a cell holds ("3" or "3.0"), or None."""
    match = _INTEGER.fullmatch(text)
    return int(match[1]) if match else None


def javisbench_categories(aspect_index: int, cell: str, location: str) -> tuple[Category, ...]:
    """Names for a `cat<i>_ind` cell: one integer or comma-separated integers.

    Raises:
        UsageError: not an integer, or not an index of this aspect.
    """
    aspect, names = JAVISBENCH[aspect_index]
    categories = []
    for part in cell.strip().removeprefix("[").removesuffix("]").split(","):
        index = parse_integer(part)
        if index is None or not 0 <= index < len(names):
            raise UsageError(
                f"{location}: cat{aspect_index}_ind ({aspect}) has {part.strip()[:60]!r}; expected 0 to "
                f"{len(names) - 1} ({', '.join(names)}). Correct the cell."
            )
        categories.append(Category(aspect, names[index]))
    return unique(categories)


def parse_categories(cell: str, location: str) -> tuple[Category, ...]:
    """Categories from "aspect: name; aspect: name", a JSON object or list, or plain names.

    Raises:
        UsageError: the cell starts like JSON and is not, or holds something that is no name.
    """
    text = cell.strip()
    if not text.startswith(("{", "[")):
        return unique(_from_text(part, DEFAULT_ASPECT) for part in text.split(";") if part.strip())
    return unique(_from_json(_load_json(text, location), location))


def aspect_categories(aspect: str, cell: str, location: str) -> tuple[Category, ...]:
    """Categories of one aspect from "name; name" or a JSON list of names.

    Raises:
        UsageError: the cell starts like a JSON list and is not, or holds something that is no name.
    """
    text = cell.strip()
    parts = [part for part in text.split(";") if part.strip()]
    names = _load_json(text, location) if text.startswith("[") else parts
    if not isinstance(names, list):
        raise _bad_name(names, location)
    return unique(Category(aspect, _name(name, location)) for name in names)


def unique(categories: Iterable[Category]) -> tuple[Category, ...]:
    """The categories without repetitions, in the given order."""
    return tuple(dict.fromkeys(categories))


def _load_json(text: str, location: str) -> object:
    try:
        return parse_json(text)
    except ValueError as exc:
        raise UsageError(
            f"{location}: the categories {text[:60]!r} are not valid JSON ({exc}). Write for example "
            '{"Sound Type": "Speech sounds"} or Sound Type: Speech sounds.'
        ) from exc


def _from_text(part: str, aspect: str) -> Category:
    before, colon, after = part.partition(":")
    if colon and before.strip() and after.strip():
        return Category(before.strip(), after.strip())
    return Category(aspect, part.strip())


def _from_json(value: object, location: str) -> list[Category]:
    if isinstance(value, list):
        return [category for item in value for category in _from_item(item, location)]
    if not isinstance(value, dict):
        raise _bad_name(value, location)
    categories = []
    for aspect, names in value.items():
        for name in names if isinstance(names, list) else [names]:
            if name is not None:
                categories.append(Category(_name(aspect or DEFAULT_ASPECT, location), _name(name, location)))
    return categories


def _from_item(item: object, location: str) -> list[Category]:
    if isinstance(item, dict) and set(item) == {"aspect", "name"}:
        return [Category(_name(item["aspect"], location), _name(item["name"], location))]
    if isinstance(item, dict):
        return _from_json(item, location)
    return [_from_text(_name(item, location), DEFAULT_ASPECT)]


def _name(value: object, location: str) -> str:
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        return str(value)
    if not isinstance(value, str) or not value.strip() or "\0" in value:
        raise _bad_name(value, location)
    try:
        value.encode("utf-8")
    except UnicodeEncodeError as exc:
        raise _bad_name(value, location) from exc
    return value.strip()


def _bad_name(value: object, location: str) -> UsageError:
    return UsageError(f"{location}: {str(value)[:60]!a} is no category name; expected a text. Correct the cell.")
