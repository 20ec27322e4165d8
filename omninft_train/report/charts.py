"""Charts as inline SVG, readable without JavaScript; colours are classes of report.css."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Sequence
from dataclasses import dataclass

from markupsafe import Markup

WIDTH, HEIGHT = 460, 230
_LEFT, _RIGHT, _TOP, _BOTTOM = 62, 448, 10, 192
_MOST_DOTS = 80  # steps; beyond it, only points without a neighbour get a dot
_MOST_LABELS = 16  # of bars
_INNER = 0.78  # share of a group's width that its bars fill

Value = float | None


@dataclass(frozen=True)
class Series:
    """Values in the order of the chart's steps or groups; None leaves a gap.

    Attributes:
        style: "s0" to "s3" differ in colour and dashes; "raw" is thin, "plain" grey.
        dots: a dot for each value of a short line; a value without neighbours always gets one.
    """

    name: str
    values: Sequence[Value]
    style: str = "s0"
    dots: bool = True


@dataclass(frozen=True)
class Labels:
    """Texts of a chart."""

    title: str
    x: str
    y: str


@dataclass(frozen=True)
class Axis:
    """A linear axis from values to pixels."""

    low: float
    high: float
    start: float
    end: float

    def at(self, value: float) -> float:
        """Pixel of a value."""
        share = (value - self.low) / (self.high - self.low)
        return round(self.start + share * (self.end - self.start), 1)


def number(value: object) -> str:
    """A number in four significant digits; an en dash for none, NaN or infinity."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        return "–"
    if value == 0:
        return "0"
    return f"{value:.0f}" if 1e4 <= abs(value) < 1e9 else f"{value:.4g}"


