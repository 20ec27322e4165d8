"""One measured figure and its target."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal


@dataclass(frozen=True)
class Figure:
    """A value with the bound that it must keep; `bound` None for information only."""

    name: str
    value: float
    unit: str = "x"
    sense: Literal[">=", "<="] = ">="
    bound: float | None = None
    disturbed: bool = False
    detail: dict[str, Any] = field(default_factory=dict)

    @property
    def met(self) -> bool | None:
        """Whether the target is kept; None without one."""
        if self.bound is None:
            return None
        return self.value >= self.bound if self.sense == ">=" else self.value <= self.bound

    @property
    def target(self) -> str:
        """The bound as text."""
        return "-" if self.bound is None else f"{self.sense} {self.bound:g} {self.unit}"

    def as_json(self) -> dict[str, Any]:
        """For the results file."""
        return {
            "figure": self.name,
            "value": round(self.value, 4),
            "unit": self.unit,
            "target": None if self.bound is None else {"sense": self.sense, "bound": self.bound},
            "met": self.met,
            "disturbed": self.disturbed,
            "detail": self.detail,
        }
