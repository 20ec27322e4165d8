"""Values on one axis: a mean with its interval, all values of a metric, and one dot for each of a few parties."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from markupsafe import Markup

from avbench.pages import svg
from avbench.pages.axes import Axis, make_axis, scale, ticks
from avbench.pages.numbers import (
    Interval,
    decimals_for,
    format_mean_interval,
    format_value,
    no_interval,
)
from avbench.pages.svg import Chart

MOST_DOTS = 150
"""Values drawn one by one; more of them become bars."""
_BAR_WIDTH, _BAR_HEIGHT = 120, 14
_WIDTH, _HEIGHT, _AXIS_HEIGHT, _MARGIN = 300, 94, 18, 14
STRIP_WIDTH, STRIP_MARGIN, _STRIP_TOP, _LANE = 420, 12, 22, 18
_SIGN_WIDTH = 7.4  # of a character of a label, on the wide side: labels of neighbours may not touch
_WIDE = 10.0
"""A range up to this width (fractions, opinion scores, seconds) is always drawn in full."""


@dataclass(frozen=True)
class Point:
    """One clip's value; `index` is its row on the page, None when the page does not show the clip."""

    value: float
    name: str
    index: int | None = None


def interval_bar(
    name: str, mean: float | None, interval: Interval, values: Sequence[float], bounds: Sequence[float | None]
) -> Chart:
    """Mean and interval of one metric on its range (the observed span where the range is open).

    Args:
        name: of the metric.
        mean, interval: of the values.
        values: all of them.
        bounds: the metric's range, null where open.

    Returns:
        Thin line for lowest to highest value, thick for the interval, a dot for the mean. Without values no parts.
    """
    if not values or mean is None:
        return Chart(name, "no values", _BAR_WIDTH, _BAR_HEIGHT, ())
    low, high = min(values), max(values)
    axis = make_axis(*_ends(low, high, bounds), 5, _BAR_WIDTH - 5)
    middle = _BAR_HEIGHT / 2
    parts = [
        svg.line("track", 5, middle, _BAR_WIDTH - 5, middle),
        svg.line("span", axis.at(low), middle, axis.at(high), middle),
    ]
    if isinstance(interval, tuple):
        left, right = (axis.at(end) for end in interval)
        parts.append(svg.rect("ci", left - 0.5, middle - 3, (right - left + 1, 6)))
    parts.append(svg.circle("mean", axis.at(mean), middle, 3.5))
    described = f"{format_mean_interval(mean, interval)}, from {format_value(low)} to {format_value(high)}"
    return Chart(name, described, _BAR_WIDTH, _BAR_HEIGHT, tuple(parts), note=no_interval(interval))


def _ends(low: float, high: float, bounds: Sequence[float | None]) -> tuple[float, float]:
    """The metric's range, unless it is open or so wide that the values would be one point on it."""
    known = [float(b) for b in bounds if b is not None and math.isfinite(b)]
    if len(known) < 2 or (known[1] - known[0] > _WIDE and high - low < 0.05 * (known[1] - known[0])):
        return low, high
    return min(known[0], low), max(known[1], high)


def distribution(title: str, mean: float | None, interval: Interval, points: Sequence[Point]) -> Chart:
    """All values of one metric: a stacked dot for each, bars above `MOST_DOTS` of them.

    Dots of clips that the page shows carry `data-clip`, their row. Without points no parts.
    """
    if not points or mean is None:
        return Chart(title, "no values", _WIDTH, _HEIGHT, ())
    values = [point.value for point in points]
    axis = make_axis(min(values), max(values), _MARGIN, _WIDTH - _MARGIN)
    floor = _HEIGHT - _AXIS_HEIGHT
    parts = []
    if isinstance(interval, tuple):
        left, right = (axis.at(end) for end in interval)
        parts.append(svg.rect("area", left, 4, (max(1.0, right - left), floor - 4)))
    parts += (_dots if len(points) <= MOST_DOTS else _bars)(points, axis, floor)
    parts.append(svg.line("meanline", axis.at(mean), 4, axis.at(mean), floor))
    parts += scale(axis, floor, ticks(min(values), max(values)))
    decimals = decimals_for(values)
    span = f"{len(values)} values from {format_value(min(values), decimals)} to {format_value(max(values), decimals)}"
    described = f"mean {format_mean_interval(mean, interval)}, {span}"
    return Chart(title, described, _WIDTH, _HEIGHT, tuple(parts), note=no_interval(interval))


