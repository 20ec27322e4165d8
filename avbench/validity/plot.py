"""Small multiples as one SVG: a row per metric, a column per corruption, score against dose in each cell."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from markupsafe import Markup

from avbench.report.plots import Axis, make_axis
from avbench.report.tables import decimals_for, format_value
from avbench.terminal.text import visible_page
from avbench.validity.bench import Row
from avbench.validity.corruptions import CORRUPTIONS
from avbench.validity.statistics import Floats, Response, Verdict, score_table

CELL_WIDTH, CELL_HEIGHT, GAP, LABEL_WIDTH, HEAD, FOOT = 118, 62, 6, 140, 26, 24
MOST_LINES = 12
"""Clips drawn one by one; beyond it, evenly chosen ones."""

_CLASSES: dict[Verdict, str] = {
    "gets worse": "good", "gets better": "bad", "rises": "moves", "falls": "moves", "unclear": "none",
    "no change": "none", "too few clips": "none",
}  # fmt: skip
_LEGEND = (
    ("good", "gets worse with the dose"), ("bad", "gets better with the dose"),
    ("moves", "moves; neither direction is good"), ("none", "unclear, unchanged or too few clips"),
)  # fmt: skip
_STYLE = Markup(
    "text{font:11px system-ui,sans-serif;fill:#1a1f26}.head{font-size:10px}.small{font-size:9px;fill:#58626e}"
    ".cell{fill:#f6f7f9}.one{fill:none;stroke:#c4cad1;stroke-width:.8}.mean{fill:none;stroke-width:2}"
    ".good{stroke:#0b8a72}.bad{stroke:#c2570c}.moves{stroke:#2459a9}.none{stroke:#8a929b}"
    ".fill{stroke:none}.fill.good{fill:#0b8a72}.fill.bad{fill:#c2570c}.fill.moves{fill:#2459a9}.fill.none{fill:#8a929b}"
)


def draw_responses(rows: Sequence[Row], responses: Sequence[Response]) -> str:
    """The plot as the text of an SVG file. Each cell has its own scale; thin lines are clips, thick ones means."""
    metrics = list(dict.fromkeys(r.metric for r in responses))
    named = {r.corruption for r in responses}
    corruptions = [c for c in CORRUPTIONS if c.name in named]
    by_cell: dict[tuple[str, str], list[Row]] = {}
    for row in rows:
        by_cell.setdefault((row.metric, row.corruption), []).append(row)
    width = LABEL_WIDTH + len(corruptions) * (CELL_WIDTH + GAP)
    bottom = HEAD + len(metrics) * (CELL_HEIGHT + GAP)
    parts = [_text(LABEL_WIDTH + k * (CELL_WIDTH + GAP), 16, c.name, "head") for k, c in enumerate(corruptions)]
    parts += [_text(4, HEAD + k * (CELL_HEIGHT + GAP) + 16, name) for k, name in enumerate(metrics)]
    column = {corruption.name: k for k, corruption in enumerate(corruptions)}
    for response in responses:
        x = LABEL_WIDTH + column[response.corruption] * (CELL_WIDTH + GAP)
        y = HEAD + metrics.index(response.metric) * (CELL_HEIGHT + GAP)
        table = score_table(by_cell[response.metric, response.corruption], len(response.labels))
        parts.append(Markup('<g transform="translate({},{})">{}</g>').format(x, y, _cell(response, table)))
    parts += _legend(bottom + 15)
    return _document(max(width, 760), bottom + FOOT, parts)


def _cell(response: Response, table: Floats) -> Markup:
    """One panel with its origin at the top left corner."""
    frame = Markup('<rect class="cell" width="{}" height="{}"/><title>{}</title>')
    parts = [frame.format(CELL_WIDTH, CELL_HEIGHT, _describe(response))]
    known = table[np.isfinite(table)]
    if known.size:
        axis = make_axis(float(known.min()), float(known.max()), CELL_HEIGHT - 15, 15)
        chosen = np.unique(np.linspace(0, len(table) - 1, MOST_LINES).round().astype(int))
        single = "".join(_path(table[index], axis) for index in chosen)
        parts.append(Markup('<path class="one" d="{}"/>').format(single))
        means = np.array([np.nan if mean is None else mean for mean in response.means])
        parts.append(Markup('<path class="mean {}" d="{}"/>').format(_CLASSES[response.verdict], _path(means, axis)))
    rho = "ρ –" if response.clip_rho is None else f"ρ {format_value(response.clip_rho, 2)}"
    parts.append(_text(4, 10, rho, "small"))
    parts += _ends(response)
    return Markup().join(parts)


def _ends(response: Response) -> list[Markup]:
    """The first and the last mean below the lines."""
    first, last = response.means[0], response.means[-1]
    places = decimals_for((first, last))
    return [
        _text(4, CELL_HEIGHT - 4, format_value(first, places), "small"),
        _text(CELL_WIDTH - 4, CELL_HEIGHT - 4, format_value(last, places), "small", "end"),
    ]


def _describe(response: Response) -> str:
    means = ", ".join(
        f"{label}: {format_value(mean)} (n {count})"
        for label, mean, count in zip(response.labels, response.means, response.counts, strict=True)
    )
    return f"{response.metric}, {response.corruption}: {response.verdict}. {means}"


def _path(values: Floats, axis: Axis) -> str:
    """SVG path through the known values, broken where one is missing; a lone value is a short dash."""
    step = (CELL_WIDTH - 16) / (len(values) - 1)
    points = [(8 + k * step, axis.at(float(value))) if np.isfinite(value) else None for k, value in enumerate(values)]
    text = ""
    for k, point in enumerate(points):
        if point is None:
            continue
        text += f"{'L' if k and points[k - 1] else 'M'}{point[0]:.0f} {point[1]:g}"
        if not any(points[max(0, k - 1) : k]) and not any(points[k + 1 : k + 2]):
            text += "h2"
    return text


def _legend(y: float) -> list[Markup]:
    parts = []
    for k, (name, text) in enumerate(_LEGEND):
        x = 4 + k * 188
        parts.append(Markup('<rect class="fill {}" x="{}" y="{}" width="12" height="4"/>').format(name, x, y - 6))
        parts.append(_text(x + 17, y, text, "small"))
    return parts


def _text(x: float, y: float, text: str, name: str = "", anchor: str = "start") -> Markup:
    extra = Markup(' class="{}"').format(name) if name else Markup()
    extra += Markup(' text-anchor="{}"').format(anchor) if anchor != "start" else Markup()
    return Markup('<text x="{}" y="{}"{}>{}</text>').format(x, y, extra, text)


def _document(width: float, height: float, parts: Sequence[Markup]) -> str:
    head = Markup('<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {0} {1}" width="{0}" height="{1}" role="img">')
    style = Markup("<style>{}</style>").format(_STYLE)
    back = Markup('<rect width="{}" height="{}" fill="#fff"/>').format(width, height)
    return visible_page(head.format(width, height) + style + back + Markup("\n").join(parts) + Markup("</svg>\n"))
