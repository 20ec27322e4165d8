"""Lines with bands over training steps, a scatter and a matrix, as SVG that needs no script."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Sequence
from dataclasses import dataclass

from markupsafe import Markup

from avbench.report.plots import Axis, make_axis, nice_ticks
from avbench.terminal.text import visible_page

WIDTH, HEIGHT = 460, 240
_LEFT, _RIGHT, _TOP, _BOTTOM = 60, 448, 12, 196
Value = float | None
STYLE = """
.chart{font:11px sans-serif;background:#fff}.chart text{fill:#1a1f26}.chart .quiet{fill:#58626e}
.chart .grid{stroke:#dde1e6}.chart .axis{stroke:#58626e}.chart .line{fill:none;stroke-width:1.8}
.chart .band{stroke:none;opacity:.16}.chart .opposite{opacity:.75}.chart .same{opacity:.35}
.c0{stroke:#2459a9;fill:#2459a9}.c1{stroke:#c2570c;fill:#c2570c}.c2{stroke:#0b8a72;fill:#0b8a72}
.c3{stroke:#6d6bbd;fill:#6d6bbd}.c4{stroke:#b3261e;fill:#b3261e}.c5{stroke:#8a5a00;fill:#8a5a00}
.c6{stroke:#58626e;fill:#58626e}.c7{stroke:#1a1f26;fill:#1a1f26}
.chart .line.c1,.chart .line.c4{stroke-dasharray:6 3}.chart .line.c2,.chart .line.c5{stroke-dasharray:2 3}
"""
"""Colours of a file that stands alone; a page has its own."""
COLOURS = 8


@dataclass(frozen=True)
class Curve:
    """A line with a band. Values in the order of the steps; None leaves a gap."""

    name: str
    middle: Sequence[Value]
    low: Sequence[Value] = ()
    high: Sequence[Value] = ()


def curve_chart(title: str, y: str, steps: Sequence[int], curves: Sequence[Curve]) -> Markup:
    """Lines over steps.

    Args:
        title: of the chart.
        y: name of the vertical axis.
        steps: places on the horizontal axis, in order.
        curves: at most `COLOURS` of them.

    Returns:
        An SVG; one that says so where there are no values.
    """
    known = [v for c in curves for part in (c.middle, c.low, c.high) for v in part if v is not None]
    if not known or not steps:
        return _svg(title, "no values", [_text("quiet", WIDTH / 2, HEIGHT / 2, "no values", "middle")])
    low, high = min(known), max(known)
    pad = 0.06 * (high - low)
    across = make_axis(min(steps), max(steps), _LEFT, _RIGHT)
    up = make_axis(low - pad, high + pad, _BOTTOM, _TOP)

    parts = [_text("quiet", (_LEFT + _RIGHT) / 2, _BOTTOM + 30, "step", "middle"), _turned(y)]
    for tick in nice_ticks(up.low, up.high, 5):
        parts.append(_line("grid", _LEFT, up.at(tick), _RIGHT, up.at(tick)))
        parts.append(_text("quiet", _LEFT - 5, up.at(tick) + 4, f"{tick:.4g}", "end"))
    parts.append(_line("axis", _LEFT, _BOTTOM, _RIGHT, _BOTTOM))
    for tick in nice_ticks(across.low, across.high, 6):
        if float(tick).is_integer():
            parts.append(_text("quiet", across.at(tick), _BOTTOM + 15, f"{tick:.0f}", "middle"))
    places = [across.at(step) for step in steps]
    for number, curve in enumerate(curves):
        parts += _band(number, curve, places, up)
    for number, curve in enumerate(curves):
        parts += _stretches(number, curve, places, up)
    told = "; ".join(_told(curve) for curve in curves)
    return _svg(title, f"{y} by step. {told}.", parts + _legend([curve.name for curve in curves]), len(curves))


def _told(curve: Curve) -> str:
    known = [value for value in curve.middle if value is not None]
    return f"{curve.name}: {known[0]:.4g} to {known[-1]:.4g}" if known else f"{curve.name}: no values"


def _band(number: int, curve: Curve, across: Sequence[float], up: Axis) -> list[Markup]:
    known = zip(across, curve.low, curve.high, strict=False)
    pairs = [(x, low, high) for x, low, high in known if low is not None and high is not None]
    if len(pairs) < 2:
        return []
    upper = [f"{x},{up.at(high)}" for x, _, high in pairs]
    lower = [f"{x},{up.at(low)}" for x, low, _ in reversed(pairs)]
    return [Markup('<polygon class="band c{}" points="{}"/>').format(number % COLOURS, " ".join(upper + lower))]


def _stretches(number: int, curve: Curve, across: Sequence[float], up: Axis) -> list[Markup]:
    parts, points = [], []
    for x, value in [*zip(across, curve.middle, strict=True), (0.0, None)]:
        if value is not None:
            points.append(f"{x},{up.at(value)}")
            continue
        if len(points) == 1:
            parts.append(
                Markup('<circle class="c{}" cx="{}" cy="{}" r="2.5"/>').format(number % COLOURS, *points[0].split(","))
            )
        elif points:
            parts.append(Markup('<polyline class="line c{}" points="{}"/>').format(number % COLOURS, " ".join(points)))
        points = []
    return parts


def _legend(names: Sequence[str]) -> list[Markup]:
    parts = []
    for number, name in enumerate(names):
        x, y = _LEFT + 195 * (number % 2), HEIGHT + 14 * (number // 2) + 4
        parts.append(_line(f"line c{number % COLOURS}", x, y - 4, x + 22, y - 4))
        parts.append(_text("", x + 28, y, name, "start"))
    return parts


def scatter(title: str, labels: tuple[str, str], points: Sequence[tuple[float, float]], told: str) -> Markup:
    """Points in four quadrants; those of opposite signs are coloured.

    Args:
        title: of the chart.
        labels: of the two axes.
        points: pairs.
        told: what it shows, for readers who do not see it.
    """
    largest = max((abs(v) for pair in points for v in pair), default=1.0) or 1.0
    side, middle = 300, 170
    unit = (side / 2 - 12) / largest
    parts = [
        _line("axis", 20, middle, 20 + side, middle), _line("axis", middle, 20, middle, 20 + side),
        _text("quiet", middle, 20 + side + 14, labels[0], "middle"), _text("quiet", middle + 6, 30, labels[1], "start"),
    ]  # fmt: skip
    for x, y in points:
        opposite = x * y < 0
        parts.append(
            Markup('<circle class="{} {}" cx="{}" cy="{}" r="2.6"/>').format(
                "opposite c1" if opposite else "same c0",
                "dot",
                round(middle + unit * x, 1),
                round(middle - unit * y, 1),
            )
        )
    for number, name in enumerate(("same sign", "opposite signs")):
        y = 50 + 18 * number
        parts.append(Markup('<circle class="c{}" cx="345" cy="{}" r="4"/>').format(number, y - 4))
        parts.append(_text("", 355, y, name, "start"))
    return _svg(title, told, parts, 0, (460, 340))


def matrix(title: str, names: Sequence[str], values: Sequence[Sequence[Value]]) -> Markup:
    """Correlations as a grid of squares with their numbers."""
    size, left, top = 62, 110, 34
    parts = []
    for row, name in enumerate(names):
        parts.append(_text("", left - 8, top + size * row + size / 2 + 4, name, "end"))
        parts.append(_text("", left + size * row + size / 2, top - 8, name, "middle"))
        for column, value in enumerate(values[row]):
            tone = "c0" if value is not None and value >= 0 else "c1"
            strength = 0.0 if value is None else round(min(1.0, abs(value)), 2)
            parts.append(
                Markup(
                    '<rect class="{}" fill-opacity="{}" stroke-opacity="0.3" x="{}" y="{}" width="{}" height="{}"/>'
                ).format(tone, round(0.75 * strength, 3), left + size * column, top + size * row, size - 2, size - 2)
            )
            text = "–" if value is None or not math.isfinite(value) else f"{value:+.2f}"
            parts.append(
                _text("", left + size * column + size / 2 - 1, top + size * row + size / 2 + 4, text, "middle")
            )
    told = "; ".join(
        f"{names[i]} and {names[j]}: {'no value' if values[i][j] is None else format(values[i][j], '+.2f')}"
        for i in range(len(names)) for j in range(i)
    )  # fmt: skip
    return _svg(title, told or "one reward", parts, 0, (left + size * len(names) + 10, top + size * len(names) + 10))


def standalone(svg: Markup) -> bytes:
    """A drawing as a file of its own, with its colours."""
    head, _, rest = str(svg).partition(">")
    return visible_page(f'<?xml version="1.0" encoding="UTF-8"?>\n{head}><style>{STYLE}</style>{rest}\n').encode()


def _svg(
    title: str, told: str, parts: Sequence[Markup], names: int = 0, size: tuple[float, float] | None = None
) -> Markup:
    width, height = size or (WIDTH, HEIGHT + 14 * math.ceil(names / 2) + 2)
    key = "c" + hashlib.sha256(f"{title}\0{told}".encode("utf-8", "replace")).hexdigest()[:10]
    head = Markup(
        '<svg xmlns="http://www.w3.org/2000/svg" class="chart" viewBox="0 0 {0} {1}" width="{0}" height="{1}" '
        'role="img" aria-labelledby="{2}-t {2}-d"><title id="{2}-t">{3}</title><desc id="{2}-d">{4}</desc>'
    ).format(width, height, key, title, told)
    return head + Markup().join(parts) + Markup("</svg>")


def _turned(text: str) -> Markup:
    turned = Markup('<text class="quiet" text-anchor="middle" transform="translate(12 {}) rotate(-90)">{}</text>')
    return turned.format((_TOP + _BOTTOM) / 2, text)


def _line(name: str, x1: float, y1: float, x2: float, y2: float) -> Markup:
    return Markup('<line class="{}" x1="{}" y1="{}" x2="{}" y2="{}"/>').format(name, x1, y1, x2, y2)


def _text(name: str, x: float, y: float, text: str, anchor: str) -> Markup:
    return Markup('<text class="{}" x="{}" y="{}" text-anchor="{}">{}</text>').format(name, x, y, anchor, text)
