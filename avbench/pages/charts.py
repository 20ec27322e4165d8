"""Lines over steps, and bars in groups. Their colours are classes of charts.css."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from markupsafe import Markup

from avbench.pages import svg
from avbench.pages.axes import Axis, make_axis, padded, step_axis, ticks, value_axis
from avbench.pages.numbers import format_significant
from avbench.pages.svg import Chart

COLOURS = 8
"""Styles "s0" to "s7" differ in colour, and neighbours in dashes."""
NO_VALUES = "No values were logged."
_WIDTH, _HEIGHT = 430, 232
_LEFT, _RIGHT, _TOP, _BOTTOM = 62, 420, 10, 192
_MOST_DOTS = 80  # steps; beyond it, only points without a neighbour get a dot
_MOST_LABELS = 16  # of bars
_FILLED = 0.78  # fraction of a group's width that its bars fill

Value = float | None


@dataclass(frozen=True)
class Labels:
    """Texts of a chart: its title, and those of the axes."""

    title: str
    x: str
    y: str


@dataclass(frozen=True)
class Series:
    """Values in the order of the chart's steps or groups; None leaves a gap.

    Attributes:
        style: "s0" to "s7" differ in colour and dashes; "raw" is thin, "plain" grey.
        dots: a dot for each value of a short line; a value without neighbours always gets one.
        low, high: the band around the line, at as many steps; none where empty.
    """

    name: str
    values: Sequence[Value]
    style: str = "s0"
    dots: bool = True
    low: Sequence[Value] = ()
    high: Sequence[Value] = ()


@dataclass(frozen=True)
class _Point:
    x: float
    y: float
    step: int
    value: float


def line_chart(
    labels: Labels, steps: Sequence[int], series: Sequence[Series], bounds: tuple[float, float] | None = None
) -> Chart:
    """Lines over steps, with bands, and a legend where there is more than one line.

    Args:
        labels: texts.
        steps: positions of the values on the horizontal axis, in order.
        series: at least one; all of the length of `steps`.
        bounds: ends of the vertical axis; those of the values where None.

    Returns:
        A chart; one that says that there are no values if there are none.
    """
    known = _known(value for one in series for values in (one.values, one.low, one.high) for value in values)
    if not _known(value for one in series for value in one.values):
        return Chart(labels.title, NO_VALUES, _WIDTH, _HEIGHT, ())
    across = make_axis(min(steps), max(steps), _LEFT, _RIGHT)
    up = make_axis(*(bounds or padded(min(known), max(known))), _BOTTOM, _TOP)
    marks = ticks(min(steps), max(steps), 6)
    parts = [*value_axis(up, _LEFT, _RIGHT, labels.y), *step_axis(across, _BOTTOM, labels.x, marks)]
    for one in series:
        parts += _band(one, steps, across, up)
    for one in series:
        parts += _line(one, steps, across, up)
    described = f"{labels.y} by {labels.x}, {labels.x} {steps[0]} to {steps[-1]}. {_ranges(series)}"
    return Chart(labels.title, described, _WIDTH, _HEIGHT, tuple(parts), _legend(series))


def bar_chart(labels: Labels, groups: Sequence[str], series: Sequence[Series], ceiling: float | None = None) -> Chart:
    """Bars side by side in each group, with a legend where there is more than one series.

    Args:
        labels: texts.
        groups: names on the horizontal axis.
        series: at least one; values are at least 0, one for each group.
        ceiling: upper end of the vertical axis; the largest value where None.

    Returns:
        A chart; one that says that there are no values if there are none.
    """
    known = _known(value for bars in series for value in bars.values)
    if not known:
        return Chart(labels.title, NO_VALUES, _WIDTH, _HEIGHT, ())
    up = Axis(0.0, 1.04 * max([ceiling or 0.0, *known]) or 1.0, _BOTTOM, _TOP)
    parts = value_axis(up, _LEFT, _RIGHT, labels.y)
    width = (_RIGHT - _LEFT) / len(groups)
    every = math.ceil(len(groups) / _MOST_LABELS)
    for index, group in enumerate(groups):
        left = _LEFT + index * width
        if index % every == 0:
            parts.append(svg.text("tick", left + width / 2, _BOTTOM + 16, group))
        parts += _group(labels, group, [(bars, bars.values[index]) for bars in series], (left, width), up)
    parts += step_axis(Axis(0, 1, _LEFT, _RIGHT), _BOTTOM, labels.x, ())
    described = f"{labels.y} by {labels.x}. {_ranges(series)}"
    legend = tuple((f"{style} block", name) for style, name in _legend(series))
    return Chart(labels.title, described, _WIDTH, _HEIGHT, tuple(parts), legend)


def _group(
    labels: Labels, group: str, bars: Sequence[tuple[Series, Value]], slot: tuple[float, float], up: Axis
) -> list[Markup]:
    """The bars of one group in its (left end, width)."""
    left, whole = slot
    width = whole * _FILLED / len(bars)
    parts = []
    for index, (one, value) in enumerate(bars):
        if value is not None:
            x, top = left + whole * (1 - _FILLED) / 2 + index * width, up.at(value)
            title = f"{labels.x} {group}, {one.name}: {format_significant(value)}"
            parts.append(svg.rect(f"bar {one.style}", x, top, (max(0.5, width - 0.6), _BOTTOM - top), title))
    return parts


def _known(values: Iterable[Value]) -> list[float]:
    return [value for value in values if value is not None]


def _band(series: Series, steps: Sequence[int], across: Axis, up: Axis) -> list[Markup]:
    """The area between low and high, interrupted where one of them is missing."""
    parts, upper, lower = [], list[tuple[float, float]](), list[tuple[float, float]]()
    for step, low, high in [*zip(steps, series.low, series.high, strict=False), (0, None, None)]:
        if low is not None and high is not None:
            upper.append((across.at(step), up.at(high)))
            lower.append((across.at(step), up.at(low)))
            continue
        if len(upper) > 1:
            parts.append(svg.polygon(f"band {series.style}", [*upper, *reversed(lower)]))
        upper, lower = [], []
    return parts


def _line(series: Series, steps: Sequence[int], across: Axis, up: Axis) -> list[Markup]:
    """Stretches between gaps, and dots that say their value."""
    parts, stretch, dots = [], list[_Point](), list[_Point]()
    for step, value in [*zip(steps, series.values, strict=True), (0, None)]:
        if value is not None:
            stretch.append(_Point(across.at(step), up.at(value), step, value))
            continue
        if len(stretch) > 1:
            parts.append(svg.polyline(f"line {series.style}", [(point.x, point.y) for point in stretch]))
        if len(stretch) == 1 or (series.dots and len(steps) <= _MOST_DOTS):
            dots += stretch
        stretch = []
    for dot in dots:
        title = f"step {dot.step}, {series.name}: {format_significant(dot.value)}"
        parts.append(svg.circle(f"dot {series.style}", dot.x, dot.y, 2.2, title))
    return parts


def _ranges(series: Sequence[Series]) -> str:
    return "; ".join(map(_range, series)) + "."


def _range(series: Series) -> str:
    known = _known(series.values)
    if not known:
        return f"{series.name}: no values"
    first, last, low, high = map(format_significant, (known[0], known[-1], min(known), max(known)))
    return f"{series.name}: first {first}, last {last}, lowest {low}, highest {high}"


def _legend(series: Sequence[Series]) -> tuple[tuple[str, str], ...]:
    return tuple((one.style, one.name) for one in series) if len(series) > 1 else ()
