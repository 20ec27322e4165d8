"""Small multiples as one SVG: a row per metric, a column per corruption, score against severity in each cell."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from markupsafe import Markup

from avbench.pages import svg
from avbench.pages.axes import Axis, make_axis
from avbench.pages.numbers import decimals_for, format_value
from avbench.pages.svg import Chart
from avbench.validity.corruption_scorer import Row
from avbench.validity.corruptions import CORRUPTIONS
from avbench.validity.statistics import Floats, Response, Verdict, score_table

CELL_WIDTH, CELL_HEIGHT, GAP, LABEL_WIDTH, HEAD = 118, 62, 6, 150, 26
MOST_LINES = 12
"""Clips drawn one by one; beyond it, evenly chosen ones."""

_TONES: dict[Verdict, str] = {
    "gets worse": "good", "gets better": "bad", "rises": "moves", "falls": "moves", "unclear": "none",
    "no change": "none", "too few clips": "none",
}  # fmt: skip
_LEGEND = (
    ("good", "gets worse with the severity"), ("bad", "gets better with the severity"),
    ("moves", "moves; neither direction is good"), ("none", "unclear, unchanged or too few clips"),
)  # fmt: skip


def draw_responses(rows: Sequence[Row], responses: Sequence[Response]) -> str:
    """The plot as the text of an SVG file. Each cell has its own scale; thin lines are clips, thick ones means."""
    metrics = list(dict.fromkeys(r.metric for r in responses))
    named = {r.corruption for r in responses}
    corruptions = [c for c in CORRUPTIONS if c.name in named]
    by_cell: dict[tuple[str, str], list[Row]] = {}
    for row in rows:
        by_cell.setdefault((row.metric, row.corruption), []).append(row)
    across = {c.name: LABEL_WIDTH + k * (CELL_WIDTH + GAP) for k, c in enumerate(corruptions)}
    down = {name: HEAD + k * (CELL_HEIGHT + GAP) for k, name in enumerate(metrics)}
    parts = [svg.text("tick start", x, 16, name) for name, x in across.items()]
    parts += [svg.text("label start", 4, y + 16, name) for name, y in down.items()]
    for response in responses:
        table = score_table(by_cell[response.metric, response.corruption], len(response.labels))
        cell = Markup('<g transform="translate({},{})">{}</g>')
        parts.append(cell.format(across[response.corruption], down[response.metric], _cell(response, table)))
    width = LABEL_WIDTH + len(corruptions) * (CELL_WIDTH + GAP)
    height = HEAD + len(metrics) * (CELL_HEIGHT + GAP)
    described = "A row per metric, a column per corruption; thin lines are clips, thick ones means."
    chart = Chart("Score against severity", described, max(width, 480), height + 6, tuple(parts), _LEGEND)
    return chart.standalone().decode("utf-8")


def _cell(response: Response, table: Floats) -> Markup:
    """One cell with its origin at the top left corner."""
    parts = [svg.rect("cell", 0, 0, (CELL_WIDTH, CELL_HEIGHT)), Markup("<title>{}</title>").format(_describe(response))]
    known = table[np.isfinite(table)]
    if known.size:
        axis = make_axis(float(known.min()), float(known.max()), CELL_HEIGHT - 15, 15)
        chosen = np.unique(np.linspace(0, len(table) - 1, MOST_LINES).round().astype(int))
        single = "".join(_path(table[index], axis) for index in chosen)
        means = np.array([np.nan if mean is None else mean for mean in response.means])
        line = Markup('<path class="line {}" d="{}"/>')
        parts += [line.format("faint", single), line.format(_TONES[response.verdict], _path(means, axis))]
    parts.append(svg.text("small start", 4, 10, f"ρ {format_value(response.clip_rho, 2)}"))
    return Markup().join(parts + _ends(response))


def _ends(response: Response) -> list[Markup]:
    """The first and the last mean below the lines."""
    first, last = response.means[0], response.means[-1]
    decimals = decimals_for((first, last))
    return [
        svg.text("small start", 4, CELL_HEIGHT - 4, format_value(first, decimals)),
        svg.text("small end", CELL_WIDTH - 4, CELL_HEIGHT - 4, format_value(last, decimals)),
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
