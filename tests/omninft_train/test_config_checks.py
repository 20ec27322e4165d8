"""Values that cannot work, alone or together, are refused with their key before anything is loaded."""

from __future__ import annotations

import re

import pytest

from omninft_train.errors import UsageError
from omninft_train.recipe import load


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("run.steps=0", "run.steps = 0: expected a whole number of at least 1"),
        ("optimizer.lr=-1e-4", "optimizer.lr = -0.0001: expected a number above 0"),
        ("loss.beta=0.0", "loss.beta = 0: must be above 0"),
        ("rewards.max_failed_fraction=2.0", r"max_failed_fraction = 2.0: expected a number from 0 to 1"),
        ("prompts.group_size=1", "a group of one has no advantage"),
        ("surgery.rules=[{blocks = 'all', keep = 0.5}]", "surgery rule for blocks 'all'"),
        ("surgery.rules=[{blocks = '0', keep = 1.5}]", r"keep 1.5 is not in \[0, 1\]"),
    ],
)
def test_values_that_cannot_work_are_refused_before_anything_is_loaded(text: str, told: str):
    with pytest.raises(UsageError, match=told):
        load("omninft", None, [text])


@pytest.mark.parametrize(
    "text",
    [
        "optimizer.lr=inf", "optimizer.lr=nan", "optimizer.weight_decay=-1", "optimizer.betas=[1.0, 0.9]",
        "optimizer.eps=-1", "optimizer.max_norm=0.0", "regions.first_block=nan", "regions.first_block=-0.5",
        "regions.weights.maximum=0.5", "regions.weights.warmup_steps=-3", "loss.video_weight=-1",
        "loss.audio_weight=nan", "loss.beta=inf", "loss.kl_coef=-1", "advantages.eps=0", "arr.maximum=0.5",
        "arr.tau=nan", "policy.alpha=0", "backbone.fps=0", "backbone.frames=-7", "run.probe_every=-1",
        "run.clips_every=-2",
    ],
)  # fmt: skip
def test_a_number_out_of_range_is_named_with_its_key(text: str):
    with pytest.raises(UsageError, match=re.escape(text.partition("=")[0])):
        load("omninft", None, [text])


@pytest.mark.parametrize("key", ["video", "audio", "stg"])
@pytest.mark.parametrize("value", ["nan", "inf"])
def test_guidance_is_finite(key: str, value: str):
    with pytest.raises(UsageError, match=r"sampling\.guidance: .* must be finite"):
        load("omninft", None, [f"sampling.guidance.{key}={value}"])


def test_one_branch_at_least_is_trained():
    assert load("omninft", None, ["loss.audio_weight=0"]).loss.audio_weight == 0
    with pytest.raises(UsageError, match="neither branch would be trained"):
        load("omninft", None, ["loss.audio_weight=0", "loss.video_weight=0"])


def test_actors_keep_their_networks():
    with pytest.raises(UsageError, match=r"rewards\.offload with rewards\.backend = 'ray'"):
        load("omninft", "ltx2", ["rewards.offload=true", "rewards.backend=ray"])


@pytest.mark.parametrize("recipe", ["marble", "arr"])
def test_methods_that_weigh_single_rewards_refuse_sums_of_a_modality(recipe: str):
    assert load(recipe, None, ['preset="paper"']).advantages.per == "reward"
    with pytest.raises(UsageError, match="normalised one by one, which is 'reward'"):
        load(recipe, None, ['advantages.per="modality"'])


@pytest.mark.parametrize("recipe", ["marble", "arr"])
def test_methods_that_weigh_rewards_refuse_negative_weights(recipe: str):
    one = "rewards.reward=[{{scorer='clap', weight={}, route='both', scale=-1.0}}]"
    assert load("gdpo", None, [one.format(-1)]).rewards.reward[0].weight == -1
    for weight in (0, 0.5):
        assert load(recipe, None, [one.format(weight)]).rewards.reward[0].weight == weight
    with pytest.raises(UsageError, match=r"reward 'clap': weight = -1: .* scale = -1"):
        load(recipe, None, [one.format(-1)])
