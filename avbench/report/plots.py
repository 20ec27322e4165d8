"""Small SVG plots, drawn here so that they show without JavaScript. Colours are classes in report.css."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from markupsafe import Markup, escape

from avbench.report.tables import decimals_for, format_mean, format_value

BAR_WIDTH, BAR_HEIGHT = 120, 14
PLOT_WIDTH, PLOT_HEIGHT, AXIS_HEIGHT, MARGIN = 300, 92, 16, 10
MOST_DOTS = 150
WIDE = 10.0
"""A range up to this width (shares, opinion scores, seconds) is always drawn in full."""


@dataclass(frozen=True)
class Point:
    """One clip's value; `index` is its row on the page, None when the page does not show the clip."""

    value: float
    clip_id: str
    index: int | None = None


@dataclass(frozen=True)
class Axis:
    """A linear axis from values to pixels."""

    low: float
    high: float
    left: float
    right: float

    def at(self, value: float) -> float:
        """Pixel of a value, held inside the axis."""
        share = (value - self.low) / (self.high - self.low)
        return round(self.left + min(1.0, max(0.0, share)) * (self.right - self.left), 1)


def make_axis(low: float, high: float, left: float, right: float) -> Axis:
    """An axis that has a length even where all values are equal."""
    if high - low <= 1e-9 * max(1.0, abs(low), abs(high)):
        pad = 0.5 if low == 0 else abs(low) * 0.1
        low, high = low - pad, high + pad
    return Axis(low, high, left, right)


def nice_ticks(low: float, high: float, about: int = 4) -> list[float]:
    """Round numbers inside [low, high], at least none and about `about`."""
    raw = (high - low) / max(1, about)
    if not (math.isfinite(raw) and raw > 0):
        return []
    power = 10.0 ** math.floor(math.log10(raw))
    step = next(s * power for s in (1, 2, 5, 10) if s * power >= raw * 0.7)
    first, last = math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9)
    return [round(k * step, 12) for k in range(first, last + 1)]


def interval_bar(entry: Mapping[str, Any], values: Sequence[float], bounds: Sequence[float | None]) -> Markup:
    """Mean and interval of one metric on its range (the observed span where the range is open).

    Args:
        entry: summary entry.
        values: all ok values.
        bounds: the metric's range, null where open.

    Returns:
        An SVG: thin line for lowest to highest value, thick for the interval, a dot for the mean. Empty
        without values.
    """
    if not len(values) or entry["mean"] is None:
        return Markup()
    low, high = min(values), max(values)
    axis = make_axis(*_ends(low, high, bounds), 5, BAR_WIDTH - 5)
    parts = [_title(f"{entry['metric']}: {format_mean(entry)}, from {format_value(low)} to {format_value(high)}")]
    middle = BAR_HEIGHT / 2
    parts.append(_line("track", 5, middle, BAR_WIDTH - 5, middle))
    parts.append(_line("span", axis.at(low), middle, axis.at(high), middle))
    if entry["low"] is not None:
        left, right = axis.at(entry["low"]), axis.at(entry["high"])
        parts.append(_rect("ci", left - 0.5, middle - 3, right - left + 1, 6))
    parts.append(Markup('<circle class="mean" cx="{}" cy="{}" r="3.5"/>').format(axis.at(entry["mean"]), middle))
    return _svg("bar", BAR_WIDTH, BAR_HEIGHT, parts)


def _ends(low: float, high: float, bounds: Sequence[float | None]) -> tuple[float, float]:
    """The metric's range, unless it is open or so wide that the values would be one point on it."""
    known = [float(b) for b in bounds if b is not None and math.isfinite(b)]
    if len(known) < 2 or (known[1] - known[0] > WIDE and high - low < 0.05 * (known[1] - known[0])):
        return low, high
    return min(known[0], low), max(known[1], high)


