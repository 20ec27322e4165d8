from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from diffusers import LTX2VideoTransformer3DModel
from peft import LoraConfig
from tiny_pipeline import save_full_size_configs, save_tiny_pipeline, tiny_section

from omninft_train.config import BackboneSection, Config, OptimizerSection, PolicySection
from omninft_train.training.memory import adapter_parameters, estimate


@pytest.fixture(scope="module")
def full_size(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder with the configurations of LTX-2.0, without weights."""
    return save_full_size_configs(tmp_path_factory.mktemp("ltx2"))


def config(folder: Path, **changes: Any) -> Config:
    return Config(backbone=BackboneSection(path=str(folder), **changes))


def test_figures_of_the_full_size(full_size: Path) -> None:
    found = estimate(config(full_size))
    assert found.base == pytest.approx(37.8e9, rel=0.005)
    assert found.trained == pytest.approx(4.9e9, rel=0.01)
    assert found.old == pytest.approx(1.2e9, rel=0.03)
    assert found.prompts == pytest.approx(33 * 16e6, rel=0.03)
    assert found.activations == pytest.approx(2.4e9 + 2.6e9, rel=0.03)  # inputs of blocks, and one block
    assert found.gathered == found.reference == 0
    assert found.total < 0.9 * 80e9  # trains on one GPU of 80 GB


def test_spread_over_gpus_each_part_shrinks_that_can(full_size: Path) -> None:
    whole, eighth = estimate(config(full_size)), estimate(config(full_size), world=8)
    for name in ("base", "trained", "old"):
        assert getattr(eighth, name) == pytest.approx(getattr(whole, name) / 8, rel=1e-6)
    assert eighth.activations == whole.activations
    assert eighth.prompts == pytest.approx(whole.prompts * 5 / 33, rel=1e-6)
    assert 1e9 < eighth.gathered < 2e9
    unspread = estimate(config(full_size), world=8, shards=1)
    assert (unspread.base, unspread.gathered) == (whole.base, 0)


def test_without_checkpointing_every_block_is_kept(full_size: Path) -> None:
    kept = estimate(config(full_size, gradient_checkpointing=False)).activations
    assert kept == pytest.approx(48 * 2.6e9, rel=0.03)
    twice = replace(config(full_size), optimizer=OptimizerSection(batch=2))
    assert estimate(twice).activations == 2 * estimate(config(full_size)).activations


def test_training_everything_costs_copies(full_size: Path) -> None:
    found = estimate(replace(config(full_size), policy=PolicySection(parameters="full")))
    assert found.trained == 3 * found.base
    assert found.old == found.reference == found.base


def test_adapters_are_counted_as_peft_makes_them() -> None:
    with torch.device("meta"):
        full = LTX2VideoTransformer3DModel()
    assert adapter_parameters(full, 32) == pytest.approx(308.3e6, rel=1e-3)
    network = LTX2VideoTransformer3DModel(
        num_attention_heads=2, attention_head_dim=8, cross_attention_dim=16, audio_num_attention_heads=2,
        audio_attention_head_dim=4, audio_cross_attention_dim=8, num_layers=2, caption_channels=16,
    )  # fmt: skip
    expected = adapter_parameters(network, 3)
    network.requires_grad_(False)
    targets = r"transformer_blocks\.\d+\.(.*attn\w*\.(to_q|to_k|to_v|to_out\.0)|(audio_)?ff\.net\.(0\.proj|2))"
    network.add_adapter(LoraConfig(r=3, target_modules=targets))
    assert sum(p.numel() for n, p in network.named_parameters() if "lora" in n) == expected


def test_ltx23_and_the_table(tmp_path: Path) -> None:
    folder = save_tiny_pipeline(tmp_path / "tiny", "2.3")
    found = estimate(replace(Config(), backbone=tiny_section(folder, tmp_path)))
    assert found.prompts == 33 * 1024 * (16 + 8) * 4
    lines = found.table().splitlines()
    assert lines[0].startswith("memory per GPU")
    assert lines[-1].split() == ["total", f"{found.total / 1e9:.2f}", "GB"]
    assert len(lines) == 10
