"""Adaptive Reward Routing's formulas against numbers."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from omninft_train.method.arr import layer_keep, mixed_weights, response_weights

GOLDENS = Path(__file__).parents[2] / "goldens" / "training"
GOLDEN = json.loads((GOLDENS / "arr.json").read_text())
BRANCHES = pytest.mark.parametrize("branch", ["video", "audio"])


@BRANCHES
@pytest.mark.parametrize("tau", ["0.5", "1.0", "2.0"])
def test_fraction_that_passes_in_each_block(branch: str, tau: str) -> None:
    scores = torch.tensor(GOLDEN[branch]["layer_scores"], dtype=torch.float64)
    spread = torch.stack([scores - 0.1, scores + 0.1])  # the mean of rollouts counts
    assert layer_keep(spread, float(tau)) == pytest.approx(GOLDEN[branch][f"keep_tau{tau}"], abs=1e-9)


def test_rollouts_that_are_not_finite_do_not_count_and_equal_blocks_pass_everything() -> None:
    scores = torch.tensor([[1.0, 2.0, 5.0], [torch.nan, 1.0, 1.0]])
    assert layer_keep(scores, 1.0) == layer_keep(scores[:1], 1.0) == pytest.approx([0.0, 0.25, 1.0])
    assert layer_keep(torch.full((2, 3), 0.7), 1.0) == [1.0] * 3
    assert layer_keep(scores[1:], 1.0) == [1.0] * 3


@BRANCHES
def test_weights_of_rewards(branch: str) -> None:
    golden = GOLDEN["weights"][branch]
    prior, gamma, omega = (
        torch.tensor([golden[part][name] for name in golden["omega"]], dtype=torch.float64)
        for part in ("prior", "gamma", "omega")
    )
    assert float(prior.sum()) == golden["total"]
    torch.testing.assert_close(mixed_weights(prior, gamma, golden["kappa"]), omega, rtol=0, atol=1e-9)


CASES = json.loads((GOLDENS / "region_weights.json").read_text())["cases"]


@pytest.mark.parametrize("case", CASES, ids=[case["name"] for case in CASES])
def test_weights_of_tokens(case: dict[str, int]) -> None:
    with np.load(GOLDENS / "region_weights.npz") as file:
        scores, expected = (
            torch.from_numpy(file[f"{case['name']}/{key}"]).double()
            for key in ("score", "arr_frame_norm99_lambdamax2.0")
        )
    found, size = response_weights(scores[None], case["frames"], 2.0)[0], case["tokens_per_frame"]
    if case["name"] == "constant_frame":  # its second frame is rounding noise, which the reference stretches
        assert found[size : 2 * size].tolist() == [1.0] * size
        found, expected = found[:size], expected[:size]
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-9)
