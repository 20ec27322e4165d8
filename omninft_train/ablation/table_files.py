"""Sheets as Markdown, LaTeX and CSV."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from avbench.pages.latex import NEEDS, paragraphs_latex, table_latex
from avbench.pages.markdown import section_markdown
from avbench.pages.numbers import NONE
from avbench.terminal.text import latex_text, markdown_text, to_csv
from omninft_train.ablation.compare import Difference, Summary
from omninft_train.ablation.grid import Grid, Metric
from omninft_train.ablation.sheet import Sheet

RESULT_COLUMNS = (
    "table", "row", "variant", "metric", "rewarded", "direction", "unit", "provenance", "mean", "sd", "seeds", "low",
    "high", "n", "n_of", "source",
)  # fmt: skip
DIFFERENCE_COLUMNS = (
    "table", "row", "against", "role", "metric", "direction", "difference", "low", "high", "prompt_low", "prompt_high",
    "by_seed", "pairs", "verdict", "sentence",
)  # fmt: skip


def markdown(sheet: Sheet, notes: Sequence[str] = ()) -> str:
    """A sheet as a Markdown page."""
    parts = [f"# {markdown_text(sheet.table.title)}"]
    parts += [markdown_text(text) for text in (sheet.table.about, *notes) if text]
    for block in sheet.blocks:
        parts += [f"## {markdown_text(block.title)}", *section_markdown(block)]
    parts += [markdown_text(sheet.beside.note)] if sheet.beside.note and not sheet.beside.figures else []
    if sheet.sentences:
        parts.append("## Which orderings the seeds support")
        for sentences in (sheet.orders, sheet.sentences):
            parts.append("\n".join(f"- {markdown_text(sentence)}" for sentence in sentences))
    return "\n\n".join(part for part in parts if part) + "\n"


def latex(sheet: Sheet, notes: Sequence[str] = ()) -> str:
    """A sheet as booktabs tabulars, one for each block."""
    head = f"{NEEDS} Written by 'avbench ablate'.\n% {latex_text(sheet.table.title)}"
    below = [*([] if sheet.beside.figures else [sheet.beside.note]), *sheet.orders, *sheet.sentences, *notes]
    parts = [head, *map(table_latex, sheet.blocks), paragraphs_latex([text for text in below if text])]
    return "\n\n".join(part for part in parts if part) + "\n"


def results_csv(
    grid: Grid,
    sheets: Sequence[Sheet],
    summaries: Mapping[tuple[str, str], Summary],
    metrics: Sequence[Metric],
    rewarded: frozenset[str],
) -> str:
    """Every mean of every row, measured and published apart, one line each."""
    lines: list[list[str]] = []
    for sheet in sheets:
        for row in sheet.table.rows:
            for metric in metrics:
                cells = ["yes" if metric.name in rewarded else "no", metric.direction, metric.unit]
                key = [sheet.table.name, row.label, row.variant, metric.name, *cells]
                summary = summaries.get((row.variant, metric.name))
                if summary is not None and summary.mean is not None:
                    seeds = " ".join(map(str, grid.seeds))
                    interval = [_number(summary.low), _number(summary.high), str(summary.n), str(summary.n_of)]
                    lines.append([*key, "measured", _number(summary.mean), _number(summary.sd), seeds, *interval, ""])
                figure = sheet.beside.figures.get((row.label, metric.name))
                if figure is not None:
                    lines.append([*key, "published", figure.value, "", "", "", "", "", "", figure.source])
    return to_csv(RESULT_COLUMNS, lines)


def differences_csv(sheets: Sequence[Sheet], metrics: Sequence[Metric]) -> str:
    """Every difference, one line each."""
    directions = {metric.name: metric.direction for metric in metrics}
    return to_csv(DIFFERENCE_COLUMNS, [_line(one, directions[one.metric]) for s in sheets for one in s.differences])


def _line(one: Difference, direction: str) -> list[str]:
    numbers = [one.difference, one.low, one.high, one.prompt_low, one.prompt_high]
    return [
        one.table, one.row.label, one.against.label, one.role, one.metric, direction, *map(_number, numbers),
        " ".join(_number(value) or NONE for value in one.by_seed), str(one.pairs), one.verdict, one.sentence,
    ]  # fmt: skip


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:.6g}"
