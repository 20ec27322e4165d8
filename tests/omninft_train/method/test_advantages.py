"""Rewards normalised one by one, and as one sum for each modality."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from omninft_train.method.advantages import AdvantageOptions, Advantages, Masked, advantages

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
