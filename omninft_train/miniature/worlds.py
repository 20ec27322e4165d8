"""The miniature's worlds by name: their scenes, words, latents and prompts."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

from omninft_train.miniature import render, words, world
from omninft_train.miniature.codec import SOLO, Codec
from omninft_train.miniature.crowd import prompts as crowd_prompts
from omninft_train.miniature.crowd import scenes as crowd_scenes
from omninft_train.models.backbone import Decoded
from omninft_train.models.latents import Condition
from omninft_train.prompts import TrainPrompt


@dataclass(frozen=True)
class MiniatureWorld:
    """What a miniature generates.

    Attributes:
        kind: name; `backbone.kind` of a configuration.
        identity: changes where scenes, words or latents do; part of the digest of every pretraining.
        codec: between clips and latents.
        draw: the scene of a seed, with its `prompt`.
        render: scenes as clips.
        embed: conditioning of prompts.
        training_prompts, evaluation_prompts: to train on, and those that post-training does not see.
    """

    kind: str
    identity: int | str
    codec: Codec
    draw: Callable[[int], Any]
    render: Callable[[Sequence[Any]], list[Decoded]]
    embed: Callable[[Sequence[str]], Condition]
    training_prompts: Callable[[], list[TrainPrompt]]
    evaluation_prompts: Callable[[], list[TrainPrompt]]


_ALL = (
    MiniatureWorld(
        kind="miniature",
        identity=world.VERSION,
        codec=SOLO,
        draw=world.draw_scene,
        render=render.render_scenes,
        embed=words.embed,
        training_prompts=world.training_prompts,
        evaluation_prompts=world.evaluation_prompts,
    ),
    MiniatureWorld(
        kind="crowd",
        identity=f"crowd {crowd_scenes.VERSION}",
        codec=crowd_scenes.CODEC,
        draw=crowd_scenes.draw_scene,
        render=crowd_scenes.render_scenes,
        embed=crowd_prompts.embed,
        training_prompts=crowd_prompts.training_prompts,
        evaluation_prompts=crowd_prompts.evaluation_prompts,
    ),
)
WORLDS: Mapping[str, MiniatureWorld] = MappingProxyType({made.kind: made for made in _ALL})
