"""The method against numbers that the reference implementations produced."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from omninft_train.method.advantages import AdvantageOptions, Masked, advantages, conflict, optimality
from omninft_train.method.losses import Branch, LossOptions, branch_loss, combine, kl_loss
from omninft_train.method.regions import RegionOptions, region_weights, warmed_maximum
from omninft_train.method.schedule import first_levels, ltx2_levels, old_keep
from omninft_train.method.surgery import PRESETS, SurgeryRule, keep_by_block

GOLDENS = Path(__file__).parents[2] / "goldens" / "training"


def _read(name: str) -> Any:
    return json.loads((GOLDENS / f"{name}.json").read_text())


def _arrays(name: str) -> dict[str, Tensor]:
    with np.load(GOLDENS / f"{name}.npz") as file:
        return {key: torch.from_numpy(file[key]) for key in file.files}


ADVANTAGE_CASES = {case["name"]: case for case in _read("advantages")["cases"]}


@pytest.mark.parametrize("name", ADVANTAGE_CASES)
@pytest.mark.parametrize("std", ["batch", "group"])
def test_advantages(name: str, std: str) -> None:
    case = ADVANTAGE_CASES[name]
    names = list(case["rewards"])
    rewards = torch.tensor([case["rewards"][k] for k in names], dtype=torch.float64).T
    weights = torch.tensor([case["weights"][k] for k in names], dtype=torch.float64)
    routes = [case["routes"][k] for k in names]
    known = list(dict.fromkeys(case["prompts"]))
    groups = torch.tensor([known.index(prompt) for prompt in case["prompts"]])
    valid = torch.ones_like(rewards, dtype=torch.bool)
    masked = Masked(rewards, valid)
    expected = case[f"expected_{std}_std"]

    def found(mode: str) -> Any:
        return advantages(masked, groups, weights, routes, AdvantageOptions(mode, std, eps=case["eps"]))

    def close(ours: Tensor, theirs: list[float]) -> None:
        torch.testing.assert_close(ours, torch.tensor(theirs, dtype=torch.float64), rtol=0, atol=1e-9)

    routed, gdpo = found("routed"), found("gdpo")
    for place, key in enumerate(names):
        close(routed.per_reward[:, place], expected["per_reward"][key])
    close(found("scalar").video, expected["scalar"])
    close(gdpo.video, expected["gdpo"])
    close(gdpo.audio, expected["gdpo"])
    close(routed.video, expected["routed_video"])
    close(routed.audio, expected["routed_audio"])
    close(optimality(routed.video, case["adv_clip_max"]), expected["r_video"])
    close(optimality(routed.audio, case["adv_clip_max"]), expected["r_audio"])
    close(optimality(gdpo.video, case["adv_clip_max"]), expected["r_gdpo"])
    if std == "batch":
        clash = conflict(routed.per_reward, weights, routes, valid)
        assert clash.fraction == pytest.approx(case["conflict_share_batch_std"], abs=1e-12)
        assert clash.correlation == pytest.approx(case["corr_batch_std"], abs=1e-9)


LOSS_CASES = {case["name"]: case for case in _read("nft_loss")["cases"]}


@pytest.mark.parametrize("name", LOSS_CASES)
@pytest.mark.parametrize("gradient", [False, True])
def test_loss_and_its_gradients(name: str, gradient: bool) -> None:
    case, arrays = LOSS_CASES[name], _arrays("nft_loss")
    at = {key.removeprefix(f"{name}/"): value for key, value in arrays.items() if key.startswith(f"{name}/")}
    options = LossOptions(
        beta=case["beta"],
        advantage_clip=case["adv_clip_max"],
        kl_coef=case["kl_coef"],
        adaptive_weight_grad=gradient,
    )
    expected = case["weights_with_gradient" if gradient else "weights_detached"]
    t = at["t"].double()
    thetas, losses, kls = {}, {}, {}
    for stream in ("video", "audio"):
        theta = at[f"{stream}/v_theta"].clone().requires_grad_()
        branch = Branch(theta, at[f"{stream}/v_old"], at[f"{stream}/xt"], at[f"{stream}/x0"], t)
        r = optimality(at[f"{stream}/adv"], case["adv_clip_max"])
        weights = at["w_video"] if stream == "video" else None
        loss = branch_loss(branch, r, weights, options)
        torch.testing.assert_close(loss.per_token.detach(), at[f"{stream}/per_token_x0_adaptive"], rtol=0, atol=1e-9)
        torch.testing.assert_close(loss.weight_plus, at[f"{stream}/weight_pos"], rtol=0, atol=1e-9)
        torch.testing.assert_close(loss.weight_minus, at[f"{stream}/weight_neg"], rtol=0, atol=1e-9)
        thetas[stream], losses[stream] = theta, loss
        kls[stream] = kl_loss(theta, at[f"{stream}/v_ref"], t, "x0")
        assert loss.loss.tolist() == pytest.approx(expected[f"policy_{stream}_per_sample"], abs=1e-9)
        assert kls[stream].tolist() == pytest.approx(expected[f"kl_x0_{stream}_per_sample"], abs=1e-9)
        velocity = kl_loss(theta, at[f"{stream}/v_ref"], t, "velocity")
        assert velocity.tolist() == pytest.approx(case[f"kl_velocity_{stream}_per_sample"], abs=1e-9)
    ok = torch.ones(len(t), dtype=torch.bool)
    kl = (kls["video"], kls["audio"])
    total = combine((losses["video"], losses["audio"]), (ok, ok), kl, options).mean()
    assert float(total.detach()) == pytest.approx(expected["loss"], abs=1e-9)
    total.backward()
    key = "weights_with_gradient" if gradient else "weights_detached"
    for stream, theta in thetas.items():
        torch.testing.assert_close(theta.grad, at[f"{stream}/grad_v_theta_{key}"], rtol=0, atol=1e-9)


@pytest.mark.parametrize("name", LOSS_CASES)
def test_the_loss_of_velocities(name: str) -> None:
    case, arrays = LOSS_CASES[name], _arrays("nft_loss")
    key, options = "per_token_v_adaptive", LossOptions(beta=case["beta"], space="velocity")
    for stream in ("video", "audio"):
        at = {part: arrays[f"{name}/{stream}/{part}"] for part in ("v_theta", "v_old", "xt", "x0", "adv", key)}
        branch = Branch(at["v_theta"], at["v_old"], at["xt"], at["x0"], arrays[f"{name}/t"].double())
        loss = branch_loss(branch, optimality(at["adv"], case["adv_clip_max"]), None, options)
        torch.testing.assert_close(loss.per_token, at[key], rtol=0, atol=1e-9)


REGION_CASES = {case["name"]: case for case in _read("region_weights")["cases"]}
FORMS = [
    ("release_frame_sigmoid_W1.5", "frame-sigmoid", 1.5),
    ("release_frame_sigmoid_W1.25", "frame-sigmoid", 1.25),
    ("release_frame_sigmoid_W2.5", "frame-sigmoid", 2.5),
    ("paper_minmax_global_lambda1.25", "minmax", 2.25),
    ("paper_minmax_global_lambda1.5", "minmax", 2.5),
    ("paper_minmax_global_lambda1.75", "minmax", 2.75),
    ("paper_minmax_frame_lambda1.5", "minmax-frame", 2.5),
]


@pytest.mark.parametrize("name", REGION_CASES)
@pytest.mark.parametrize(("key", "form", "maximum"), FORMS)
def test_region_weights(name: str, key: str, form: Any, maximum: float) -> None:
    case, arrays = REGION_CASES[name], _arrays("region_weights")
    scores, expected = arrays[f"{name}/score"], arrays[f"{name}/{key}"]
    ours = region_weights(scores[None].double(), case["frames"], RegionOptions(form, maximum, 0), 0)[0]
    if name == "constant_frame" and "frame" in key:
        # The release weighs the rounding noise of a constant frame; here its tokens weigh the same.
        size = case["tokens_per_frame"]
        assert len(ours[size : 2 * size].unique()) == 1
        ours, expected = (torch.cat([part[:size], part[2 * size :]]) for part in (ours, expected))
    torch.testing.assert_close(ours, expected.double(), rtol=0, atol=2e-6)


@pytest.mark.parametrize("name", REGION_CASES)
def test_scores_are_sums_over_queries_of_mean_maps(name: str) -> None:
    arrays = _arrays("region_weights")
    maps = arrays[f"{name}/maps"].double()  # (blocks, passes, queries, keys)
    torch.testing.assert_close(maps.mean(dim=(0, 1)).sum(dim=0), arrays[f"{name}/score"].double(), rtol=0, atol=2e-6)


@pytest.mark.parametrize("name", REGION_CASES)
def test_largest_weight_warms_up(name: str) -> None:
    for step, expected in REGION_CASES[name]["warmup_W_by_step"].items():
        assert warmed_maximum(1.5, int(step), 400) == pytest.approx(expected, abs=1e-9)


def test_surgery_presets() -> None:
    golden = _read("surgery")
    names = {
        "release": "release",
        "paper": "paper_literal",
        "paper-keep10": "paper_keep10",
    }
    for ours, theirs in names.items():
        assert keep_by_block(PRESETS[ours].rules, 48) == golden["presets"][theirs]["kv_keep_a2v"]
    assert keep_by_block([SurgeryRule(">20", 0.9)], 48) == golden["presets"]["paper_table2_deep"]["kv_keep_a2v"]


@pytest.mark.parametrize("preset", ["release", "deep_all", "mixed"])
def test_surgery_rules_of_the_release(preset: str) -> None:
    golden = _read("surgery")["presets"][preset]
    rules = [SurgeryRule(str(blocks), rule["scale"]) for rule in golden["rules"] for blocks in rule["blocks"]]
    assert keep_by_block(rules, 48) == golden["kv_keep_a2v"]


def test_old_policy_follows_as_in_both_repositories() -> None:
    golden = _read("old_policy")
    for step, expected in zip(golden["steps"], golden["decay"]["1"], strict=True):
        assert old_keep(step) == pytest.approx(expected, abs=1e-12)
    old = golden["theta_after_step"][0]
    sequence = []
    for step, theta in enumerate(golden["theta_after_step"][1:], start=1):
        keep = old_keep(step)
        old = old * keep + theta * (1 - keep)
        sequence.append(old)
    assert sequence == pytest.approx(golden["old_after_step"]["1"], abs=1e-12)


def test_noise_levels() -> None:
    golden = _read("sigmas")
    for steps, expected in golden["anchor_4096"].items():
        assert ltx2_levels(int(steps)).tolist() == pytest.approx(expected, abs=2e-6)
    of_actual_tokens = golden["tokens_6144"]["20"]
    assert ltx2_levels(20).tolist() != pytest.approx(of_actual_tokens, abs=1e-3), "what diffusers' pipeline does"
    subset = golden["train_subset_release"]["20"]
    levels = ltx2_levels(20)[first_levels(20, subset["timestep_fraction"])]
    assert levels.tolist() == pytest.approx(subset["sigmas"], abs=2e-6)
