"""Views as Markdown: best bold, second underlined, marks raised, footnotes below."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from avbench.leaderboard.grid import LEGEND, NONE, Cell, Grid, differences
from avbench.leaderboard.schema import Board, Conflict, Figure
from avbench.leaderboard.views import ViewSpec
from avbench.terminal.text import markdown_text

NO_ROWS = "No rows yet."


def grid_markdown(grid: Grid, board: Board) -> str:
    """A view as a page: heading, table, differences, footnotes, sources."""
    view = grid.spec
    parts = [f"# {markdown_text(view.title)}"] + ([markdown_text(view.about)] if view.about else [])
    if not grid.rows:
        return "\n\n".join([*parts, NO_ROWS]) + "\n"
    parts.append(_main_table(grid))
    parts.append(_ranking_note(grid))
    rows = differences(grid)
    if rows:
        parts.append(f"## Difference to {markdown_text(view.baseline)}")
        heads = ["row", *(markdown_text(c.heading) for c in grid.columns)]
        body = [[markdown_text(row.label), *(d.text if d else NONE for d in found)] for row, found in rows]
        parts.append(_table(heads, body, left=1))
        parts.append("▲ better, ▼ worse; per cent of the baseline.")
    parts.append(_footnotes(grid.marks, board.conflicts))
    parts.append(
        "From: " + markdown_text("; ".join(papers(grid.figures))) + ". Each figure's source is in figures.csv."
    )
    return "\n\n".join(part for part in parts if part) + "\n"


def settings_markdown(view: ViewSpec, figures: Sequence[Figure], board: Board) -> str:
    """A view of kind "settings": one line per setting of a method."""
    body = [
        [markdown_text(f.row), markdown_text(f.metric), markdown_text(f.value) + _raised(_marks(f))] for f in figures
    ]
    marks = sorted(
        {mark for f in figures for mark in _marks(f)}, key=lambda mark: (mark not in LEGEND, len(mark), mark)
    )
    parts = [
        f"# {markdown_text(view.title)}",
        markdown_text(view.about),
        _table(["where", "setting", "value"], body, left=3),
    ]
    parts.append(_footnotes(marks, board.conflicts))
    return "\n\n".join(part for part in parts if part) + "\n"


def _marks(figure: Figure) -> tuple[str, ...]:
    return (*(("1",) if figure.status == "one-source" else ()), *figure.conflict)


def papers(figures: Sequence[Figure]) -> list[str]:
    """The papers of these figures, each once, with arXiv numbers."""
    return list(dict.fromkeys(map(_paper, figures)))


def _paper(figure: Figure) -> str:
    if figure.provenance == "measured":
        return "runs of avbench"
    return figure.paper + (f" (arXiv {figure.arxiv_id})" if figure.arxiv_id != "-" else "")


def _main_table(grid: Grid) -> str:
    extra = [name for name in ("setting", "protocol") if any(getattr(row, name) for row in grid.rows)]
    heads = ["row", *extra, *(markdown_text(column.heading) for column in grid.columns)]
    body: list[list[str]] = []
    group = ""
    for row in grid.rows:
        if row.group != group:
            group = row.group
            body.append([f"**{markdown_text(group)}**", *[""] * (len(heads) - 1)])
        texts = [markdown_text(getattr(row, name)) for name in extra]
        body.append([markdown_text(row.label) + _raised(row.marks), *texts, *map(_cell, row.cells)])
    if grid.spec.kind == "drift":
        body.append(["*lowest to highest*", *[""] * len(extra), *(_range(grid, i) for i in range(len(grid.columns)))])
    return _table(heads, body, left=1 + len(extra))


def _cell(cell: Cell) -> str:
    if not cell.text:
        return NONE
    text = markdown_text(cell.text)
    if cell.rank:
        text = f"**{text}**" if cell.rank == "best" else f"<u>{text}</u>"
    return text + _raised(cell.marks)


def _raised(marks: Sequence[str]) -> str:
    return f" <sup>{' '.join(marks)}</sup>" if marks else ""


def _range(grid: Grid, place: int) -> str:
    found = [(cell.number, cell.text) for row in grid.rows if (cell := row.cells[place]).number is not None]
    if len(found) < 2:
        return NONE
    ordered = sorted(found, key=lambda pair: pair[0] or 0)
    return markdown_text(f"{ordered[0][1]} to {ordered[-1][1]}")


def _ranking_note(grid: Grid) -> str:
    ranked = any(cell.rank for row in grid.rows for cell in row.cells)
    return "**Best**, <u>second</u> by the printed value: neither says that a gap is more than noise." if ranked else ""


def _footnotes(marks: Sequence[str], conflicts: Mapping[str, Conflict]) -> str:
    lines = []
    for mark in marks:
        if mark in LEGEND:
            lines.append(f"- <sup>{mark}</sup> {LEGEND[mark]}.")
        else:
            heading, text = markdown_text(conflicts[mark].heading), markdown_text(conflicts[mark].text)
            lines.append(f"- <sup>{mark}</sup> **{heading}** {text}")
    return "\n".join(lines)


def _table(heads: Sequence[str], body: Sequence[Sequence[str]], *, left: int) -> str:
    """The first `left` columns are texts, the others numbers."""
    rule = ["---"] * left + ["--:"] * (len(heads) - left)
    return "\n".join("| " + " | ".join(cells) + " |" for cells in (heads, rule, *body))
