"""What is measured of a miniature beside its rewards: held-out metrics of each world, and probes of its network."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from statistics import fmean
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor, nn

from omninft_train.method.regions import region_weights
from omninft_train.method.schedule import ltx2_levels
from omninft_train.method.surgery import PRESETS, preset_keep
from omninft_train.miniature.crowd.judges import look_around
from omninft_train.miniature.crowd.prompts import understand
from omninft_train.miniature.pretrain import PretrainOptions, stream_losses
from omninft_train.miniature.worlds import WORLDS
from omninft_train.models.backbone import Decoded
from omninft_train.models.hooks import AttentionCapture, Surgery
from omninft_train.models.policy import FullPolicy, Role
from omninft_train.prompts import TrainPrompt
from omninft_train.rewards.spec import Score, SetMetric
from omninft_train.training.assemble import depth, make_capture
from omninft_train.training.diagnostics import depth_norms
from omninft_train.training.rollout import clip_seed, sample

if TYPE_CHECKING:
    from omninft_train.generate import Trained

# Scenes of probes are numbered from here on, apart from those of pretraining, tests and other measures.
_SCENES = 2**41
_COUNT = 32
# A token belongs to a shape that covers at least this fraction of it.
_LEAST_COVER = 0.1
_WARM = 10**9  # optimiser steps after which W has warmed up
_PATHS = ("video_gradient_in_audio", "video_gradient_in_audio_with_surgery")


def set_metrics(kind: str) -> dict[str, SetMetric]:
    """A world's held-out metrics of sets of clips."""
    if kind == "crowd":
        from omninft_train.miniature.crowd import heldout as crowd

        return {"impact_distance": SetMetric(crowd.clip_impacts, crowd.impact_distance)}
    from omninft_train.miniature import heldout as solo

    return {"impact_distance": SetMetric(solo.clip_impacts, solo.impact_distance)}


def probes(trained: Trained, role: Role, prompts: Sequence[TrainPrompt], seed: int) -> dict[str, Score]:
    """Figures of a policy in the crowd: where its sound looks, and what of the video loss reaches its audio stream.

    Of a network that is spread over processes, all of them have to call this.

    Args:
        trained: the policy.
        role: which of its networks.
        prompts: one clip each is sampled.
        seed: of their noise.

    Returns:
        See `region_lifts` and, where everything is trained, `gradient_paths`; empty for other worlds. Not a number
        where there is no value, or why there is none.
    """
    if trained.backbone.kind != "crowd":
        return {}
    lifts = region_lifts(trained, role, prompts, seed)
    return lifts | (_paths(trained, role) if isinstance(trained.policy, FullPolicy) else {})


def _paths(trained: Trained, role: Role) -> dict[str, Score]:
    network = trained.policy.transformer(role)
    if any(hasattr(parameter, "device_mesh") for parameter in network.parameters()):
        # A copy would share the processes' communication with the original.
        return dict.fromkeys(_PATHS, "not measured while weights are spread over processes (run.shard)")
    paths = gradient_paths(network, trained.backbone.kind)
    return dict(zip(_PATHS, (paths.fraction, paths.fraction_with_surgery), strict=True))


def region_lifts(trained: Trained, role: Role, prompts: Sequence[TrainPrompt], seed: int) -> dict[str, Score]:
    """How much region weight and attention lie on shapes, against the fraction of the frame that these take.

    Attention is collected as the run's `regions` say, switched on or not; weights are those after the warm-up. Clips
    are sampled as many at a time as the run samples, so that memory does not grow with the prompts.

    Returns:
        "weight_on_sounding", "attention_on_sounding", "attention_on_silent": 1 where a shape's tokens get as much as
        any others. Means over clips that show the shapes.
    """
    config, backbone = trained.config, trained.backbone
    capture = make_capture(replace(config, regions=replace(config.regions, enabled=True)), trained.policy, role)
    assert capture is not None
    ratios: dict[str, list[float]] = {
        name: [] for name in ("weight_on_sounding", "attention_on_sounding", "attention_on_silent")
    }
    for start in range(0, len(prompts), config.sampling.batch):
        numbers = range(len(prompts))[start : start + config.sampling.batch]
        texts = [prompts[number].prompt_av for number in numbers]
        clips = sampled(trained, role, texts, [clip_seed(seed, number, 0) for number in numbers], capture)
        attention = capture.take().cpu()
        weights = region_weights(attention, backbone.geometry.frames, config.regions.weights, _WARM)
        for clip, text, weight, paid in zip(clips, texts, weights, attention, strict=True):
            sounding, silent = shape_tokens(clip, text)
            for name, values, tokens in zip(ratios, (weight, paid, paid), (sounding, sounding, silent), strict=True):
                if tokens.any():
                    ratios[name].append(float(values[tokens].mean() / values.mean()))
    capture.remove()
    return {name: fmean(values) if values else float("nan") for name, values in ratios.items()}


