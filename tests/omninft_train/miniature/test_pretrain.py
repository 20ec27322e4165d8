"""Pretraining: options decide the outcome, a folder is whole or not there, and the loss falls."""

from __future__ import annotations

import json
import math
from dataclasses import fields, replace
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from avbench import files
from omninft_train.errors import EnvironmentProblem, TrainingStopped, UsageError
from omninft_train.miniature import backbone as backbone_module
from omninft_train.miniature import pretrain as module
from omninft_train.miniature.backbone import META, WEIGHTS, MiniatureBackbone, Size
from omninft_train.miniature.codec import SOLO
from omninft_train.miniature.pretrain import (
    PretrainOptions,
    draw_batch,
    flow_matching,
    is_complete,
    pretrain,
    pretrained,
    warmed_fraction,
)
from omninft_train.miniature.render import render_scenes
from omninft_train.miniature.world import VERSION, draw_scene
from omninft_train.miniature.worlds import WORLDS
from omninft_train.models.policy import FullPolicy

TINY = Size(blocks=1, heads=2, video_width=32, audio_width=32)
QUICK = PretrainOptions(steps=3, batch=4, warmup=2, size=TINY)


def raise_version(monkeypatch: pytest.MonkeyPatch) -> None:
    changed = replace(WORLDS["miniature"], identity=VERSION + 1)
    monkeypatch.setattr(backbone_module, "WORLDS", {**WORLDS, "miniature": changed})


def weights(options: PretrainOptions) -> dict[str, torch.Tensor]:
    return pretrain(options)[0].transformer.state_dict()


def equal(a: dict[str, torch.Tensor], b: dict[str, torch.Tensor]) -> bool:
    return a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)


@pytest.fixture(scope="module")
def outcome() -> tuple[MiniatureBackbone, list[float]]:
    """Thirty steps of a tiny network."""
    return pretrain(PretrainOptions(steps=30, batch=8, lr=1e-2, warmup=3, drop=0.0, size=TINY))


def test_the_loss_falls(outcome):
    losses = outcome[1]
    assert len(losses) == 30
    assert np.mean(losses[-10:]) < 0.93 * np.mean(losses[:10])  # each is of other scenes, so they differ by 10 %
    assert all(math.isfinite(loss) for loss in losses)


def test_averaged_weights_are_what_is_kept_and_can_be_trained_on(outcome):
    backbone = outcome[0]
    assert all(parameter.requires_grad for parameter in backbone.transformer.parameters())
    start = MiniatureBackbone.untrained(TINY, 0).transformer.state_dict()
    assert not equal(backbone.transformer.state_dict(), start)
    # Better than the start on scenes that it did not see: the average does not lag behind.
    options = PretrainOptions(seed=9, batch=32, drop=0.0, size=TINY)
    losses = []
    for transformer in (MiniatureBackbone.untrained(TINY, 0).transformer, backbone.transformer):
        latents, condition = draw_batch(backbone, options, 0)
        policy = FullPolicy(transformer, backbone.geometry)
        losses.append(flow_matching(policy, latents, condition, options, 0).item())
    assert losses[1] < 0.85 * losses[0]


def test_equal_options_give_equal_weights_and_others_do_not():
    first = weights(QUICK)
    torch.rand(5)  # whatever else was drawn before
    assert equal(first, weights(QUICK))
    assert not equal(first, weights(replace(QUICK, seed=1)))
    assert not equal(first, weights(replace(QUICK, drop=1.0)))


OTHER = {
    "seed": 1,
    "steps": 4,
    "batch": 5,
    "lr": 1e-3,
    "muon_lr": 1e-3,
    "warmup": 1,
    "weight_decay": 0.1,
    "ema": 0.9,
    "shift": 1.0,
    "drop": 0.2,
    "size": replace(TINY, blocks=2),
    "world": "crowd",
}


def test_every_option_changes_the_digest(monkeypatch: pytest.MonkeyPatch):
    # A field that is new and not here fails: it has to change the digest too.
    digests = {name: replace(QUICK, **{name: OTHER[name]}).digest for name in (f.name for f in fields(QUICK))}
    assert len({QUICK.digest, *digests.values()}) == len(digests) + 1
    assert PretrainOptions(steps=3, batch=4, warmup=2, size=TINY).digest == QUICK.digest
    before = QUICK.digest
    raise_version(monkeypatch)
    assert QUICK.digest != before


