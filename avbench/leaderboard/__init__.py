"""Published and measured figures side by side, each with its provenance: read, check, render, add runs."""

from avbench.leaderboard.grid import Grid, difference, differences, fill
from avbench.leaderboard.measured import About, append_measured, measured_rows, run_digest
from avbench.leaderboard.read import Reading, load_board, read_folder
from avbench.leaderboard.renderings import Stale, build, render_all, stale
from avbench.leaderboard.schema import Board, Conflict, Figure, MeasuredRow, Problem, Quantity
from avbench.leaderboard.views import ViewSpec

__all__ = [
    "About",
    "Board",
    "Conflict",
    "Figure",
    "Grid",
    "MeasuredRow",
    "Problem",
    "Quantity",
    "Reading",
    "Stale",
    "ViewSpec",
    "append_measured",
    "build",
    "difference",
    "differences",
    "fill",
    "load_board",
    "measured_rows",
    "read_folder",
    "render_all",
    "run_digest",
    "stale",
]
