"""The loop against an independent reference of it, every switch on, all three policies started apart."""

from __future__ import annotations

import copy
import json
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import reference_loop as formulas
import torch
from numpy.typing import NDArray
from reference_inputs import apart, double, shapes, sizes, text
from reference_network import Streams, Weights, merged
from tiny_pipeline import SIZE, Version, save_tiny_pipeline
from tiny_training import make, tensors, tiny_config, tiny_weights
from torch import Tensor

from omninft_train.config import Config
from omninft_train.models.backbone import Backbone, Decoded
from omninft_train.models.latents import Condition, Latents
from omninft_train.prompts import TrainPrompt, draw
from omninft_train.recipe import load
from omninft_train.rewards.overlap import Overlap
from omninft_train.rewards.spec import Rewards, Score
from omninft_train.training.state import Training
from omninft_train.training.trainer import train

STEPS = 3
PROMPTS = ("a dog barks", "rain falls", "a bell rings", "wind")
ROUTES = ("video", "audio", "both", "both")
REWARD_WEIGHTS = (1.0, 1.5, 0.5, 0.0)
# (step, rollout) -> column that fails there; the last column, of weight 0, always does.
FAILURES = {(0, 1): 0, (0, 4): 1, (1, 2): 2, (2, 0): 0, (2, 5): 1}

METHOD = formulas.Method(
    seed=5,
    groups=2,
    group_size=3,
    sampling_steps=4,
    level_count=2,
    guidance=(1.5, 3.0, 0.7, (1,)),
    reward_weights=REWARD_WEIGHTS,
    routes=ROUTES,
    std_of_group=False,
    beta=0.6,
    largest_advantage=1.5,
    kl=0.3,
    kl_of_velocities=False,
    in_velocities=False,
    weight_gradient=False,
    branch_weights=(1.0, 1.0),
    sum_of_branches=False,
    keep=(0.1, 0.4),
    where="context",
    region_form="frame-sigmoid",
    region_maximum=2.5,
    region_warmup=4,
    region_blocks=(1,),
    region_steps=(1, 2),
    region_passes=("conditional",),
    region_rope=True,
    lr=1e-2,
    betas=(0.8, 0.95),
    eps=1e-2,
    decay=0.1,
    max_norm=0.5,
)
SETTINGS = (
    "run.seed=5",
    f"run.steps={STEPS}",
    "run.probe_every=2",
    "prompts.groups=2",
    "prompts.group_size=3",
    "sampling.steps=4",
    "sampling.batch=4",
    "sampling.guidance.video=1.5",
    "sampling.guidance.audio=3.0",
    "sampling.guidance.stg=0.7",
    "sampling.guidance.stg_blocks=[1]",
    "levels.choice=random",
    "levels.fraction=0.5",
    "loss.beta=0.6",
    "loss.advantage_clip=1.5",
    "loss.kl_coef=0.3",
    "surgery.rules=[{blocks = '0', keep = 0.1}, {blocks = '1', keep = 0.4}]",
    "regions.first_block=0.5",
    "regions.window=[0.25, 0.5]",
    "regions.weights.maximum=2.5",
    "regions.weights.warmup_steps=4",
    "optimizer.lr=1e-2",
    "optimizer.betas=[0.8, 0.95]",
    "optimizer.eps=1e-2",
    "optimizer.weight_decay=0.1",
    "optimizer.max_norm=0.5",
    "optimizer.batch=5",
)
# What the second backbone does otherwise, so that both values of a choice are compared once.
OTHERWISE = replace(
    METHOD,
    std_of_group=True,
    kl_of_velocities=True,
    in_velocities=True,
    weight_gradient=True,
    branch_weights=(1.0, 0.6),
    sum_of_branches=True,
    where="kv",
    region_form="minmax",
    region_passes=("conditional", "negative", "stg"),
    region_blocks=(0, 1),
    region_rope=False,
    first_levels=True,
)
OTHER_SETTINGS = (
    "advantages.std=group",
    "loss.kl_space=velocity",
    "loss.space=velocity",
    "loss.adaptive_weight_grad=true",
    "loss.audio_weight=0.6",
    "loss.branches=sum",
    "surgery.where=kv",
    "regions.weights.form=minmax",
    "regions.passes=all",
    "regions.first_block=0",
    "regions.rope=false",
    "levels.choice=first",
)
SCORERS = ("judges:picture", "judges:sound", "judges:sync", "heldout:speed")
COLUMNS = ", ".join(
    f'{{scorer = "omninft_train.miniature.{name}", weight = {weight}, route = "{route}"}}'
    for name, weight, route in zip(SCORERS, REWARD_WEIGHTS, ROUTES, strict=True)
)


