"""Strips for the protocol drift view: one axis per quantity, one dot per party that measured the same model."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal

from avbench.leaderboard.grid import Grid

WIDTH, LEFT, RIGHT, TOP, LINE = 420, 12, 12, 20, 18
_LABEL_WIDTH = 6.2  # of a character at 10.5 px, on the wide side: labels of neighbours may not touch


@dataclass(frozen=True)
class Dot:
    """One party's number: where its dot is, and where its label stands, on a lane of its own if need be."""

    x: float
    label: str
    lane: int
    anchor: str


@dataclass(frozen=True)
class Strip:
    """One quantity: its dots, lowest and highest as text, what stands at the axis' left end, the drawing's height."""

    heading: str
    dots: tuple[Dot, ...]
    low: str
    high: str
    start: str
    height: int


def drift_strips(grid: Grid) -> list[Strip]:
    """A strip for every column in which two parties or more have a number."""
    strips = []
    for place, column in enumerate(grid.columns):
        found = [
            (cell.number, cell.text, row.label) for row in grid.rows if (cell := row.cells[place]).number is not None
        ]
        if len(found) < 2:
            continue
        ordered = sorted(found, key=lambda item: (item[0] or Decimal(0), item[2]))
        numbers = [float(number or 0) for number, _, _ in ordered]
        low, high = min(0.0, numbers[0]), max(0.0, numbers[-1])  # with 0, so that a small drift looks small
        dots = _lanes(
            [(_place(n, low, high), f"{who} {text}") for n, (_, text, who) in zip(numbers, ordered, strict=True)]
        )
        height = TOP + LINE * (1 + max(dot.lane for dot in dots)) + 6
        start = "0" if low == 0 else ""
        strips.append(Strip(column.heading, tuple(dots), ordered[0][1], ordered[-1][1], start, height))
    return strips


def _place(number: float, low: float, high: float) -> float:
    share = 0.5 if high == low else (number - low) / (high - low)
    return round(LEFT + share * (WIDTH - LEFT - RIGHT), 1)


def _lanes(dots: list[tuple[float, str]]) -> list[Dot]:
    """Labels below the axis, each on the first lane where it touches no other."""
    ends = [LEFT + 2 * _LABEL_WIDTH]  # after the axis' "0"
    placed = []
    for x, label in dots:
        width = len(label) * _LABEL_WIDTH
        anchor = "start" if x + width <= WIDTH else "end"
        start = x if anchor == "start" else x - width
        lane = next((i for i, end in enumerate(ends) if end < start), len(ends))
        ends[lane:] = [start + width, *ends[lane + 1 :]]
        placed.append(Dot(x, label, lane, anchor))
    return placed
