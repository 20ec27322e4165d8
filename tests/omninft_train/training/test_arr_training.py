"""Runs of Adaptive Reward Routing: what it measures in a step, and that by neutral values it is plain routing."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from tiny_training import assert_close, assert_equal, log, make, run, tiny_config, tiny_weights

from omninft_train.errors import UsageError
from omninft_train.method.marble import min_norm_weights
from omninft_train.training import experience, targets
from omninft_train.training.update import accumulate, weigh_and_accumulate
from omninft_train.training.weighting import gram_matrix, take_gradients

# Of two gradients of norm 1, the shortest sum has equal parts: only three can differ.
COLUMNS = (("judges:picture", "video"), ("judges:sound", "audio"), ("judges:sync", "both"), ("heldout:speed", "both"))
REWARDS = ", ".join(
    f'{{scorer = "omninft_train.miniature.{name}", weight = 1.0, route = "{route}"}}' for name, route in COLUMNS
)
NAMES = [name.partition(":")[2] for name, _ in COLUMNS]
OFTEN = (f"rewards.reward=[{REWARDS}]", "arr.warmup_steps=2", "arr.every=2")
NEUTRAL = ("arr.kappa=0.0", "arr.maximum=1.0", "arr.layers=false")
SCALE = ("advantages.std=group", "loss.space=velocity", "loss.kl_space=velocity", "loss.branches=sum")
ROUTES = {"video": ("picture", "sync", "speed"), "audio": ("sound", "sync", "speed")}


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path: Path = tiny_weights(tmp_path_factory.mktemp("pretraining"))
    return path


def test_by_neutral_values_it_is_routing_with_its_scale_of_the_loss(weights: Path, tmp_path: Path) -> None:
    neutral = run(tiny_config(weights, *NEUTRAL, *OFTEN, recipe="arr"), tmp_path / "neutral")
    settings = (*SCALE, OFTEN[0], "loss.clip_over_beta=false")
    routed = run(tiny_config(weights, *settings, recipe="omninft-routing"), tmp_path / "routed")
    assert_close(neutral, routed, atol=1e-6)


@pytest.mark.long
@pytest.mark.parametrize("neutral", [0, 1, 2])
def test_each_part_changes_the_trajectory(weights: Path, tmp_path: Path, neutral: int) -> None:
    settings = ("run.steps=1", *OFTEN, "arr.warmup_steps=0", "regions.window=[0.0, 0.9]")
    steps = ("run.steps=2",) if neutral == 0 else ()  # a solution holds from the next step on
    whole = run(tiny_config(weights, *settings, *steps, recipe="arr"), tmp_path / "whole")
    without = run(tiny_config(weights, *settings, *steps, NEUTRAL[neutral], recipe="arr"), tmp_path / "without")
    assert any(not torch.equal(whole[name], without[name]) for name in whole)


@pytest.mark.long
def test_interrupted_and_resumed_is_the_same(weights: Path, tmp_path: Path) -> None:
    straight = run(tiny_config(weights, "run.steps=4", *OFTEN, recipe="arr"), tmp_path / "straight")
    for steps in (2, 4):  # the first solution, of step 1, holds from step 2 on
        halves = run(tiny_config(weights, f"run.steps={steps}", *OFTEN, recipe="arr"), tmp_path / "halves")
    assert_equal(halves, straight)
    rows = log(tmp_path / "straight")
    assert log(tmp_path / "halves") == rows
    key = "reward_picture_weight_video"
    assert rows[0][key] == rows[1][key] == 1 != rows[2][key]
    for row in rows:
        for branch, names in ROUTES.items():
            assert sum(row[f"reward_{name}_weight_{branch}"] for name in names) == pytest.approx(3)
        assert row["reward_sound_weight_video"] == row["reward_picture_weight_audio"] == 0
        for keep in (row["keep_a2v"], row["keep_v2a"]):
            assert sorted(keep) == pytest.approx([0, 1])


def test_weights_come_from_gradients_through_one_branch(weights: Path, tmp_path: Path) -> None:
    settings = (OFTEN[0], "arr.warmup_steps=0", "arr.smoothing=0.0", "arr.kappa=1.0", "loss.kl_coef=0.0")
    training = make(tiny_config(weights, *settings, recipe="arr"), tmp_path / "arr")
    rollouts = experience.sample_rollouts(training, 0)
    experience.follow_responses(training, rollouts)
    scored = experience.score_rollouts(training, rollouts, 0)
    _, judged = targets.judge(training, rollouts, scored, 0)
    alone = [targets.judge_alone(training, rollouts, scored, 0, probe) for probe in training.weighting.probes(0)]
    weigh_and_accumulate(training, rollouts, judged, 0, alone)
    found = training.weighting.weights(1)
    for branch, names in ROUTES.items():
        gradients = []
        for name in names:
            one = torch.tensor([name == column for column in NAMES], dtype=torch.float64)
            _, alone_targets = targets.judge(training, rollouts, scored, 0, {"video": one, "audio": one})
            other = "audio" if branch == "video" else "video"
            plain = replace(targets.mask(alone_targets, [other]), token_weights=None, audio_weights=None)
            accumulate(training, rollouts, plain, 0, operate=True)
            gradients.append(take_gradients(training.policy))
        wanted = 3 * min_norm_weights(gram_matrix(gradients))
        torch.testing.assert_close(found[branch][[NAMES.index(name) for name in names]], wanted, rtol=0, atol=1e-5)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ("advantages.mode=gdpo", r"arr\.enabled with advantages\.mode = 'gdpo'"),
        ("surgery.enabled=true", r"arr\.enabled with surgery\.enabled"),
        ("regions.enabled=true", r"arr\.enabled with regions\.enabled"),
    ],
)
def test_what_it_does_not_go_with(weights: Path, change: str, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        tiny_config(weights, change, recipe="arr")
