"""Ablations: variants of a grid are trained, sampled, judged and compared. And the study of reward conflicts."""

from omninft_train.ablation.ablation import Ablation, Request, open_ablation
from omninft_train.ablation.backends import Backend, make_backend
from omninft_train.ablation.grid import Grid, Table, Variant
from omninft_train.ablation.outcome import Outcome
from omninft_train.ablation.plan import Choice, Plan, cost_line, duration, plan_table
from omninft_train.ablation.reading import SHIPPED, load_grid
from omninft_train.ablation.record import check_record, record
from omninft_train.ablation.steps import KINDS, TABLES, Step

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
