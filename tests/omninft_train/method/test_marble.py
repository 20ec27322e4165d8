"""MARBLE's weights and step against the reference's solver, and its rules for gradients that say nothing."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from scipy.optimize import minimize
from torch import Tensor

from omninft_train.method.marble import direction_factors, min_norm_weights, smoothed

GOLDENS = Path(__file__).parents[2] / "goldens" / "training"
GOLDEN = json.loads((GOLDENS / "marble.json").read_text())
CASES = {case["name"]: case for case in GOLDEN["cases"]}


def gradients(name: str, part: str = "grads") -> Tensor:
    with np.load(GOLDENS / "marble.npz") as file:
        return torch.from_numpy(file[f"{name}/{part}"]).double()


@pytest.mark.parametrize("name", CASES)
def test_weights_and_step_of_the_reference(name: str) -> None:
    case, grads = CASES[name], gradients(name)
    gram = grads @ grads.T
    weights = min_norm_weights(gram)
    assert weights.tolist() == pytest.approx(case["alphas"], abs=2e-3)
    step = direction_factors(gram, weights) @ grads
    assert float(step.norm()) == pytest.approx(case["min_norm"] * case["mean_norm"], rel=1e-4)
    combined = gradients(name, "combined")
    assert float(torch.cosine_similarity(step, combined, dim=0)) > 1 - 1e-5
    assert float((step - combined).norm()) < 5e-3 * case["mean_norm"]
    for grad, cosine in zip(grads, case["cosine_with_each"], strict=True):
        if cosine is not None:
            assert float(step @ grad / step.norm() / grad.norm()) == pytest.approx(cosine, abs=2e-3)


def test_scales_of_gradients_change_no_weight() -> None:
    grads = gradients("five_rewards")
    scaled = torch.tensor([1.0, 100.0, 0.01, 5.0, 0.2], dtype=torch.float64)[:, None] * grads
    torch.testing.assert_close(min_norm_weights(scaled @ scaled.T), min_norm_weights(grads @ grads.T))


@pytest.mark.parametrize("bad", [0.0, 1e-13, float("nan"), float("inf")])
def test_a_gradient_that_says_nothing_is_left_out(bad: float) -> None:
    grads = gradients("five_rewards")
    rest = grads[[0, 1, 3, 4]]
    grads[2] = bad / 40**0.5
    gram = grads @ grads.T
    weights = min_norm_weights(gram)
    assert weights[2] == 0
    torch.testing.assert_close(weights[[0, 1, 3, 4]], min_norm_weights(rest @ rest.T), rtol=0, atol=1e-12)
    factors = direction_factors(gram, weights)
    assert factors[2] == 0 and factors.isfinite().all()
    alone = direction_factors(rest @ rest.T, weights[[0, 1, 3, 4]])  # the mean norm is that of the others
    torch.testing.assert_close(factors[[0, 1, 3, 4]], alone)


def test_one_gradient_is_taken_as_it_is_and_none_gives_nothing() -> None:
    gram = torch.diag(torch.tensor([0.0, 7.3, float("nan")], dtype=torch.float64))
    weights = min_norm_weights(gram)
    assert weights.tolist() == [0, 1, 0]
    assert direction_factors(gram, weights).tolist() == [0, 1, 0]
    nothing = torch.zeros(2, 2, dtype=torch.float64)
    assert min_norm_weights(nothing).tolist() == direction_factors(nothing, torch.zeros(2)).tolist() == [0, 0]


def test_a_solver_that_fails_leaves_equal_weights(monkeypatch: pytest.MonkeyPatch) -> None:
    def tired(*arguments: Any, **named: Any) -> Any:
        return minimize(*arguments, **named | {"options": {"maxiter": 1}})

    monkeypatch.setattr("omninft_train.method.marble.minimize", tired)
    grads = gradients("scales_differ")
    assert min_norm_weights(grads @ grads.T).tolist() == pytest.approx([0.2] * 5, abs=1e-12)


def test_weights_are_smoothed() -> None:
    golden, found = GOLDEN["ema"], None
    for solution, expected in zip(golden["solutions"], golden["smoothed"], strict=True):
        found = smoothed(found, torch.tensor(solution, dtype=torch.float64), golden["rho"])
        assert found is not None
        assert found.tolist() == pytest.approx(expected, abs=1e-12)
    assert smoothed(found, torch.zeros(5, dtype=torch.float64), 0.7) is found