class Backend:
    """Rewards that depend on the clip, on its prompt and on where they are told to fail."""

    def judge(self, clips: Sequence[Decoded], prompts: Sequence[TrainPrompt], keys: Sequence[str]) -> list[list[Score]]:
        jobs = zip(clips, prompts, keys, strict=True)
        return [self._row(clip, prompt, *map(int, key.split("-"))) for clip, prompt, key in jobs]

    def _row(self, clip: Decoded, prompt: TrainPrompt, step: int, index: int) -> list[Score]:
        row: list[Score] = list(values(clip, prompt))
        if (step, index) in FAILURES:
            row[FAILURES[step, index]] = "told to fail"
        return [*row, "always fails"]

    def close(self) -> None:
        pass


def values(clip: Decoded, prompt: TrainPrompt) -> tuple[float, float, float]:
    """Of picture, sound and both; the words set their scale, so a clip with another's prompt is noticed."""
    seen, heard = (weighed(part.astype(np.float64)) for part in (clip.frames, clip.waveform))
    words = 1 + len(set(prompt.prompt_av)) / 10
    return seen * words, heard * words, (seen + 1) * (heard - 2) * words


def weighed(part: NDArray[Any]) -> float:
    """A mean to which every element adds differently."""
    return float((part.ravel() * np.linspace(-1, 2, part.size)).mean()) + float(np.abs(part).mean())


class Undecoded:
    """A backbone whose clips are its latents, unrounded, so that rewards are exact, and whose texts are short."""

    def __init__(self, backbone: Backbone) -> None:
        self.kind, self.digest, self.geometry = backbone.kind, backbone.digest, backbone.geometry
        self.transformer = backbone.transformer
        self._backbone = backbone

    def condition(self, prompts: Sequence[str]) -> Condition:
        """The last tokens; text is padded in front."""
        return short(self._backbone.condition(prompts))

    def negative(self) -> Condition:
        return short(self._backbone.negative())

    def decode(self, latents: Latents) -> list[Decoded]:
        pairs = zip(latents.video.numpy(), latents.audio.numpy(), strict=True)
        return [Decoded(video, self.geometry.fps, audio, 1) for video, audio in pairs]


def short(condition: Condition) -> Condition:
    video, audio = condition.video[:, -16:], condition.audio[:, -16:]
    return Condition(video, audio, None if condition.mask is None else condition.mask[:, -16:])


def world_of(training: Training, network: Any, weights: Callable[[Weights], Weights]) -> formulas.World:
    """What the reference is given: the network, prompts and decoding, and nothing of the trainer's own."""
    backbone, config = training.backbone, training.config

    def drawn(step: int) -> list[TrainPrompt]:
        chosen = draw(training.prompts, config.run.seed, step, config.prompts)
        return [prompt for prompt in chosen for _ in range(METHOD.group_size)]

    def rewards(step: int, x0: Streams) -> Tensor:
        clips = backbone.decode(Latents(*x0))
        found = torch.full((len(clips), len(ROUTES)), math.nan, dtype=torch.float64)
        for index, (clip, prompt) in enumerate(zip(clips, drawn(step), strict=True)):
            found[index, :3] = torch.tensor(values(clip, prompt), dtype=torch.float64)
            if (step, index) in FAILURES:
                found[index, FAILURES[step, index]] = math.nan
        return found

    return formulas.World(
        network=network,
        sizes=sizes(backbone.geometry),
        frames=backbone.geometry.frames,
        shapes=shapes(backbone.geometry),
        weights=weights,
        text=lambda step: text(backbone.condition([prompt.prompt_av for prompt in drawn(step)])),
        negative=text(backbone.negative()),
        rewards=rewards,
    )


def whole(config: Config, out: Path, scale: float = 0.1) -> tuple[Training, formulas.World, formulas.State]:
    """A training of all parameters, and the same for the reference."""
    training = started(config, out, scale)
    network = copy.deepcopy(training.policy.transformer("policy")).double()
    reference = dict(training.policy.transformer("reference").named_parameters())
    parts = (training.policy.trainable(), training.policy.old(), reference)
    return training, world_of(training, network, lambda own: own), formulas.State(*map(double, parts))


def adapted(config: Config, out: Path) -> tuple[Training, formulas.World, formulas.State]:
    """A training of adapters, and the same for the reference, which merges them into the pipeline's own weights."""
    training = started(config, out, 0.2)
    network = load_network(config).double()
    base = dict(network.named_parameters())
    scale = config.policy.alpha / config.policy.rank
    world = world_of(training, network, lambda own: merged(base, own, scale))
    return training, world, formulas.State(double(training.policy.trainable()), double(training.policy.old()), {})


