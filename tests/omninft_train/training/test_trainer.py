"""The loop: what must not change its trajectory, what must not move the policy, and what stops it."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from dataclasses import asdict
from itertools import pairwise
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
import tiny_training
import torch
from reference_inputs import apart
from tiny_training import assert_close, assert_equal, log, make, run, tensors, tiny_config, tiny_weights

from omninft_train.errors import TrainingStopped, UsageError
from omninft_train.evaluation import read_evaluations
from omninft_train.miniature.world import evaluation_prompts
from omninft_train.models.latents import Latents
from omninft_train.models.policy import Policy
from omninft_train.rewards.spec import Rewards, Scored
from omninft_train.training import checkpoint, experience, saving, targets, trainer
from omninft_train.training.rollout import rollout_seed
from omninft_train.training.state import Judged
from omninft_train.training.update import accumulate, batch_loss, chosen_levels, update

JUDGES = """
import os
def fail(kind):
    if kind == "raise":
        raise RuntimeError("no reward today")
    return {"nan": float("nan"), "inf": float("inf"), "zero": 0.0}[kind]
def moody(frames, fps, waveform, sample_rate, text):
    # About half of all clips, told apart by their content.
    return fail(os.environ["MOOD"]) if frames[0, 0, 0, 0] % 2 else frames.mean() / 255
def broken(frames, fps, waveform, sample_rate, text):
    return fail(os.environ["MOOD"])
