"""Backbone files that change another one in a few values."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import pytest
from flattened import flat

from omninft_train.errors import UsageError
from omninft_train.recipe import load, to_toml
from omninft_train.recipes import VARIANTS


@pytest.mark.parametrize(
    ("variant", "changed"),
    [
        ("ltx2.3", {"backbone.path": "diffusers/LTX-2.3-Diffusers", "sampling.guidance.stg_blocks": (28,)}),
        ("ltx2.5", {"backbone.path": "Lightricks/LTX-2.5-Diffusers", "sampling.guidance.stg_blocks": (28,)}),
        (
            "ltx2-small",
            {"backbone.height": 256, "backbone.width": 384, "backbone.frames": 81, "sampling.steps": 24},
        ),
        (
            "ltx2-32gb",
            {
                "backbone.height": 256, "backbone.width": 384, "backbone.frames": 81, "sampling.steps": 24,
                "backbone.quantize": "int8", "backbone.tiling": "both", "backbone.offload": True,
                "rewards.offload": True,
            },
        ),
    ],
)  # fmt: skip
def test_a_variant_is_its_backbone_with_changes(variant: str, changed: dict[str, Any], tmp_path: Path):
    base, found = (flat(dataclasses.asdict(load("omninft", name))) for name in ("ltx2", variant))
    assert {key: value for key, value in found.items() if base[key] != value} == changed
    config = load("arr", variant, ["preset=paper"])
    assert config.backbone.kind == "ltx2"
    again = tmp_path / "own.toml"
    again.write_text(to_toml(config), encoding="utf-8")
    assert load(again, None) == config


def test_every_variant_is_tested():
    assert set(VARIANTS) == {"ltx2.3", "ltx2.5", "ltx2-small", "ltx2-32gb"}


@pytest.mark.parametrize("changes", [("policy.parameters=full",), ("backbone.quantize=int8",)])
def test_only_adapters_go_with_a_quantised_network(changes: tuple[str, ...]):
    backbone = "ltx2" if "policy.parameters=full" in changes else "miniature"
    with pytest.raises(UsageError, match="for adapters on LTX-2 only"):
        load("omninft", backbone, ["backbone.quantize=int8", *changes])


def test_what_is_trained_whole_is_float32():
    """In bfloat16 an update of the usual learning rate is less than half a step of most weights."""
    with pytest.raises(UsageError, match=r"policy\.parameters = 'full' with backbone\.dtype = 'bfloat16'.*memory"):
        load("omninft", "ltx2", ["policy.parameters=full"])
    assert load("omninft", "ltx2", ["policy.parameters=full", "backbone.dtype=float32"]).backbone.dtype == "float32"
    assert load("omninft", "ltx2").backbone.dtype == "bfloat16"