def load_network(config: Config) -> Any:
    from diffusers import LTX2VideoTransformer3DModel

    network = LTX2VideoTransformer3DModel.from_pretrained(config.backbone.path, subfolder="transformer")
    return network.eval().requires_grad_(False)


def started(config: Config, out: Path, scale: float) -> Training:
    training = make(config, out)
    training.backbone = Undecoded(training.backbone)
    training.rewards = Rewards(config.rewards.reward, Backend(), 1.0)
    if training.overlap is not None:  # of LTX-2, whose rewards are on a GPU: two of six rollouts at a time
        training.overlap = Overlap(training.rewards, 2)
    apart(training, scale)
    return training


@pytest.fixture(scope="module")
def miniature(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Config]:
    """Makes configurations of the miniature."""
    folder = tiny_weights(tmp_path_factory.mktemp("pretraining"))
    return lambda *changes: tiny_config(folder, f"rewards.reward=[{COLUMNS}]", *SETTINGS, *changes)


@pytest.fixture(scope="module")
def ltx2(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Config]:
    """Makes configurations of the tiny LTX-2.0."""
    return tiny_ltx2("ltx2", "2.0", tmp_path_factory.mktemp("ltx2"))


@pytest.fixture(scope="module")
def ltx23(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Config]:
    """Makes configurations of the tiny LTX-2.3."""
    return tiny_ltx2("ltx2.3", "2.3", tmp_path_factory.mktemp("ltx23"))


def tiny_ltx2(backbone: str, version: Version, folder: Path) -> Callable[..., Config]:
    save_tiny_pipeline(folder / "pipeline", version)
    lines = [json.dumps(dict.fromkeys(("prompt_av", "prompt_v", "prompt_a"), words)) for words in PROMPTS]
    (folder / "prompts.jsonl").write_text("\n".join(lines))
    paths = [f'backbone.path="{folder / "pipeline"}"', f'backbone.cache="{folder / "cache"}"']
    paths += [f'prompts.path="{folder / "prompts.jsonl"}"']
    size = [f"backbone.{key}={value}" for key, value in SIZE.items()]
    speed = ["run.probe_every=0", "sampling.batch=6", "optimizer.batch=12"]  # calls cost more than their size here
    others = ["backbone.dtype=float32", "policy.rank=4", "policy.alpha=6", f"rewards.reward=[{COLUMNS}]"]
    return lambda *changes: load("omninft", backbone, [*paths, *size, *others, *SETTINGS, *speed, *changes])


def most(tensors: Mapping[str, Tensor]) -> float:
    return max(float(tensor.abs().max()) for tensor in tensors.values())


def assert_same_outcome(out: Path, state: formulas.State) -> None:
    """Parameters, old policy and Adam's moments of the last checkpoint are those of the reference, to 1e-6.

    Moments, which are far below 1, to a part of their largest: what float32 leaves differs by processor, and is up to
    1.9e-6 of a gradient and twice that of its square.
    """
    found = tensors(out)
    small = {"exp_avg": 3e-6 * most(state.first), "exp_avg_sq": 6e-6 * most(state.second)}
    assert max(small.values()) < 1e-6
    wanted = {f"policy/{name}": value for name, value in state.policy.items()}
    wanted |= {f"old/{name}": value for name, value in state.old.items()}
    for moment, values in (("exp_avg", state.first), ("exp_avg_sq", state.second)):
        wanted |= {f"optimizer/{name}.{moment}": value for name, value in values.items()}
    assert {name for name in found if not name.endswith(".step")} == set(wanted)
    for name, value in wanted.items():
        close = 1e-6 if not name.startswith("optimizer/") else small[name.rpartition(".")[2]]
        torch.testing.assert_close(found[name].double(), value, rtol=0, atol=close, msg=name)


CHOICES = {"as the release": (METHOD, ()), "otherwise": (OTHERWISE, OTHER_SETTINGS)}


@pytest.mark.parametrize(
    ("backbone", "choice"),
    [
        ("miniature", "as the release"),
        ("miniature", "otherwise"),
        ("ltx2", "as the release"),
        ("ltx23", "otherwise"),
    ],
)
def test_three_outer_steps(backbone: str, choice: str, request: pytest.FixtureRequest, tmp_path: Path) -> None:
    method, settings = CHOICES[choice]
    build = whole if backbone == "miniature" else adapted
    training, world, state = build(request.getfixturevalue(backbone)(*settings), tmp_path)
    train(training)
    for step in range(STEPS):
        formulas.outer_step(method, world, state, step)
    assert_same_outcome(tmp_path, state)
