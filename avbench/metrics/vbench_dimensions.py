"""VBench's sixteen dimensions: their bounds and weights, and what Quality, Semantic and Total are made of.

Plain values and functions of numbers; not a metric by itself. Source: VBench (Huang et al., CVPR 2024),
scripts/constant.py and scripts/cal_final_score.py.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from avbench.sources.vbench import FLICKERING

_STATIC = "static_filter"


@dataclass(frozen=True)
class Dimension:
    """One of VBench's dimensions.

    Attributes:
        name: of the dimension, and of its metric.
        low, high: values that become 0 and 1.
        weight: in the mean of its group.
        compat: whether its metric has a compat mode.
        lost: in compat mode a clip counts as often as it has frames, less this many; None where every clip counts once.
    """

    name: str
    low: float = 0.0
    high: float = 1.0
    weight: float = 1.0
    compat: bool = False
    lost: int | None = None

    def metric(self, mode: str) -> str:
        """Its metric in mode "fixed" or "compat"."""
        return f"{self.name}_compat" if mode == "compat" and self.compat else self.name

    def normalised(self, value: float) -> float:
        """A value between its bounds as VBench adds it up: weighted, not clamped."""
        return self.weight * (value - self.low) / (self.high - self.low)


QUALITY = (
    Dimension("subject_consistency", 0.1462, lost=1),
    Dimension("background_consistency", 0.2615, lost=1),
    Dimension(FLICKERING, 0.6293),
    Dimension("motion_smoothness", 0.706, 0.9975, compat=True),
    Dimension("dynamic_degree", weight=0.5, compat=True),
    Dimension("aesthetic_quality"),
    Dimension("imaging_quality"),
)
SEMANTIC = (
    Dimension("object_class"),
    Dimension("multiple_objects"),
    Dimension("human_action"),
    Dimension("color", compat=True),
    Dimension("spatial_relationship", compat=True),
    Dimension("scene", high=0.8222, compat=True),
    Dimension("appearance_style", 0.0009, 0.2855, lost=0),
    Dimension("temporal_style", high=0.364),
    Dimension("overall_consistency", high=0.364),
)
DIMENSIONS = (*QUALITY, *SEMANTIC)


def static_filter(mode: str) -> str:
    """The metric that says whether a clip stands still."""
    return f"{_STATIC}_compat" if mode == "compat" else _STATIC


def group_mean(values: Mapping[str, float], dimensions: Sequence[Dimension]) -> float:
    """Weighted mean of normalised values; a dimension that is absent counts as a raw 0, as VBench's script has it."""
    total = sum(dimension.normalised(values.get(dimension.name, 0.0)) for dimension in dimensions)
    return total / sum(dimension.weight for dimension in dimensions)


def quality(values: Mapping[str, float]) -> float:
    """Quality from the values of seven dimensions."""
    return group_mean(values, QUALITY)


def semantic(values: Mapping[str, float]) -> float:
    """Semantic from the values of nine dimensions."""
    return group_mean(values, SEMANTIC)


def total(values: Mapping[str, float]) -> float:
    """Total from the values of sixteen dimensions."""
    return (4 * quality(values) + semantic(values)) / 5
