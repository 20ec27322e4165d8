"""Elements of SVG drawings, and the drawing itself: on a page, or as a file of its own."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from markupsafe import Markup

from avbench.pages.assets import asset
from avbench.terminal.text import visible_page

LEGEND_LINE = 18
_LEGEND_COLUMN = 200
_PALETTE = re.compile(r"--([\w-]+): light-dark\((#\w+), #\w+\)")


@dataclass(frozen=True)
class Chart:
    """A drawing with what it shows in words, for readers who do not see it.

    Attributes:
        title: its caption.
        described: what it shows.
        width, height: in pixels of the drawing.
        parts: its elements; none for a chart without values, whose `described` says so.
        legend: (class, text) of each kind of mark.
        note: a remark below, such as why there is no interval.
    """

    title: str
    described: str
    width: float
    height: float
    parts: tuple[Markup, ...]
    legend: tuple[tuple[str, str], ...] = ()
    note: str = ""

    def drawing(self, name: str = "chart") -> Markup:
        """The drawing alone, of class `name`."""
        head = Markup('<svg class="{}" viewBox="0 0 {} {}" role="img" aria-label="{}">')
        spoken = f"{self.title}: {self.described}" + (f" {self.note}." if self.note else "")
        return head.format(name, f"{self.width:g}", f"{self.height:g}", spoken) + _joined(self.parts) + Markup("</svg>")

    def figure(self) -> Markup:
        """The drawing with caption and legend, for a page."""
        shown = self.drawing() if self.parts else Markup('<p class="quiet">{}</p>').format(self.described)
        marks = _joined(_LEGEND_ENTRY.format(kind, text) for kind, text in self.legend if self.parts)
        legend = Markup('<ul class="legend">{}</ul>').format(marks) if marks else Markup()
        note = Markup('<p class="quiet">{}</p>').format(self.note) if self.note else Markup()
        return Markup("<figure><figcaption>{}</figcaption>{}{}{}</figure>").format(self.title, shown, legend, note)

    def standalone(self) -> bytes:
        """The drawing as a file with its legend inside, in no more than programs beside browsers understand."""
        parts = list(self.parts) or [text("label", self.width / 2, self.height / 2, self.described)]
        height = self.height
        for number, (kind, name) in enumerate(self.legend):
            across, down = divmod(number, -(-len(self.legend) // 2))
            x, y = 20 + across * _LEGEND_COLUMN, self.height + 12 + down * LEGEND_LINE
            parts += [line(f"line {kind}", x, y - 4, x + 24, y - 4), text("tick start", x + 30, y, name)]
            height = max(height, y + 8)
        head = Markup(
            '<?xml version="1.0" encoding="UTF-8"?>\n<svg xmlns="http://www.w3.org/2000/svg" class="chart" '
            'viewBox="0 0 {0} {1}" width="{0}" height="{1}" role="img"><title>{2}</title><desc>{3}</desc>'
            '<style>{4}</style><rect width="{0}" height="{1}" fill="#fff"/>'
        ).format(f"{self.width:g}", f"{height:g}", self.title, self.described, Markup(_plain_style()))  # noqa: S704
        return visible_page(head + Markup("\n").join(parts) + Markup("</svg>\n")).encode("utf-8", "replace")


_LEGEND_ENTRY = Markup(
    '<li><svg class="swatch" viewBox="0 0 26 10" aria-hidden="true">'
    '<line class="line {0}" x1="1" y1="5" x2="25" y2="5"/></svg>{1}</li>'
)


def _plain_style() -> str:
    """The rules of drawings with the light colours written out: other programs know no variables."""
    colours = dict(_PALETTE.findall(asset("avbench.pages", "base.css")))
    font = "text { font-family: system-ui, sans-serif; }\n"
    return font + re.sub(r"var\(--([\w-]+)\)", lambda match: colours[match[1]], asset("avbench.pages", "charts.css"))


def _joined(parts: Iterable[Markup]) -> Markup:
    return Markup().join(parts)


def line(kind: str, x1: float, y1: float, x2: float, y2: float) -> Markup:
    """A straight line."""
    mark = Markup('<line class="{}" x1="{:g}" y1="{:g}" x2="{:g}" y2="{:g}"/>')
    return mark.format(kind, x1, y1, x2, y2)


def rect(kind: str, x: float, y: float, size: tuple[float, float], title: str = "") -> Markup:
    """A rectangle of (width, height); the title is shown on hover."""
    numbers = [round(value, 1) for value in (x, y, *size)]
    mark = Markup('<rect class="{}" x="{:g}" y="{:g}" width="{:g}" height="{:g}"').format(kind, *numbers)
    return mark + _end("rect", title)


def circle(kind: str, x: float, y: float, radius: float, title: str = "", data: Markup | str = "") -> Markup:
    """A dot; the title is shown on hover, `data` are further attributes."""
    mark = Markup('<circle class="{}"{} cx="{:g}" cy="{:g}" r="{:g}"').format(kind, data, x, y, radius)
    return mark + _end("circle", title)


def text(kind: str, x: float, y: float, words: str) -> Markup:
    """Text whose class says where it is anchored: "start", "end", or in the middle."""
    return Markup('<text class="{}" x="{:g}" y="{:g}">{}</text>').format(kind, round(x, 1), round(y, 1), words)


def turned(kind: str, x: float, y: float, words: str) -> Markup:
    """Text from below to above."""
    mark = Markup('<text class="{}" transform="translate({:g} {:g}) rotate(-90)">{}</text>')
    return mark.format(kind, x, y, words)


def polyline(kind: str, points: Sequence[tuple[float, float]]) -> Markup:
    """A line through points."""
    return Markup('<polyline class="{}" points="{}"/>').format(kind, _points(points))


def polygon(kind: str, points: Sequence[tuple[float, float]]) -> Markup:
    """A closed area."""
    return Markup('<polygon class="{}" points="{}"/>').format(kind, _points(points))


def _points(points: Sequence[tuple[float, float]]) -> str:
    return " ".join(f"{x:g},{y:g}" for x, y in points)


def _end(tag: str, title: str) -> Markup:
    return Markup("><title>{}</title></{}>").format(title, tag) if title else Markup("/>")