def distribution(entry: Mapping[str, Any], points: Sequence[Point]) -> Markup:
    """All values of one metric: a stacked dot per clip, bars above `MOST_DOTS` clips.

    Dots of clips that the page shows carry `data-clip`, their row. Empty without points.
    """
    if not points:
        return Markup()
    values = [point.value for point in points]
    axis = make_axis(min(values), max(values), MARGIN, PLOT_WIDTH - MARGIN)
    floor = PLOT_HEIGHT - AXIS_HEIGHT
    parts = [_title(f"{entry['metric']}: {_describe(entry, values)}")]
    if entry["low"] is not None:
        left, right = axis.at(entry["low"]), axis.at(entry["high"])
        parts.append(_rect("band", left, 4, max(1.0, right - left), floor - 4))
    draw = _dots if len(points) <= MOST_DOTS else _bars
    parts += draw(points, axis, floor)
    parts.append(_line("meanline", axis.at(entry["mean"]), 4, axis.at(entry["mean"]), floor))
    constant = min(values) == max(values)
    parts += _scale(axis, floor, values[:1] if constant else nice_ticks(axis.low, axis.high))
    return _svg("dist", PLOT_WIDTH, PLOT_HEIGHT, parts)


def _describe(entry: Mapping[str, Any], values: Sequence[float]) -> str:
    places = decimals_for(values)
    span = f"from {format_value(min(values), places)} to {format_value(max(values), places)}"
    return f"mean {format_mean(entry)}, median {format_value(entry['median'], places)}, {span}"


def _stack(points: Sequence[Point], axis: Axis, bins: int) -> list[list[Point]]:
    stacks: list[list[Point]] = [[] for _ in range(bins)]
    width = (axis.high - axis.low) / bins
    for point in sorted(points, key=lambda p: (p.value, p.clip_id)):
        stacks[min(bins - 1, int((point.value - axis.low) / width))].append(point)
    return stacks


def _dots(points: Sequence[Point], axis: Axis, floor: float) -> list[Markup]:
    stacks = _stack(points, axis, 46)
    radius = min(3.4, (floor - 8) / (2 * max(map(len, stacks))))
    places = decimals_for([p.value for p in points])
    marks = []
    for stack in stacks:
        for height, point in enumerate(stack):
            link = "" if point.index is None else Markup(' data-clip="{}"').format(point.index)
            marks.append(
                Markup('<circle class="dot"{} cx="{}" cy="{}" r="{}"><title>{}: {}</title></circle>').format(
                    link,
                    axis.at(point.value),
                    round(floor - radius * (2 * height + 1) - 1, 1),
                    round(radius * 0.94, 2),
                    point.clip_id,
                    format_value(point.value, places),
                )
            )
    return marks


def _bars(points: Sequence[Point], axis: Axis, floor: float) -> list[Markup]:
    stacks = _stack(points, axis, 40)
    tallest = max(map(len, stacks))
    width = (axis.right - axis.left) / len(stacks)
    bars = []
    for number, stack in enumerate(stacks):
        height = round(len(stack) / tallest * (floor - 8), 1)
        if stack:
            bars.append(_rect("dot", round(axis.left + number * width, 1), floor - height, round(width - 1, 1), height))
    return bars


def _scale(axis: Axis, floor: float, ticks: Sequence[float]) -> list[Markup]:
    step = abs(ticks[1] - ticks[0]) if len(ticks) > 1 else 0.0
    places = max(0, -math.floor(math.log10(step) + 1e-9)) if step else decimals_for(ticks)
    parts = [_line("axis", axis.left, floor, axis.right, floor)]
    for tick in ticks:
        parts.append(_line("axis", axis.at(tick), floor, axis.at(tick), floor + 3))
        text = Markup('<text class="tick" x="{}" y="{}" text-anchor="middle">{}</text>')
        parts.append(text.format(axis.at(tick), floor + 13, format_value(tick, min(6, places))))
    return parts


def _svg(name: str, width: float, height: float, parts: Sequence[Markup]) -> Markup:
    head = Markup('<svg class="{}" viewBox="0 0 {} {}" width="{}" height="{}" role="img">')
    return head.format(name, width, height, width, height) + Markup().join(parts) + Markup("</svg>")


def _title(text: str) -> Markup:
    return Markup("<title>{}</title>").format(escape(text))


def _line(name: str, x1: float, y1: float, x2: float, y2: float) -> Markup:
    return Markup('<line class="{}" x1="{}" y1="{}" x2="{}" y2="{}"/>').format(name, x1, y1, x2, y2)


def _rect(name: str, x: float, y: float, width: float, height: float) -> Markup:
    text = Markup('<rect class="{}" x="{}" y="{}" width="{}" height="{}"/>')
    return text.format(name, round(x, 1), round(y, 1), round(width, 1), round(height, 1))
