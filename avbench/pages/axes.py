"""Axes of charts: from values to pixels, round ticks, grid and labels."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from markupsafe import Markup

from avbench.pages import svg
from avbench.pages.numbers import decimals_for, format_significant, format_value


@dataclass(frozen=True)
class Axis:
    """A linear axis from values to pixels."""

    low: float
    high: float
    start: float
    end: float

    def at(self, value: float) -> float:
        """Pixel of a value, held inside the axis."""
        fraction = (value - self.low) / (self.high - self.low)
        return round(self.start + min(1.0, max(0.0, fraction)) * (self.end - self.start), 1)


def make_axis(low: float, high: float, start: float, end: float) -> Axis:
    """An axis that has a length even where all values are equal."""
    if high - low <= 1e-9 * max(abs(low), abs(high)):
        low, high = low - (abs(low) * 0.1 or 0.5), high + (abs(high) * 0.1 or 0.5)
    return Axis(low, high, start, end)


def padded(low: float, high: float) -> tuple[float, float]:
    """The values' span with a margin; from 0 where it almost starts there."""
    if 0 <= low <= 0.4 * high:
        return 0.0, 1.05 * high
    margin = 0.06 * (high - low)
    return low - margin, high + margin


def ticks(low: float, high: float, about: int = 4) -> list[float]:
    """Round numbers in [low, high], about `about` (3 or more) of them; `low` alone where there is no span."""
    span = high - low
    if not (math.isfinite(span) and span > 0):
        return [low]
    power = 10.0 ** math.floor(math.log10(span / about))
    sizes = [factor * power for factor in (1, 2, 5, 10) if span / (factor * power) >= 2]  # two ticks or more fit
    step = min(sizes, key=lambda size: abs(span / size - about))
    first, last = math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9)
    return [float(f"{index * step:.12g}") for index in range(first, last + 1)]


def tick_texts(values: Sequence[float]) -> list[str]:
    """Ticks as text, all with the decimals that their distance needs."""
    if max(map(abs, values), default=0.0) >= 1e5:
        return [format_significant(value) for value in values]
    step = abs(values[1] - values[0]) if len(values) > 1 else 0.0
    decimals = max(0, -math.floor(math.log10(step) + 1e-9)) if step else decimals_for(values)
    return [format_value(value, min(6, decimals)) for value in values]


def value_axis(up: Axis, left: float, right: float, label: str) -> list[Markup]:
    """Grid lines with their values on the left, and the turned label of the axis."""
    parts, marks = [], ticks(up.low, up.high, 5)
    for tick, words in zip(marks, tick_texts(marks), strict=True):
        parts.append(svg.line("grid", left, up.at(tick), right, up.at(tick)))
        parts.append(svg.text("tick end", left - 6, up.at(tick) + 4, words))
    return [*parts, svg.turned("label", 12, (up.start + up.end) / 2, label)]


def step_axis(across: Axis, floor: float, label: str, marks: Sequence[float]) -> list[Markup]:
    """The floor line with those ticks that are whole numbers, and the label below."""
    parts = [svg.line("axis", across.start, floor, across.end, floor)]
    for tick in (tick for tick in marks if float(tick).is_integer()):
        parts += [
            svg.line("axis", across.at(tick), floor, across.at(tick), floor + 4),
            svg.text("tick", across.at(tick), floor + 16, f"{tick:.0f}"),
        ]
    return [*parts, svg.text("label", (across.start + across.end) / 2, floor + 33, label)]


def scale(across: Axis, floor: float, marks: Sequence[float]) -> list[Markup]:
    """A bare horizontal axis with these ticks."""
    parts = [svg.line("axis", across.start, floor, across.end, floor)]
    for tick, words in zip(marks, tick_texts(marks), strict=True):
        parts += [
            svg.line("axis", across.at(tick), floor, across.at(tick), floor + 3),
            svg.text("tick", across.at(tick), floor + 15, words),
        ]
    return parts
