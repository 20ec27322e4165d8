"""Configuration of the regression heads, from the checkpoint's config.json."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

AXES = ("CE", "CU", "PC", "PQ")
"""Content enjoyment, content usefulness, production complexity, production quality: the order of all outputs."""

INVENTED_TARGETS = ((5.25, 1.5), (6.0, 1.25), (3.0, 1.75), (6.5, 1.0))
"""Invented (mean, std) per axis for keyed-random weights; real ones come from the checkpoint's config.json."""


@dataclass(frozen=True)
class HeadConfig:
    """Constructor values of the heads, named as in config.json, with the reference constructor's defaults.

    Attributes:
        targets: (mean, std) of the ratings per axis, in the order of `AXES`; a head predicts standardised ratings.
        proj_num_layer: linear layers per head.
        proj_ln: layer norm after each but the last.
        proj_dropout: only whether it is zero counts; a dropout shifts the names of the entries.
        normalize_embed: scale the pooled embedding to unit length.
    """

    targets: tuple[tuple[float, float], ...]
    proj_num_layer: int = 1
    proj_ln: bool = False
    proj_dropout: float = 0.0
    normalize_embed: bool = True


def head_config(content: Mapping[str, Any], layers: int) -> HeadConfig:
    """Read the content of config.json.

    `precision` and `freeze_encoder` change nothing when scoring with the reference and are not read.

    Args:
        content: the parsed file.
        layers: transformer layers of the encoder.

    Raises:
        ValueError: a value asks for a variant that is not built here, or the rating statistics are missing.
    """
    built = {"use_weighted_layer_sum": True, "nth_layer": layers + 1, "proj_act_fn": "gelu", "output_dim": 1}
    for name, value in built.items():
        if content.get(name, value) != value:
            raise ValueError(f"{name} is {content[name]!r}, only {value!r} is implemented")
    table = content.get("target_transform")
    if not isinstance(table, Mapping) or not set(AXES) <= table.keys():
        raise ValueError(f"target_transform needs mean and std of {', '.join(AXES)}")
    targets = tuple((float(table[axis]["mean"]), float(table[axis]["std"])) for axis in AXES)
    if not all(math.isfinite(mean) and math.isfinite(std) and std > 0 for mean, std in targets):
        raise ValueError(f"target_transform holds impossible statistics: {targets}")
    names = ("proj_num_layer", "proj_ln", "proj_dropout", "normalize_embed")
    return HeadConfig(targets, **{name: content[name] for name in names if name in content})
