"""Pairs of values: a scatter in four quadrants, and a matrix of correlations."""

from __future__ import annotations

from collections.abc import Sequence

from markupsafe import Markup

from avbench.pages import svg
from avbench.pages.numbers import format_value, with_sign
from avbench.pages.svg import Chart

_SIDE, _MARGIN = 300, 30
_CELL, _LEFT, _TOP = 62, 110, 34


def scatter(title: str, labels: tuple[str, str], points: Sequence[tuple[float, float]], described: str) -> Chart:
    """Points in four quadrants; those of opposite signs are coloured.

    Args:
        title: of the chart.
        labels: of the two axes.
        points: pairs.
        described: what it shows, for readers who do not see it.
    """
    largest = max((abs(v) for pair in points for v in pair), default=1.0) or 1.0
    left, right, middle = _MARGIN, _MARGIN + _SIDE, _MARGIN + _SIDE / 2
    unit = (_SIDE / 2 - 12) / largest
    parts = [
        svg.line("axis", left, middle, right, middle),
        svg.line("axis", middle, left, middle, right),
        svg.text("label", middle, right + 16, labels[0]),
        svg.turned("label", 16, middle, labels[1]),
    ]
    for x, y in points:
        style = "dot opposite s1" if x * y < 0 else "dot same s0"
        parts.append(svg.circle(style, round(middle + unit * x, 1), round(middle - unit * y, 1), 2.6))
    legend = (("s0 block", "same sign"), ("s1 block", "opposite signs"))
    return Chart(title, described, _SIDE + 2 * _MARGIN, _SIDE + 2 * _MARGIN, tuple(parts), legend)


def matrix(title: str, names: Sequence[str], values: Sequence[Sequence[float | None]]) -> Chart:
    """Correlations as a grid of squares with their numbers; the stronger, the darker."""
    parts: list[Markup] = []
    for row, name in enumerate(names):
        middle = _CELL * row + _CELL / 2
        parts.append(svg.text("label end", _LEFT - 8, _TOP + middle + 4, name))
        parts.append(svg.text("label", _LEFT + middle, _TOP - 10, name))
        for column, value in enumerate(values[row]):
            x, y = _LEFT + _CELL * column, _TOP + _CELL * row
            parts.append(svg.rect(_tone(value), x, y, (_CELL - 2, _CELL - 2)))
            parts.append(svg.text("inside", x + _CELL / 2 - 1, y + _CELL / 2 + 4, _signed(value)))
    pairs = [f"{names[i]} and {names[j]}: {_signed(values[i][j])}" for i in range(len(names)) for j in range(i)]
    side = _CELL * len(names) + 10
    return Chart(title, "; ".join(pairs) or "one reward", _LEFT + side, _TOP + side, tuple(parts))


def _tone(value: float | None) -> str:
    """One of four strengths of one of two colours; neither for a correlation of nearly 0."""
    step = 0 if value is None else min(4, int(abs(value) * 4 + 0.5))
    return f"{'p' if (value or 0) > 0 else 'm'}{step}" if step else "square0"


def _signed(value: float | None) -> str:
    return with_sign(format_value(value, 2))