@pytest.mark.parametrize(
    ("wrong", "told"),
    [
        ({"steps": 0}, "steps = 0: must be at least 1"),
        ({"steps": -5}, "steps = -5: must be at least 1"),
        ({"batch": 0}, "batch = 0: must be at least 1"),
    ],
)
def test_options_that_train_nothing_are_refused(wrong: dict[str, int], told: str):
    with pytest.raises(UsageError, match=told):
        replace(QUICK, **wrong)


def test_a_second_call_finds_what_the_first_left(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    own = pretrained(tmp_path, QUICK)
    assert own.parent == tmp_path and QUICK.digest in own.name
    assert is_complete(own, QUICK) and not is_complete(own, replace(QUICK, seed=1))
    assert sorted(path.name for path in own.iterdir()) == [META, WEIGHTS]
    meta = json.loads((own / META).read_text())
    assert meta["options"]["steps"] == 3 and meta["size"]["blocks"] == 1
    assert meta["parameters"] == sum(p.numel() for p in MiniatureBackbone.load(own).transformer.parameters())
    assert math.isfinite(meta["final_loss"])
    monkeypatch.setattr(module, "pretrain", None)  # would fail if it were called
    assert pretrained(tmp_path, QUICK) == own


def test_what_is_loaded_is_what_was_trained(tmp_path: Path):
    loaded = MiniatureBackbone.load(pretrained(tmp_path, QUICK))
    assert equal(loaded.transformer.state_dict(), weights(QUICK))
    assert loaded.digest == QUICK.digest


@pytest.mark.parametrize("broken", ["weights", "meta"])
def test_an_interrupted_save_leaves_no_meta_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, broken: str):
    own = tmp_path / f"miniature-{QUICK.digest}"
    save_file, rename = module.save_file, files.rename

    def half_of_the_weights(tensors, path: Path) -> None:
        save_file(tensors, path)
        path.write_bytes(path.read_bytes()[:100])
        raise KeyboardInterrupt

    def all_but_the_meta(whole: Path, path: Path) -> None:
        if path.name == META:
            raise KeyboardInterrupt
        rename(whole, path)

    with monkeypatch.context() as patch:
        if broken == "weights":
            patch.setattr(module, "save_file", half_of_the_weights)
        else:
            patch.setattr(files, "rename", all_but_the_meta)
        with pytest.raises(KeyboardInterrupt):
            pretrained(tmp_path, QUICK)
    assert not (own / META).exists()
    assert not is_complete(own, QUICK)
    with pytest.raises(UsageError, match="no pretrained miniature"):
        MiniatureBackbone.load(own)
    MiniatureBackbone.load(pretrained(tmp_path, QUICK))  # done over, beside what was left
    assert sorted(path.name for path in own.iterdir()) == [META, WEIGHTS]