"""
PLAIN = ("optimizer.weight_decay=0.0", "loss.kl_coef=0.0")


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_weights(tmp_path_factory.mktemp("pretraining"))


@pytest.fixture
def judges(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "moody_judges.py").write_text(JUDGES)
    monkeypatch.syspath_prepend(tmp_path)
    sys.modules.pop("moody_judges", None)


def rewards(*lines: str) -> str:
    return f"rewards.reward=[{', '.join(lines)}]"


PICTURE = '{scorer = "omninft_train.miniature.judges:picture", weight = 1.0, route = "video"}'
SOUND = '{scorer = "omninft_train.miniature.judges:sound", weight = 1.0, route = "audio"}'
SYNC = '{scorer = "omninft_train.miniature.judges:sync", weight = 1.0, route = "both"}'


def test_a_run_leaves_a_log_and_a_checkpoint_and_moves_the_policy(weights: Path, tmp_path: Path) -> None:
    found = run(tiny_config(weights, "run.probe_every=1"), tmp_path)
    rows = log(tmp_path)
    assert [row["step"] for row in rows] == [0, 1]
    for key in ("loss_video", "loss_audio", "kl", "reward_sync_mean", "conflict_share", "r_video_mean", "old_keep"):
        assert isinstance(rows[1][key], float), key
    assert len(rows[1]["gradient_by_depth"]["audio"]) == 2
    assert rows[0]["region_weight_max"] == 1.0 < rows[1]["region_weight_max"] <= 1.5
    assert rows[1]["distance_reference"] > rows[0]["distance_reference"] > 0
    moved = [
        name for name in found if name.startswith("policy/") and not torch.equal(found[name], found["old" + name[6:]])
    ]
    assert moved


@pytest.mark.parametrize("batches", [pytest.param(("1", "1"), marks=pytest.mark.long), ("4", "5")])
def test_how_batches_are_split_does_not_matter(weights: Path, tmp_path: Path, batches: tuple[str, str]) -> None:
    whole = run(tiny_config(weights), tmp_path / "whole")
    split = run(
        tiny_config(weights, f"sampling.batch={batches[0]}", f"optimizer.batch={batches[1]}"), tmp_path / "split"
    )
    assert_close(split, whole)


def test_switched_off_by_value_is_switched_off(weights: Path, tmp_path: Path) -> None:
    neutral = ("surgery.rules=[{blocks = '0-1', keep = 1.0}]", "regions.weights.maximum=1.0")
    on = run(tiny_config(weights, *neutral), tmp_path / "on")
    off = run(tiny_config(weights, recipe="omninft-routing"), tmp_path / "off")
    assert_close(on, off, atol=1e-6)


@pytest.mark.long
def test_mechanisms_change_the_trajectory(weights: Path, tmp_path: Path) -> None:
    recipes = ("diffusionnft", "vanilla", "gdpo", "omninft-routing", "omninft-routing-surgery", "omninft")
    cut = "surgery.rules=[{blocks = '0-1', keep = 0.1}]"
    found = [run(tiny_config(weights, cut, recipe=recipe), tmp_path / recipe) for recipe in recipes]
    for one, other in pairwise(found):
        assert any(not torch.equal(one[name], other[name]) for name in one)


def test_a_reward_of_weight_zero_is_as_absent(weights: Path, tmp_path: Path) -> None:
    without = run(tiny_config(weights, rewards(PICTURE, SYNC)), tmp_path / "without")
    silent = SOUND.replace("1.0", "0.0")
    beside = run(tiny_config(weights, rewards(PICTURE, silent, SYNC)), tmp_path / "with")
    assert_equal(beside, without)


def test_routing_all_rewards_to_both_is_gdpo(weights: Path, tmp_path: Path) -> None:
    both = [line.replace('"video"', '"both"').replace('"audio"', '"both"') for line in (PICTURE, SOUND, SYNC)]
    routed = run(tiny_config(weights, rewards(*both), recipe="omninft-routing"), tmp_path / "routed")
    gdpo = run(tiny_config(weights, recipe="gdpo"), tmp_path / "gdpo")
    assert_equal(routed, gdpo)


def test_interrupted_and_resumed_is_the_same(weights: Path, tmp_path: Path) -> None:
    straight = run(tiny_config(weights, "run.steps=3"), tmp_path / "straight")
    run(tiny_config(weights, "run.steps=1"), tmp_path / "halves")
    assert_equal(run(tiny_config(weights, "run.steps=3"), tmp_path / "halves"), straight)
    assert log(tmp_path / "halves") == log(tmp_path / "straight")


@pytest.mark.long
def test_kill_minus_nine_in_each_phase(weights: Path, tmp_path: Path) -> None:
    # One process that imports once and forks: a child is killed in a phase, the next one goes on.
    script = Path(tiny_training.__file__).with_name("killed_training.py")
    result = subprocess.run(
        [sys.executable, script, weights, tmp_path], capture_output=True, text=True, timeout=300, check=False
    )
    assert result.returncode == 0, result.stderr[-2000:]
    wanted, rows = tensors(tmp_path / "none"), log(tmp_path / "none")
    for phase in ("sample", "score", "update", "save", "evaluate"):
        assert_equal(tensors(tmp_path / phase), wanted)
        assert log(tmp_path / phase) == rows
    whole, interrupted = (
        {path.relative_to(folder): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}
        for folder in (tmp_path / "evaluated" / "evaluations", tmp_path / "evaluate" / "evaluations")
    )
    assert whole.keys() == interrupted.keys() and len(whole) == 3 * (16 + 3)  # clips, scores, manifest, settings
    # Encoders do not promise equal bytes of equal frames, so of clips their names are compared.
    assert all(content == interrupted[name] for name, content in whole.items() if name.suffix != ".mp4")


@pytest.mark.usefixtures("judges")
def test_rewards_that_fail_do_not_move_the_policy(
    weights: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = make(tiny_config(weights), tmp_path / "unused").policy.trainable()
    broken = '{scorer = "moody_judges:broken", weight = 1.0, route = "both"}'
    for mood in ("raise", "nan", "inf"):
        monkeypatch.setenv("MOOD", mood)
        config = tiny_config(weights, *PLAIN, rewards(PICTURE, broken), "rewards.max_failed_fraction=1.0")
        found = run(config, tmp_path / mood)
        assert all(torch.equal(found[f"policy/{name}"], value) for name, value in before.items())
        assert log(tmp_path / mood)[0]["reward_broken_invalid"] == 6


@pytest.mark.usefixtures("judges")
def test_a_failed_reward_is_not_a_zero(weights: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    moody = '{scorer = "moody_judges:moody", weight = 1.0, route = "video"}'
    config = tiny_config(weights, *PLAIN, rewards(moody, SOUND), "rewards.max_failed_fraction=1.0", "run.steps=1")
    found = {}
    for mood in ("raise", "nan", "inf", "zero"):
        monkeypatch.setenv("MOOD", mood)
        found[mood] = run(config, tmp_path / mood)
    assert 0 < log(tmp_path / "nan")[0]["reward_moody_invalid"] < 6
    assert_equal(found["nan"], found["raise"])
    assert_equal(found["inf"], found["raise"])
    assert any(not torch.equal(found["zero"][name], found["nan"][name]) for name in found["nan"])


@pytest.mark.usefixtures("judges")
def test_too_many_failures_stop_the_run_with_their_reasons(
    weights: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run(tiny_config(weights, "run.steps=1"), tmp_path)
    last = tensors(tmp_path)
    monkeypatch.setenv("MOOD", "raise")
    broken = '{scorer = "moody_judges:broken", weight = 1.0, route = "both"}'
    with pytest.raises(TrainingStopped, match=r"6 of 6 rollouts(?s:.*)6 x .*RuntimeError: no reward today") as caught:
        run(tiny_config(weights, rewards(PICTURE, broken)), tmp_path)
    assert caught.value.exit_code == 3
    assert_equal(tensors(tmp_path), last)


@pytest.mark.parametrize("all_of_them", [False, True], ids=["one", "all"])
def test_a_rollout_that_is_not_finite_moves_nothing(
    weights: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, all_of_them: bool
) -> None:
    """As if its rewards had failed, and the network never sees it."""
    bad = list(range(6)) if all_of_them else [4]
    settings = (*PLAIN, "run.steps=1", "rewards.max_failed_fraction=1.0")
    config = tiny_config(weights, *settings)
    score = Rewards.score

    def failing(self: Rewards, *arguments: Any) -> Scored:
        found = score(self, *arguments)
        found.valid[bad] = False
        return found

    with monkeypatch.context() as patch:
        patch.setattr(Rewards, "score", failing)
        wanted = run(config, tmp_path / "failed")
    rows, velocity = [], Policy.velocity

    def watched(self: Policy, role: Any, x: Latents, *arguments: Any, **options: Any) -> Latents:
        assert x.video.isfinite().all() and x.audio.isfinite().all()
        if role == "policy":
            rows.append(len(x))
        return velocity(self, role, x, *arguments, **options)

    break_rollouts(monkeypatch, bad)
    monkeypatch.setattr(Policy, "velocity", watched)
    assert_close(run(config, tmp_path / "broken"), wanted)
    assert sum(rows) == (1 if all_of_them else 5 * 2)  # levels; with none left, one pass that counts for nothing
    (row,) = log(tmp_path / "broken")
    assert row["masked_video"] == row["masked_audio"] == len(bad)
    assert row["reward_picture_invalid"] == len(bad)


@pytest.mark.parametrize("bad", [[4], list(range(6))], ids=["one", "all"])
def test_a_rollout_that_is_not_finite_is_not_pulled_to_the_reference(
    weights: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, bad: list[int]
) -> None:
    """The gradient is the sum over the other rollouts, divided by the number of all."""
    config = tiny_config(weights, "loss.kl_coef=0.3", "rewards.max_failed_fraction=1.0", recipe="gdpo")
    training = make(config, tmp_path)
    apart(training, 0.1)
    fine = experience.sample_rollouts(training, 0)
    break_rollouts(monkeypatch, bad)
    rollouts = experience.sample_rollouts(training, 0)
    _, judged = targets.judge(training, rollouts, experience.score_rollouts(training, rollouts, 0), 0)
    logged = accumulate(training, rollouts, judged, 0, operate=False)
    parameters = training.policy.trainable()
    found = {name: p.grad.clone() for name, p in parameters.items() if p.grad is not None}
    assert found.keys() == parameters.keys()
    levels = chosen_levels(training, fine, 0)
    pairs = [(row, level) for row in range(6) if row not in bad for level in levels[row]]
    count, losses, parts = sum(map(len, levels)), torch.zeros(1, requires_grad=True), {"kl": torch.zeros(1)}
    if pairs:
        losses, parts = batch_loss(training, fine, judged, 0, pairs)
        assert parts["kl"].min() > 0.01
    wanted = torch.autograd.grad(losses.sum() / count, list(parameters.values()), materialize_grads=True)
    for gradient, value in zip(found.values(), wanted, strict=True):
        torch.testing.assert_close(gradient, value, rtol=1e-4, atol=1e-6)
    assert logged["kl"] == pytest.approx(float(parts["kl"].detach().sum()) / count)
    assert logged["kl"] == pytest.approx((logged["kl_video"] + logged["kl_audio"]) / 2)
    if pairs:  # of what went through the network, and of nothing else
        for name in ("weight_plus_video", "weight_minus_audio"):
            assert logged[name] == pytest.approx(float(parts[name].mean()), rel=1e-4)


@pytest.mark.parametrize("recipe", ["gdpo", "marble"])
def test_logged_losses_add_up_where_rewards_failed(weights: Path, tmp_path: Path, recipe: str) -> None:
    training = make(
        tiny_config(weights, "loss.kl_coef=0.3", "rewards.max_failed_fraction=1.0", recipe=recipe), tmp_path
    )
    apart(training, 0.1)
    rollouts = experience.sample_rollouts(training, 0)
    scored = experience.score_rollouts(training, rollouts, 0)
    scored.valid[[1, 3], 0] = False
    _, judged = targets.judge(training, rollouts, scored, 0)
    alone = [targets.judge_alone(training, rollouts, scored, 0, probe) for probe in training.weighting.probes(0)]
    assert len(alone) == (3 if recipe == "marble" else 0)
    logged = update(training, rollouts, judged, 0, alone)
    branches = (logged["loss_video"] + logged["loss_audio"]) / 2
    assert logged["loss"] == pytest.approx(branches + 0.3 * logged["kl"], rel=1e-5)


def break_rollouts(monkeypatch: pytest.MonkeyPatch, bad: list[int]) -> None:
    """Let these rollouts of a step, all sampled at once, hold NaN in the video and infinity in the audio."""
    real = experience.sample

    def broken(*arguments: Any, **options: Any) -> Latents:
        latents = real(*arguments, **options)
        latents.video[bad, 1, 2], latents.audio[bad[0], 0, 0] = torch.nan, torch.inf
        return latents

    monkeypatch.setattr(experience, "sample", broken)


def test_a_loss_that_is_not_finite_stops_the_run_and_leaves_the_batch(weights: Path, tmp_path: Path) -> None:
    training = make(tiny_config(weights), tmp_path)
    saving.save(training, 0)
    with torch.no_grad():
        next(iter(training.policy.trainable().values())).fill_(torch.inf)
    with pytest.raises(TrainingStopped, match=r"step 0: the loss is not finite.*non-finite-step-0-rank-0"):
        rollouts = experience.sample_rollouts(training, 0)
        scored = experience.score_rollouts(training, rollouts, 0)
        _, judged = targets.judge(training, rollouts, scored, 0)
        update(training, rollouts, judged, 0)
    (dump,) = tmp_path.glob("non-finite-*.safetensors")
    assert "video" in tiny_training.load_file(dump)
    assert checkpoint.latest(tmp_path) == tmp_path / "checkpoint-000000"


def test_a_gradient_that_is_not_finite_stops_the_run_before_the_policy_is_lost(weights: Path, tmp_path: Path) -> None:
    training = make(tiny_config(weights), tmp_path)
    before = {name: value.detach().clone() for name, value in training.policy.trainable().items()}
    first = next(iter(training.policy.trainable().values()))
    first.register_hook(lambda gradient: gradient * torch.inf)
    with pytest.raises(TrainingStopped, match="step 0: the gradient is not finite"):
        trainer.train(training)
    assert all(torch.equal(value, before[name]) for name, value in training.policy.trainable().items())
    assert checkpoint.latest(tmp_path) is None and list(tmp_path.glob("non-finite-*"))


def test_a_folder_whose_checkpoints_are_gone_is_not_trained_anew(weights: Path, tmp_path: Path) -> None:
    """What stays of it, the policies, the log and the evaluations, would be lost."""
    config = tiny_config(weights, "run.steps=3", "run.save_every=1", "run.keep_checkpoints=1")
    run(config, tmp_path)
    rows = log(tmp_path)
    shutil.rmtree(tmp_path / "checkpoint-000003")
    with pytest.raises(UsageError, match=r"policies of steps 1, 2 and no checkpoint to go on from\. Train in another"):
        run(config, tmp_path)
    assert log(tmp_path) == rows and list(checkpoint.policies(tmp_path)) == [1, 2]


def test_a_checkpoint_of_another_backbone_is_refused(weights: Path, tmp_path: Path) -> None:
    run(tiny_config(weights, "run.steps=1"), tmp_path / "run")
    other = tiny_training.pretrained(
        tmp_path / "other",
        tiny_training.PretrainOptions(steps=1, batch=2, size=tiny_training.Size(1, 2, 16, 16)),
    )
    with pytest.raises(UsageError, match=r"checkpoint-000001 is of backbone 'miniature'"):
        run(tiny_config(other), tmp_path / "run")


def test_optimality_one_and_beta_one_is_flow_matching_on_the_rollouts(weights: Path, tmp_path: Path) -> None:
    training = make(tiny_config(weights, *PLAIN, recipe="gdpo"), tmp_path)
    rollouts = experience.sample_rollouts(training, 0)
    ones, all_valid = torch.ones(6), torch.ones(6, dtype=torch.bool)
    judged = Judged(ones, ones, all_valid, all_valid, None)
    batch = [(row, 1) for row in range(6)]
    losses, _ = batch_loss(training, rollouts, judged, 0, batch)
    t = float(training.levels[1])
    noise = training.backbone.geometry.noise([rollout_seed(0, 0, row, 1_000_001) for row in range(6)], "cpu")
    wanted = torch.zeros(6)
    x_t = [(1 - t) * x0 + t * e for x0, e in zip(streams(rollouts.latents), streams(noise), strict=True)]
    v = training.policy.velocity("policy", Latents(*x_t), torch.full((6,), t), rollouts.condition)
    for velocity, x0, e in zip(streams(v), streams(rollouts.latents), streams(noise), strict=True):
        # Errors of clean estimates are t times those of velocities; A_max / beta = 5; mean of two branches.
        error = t * (velocity - (e - x0)).flatten(1)
        wanted += 5 * error.square().mean(dim=1) / error.abs().mean(dim=1) / 2
    torch.testing.assert_close(losses, wanted, rtol=1e-4, atol=1e-5)


def streams(latents: Latents) -> tuple[torch.Tensor, torch.Tensor]:
    return latents.video, latents.audio


def seven_prompts(folder: Path) -> tuple[str]:
    """A setting that evaluates on seven prompts."""
    path = folder / "seven.jsonl"
    path.write_text("".join(json.dumps(asdict(prompt)) + "\n" for prompt in evaluation_prompts()[:7]))
    return (f'evaluation.prompts="{path}"',)


@pytest.mark.long
def test_two_processes_are_as_one(weights: Path, tmp_path: Path) -> None:
    evaluated = ("run.eval_every=2", "evaluation.samples=1", "evaluation.steps=2", *seven_prompts(tmp_path))
    evaluated += ("run.clips_every=1",)
    one = run(tiny_config(weights, *evaluated), tmp_path / "one")
    settings = [f'backbone.path="{weights}"', *tiny_training.SMALL, *evaluated]
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    command += ["-m", "omninft_train", "train", "--out", str(tmp_path / "two"), "--recipe", "omninft"]
    command += ["--backbone", "miniature", *(part for text in settings for part in ("--set", text))]
    result = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
    assert result.returncode == 0, result.stderr[-2000:]
    assert_close(tensors(tmp_path / "two"), one)
    for row, other in zip(log(tmp_path / "two"), log(tmp_path / "one"), strict=True):
        assert row.keys() == other.keys()
        assert row["reward_sync_mean"] == pytest.approx(other["reward_sync_mean"], abs=1e-4)
        assert row["loss"] == pytest.approx(other["loss"], rel=1e-4)
    judged, wanted = (read_evaluations(tmp_path / name) for name in ("two", "one"))
    assert list(judged) == list(wanted) == [0, 2]
    for step, evaluation in wanted.items():  # seven clips: one process does one of them a second time
        assert evaluation.pairs_with(judged[step]) and judged[step].metrics.keys() == evaluation.metrics.keys()
        for name in ("picture", "sound", "sync"):
            values = judged[step].metrics[name].values
            assert values == pytest.approx(evaluation.metrics[name].values, abs=1e-3), (step, name)
    files = [
        sorted(str(path.relative_to(tmp_path / name)) for path in (tmp_path / name / "evaluations").rglob("*"))
        for name in ("two", "one")
    ]
    assert files[0] == files[1] and len(files[0]) == 2 * (1 + 7 + 3)
    assert_same_clips(tmp_path / "two" / "clips", tmp_path / "one" / "clips")


def assert_same_clips(found: Path, wanted: Path) -> None:
    """Clips of two steps, whichever process sampled them: the first four rollouts, with their prompts and rewards."""
    for step in ("step-000000", "step-000001"):
        rows, others = (json.loads((folder / step / "clips.json").read_text()) for folder in (found, wanted))
        assert [row["clip"] for row in rows] == [f"{number:03d}.mp4" for number in range(4)]
        for row, other in zip(rows, others, strict=True):
            assert (row["clip"], row["prompt"]) == (other["clip"], other["prompt"])
            assert row["rewards"] == pytest.approx(other["rewards"], abs=1e-3)
            pictures = [_first_frame(folder / step / row["clip"]) for folder in (found, wanted)]
            assert np.abs(pictures[0] - pictures[1]).mean() < 1.0  # of 255: files are coded with loss


def _first_frame(path: Path) -> Any:
    with av.open(str(path)) as container:
        return next(container.decode(video=0)).to_ndarray(format="rgb24").astype(float)