def finite(value: object) -> Value:
    """The value as a float, None where it is not a finite number."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        return None
    return float(value)


def running_mean(values: Sequence[Value], width: int) -> list[Value]:
    """Mean of the values at most width // 2 places away; None where there is no value."""
    found: list[Value] = []
    for place, value in enumerate(values):
        near = [v for v in values[max(0, place - width // 2) : place + width // 2 + 1] if v is not None]
        found.append(None if value is None else sum(near) / len(near))
    return found


def ticks(low: float, high: float, about: int) -> list[float]:
    """Round numbers in [low, high], about `about` (3 or more) of them; `low` alone where there is no span."""
    span = high - low
    if not (math.isfinite(span) and span > 0):
        return [low]
    power = 10.0 ** math.floor(math.log10(span / about))
    sizes = [factor * power for factor in (1, 2, 5, 10) if span / (factor * power) >= 2]  # two ticks or more fit
    step = min(sizes, key=lambda size: abs(span / size - about))
    first, last = math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9)
    return [float(f"{place * step:.12g}") for place in range(first, last + 1)]


def line_chart(
    labels: Labels, steps: Sequence[int], series: Sequence[Series], bounds: tuple[float, float] | None = None
) -> Markup:
    """Lines over steps, with a legend where there is more than one.

    Args:
        labels: texts.
        steps: places of the values on the horizontal axis, in order.
        series: at least one; all of the length of `steps`.
        bounds: ends of the vertical axis; those of the values where None.

    Returns:
        A figure; one that says that there are no values if there are none.
    """
    known = [value for line in series for value in line.values if value is not None]
    if not known:
        return _empty(labels)
    across = _axis(min(steps), max(steps), _LEFT, _RIGHT)
    up = _axis(*(bounds or _padded(min(known), max(known))), _BOTTOM, _TOP)
    parts = _grid(labels, up) + _step_ticks(across, steps)
    for line in series:
        parts += _line(line, steps, across, up)
    said = "; ".join(_range_text(line) for line in series)
    described = f"{labels.y} by {labels.x}, {labels.x} {steps[0]} to {steps[-1]}. {said}."
    return _figure(labels, described, parts, series)


def bar_chart(labels: Labels, groups: Sequence[str], series: Sequence[Series], ceiling: float | None = None) -> Markup:
    """Bars side by side in each group, with a legend.

    Args:
        labels: texts.
        groups: names on the horizontal axis.
        series: at least one; values are at least 0, one for each group.
        ceiling: upper end of the vertical axis; the largest value where None.

    Returns:
        A figure; one that says that there are no values if there are none.
    """
    known = [value for bars in series for value in bars.values if value is not None]
    if not known:
        return _empty(labels)
    up = Axis(0.0, 1.04 * max([ceiling or 0.0, *known]) or 1.0, _BOTTOM, _TOP)
    parts = _grid(labels, up)
    room = (_RIGHT - _LEFT) / len(groups)
    every = math.ceil(len(groups) / _MOST_LABELS)
    width = room * _INNER / len(series)
    for place, group in enumerate(groups):
        left = _LEFT + place * room
        if place % every == 0:
            parts.append(_text("tick", round(left + room / 2, 1), _BOTTOM + 15, group))
        for index, bars in enumerate(series):
            value = bars.values[place]
            if value is not None:
                name = f"{labels.x} {group}, {bars.name}: {number(value)}"
                x = round(left + room * (1 - _INNER) / 2 + index * width, 1)
                parts.append(_bar(bars.style, x, up.at(value), round(width - 0.6, 1), name))
    described = f"{labels.y} by {labels.x}. " + "; ".join(_range_text(bars) for bars in series) + "."
    return _figure(labels, described, parts, series)


def _axis(low: float, high: float, start: float, end: float) -> Axis:
    """An axis that has a length even where all values are equal."""
    if high - low <= 1e-12 * max(abs(low), abs(high)):
        low, high = low - (abs(low) * 0.1 or 0.5), high + (abs(high) * 0.1 or 0.5)
    return Axis(low, high, start, end)


def _padded(low: float, high: float) -> tuple[float, float]:
    """The values' span with a margin; from 0 where it almost starts there."""
    if 0 <= low <= 0.4 * high:
        return 0.0, 1.05 * high
    margin = 0.06 * (high - low)
    return low - margin, high + margin


def _grid(labels: Labels, up: Axis) -> list[Markup]:
    parts = []
    for tick in ticks(up.low, up.high, 5):
        parts.append(_rule("grid", _LEFT, up.at(tick), _RIGHT, up.at(tick)))
        parts.append(_text("tick end", _LEFT - 6, round(up.at(tick) + 3.5, 1), number(tick)))
    parts.append(_rule("axis", _LEFT, _BOTTOM, _RIGHT, _BOTTOM))
    parts.append(_text("label", (_LEFT + _RIGHT) / 2, _BOTTOM + 33, labels.x))
    middle = (_TOP + _BOTTOM) / 2
    turned = Markup('<text class="label" transform="translate(12 {}) rotate(-90)">{}</text>')
    return [*parts, turned.format(middle, labels.y)]


def _step_ticks(across: Axis, steps: Sequence[int]) -> list[Markup]:
    parts = []
    for tick in ticks(min(steps), max(steps), 6) if len(set(steps)) > 1 else [steps[0]]:
        if float(tick).is_integer():
            parts.append(_rule("axis", across.at(tick), _BOTTOM, across.at(tick), _BOTTOM + 4))
            parts.append(_text("tick", across.at(tick), _BOTTOM + 15, str(int(tick))))
    return parts


def _line(line: Series, steps: Sequence[int], across: Axis, up: Axis) -> list[Markup]:
    """Stretches between gaps, and dots that tell their value."""
    parts, stretch, dots = [], [], []
    for step, value in [*zip(steps, line.values, strict=True), (0, None)]:
        if value is not None:
            stretch.append((across.at(step), up.at(value), step, value))
            continue
        if len(stretch) > 1:
            points = " ".join(f"{x},{y}" for x, y, _, _ in stretch)
            parts.append(Markup('<polyline class="line {}" points="{}"/>').format(line.style, points))
        if len(stretch) == 1 or (line.dots and len(steps) <= _MOST_DOTS):
            dots += stretch
        stretch = []
    dot = Markup('<circle class="dot {}" cx="{}" cy="{}" r="2.2"><title>{} {}, {}: {}</title></circle>')
    named = [dot.format(line.style, x, y, "step", step, line.name, number(value)) for x, y, step, value in dots]
    return parts + named


def _range_text(series: Series) -> str:
    known = [value for value in series.values if value is not None]
    if not known:
        return f"{series.name}: no values"
    ends = f"first {number(known[0])}, last {number(known[-1])}"
    return f"{series.name}: {ends}, lowest {number(min(known))}, highest {number(max(known))}"


def _figure(labels: Labels, described: str, parts: Sequence[Markup], series: Sequence[Series]) -> Markup:
    key = "c" + hashlib.sha256(f"{labels.title}\0{described}".encode("utf-8", "replace")).hexdigest()[:10]
    head = Markup(
        '<svg class="chart" viewBox="0 0 {0} {1}" role="img" aria-labelledby="{2}-t {2}-d">'
        '<title id="{2}-t">{3}</title><desc id="{2}-d">{4}</desc>'
    ).format(WIDTH, HEIGHT, key, labels.title, described)
    drawn = head + Markup().join(parts) + Markup("</svg>")
    return _framed(labels.title, drawn, _legend(series) if len(series) > 1 else Markup())


def _legend(series: Sequence[Series]) -> Markup:
    swatch = Markup(
        '<li><svg class="swatch" viewBox="0 0 26 10" aria-hidden="true">'
        '<line class="line {0}" x1="1" y1="5" x2="25" y2="5"/></svg>{1}</li>'
    )
    return Markup('<ul class="legend">{}</ul>').format(Markup().join(swatch.format(s.style, s.name) for s in series))


def _empty(labels: Labels) -> Markup:
    return _framed(labels.title, Markup('<p class="quiet">No values were logged.</p>'), Markup())


def _framed(title: str, drawn: Markup, legend: Markup) -> Markup:
    return Markup("<figure><figcaption>{}</figcaption>{}{}</figure>").format(title, drawn, legend)


def _bar(style: str, x: float, y: float, width: float, name: str) -> Markup:
    mark = Markup('<rect class="bar {}" x="{}" y="{}" width="{}" height="{}"><title>{}</title></rect>')
    return mark.format(style, x, y, max(0.5, width), round(_BOTTOM - y, 1), name)


def _rule(name: str, x1: float, y1: float, x2: float, y2: float) -> Markup:
    return Markup('<line class="{}" x1="{}" y1="{}" x2="{}" y2="{}"/>').format(name, x1, y1, x2, y2)


def _text(name: str, x: float, y: float, text: str) -> Markup:
    return Markup('<text class="{}" x="{}" y="{}">{}</text>').format(name, x, y, text)
