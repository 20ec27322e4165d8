"""Ablations: variants of a grid are trained, sampled, judged and compared. And the study of reward conflicts."""

from avbench.ablate.ablation import Ablation, Request, open_ablation
from avbench.ablate.grid import Grid, Table, Variant
from avbench.ablate.outcome import Outcome
from avbench.ablate.plan import Choice, Plan, cost_line, duration, plan_table
from avbench.ablate.reading import SHIPPED, load_grid
from avbench.ablate.record import check_record, record
from avbench.ablate.runner import Backend, make_backend
from avbench.ablate.steps import KINDS, TABLES, Step

__all__ = [
    "KINDS",
    "SHIPPED",
    "TABLES",
    "Ablation",
    "Backend",
    "Choice",
    "Grid",
    "Outcome",
    "Plan",
    "Request",
    "Step",
    "Table",
    "Variant",
    "check_record",
    "cost_line",
    "duration",
    "load_grid",
    "make_backend",
    "open_ablation",
    "plan_table",
    "record",
]
