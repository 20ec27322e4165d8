from __future__ import annotations

from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import pytest
import torch
from diffusers import LTX2VideoTransformer3DModel
from peft import LoraConfig
from tiny_pipeline import build_tiny_pipeline, save_full_size_configs, save_tiny_pipeline, tiny_section

from omninft_train.config import BackboneSection, Config, OptimizerSection, PolicySection
from omninft_train.recipe import load
from omninft_train.rewards.local import network_bytes
from omninft_train.training.memory import PHASES, adapter_parameters, estimate


@pytest.fixture(scope="module")
def full_size(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder with the configurations of LTX-2.0, without weights."""
    return save_full_size_configs(tmp_path_factory.mktemp("ltx2"))


def config(folder: Path, **changes: Any) -> Config:
    return Config(backbone=BackboneSection(path=str(folder), **changes))


def test_figures_of_the_full_size(full_size: Path) -> None:
    found = estimate(config(full_size))
    assert found.base == pytest.approx(37.8e9, rel=0.005)
    assert found.trained + found.gradients == pytest.approx(4.9e9, rel=0.01)
    assert found.old == pytest.approx(1.2e9, rel=0.03)
    assert found.prompts == pytest.approx(33 * 16e6, rel=0.03)
    assert found.activations == pytest.approx(2.4e9 + 2.6e9, rel=0.03)  # inputs of blocks, and one block
    assert found.gathered == found.reference == found.rewards == 0
    assert found.peak == found.update < 0.9 * 80e9  # trains on one GPU of 80 GB


def test_spread_over_gpus_each_part_shrinks_that_can(full_size: Path) -> None:
    whole, eighth = estimate(config(full_size)), estimate(config(full_size), world=8)
    for name in ("base", "trained", "gradients", "old"):
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
    assert found.trained == 2 * found.base and found.gradients == found.base
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
    assert lines[0] == "memory per GPU, estimated: parts" and "memory per GPU, estimated: phases" in lines
    assert lines[-1].split() == ["peak", f"{found.peak / 1e9:.2f}", "GB"]
    assert len(lines) == 2 + len(fields(found)) + 1


def recipe(folder: Path, backbone: str = "ltx2", *changes: str) -> Config:
    """As shipped, on the configurations at hand."""
    return load("omninft", backbone, [f'backbone.path="{folder}"', *changes])


def test_rewards_are_counted_by_the_sizes_of_their_checkpoints(full_size: Path) -> None:
    shipped = recipe(full_size)
    sizes = network_bytes(shipped.rewards.reward)
    assert sum(sizes.values()) == pytest.approx(24e9, rel=0.05)
    assert max(sizes.values()) == pytest.approx(16.6e9, rel=0.01)  # HPSv3
    assert estimate(shipped).rewards == sum(sizes.values())
    for elsewhere in ("rewards.device=cpu", "rewards.backend=ray"):
        assert estimate(recipe(full_size, "ltx2", elsewhere)).rewards == 0


def test_a_phase_holds_what_it_needs(full_size: Path) -> None:
    shipped, offloaded = (
        estimate(recipe(full_size, "ltx2", *more))
        for more in ((), ("backbone.offload=true", "rewards.offload=true", "backbone.tiling=both"))
    )
    resident = shipped.base + shipped.trained + shipped.old + shipped.prompts
    networks = shipped.decoders + shipped.rewards
    assert shipped.update == resident + shipped.gradients + shipped.activations + networks
    assert shipped.sample == resident + shipped.passing + networks
    assert shipped.decode == resident + shipped.decoding + networks
    assert shipped.score == resident + networks
    assert offloaded.update == shipped.update - networks
    assert offloaded.sample == shipped.sample - networks
    assert offloaded.decode == resident + offloaded.decoders + offloaded.decoding
    assert offloaded.decoding < shipped.decoding / 5
    largest = max(network_bytes(recipe(full_size).rewards.reward).values())
    moments = shipped.trained - shipped.old  # what stays of the policy while its network is away
    assert offloaded.score == moments + shipped.prompts + largest
    for found in (shipped, offloaded):
        assert found.peak == max(getattr(found, name) for name in PHASES)


HELD_OUT = ("run.eval_every=50", "evaluation.heldout=['clip_score']")


def test_an_evaluation_holds_what_a_step_does_and_held_out_networks(full_size: Path) -> None:
    plain, evaluated = (estimate(recipe(full_size, "ltx2", *more)) for more in ((), HELD_OUT))
    assert plain.evaluate == plain.heldout == 0
    assert evaluated.heldout == pytest.approx(0.61e9, rel=0.01)  # CLIP's
    assert evaluated.evaluate == max(plain.sample, plain.decode, plain.score) + evaluated.heldout
    bare = estimate(recipe(full_size, "ltx2", "run.eval_every=50"))
    assert (bare.heldout, bare.evaluate) == (0, max(plain.sample, plain.decode, plain.score))


def test_held_out_networks_are_here_though_rewards_are_elsewhere(full_size: Path) -> None:
    actors = estimate(recipe(full_size, "ltx2", *HELD_OUT, "rewards.backend=ray"))
    assert actors.rewards == 0 < actors.heldout
    assert actors.evaluate == max(actors.sample, actors.decode) + actors.heldout
    assert estimate(recipe(full_size, "ltx2", *HELD_OUT, "rewards.device=cpu")).heldout == 0


def test_a_large_held_out_network_decides_the_peak(full_size: Path) -> None:
    cheap = ('rewards.reward=[{scorer = "reward_audiobox", weight = 1.0, route = "both"}]', "run.eval_every=50")
    large = (*cheap, "evaluation.heldout=['reward_hpsv3']")
    found = estimate(recipe(full_size, "ltx2", *large))
    assert found.peak == found.evaluate > found.update
    # One after another, only the largest counts, and the generator may wait in main memory meanwhile.
    offloaded = estimate(recipe(full_size, "ltx2", *large, "rewards.offload=true", "backbone.offload=true"))
    assert offloaded.evaluate == max(offloaded.sample, offloaded.decode) < found.evaluate - found.heldout


def test_a_lora_to_start_from_is_kept_as_the_reference(full_size: Path) -> None:
    plain, started = estimate(recipe(full_size)), estimate(recipe(full_size, "ltx2", "policy.init=lora"))
    assert (plain.reference, started.reference) == (0, plain.old)
    assert started.update == plain.update + plain.old


def test_loading_is_the_larger_of_text_encoder_and_what_stays(full_size: Path, tmp_path: Path) -> None:
    whole = estimate(recipe(full_size))
    assert whole.load == whole.base + 2 * whole.old + whole.decoders
    spread = estimate(recipe(full_size), world=8)
    assert spread.load == (whole.base + 2 * whole.old) // 8 + whole.decoders
    tiny = save_tiny_pipeline(tmp_path / "tiny")
    encoder = sum(p.numel() for p in build_tiny_pipeline().text_encoder.parameters())
    network = sum(p.numel() for p in build_tiny_pipeline().transformer.parameters())
    found = estimate(replace(Config(policy=PolicySection(rank=1)), backbone=tiny_section(tiny, tmp_path)))
    assert found.load == max(encoder, network + 2 * found.old // 4) * 4 + found.decoders


def test_eight_bits_halve_the_base(full_size: Path) -> None:
    found = estimate(recipe(full_size, "ltx2", "backbone.quantize=int8"))
    assert found.base == pytest.approx(19.3e9, rel=0.01)
    assert estimate(recipe(full_size, "ltx2", "backbone.quantize=int8"), world=8).base == found.base


@pytest.mark.parametrize(("name", "video_tokens"), [("ltx2-small", 1056), ("ltx2-32gb", 1056)])
def test_recipes_for_less_memory(full_size: Path, name: str, video_tokens: int) -> None:
    small, large = estimate(recipe(full_size, name)), estimate(recipe(full_size))
    assert small.passing / large.passing == pytest.approx(video_tokens / 6144, rel=0.05)
    assert small.update < large.update and small.decoding < large.decoding / 4
    if name == "ltx2-32gb":
        assert small.peak < 0.9 * 32e9