def _stack(points: Sequence[Point], axis: Axis, bins: int) -> list[list[Point]]:
    stacks: list[list[Point]] = [[] for _ in range(bins)]
    width = (axis.high - axis.low) / bins
    for point in sorted(points, key=lambda p: (p.value, p.name)):
        stacks[min(bins - 1, int((point.value - axis.low) / width))].append(point)
    return stacks


def _dots(points: Sequence[Point], axis: Axis, floor: float) -> list[Markup]:
    stacks = _stack(points, axis, 46)
    radius = min(3.4, (floor - 8) / (2 * max(map(len, stacks))))
    decimals = decimals_for([p.value for p in points])
    marks = []
    for stack in stacks:
        for height, point in enumerate(stack):
            link = "" if point.index is None else Markup(' data-clip="{}"').format(point.index)
            title = f"{point.name}: {format_value(point.value, decimals)}"
            y = round(floor - radius * (2 * height + 1) - 1, 1)
            marks.append(svg.circle("dot", axis.at(point.value), y, round(radius * 0.94, 2), title, link))
    return marks


def _bars(points: Sequence[Point], axis: Axis, floor: float) -> list[Markup]:
    stacks = _stack(points, axis, 40)
    tallest = max(map(len, stacks))
    width = (axis.end - axis.start) / len(stacks)
    heights = [len(stack) / tallest * (floor - 8) for stack in stacks]
    return [
        svg.rect("bar", axis.start + number * width, floor - height, (width - 1, height))
        for number, height in enumerate(heights)
        if height
    ]


def strip(title: str, dots: Sequence[tuple[float, str]]) -> Chart:
    """A dot with a label for each of a few parties that measured one thing, on an axis that has a 0.

    Args:
        title: what was measured.
        dots: number, and label that says it; in the order of the numbers, at least one.
    """
    numbers = [number for number, _ in dots]
    low, high = min(0.0, numbers[0]), max(0.0, numbers[-1])  # with 0, so that a small difference looks small
    axis = make_axis(low, high, STRIP_MARGIN, STRIP_WIDTH - STRIP_MARGIN)
    parts = [svg.line("axis", axis.start, 10, axis.end, 10)]
    if low == 0:
        parts.append(svg.text("tick start", axis.start, _STRIP_TOP + 12, "0"))
    placed = place_labels([(axis.at(number), label) for number, label in dots])
    for label in placed:
        parts.append(svg.line("leader", label.x, 10, label.x, _STRIP_TOP + 2 + _LANE * label.lane))
        parts.append(svg.circle("mean", label.x, 10, 4))
        parts.append(svg.text(f"tick {label.anchor}", label.x, _STRIP_TOP + 12 + _LANE * label.lane, label.text))
    described = "; ".join(text for _, text in dots)
    height = _STRIP_TOP + _LANE * (1 + max(label.lane for label in placed)) + 6
    return Chart(title, described, STRIP_WIDTH, height, tuple(parts))


@dataclass(frozen=True)
class Label:
    """A text below an axis: on which lane, and which of its ends stands at `x`."""

    x: float
    text: str
    lane: int
    anchor: str

    @property
    def span(self) -> tuple[float, float]:
        """Where it begins and ends."""
        width = len(self.text) * _SIGN_WIDTH
        return (self.x, self.x + width) if self.anchor == "start" else (self.x - width, self.x)


def place_labels(labels: Sequence[tuple[float, str]]) -> list[Label]:
    """Texts at pixels in rising order, each on the first lane where it touches no other."""
    ends = [STRIP_MARGIN + 2 * _SIGN_WIDTH]  # of what stands on each lane already: the axis' "0"
    placed = []
    for x, text in labels:
        width = len(text) * _SIGN_WIDTH
        anchor = "start" if x + width <= STRIP_WIDTH else "end"
        start = x if anchor == "start" else x - width
        lane = next((i for i, end in enumerate(ends) if end < start), len(ends))
        ends[lane:] = [start + width, *ends[lane + 1 :]]
        placed.append(Label(x, text, lane, anchor))
    return placed