def sampled(
    trained: Trained, role: Role, texts: Sequence[str], seeds: Sequence[int], capture: AttentionCapture
) -> list[Decoded]:
    """Clips of some prompts, sampled as in training; `capture` collects their attention."""
    config, policy, backbone = trained.config, trained.policy, trained.backbone
    device = next(policy.transformer(role).parameters()).device
    latents = sample(
        policy,
        role,
        backbone.geometry.noise(seeds, device),
        ltx2_levels(config.sampling.steps),
        backbone.condition(texts),
        negative=backbone.negative(),
        guidance=config.sampling.guidance,
        capture=capture,
        window=config.capture_window,
    )
    return backbone.decode(latents)


def shape_tokens(clip: Decoded, prompt: str) -> tuple[Tensor, Tensor]:
    """Which video tokens of a clip of the crowd show the sounding shape, and which a silent one: bool (Lv,) each."""
    cast, patch = understand(prompt), WORLDS["crowd"].codec.patch
    crowd = look_around(clip.frames, cast)
    silent = [crowd.shapes[shape].cover for shape in cast.silent]
    nothing = np.zeros_like(crowd.whole.cover)
    covers = (crowd.sounding.cover, np.maximum.reduce([nothing, *silent]))
    return tuple(  # type: ignore[return-value]
        nn.functional.avg_pool2d(torch.from_numpy(cover)[:, None], patch).flatten() >= _LEAST_COVER for cover in covers
    )


@dataclass(frozen=True)
class Paths:
    """Norms of gradients of the blocks' own audio parameters, one value for each block.

    Attributes:
        audio: of the audio loss.
        video: of the video loss, which comes through cross-attention.
        video_with_surgery: the same where the release's rules scale it.
    """

    audio: Sequence[float]
    video: Sequence[float]
    video_with_surgery: Sequence[float]

    @property
    def fraction(self) -> float:
        """Norm over all blocks of the video loss's gradient, as a fraction of that of the audio loss."""
        return _norm(self.video) / _norm(self.audio)

    @property
    def fraction_with_surgery(self) -> float:
        """The same with surgery."""
        return _norm(self.video_with_surgery) / _norm(self.audio)


def gradient_paths(transformer: nn.Module, kind: str, count: int = _COUNT) -> Paths:
    """How much of the video loss's gradient reaches the audio stream, on real scenes, by flow matching.

    Args:
        transformer: of a miniature; it stays as it is.
        kind: name of its world.
        count: scenes.
    """
    world, options = WORLDS[kind], PretrainOptions(world=kind)
    network = copy.deepcopy(transformer).cpu()
    policy = FullPolicy(network, world.codec.geometry)
    scenes = [world.draw(_SCENES + index) for index in range(count)]
    latents = world.codec.encode(world.render(scenes))
    condition = world.embed([scene.prompt.prompt_av for scene in scenes])
    preset = PRESETS["release"]
    surgery = Surgery(policy.transformer("policy"), preset_keep(preset, depth(network)), preset.where)
    surgery.attach()

    def norms(stream: int) -> Mapping[str, list[float]]:
        for parameter in policy.trainable().values():
            parameter.grad = None
        torch.autograd.backward(stream_losses(policy, latents, condition, options, 0)[stream])
        return depth_norms(policy)

    audio, video = norms(1)["audio"], norms(0)["audio"]
    with surgery.enabled():
        return Paths(audio, video, norms(0)["audio"])


def _norm(values: Sequence[float]) -> float:
    return float(np.linalg.norm(values))
