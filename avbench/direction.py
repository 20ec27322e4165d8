"""`Direction` of a metric: higher is better, lower is better, or neither; and its spellings in files."""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal
from enum import Enum
from typing import Any


class Direction(Enum):
    """Whether higher numbers are better, lower ones, or neither."""

    HIGHER = "higher"
    LOWER = "lower"
    NEITHER = "neither"

    @classmethod
    def of(cls, higher_is_better: bool | None) -> Direction:
        """From the form in which metrics declare it and run.json holds it."""
        return cls.NEITHER if higher_is_better is None else cls.HIGHER if higher_is_better else cls.LOWER

    @classmethod
    def of_metadata(cls, metadata: Mapping[str, Any] | None) -> Direction:
        """Of a metric as run.json describes it; neither for one that it does not describe."""
        return cls.of((metadata or {}).get("higher_is_better"))

    @classmethod
    def named(cls, word: str) -> Direction:
        """From the word in a table; neither for any other word, such as "n/a"."""
        return next((one for one in cls if one.value == word), cls.NEITHER)

    @property
    def higher_is_better(self) -> bool | None:
        """The form in which run.json holds it."""
        return {Direction.HIGHER: True, Direction.LOWER: False, Direction.NEITHER: None}[self]

    @property
    def arrow(self) -> str:
        """The sign beside a metric's name."""
        return {Direction.HIGHER: "↑", Direction.LOWER: "↓", Direction.NEITHER: "·"}[self]

    @property
    def phrase(self) -> str:
        """In words: "higher is better"."""
        return f"{self.value} is better"

    def better(self, difference: float | Decimal) -> bool | None:
        """Whether a number that differs so from another is the better one; None where neither can be.

        Args:
            difference: the number minus the other one; 0 makes neither better.
        """
        if self is Direction.NEITHER or not difference:
            return None
        return (difference > 0) == (self is Direction.HIGHER)
