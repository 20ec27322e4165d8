"""Probes of a crowd's network: whether region weights find the sounding shape, and what crosses to the audio stream."""

from __future__ import annotations

import pytest
import torch

from omninft_train.miniature.backbone import MiniatureBackbone, Size
from omninft_train.miniature.crowd.scenes import CODEC, draw_scene, render_scenes
from omninft_train.miniature.measures import gradient_paths, set_metrics, shape_tokens
from omninft_train.rewards.held_out import held_out_specs

TINY = Size(blocks=3, heads=2, video_width=16, audio_width=16)


@pytest.mark.parametrize("kind", ["crowd", "miniature"])
def test_the_video_loss_reaches_the_audio_stream_through_cross_attention_alone(kind: str):
    network = MiniatureBackbone.untrained(TINY, world=kind).transformer
    before = {name: value.clone() for name, value in network.state_dict().items()}
    paths = gradient_paths(network, kind, count=4)
    assert len(paths.audio) == len(paths.video) == len(paths.video_with_surgery) == 3
    assert 0 < paths.fraction_with_surgery < paths.fraction
    assert all(torch.equal(value, before[name]) for name, value in network.state_dict().items())
    with torch.no_grad():
        for block in network.transformer_blocks:
            block.audio_to_video_attn.to_out[0].weight.zero_()
    assert gradient_paths(network, kind, count=4).fraction < 1e-6 * paths.fraction


def test_tokens_of_shapes_are_those_that_they_cover():
    scenes = [draw_scene(seed) for seed in range(8)]
    for scene, clip in zip(scenes, render_scenes(scenes), strict=True):
        sounding, silent = shape_tokens(clip, scene.prompt.prompt_av)
        assert sounding.shape == silent.shape == (CODEC.geometry.video_tokens,)
        assert 0.05 < sounding.double().mean() < 0.3 and sounding.sum() < silent.sum()
        column = round(scene.sounding.column) // CODEC.patch
        grid = sounding.reshape(-1, 3, 3)
        assert grid[:, :, column].any(dim=1).all(), "the shape is in its lane in every frame"


def test_every_world_has_held_out_metrics_of_its_own():
    solo, crowd = ({spec.scorer for spec in held_out_specs((), (), kind)} for kind in ("miniature", "crowd"))
    assert "av_align" in solo & crowd
    assert len(crowd - solo) == 3
    assert held_out_specs((), (), "ltx2") == ()
    assert set_metrics("miniature").keys() == set_metrics("crowd").keys() == {"impact_distance"}