def test_a_pretraining_of_another_world_is_done_anew(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    old = pretrained(tmp_path, QUICK)
    raise_version(monkeypatch)
    with pytest.raises(UsageError, match="another version of the miniature world"):
        MiniatureBackbone.load(old)
    new = pretrained(tmp_path, QUICK)
    assert new != old
    MiniatureBackbone.load(new)


def test_a_folder_that_cannot_be_written_is_told_before_training(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    blocked = tmp_path / "file"
    blocked.write_text("in the way")
    monkeypatch.setattr(module, "pretrain", None)  # would fail if it were called
    with pytest.raises(EnvironmentProblem, match="cannot be written") as caught:
        pretrained(blocked, QUICK)
    assert str(blocked) in str(caught.value)


def test_a_full_disk_is_a_problem_of_the_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(module, "save_file", full)
    with pytest.raises(EnvironmentProblem, match=r"cannot be written .*No space left on device"):
        pretrained(tmp_path, QUICK)


def test_a_loss_that_is_not_finite_stops(tmp_path: Path):
    wild = replace(QUICK, lr=1e30, muon_lr=6e-3, warmup=1, steps=20)
    with pytest.raises(
        TrainingStopped,
        match=r"pretraining step \d+: the loss is not finite. Lower lr \(now 1e\+30\) or muon_lr \(now 0.006\)",
    ):
        pretrained(tmp_path, wild)
    assert not list(tmp_path.rglob(META))


def test_progress_is_told_as_means_of_the_steps_between(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(module, "_REPORT_EVERY", 2)
    told: list[tuple[int, float]] = []
    _, losses = pretrain(replace(QUICK, steps=5), lambda step, loss: told.append((step, loss)))
    assert [step for step, _ in told] == [2, 4]
    assert [loss for _, loss in told] == pytest.approx([sum(losses[:2]) / 2, sum(losses[2:4]) / 2])


@given(st.integers(1, 500), st.integers(0, 600))
def test_learning_rates_rise_then_fall_to_zero(steps: int, warmup: int):
    options = PretrainOptions(steps=steps, warmup=warmup)
    shares = np.array([warmed_fraction(options, step) for step in range(steps)])
    assert (shares > 0).all() and (shares <= 1).all()
    split = min(warmup, steps)
    assert (np.diff(shares[:split]) > 0).all() and (np.diff(shares[split:]) < 0).all()
    if 0 < warmup <= steps:
        assert shares[warmup - 1] == 1
    assert warmed_fraction(options, max(steps, warmup)) == pytest.approx(1.0 if warmup >= steps else 0.0, abs=1e-12)


def test_both_optimisers_train():
    start = MiniatureBackbone.untrained(TINY, 0).transformer.state_dict()
    still = replace(QUICK, lr=0.0, muon_lr=0.0, weight_decay=0.0)
    assert equal(weights(still), start)
    matrices, others = weights(replace(still, muon_lr=1e-2)), weights(replace(still, lr=1e-2))
    for name, value in start.items():
        is_matrix = value.ndim == 2 and min(value.shape) >= 32
        assert torch.equal(value, matrices[name]) != is_matrix or not value.any()
        assert torch.equal(value, others[name]) == is_matrix or not value.any()


def test_a_batch_is_of_scenes_of_its_own_step():
    backbone = MiniatureBackbone.untrained(TINY)
    options = replace(QUICK, batch=8, drop=0.0)
    latents, condition = draw_batch(backbone, options, 3)
    scenes = [draw_scene(3 * 8 + index) for index in range(8)]
    assert torch.equal(latents.video, SOLO.encode(render_scenes(scenes)).video)
    assert torch.equal(condition.video, backbone.condition([scene.prompt.prompt_av for scene in scenes]).video)
    other, _ = draw_batch(backbone, options, 4)
    assert not torch.equal(latents.video, other.video)
    seeded, _ = draw_batch(backbone, replace(options, seed=1), 3)
    assert not torch.equal(latents.video, seeded.video)


def test_the_share_of_empty_prompts_is_as_asked():
    backbone = MiniatureBackbone.untrained(TINY)

    def empty(drop: float) -> float:
        condition = draw_batch(backbone, replace(QUICK, batch=64, drop=drop), 0)[1]
        return float((condition.video.abs().sum(dim=(1, 2)) == 0).double().mean())

    assert empty(0.0) == 0 and empty(1.0) == 1
    assert 0.15 < empty(0.3) < 0.45


def test_the_loss_is_that_of_the_velocity():
    # A network that gives 0 is off by e - x0: by 1 for the noise, and by the mean square of the latents.
    backbone = MiniatureBackbone.untrained(TINY)
    with torch.no_grad():
        for parameter in (
            *backbone.transformer.proj_out.parameters(),
            *backbone.transformer.audio_proj_out.parameters(),
        ):
            parameter.zero_()
    latents, condition = draw_batch(backbone, replace(QUICK, batch=16), 0)
    policy = FullPolicy(backbone.transformer, backbone.geometry)
    loss = flow_matching(policy, latents, condition, QUICK, 0).item()
    power = float((latents.video.square().mean() + latents.audio.square().mean()) / 2)
    assert loss == pytest.approx(1 + power, rel=0.03)
    assert loss == flow_matching(policy, latents, condition, QUICK, 0).item()
    assert loss != flow_matching(policy, latents, condition, QUICK, 1).item()
