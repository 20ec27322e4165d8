"""Select prompts of a list by category and number."""

from __future__ import annotations

from collections.abc import Sequence

from avbench.clips import Category
from avbench.errors import UsageError, near
from avbench.sources.prompts import PromptRow


def select_rows(rows: Sequence[PromptRow], categories: Sequence[str] = (), limit: int | None = None) -> list[PromptRow]:
    """Prompts in all of the categories, in their order.

    Args:
        rows: all prompts.
        categories: each "Aspect: Category" or "Category"; upper and lower case are the same.
        limit: at most so many, from the first.

    Raises:
        UsageError: a category that no prompt has, a limit below 1, or nothing left.
    """
    if limit is not None and limit < 1:
        raise UsageError(f"a limit of {limit} prompts leaves nothing. Give 1 or more.")
    known = list(dict.fromkeys(category for row in rows for category in row.categories))
    wanted = [_meant(text, known) for text in categories]
    kept = [row for row in rows if all(set(row.categories) & meant for meant in wanted)]
    if not kept:
        raise UsageError(f"no prompt is in all of: {', '.join(categories)}. Leave one out.")
    return kept[:limit]


def _meant(text: str, known: Sequence[Category]) -> set[Category]:
    """Categories that a user's text names: one, or those of equal names under several aspects."""
    names: dict[str, set[Category]] = {}
    for category in known:
        for name in (category.name, f"{category.aspect}: {category.name}"):
            names.setdefault(name.casefold(), set()).add(category)
    key = ": ".join(part.strip() for part in text.split(":", 1)).casefold()
    if key in names:
        return names[key]
    if not known:
        raise UsageError(f"category {text!r}: these prompts have no categories. Leave it out.")
    hint = near(text.rpartition(":")[2].strip(), [category.name for category in known])
    raise UsageError(f"no prompt has the category {text!r}. {hint}")
