"""Published figures for the rows of a table, where they are of the same quantity on the same benchmark."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from avbench.leaderboard import Figure, read_folder
from omninft_train.ablation.collect import Results
from omninft_train.ablation.compare import columns
from omninft_train.ablation.grid import Grid, Table


@dataclass(frozen=True)
class Beside:
    """Published figures by (row's label, metric), and what a reader has to know; empty figures with the reason why."""

    figures: Mapping[tuple[str, str], Figure]
    note: str


def published_beside(grid: Grid, results: Results, table: Table, leaderboards: Path) -> Beside:
    """The paper's figures that may stand beside measured ones.

    A figure is shown where the grid's benchmark is the paper's, the metric names the paper's quantity, and the
    row names the published one. Everything else would compare different things.
    """
    source = grid.published
    if not (source.paper and table.published):
        return Beside({}, "No published figures: nothing that was published is the same quantity.")
    if source.benchmark != grid.benchmark:
        return Beside(
            {},
            f"No published figures: {source.paper}'s are of {source.benchmark}, these of "
            f"{grid.benchmark or 'other clips'}.",
        )
    if not (leaderboards / "published").is_dir():
        return Beside({}, f"No published figures: {leaderboards} is no leaderboards folder. Name one (--leaderboards).")
    reading = read_folder(leaderboards)
    wanted = {metric.published: metric.name for metric in columns(results, table) if metric.published}
    labels = {row.published: row.label for row in table.rows if row.published}
    figures = {
        (labels[figure.row], wanted[figure.quantity]): figure
        for figure in reading.board.figures
        if figure.provenance == "published"
        and figure.statistic == "value"
        and figure.value
        and (figure.paper, figure.table, figure.benchmark) == (source.paper, table.published, source.benchmark)
        and figure.row in labels
        and figure.quantity in wanted
    }
    return Beside(figures, source.caveat)
