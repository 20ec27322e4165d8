"""Runs that weigh rewards by their gradients, against gradients of single rewards and against plain runs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from tiny_training import assert_close, assert_equal, log, make, run, tiny_config, tiny_weights
from torch import Tensor

from omninft_train.errors import UsageError
from omninft_train.method.marble import direction_factors, min_norm_weights
from omninft_train.training import experience, targets
from omninft_train.training.update import weigh_and_accumulate

SCORERS = ("picture", "sound", "sync")
OFTEN = ("marble.every=2", "loss.kl_coef=0.3")
MIX = {"picture": 0.2, "sound": 0.5, "sync": 0.3}


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_weights(tmp_path_factory.mktemp("pretraining"))


def rewards(**sizes: float) -> str:
    scorer = "omninft_train.miniature.judges"
    lines = [f'{{scorer = "{scorer}:{name}", weight = {size}, route = "both"}}' for name, size in sizes.items()]
    return f"rewards.reward=[{', '.join(lines)}]"


def gradients_of_a_step(config: Any, folder: Path, state: dict[str, Any] | None = None, step: int = 0) -> Tensor:
    """All gradients of one step of a policy that has left old policy and reference, before they are scaled down."""
    training = make(config, folder)
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for parameter in training.policy.trainable().values():
            parameter += 0.02 * torch.randn(parameter.shape, generator=generator)
    training.weighting.load(state or {})
    rollouts = experience.sample_rollouts(training, step)
    scored = experience.score_rollouts(training, rollouts, step)
    _, judged = targets.judge(training, rollouts, scored, step)
    alone = [targets.judge_alone(training, rollouts, scored, step, one) for one in training.weighting.probes(step)]
    weigh_and_accumulate(training, rollouts, judged, step, alone)
    found = [parameter.grad for parameter in training.policy.trainable().values()]
    return torch.cat([(torch.zeros(1) if grad is None else grad).double().flatten() for grad in found])


@pytest.fixture(scope="module")
def single(weights: Path, tmp_path_factory: pytest.TempPathFactory) -> Tensor:
    """Gradients of plain runs of one reward each, (3, P), without the pull to the reference."""
    return torch.stack([plain(weights, tmp_path_factory.mktemp(name), name) for name in SCORERS])


@pytest.fixture(scope="module")
def pull(weights: Path, single: Tensor, tmp_path_factory: pytest.TempPathFactory) -> Tensor:
    """Gradient (P,) of the pull to the reference."""
    return plain(weights, tmp_path_factory.mktemp("pull"), SCORERS[0], kl=5.0) - single[0]


def plain(weights: Path, folder: Path, name: str, kl: float = 0.0) -> Tensor:
    settings = ("loss.beta=0.1", f"loss.kl_coef={kl}", rewards(**{name: 1.0}))
    return gradients_of_a_step(tiny_config(weights, *settings, recipe="gdpo"), folder)


def test_a_step_that_solves_is_the_balanced_sum_of_single_rewards(
    weights: Path, single: Tensor, pull: Tensor, tmp_path: Path
) -> None:
    gram = single @ single.T
    wanted = direction_factors(gram, min_norm_weights(gram)) @ single + pull
    sizes = rewards(picture=1.0, sound=0.5, sync=2.0)  # which MARBLE does not look at
    found = gradients_of_a_step(tiny_config(weights, "loss.kl_coef=5.0", sizes, recipe="marble"), tmp_path)
    torch.testing.assert_close(found, wanted, rtol=0, atol=1e-5 * float(wanted.abs().max()))
    for other in (wanted - pull, single.mean(dim=0) + pull):  # no pull, and a plain mean
        assert float((found - other).norm()) > 0.02 * float(found.norm())


def test_between_solutions_the_smoothed_weights_mix_raw_gradients(
    weights: Path, single: Tensor, pull: Tensor, tmp_path: Path
) -> None:
    settings = ("loss.kl_coef=5.0", "marble.warmup_steps=0", rewards(**dict.fromkeys(SCORERS, 1.0)))
    state = {"marble": MIX, "solved": -5}
    found = gradients_of_a_step(tiny_config(weights, *settings, recipe="marble"), tmp_path, state)
    wanted = torch.tensor(list(MIX.values()), dtype=torch.float64) @ single + pull
    torch.testing.assert_close(found, wanted, rtol=0, atol=1e-5 * float(wanted.abs().max()))


def test_one_reward_is_the_plain_loss(weights: Path, tmp_path: Path) -> None:
    settings = ("run.steps=3", "loss.beta=0.1", *OFTEN, rewards(sync=1.0, sound=0.0))
    balanced = run(tiny_config(weights, *settings, recipe="marble"), tmp_path / "balanced")
    plain = run(tiny_config(weights, *settings, recipe="gdpo"), tmp_path / "plain")
    assert_close(balanced, plain, atol=1e-6)
    for row, other in zip(log(tmp_path / "balanced"), log(tmp_path / "plain"), strict=True):
        assert row["loss"] == pytest.approx(other["loss"], rel=1e-5)
        assert row["reward_sync_weight_video"] == 1 and row["reward_sound_weight_audio"] == 0


@pytest.mark.long
def test_interrupted_and_resumed_is_the_same(weights: Path, tmp_path: Path) -> None:
    config = tiny_config(weights, "run.steps=4", *OFTEN, recipe="marble")
    straight = run(config, tmp_path / "straight")
    for steps in (1, 2, 4):  # before a step that does not solve, and before one that does
        halves = run(tiny_config(weights, f"run.steps={steps}", *OFTEN, recipe="marble"), tmp_path / "halves")
    assert_equal(halves, straight)
    assert log(tmp_path / "halves") == log(tmp_path / "straight")
    video = [[row[f"reward_{name}_weight_video"] for name in SCORERS] for row in log(tmp_path / "straight")]
    assert video[0] == video[1] != video[2] == video[3]
    assert all(sum(row) == pytest.approx(1) and min(row) >= 0 for row in video)


def test_with_other_rewards_a_run_solves_anew(weights: Path, tmp_path: Path) -> None:
    run(tiny_config(weights, "run.steps=1", recipe="marble"), tmp_path)
    run(tiny_config(weights, rewards(sound=1.0, sync=1.0), recipe="marble"), tmp_path)
    last = log(tmp_path)[-1]
    assert last["reward_sound_weight_video"] + last["reward_sync_weight_video"] == pytest.approx(1)


def test_it_goes_with_rewards_that_are_not_routed(weights: Path) -> None:
    with pytest.raises(UsageError, match=r"marble\.enabled with advantages\.mode = 'routed'"):
        tiny_config(weights, "advantages.mode=routed", recipe="marble")
