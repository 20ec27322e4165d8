"""Rewards normalised one by one, and as one sum for each modality."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from torch import Tensor

from omninft_train.method.advantages import AdvantageOptions, Advantages, Masked, advantages, conflict

ROUTES = ("video", "video", "audio", "both")
WEIGHTS = torch.tensor([1.0, 2.0, 0.5, 1.0], dtype=torch.float64)
GROUPS = torch.tensor([0, 0, 0, 1, 1, 1])
EPS = 1e-4


def rewards() -> Tensor:
    generator = torch.Generator().manual_seed(3)
    return torch.randn(6, 4, generator=generator, dtype=torch.float64) * torch.tensor([1.0, 9.0, 0.1, 2.0])


def by_modality(mode: Any, values: Tensor | None = None, valid: Tensor | None = None, **options: Any) -> Advantages:
    values = rewards() if values is None else values
    valid = torch.ones_like(values, dtype=torch.bool) if valid is None else valid
    return advantages(Masked(values, valid), GROUPS, WEIGHTS, ROUTES, AdvantageOptions(mode, per="modality", **options))


def normalised(total: Tensor) -> Tensor:
    """Within groups of three, one after another; the standard deviation is the group's."""
    parts = total.unflatten(0, (2, 3))
    return ((parts - parts.mean(1, keepdim=True)) / (parts.std(1, correction=0, keepdim=True) + EPS)).flatten()


def test_each_modality_is_one_sum_that_is_normalised() -> None:
    values = rewards()
    video, audio, both = normalised(values[:, 0] + 2 * values[:, 1]), normalised(0.5 * values[:, 2]), values[:, 3]
    found = by_modality("routed", std="group")
    torch.testing.assert_close(found.video, video + normalised(both), rtol=0, atol=1e-12)
    torch.testing.assert_close(found.audio, audio + normalised(both), rtol=0, atol=1e-12)
    unrouted = by_modality("gdpo", std="group")
    torch.testing.assert_close(unrouted.video, video + audio + normalised(both), rtol=0, atol=1e-12)
    assert torch.equal(unrouted.video, unrouted.audio)


def test_a_reward_alone_in_its_modality_loses_its_weight() -> None:
    one = AdvantageOptions("routed", eps=0.0)
    args = (Masked(rewards()[:, 2:], torch.ones(6, 2, dtype=torch.bool)), GROUPS, WEIGHTS[2:], ROUTES[2:])
    each, merged = advantages(*args, one), advantages(*args, AdvantageOptions("routed", eps=0.0, per="modality"))
    torch.testing.assert_close(merged.video, each.video)  # its weight is 1
    torch.testing.assert_close(merged.audio - merged.video, 2 * (each.audio - each.video))  # its weight is 0.5


@pytest.mark.parametrize("mode", ["routed", "gdpo"])
def test_a_failure_leaves_the_statistics_of_its_modality(mode: str) -> None:
    values, valid = rewards(), torch.ones(6, 4, dtype=torch.bool)
    values[1, 1], valid[1, 1] = torch.nan, False
    found = by_modality(mode, values, valid, std="group")
    assert found.video_valid.tolist() == [True, False, True, True, True, True]
    assert found.audio_valid.all() == (mode == "routed")
    assert found.video.isfinite().all() and found.video[1] == 0
    total = values[:, 0] + 2 * values[:, 1]
    if mode == "routed":
        rest, both = total[[0, 2]], normalised(values[:, 3])
        wanted = (rest - rest.mean()) / (rest.std(correction=0) + EPS) + both[[0, 2]]
        torch.testing.assert_close(found.video[[0, 2]], wanted)


def test_one_summed_reward_knows_no_modalities() -> None:
    values, valid = rewards(), torch.ones(6, 4, dtype=torch.bool)
    each = advantages(Masked(values, valid), GROUPS, WEIGHTS, ROUTES, AdvantageOptions("scalar"))
    assert torch.equal(by_modality("scalar").video, each.video)
    assert torch.equal(by_modality("routed").per_reward, each.per_reward)


@pytest.mark.parametrize("per", ["reward", "modality"])
def test_a_branch_without_a_reward_is_left_out(per: Any) -> None:
    """Its advantages are 0, and r = 1/2 of all rollouts would pull it to the old policy."""
    everything = Masked(rewards()[:, :2], torch.ones(6, 2, dtype=torch.bool))
    for weights, routes in (((1.0, 2.0), ("video", "video")), ((1.0, 0.0), ("video", "both"))):
        weighted = torch.tensor(weights, dtype=torch.float64)
        routed = advantages(everything, GROUPS, weighted, routes, AdvantageOptions("routed", per=per))  # type: ignore[arg-type]
        assert routed.video_valid.all() and not routed.audio_valid.any()
        summed = advantages(everything, GROUPS, weighted, routes, AdvantageOptions("gdpo", per=per))  # type: ignore[arg-type]
        assert summed.video_valid.all() and summed.audio_valid.all()
        nothing = advantages(everything, GROUPS, 0 * weighted, routes, AdvantageOptions("scalar", per=per))  # type: ignore[arg-type]
        assert not nothing.video_valid.any() and not nothing.audio_valid.any()


def test_a_conflict_is_of_the_rewards_that_are_compared() -> None:
    """Whatever else failed: a reward of both branches, or one of weight 0."""
    normal = by_modality("routed").per_reward
    valid = torch.ones(6, 4, dtype=torch.bool)
    wanted = conflict(normal, WEIGHTS, ROUTES, valid)
    valid[:3, 3] = False
    assert conflict(normal, WEIGHTS, ROUTES, valid) == wanted
    unweighted, all_failed = WEIGHTS * torch.tensor([1, 0, 1, 1]), valid.clone()
    all_failed[:, 1] = False
    assert conflict(normal, unweighted, ROUTES, all_failed) == conflict(normal, unweighted, ROUTES, valid)
    valid[[0, 4], 2] = False
    assert conflict(normal, WEIGHTS, ROUTES, valid) == conflict(
        normal[[1, 2, 3, 5]], WEIGHTS, ROUTES, valid[[1, 2, 3, 5]]
    )


@pytest.mark.parametrize("column", [0, 2, 3])
def test_what_cannot_be_compared_is_no_number(column: int) -> None:
    alone = WEIGHTS * torch.nn.functional.one_hot(torch.tensor(column), 4)
    found = conflict(by_modality("routed").per_reward, alone, ROUTES, torch.ones(6, 4, dtype=torch.bool))
    assert math.isnan(found.fraction) and math.isnan(found.correlation)
    none = conflict(torch.ones(6, 4), WEIGHTS, ROUTES, torch.zeros(6, 4, dtype=torch.bool))
    assert math.isnan(none.fraction) and math.isnan(none.correlation)
    constant = conflict(torch.ones(6, 4), WEIGHTS, ROUTES, torch.ones(6, 4, dtype=torch.bool))
    assert constant.fraction == 0 and math.isnan(constant.correlation)
