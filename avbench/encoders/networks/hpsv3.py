"""HPSv3: a Qwen2-VL 7B that says how much people would prefer an image made from a prompt."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from avbench.encoders.base import Backbone, ClipInput, Encoder, LoadContext
from avbench.encoders.batching import batched
from avbench.encoders.networks.qwen2vl.frames import FACTOR, Pixels, resize_pillow
from avbench.encoders.networks.qwen2vl.prompts import (
    IMAGE_PAD,
    VOCABULARY,
    load_tokenizer,
    read_constant,
    stand_in_tokenizer,
)
from avbench.errors import EnvironmentProblem
from avbench.media import Frames, Linspace
from avbench.weights.locate import files

if TYPE_CHECKING:
    from torch import Tensor, nn

    from avbench.encoders.networks.qwen2vl.judge import Judge
    from avbench.encoders.networks.qwen2vl.network import RewardNetwork

ROW = "hpsv3"
FRAMES = 5
REWARD_TOKENS = ("<|Reward|>",)
AREA = 256 * FACTOR**2  # pixels of an image

_INSTRUCTION = "INSTRUCTION", "0393599dad45a971903d1d62a3acf9bad3ccccdafa7f40f680523419e1f68b7a"
_SUFFIX = "prompt_with_special_token", "2471faca094ae5bd6fe17b71dce20c3d7583625545e235889f7e74e7eeb69d0a"
_STAND_IN = f"Caption - {{text_prompt}}\nRate it: {REWARD_TOKENS[0]}\n"


def _load(context: LoadContext) -> Judge:
    from avbench.encoders.networks.qwen2vl import network as qwen
    from avbench.encoders.networks.qwen2vl.judge import Judge

    if context.setup.is_test:
        sizes = qwen.REDUCED if context.setup.reduced else qwen.QWEN2_VL_7B
        network = qwen.build(sizes, VOCABULARY + len(REWARD_TOKENS), head)
        qwen.fill_at_random(network)
        tokenize, template = stand_in_tokenizer(REWARD_TOKENS), _STAND_IN
    else:
        base = files("qwen2_vl_7b", context.setup)
        qwen.check_config(base["config.json"], qwen.QWEN2_VL_7B)
        tokenize = load_tokenizer(base, REWARD_TOKENS)
        source = files("hpsv3_template", context.setup)["data_collator_qwen.py"]
        template = read_constant(source, *_INSTRUCTION) + read_constant(source, *_SUFFIX)
        network = load_published(files(ROW, context.setup)["HPSv3.safetensors"], qwen.QWEN2_VL_7B)
    return Judge(qwen.ready(network, context), tokenize, template, IMAGE_PAD, len(REWARD_TOKENS))


def head(hidden: int) -> nn.Module:
    """Hidden states (..., D) -> mean and standard deviation of the preference (..., 2)."""
    from torch import nn

    layers = nn.Linear(hidden, 1024), nn.ReLU(), nn.Dropout(0.05), nn.Linear(1024, 16), nn.ReLU(), nn.Linear(16, 2)
    return nn.Sequential(*layers)


def load_published(path: Path, sizes: Any) -> RewardNetwork:
    """The network of the published HPSv3.safetensors.

    Args:
        path: the file.
        sizes: `Sizes` of the network.

    Raises:
        EnvironmentProblem: the file does not fit.
    """
    from avbench.encoders.loading import load_strict, read_state_dict
    from avbench.encoders.networks.qwen2vl.network import build

    network = build(sizes, VOCABULARY + len(REWARD_TOKENS), head)
    load_strict(network, without_word_head(read_state_dict(path), path), path)
    return network


def without_word_head(state: Mapping[str, Tensor], path: Path) -> dict[str, Tensor]:
    """Entries that the judge uses.

    Raises:
        EnvironmentProblem: there is no word head, so this is another file.
    """
    if "lm_head.weight" not in state:
        raise EnvironmentProblem(f"{path} is not the published HPSv3 checkpoint: it has no lm_head.weight.")
    return {key: value for key, value in state.items() if key != "lm_head.weight"}


def resize(frame: Pixels) -> Pixels:
    """A frame (H, W, 3) at the size that the judge sees: sides in multiples of 28, about 200,704 pixels."""
    return resize_pillow(frame, AREA, AREA)


def _rate(judge: Judge, clips: Sequence[ClipInput]) -> list[NDArray[np.float32]]:
    ratings = []
    for clip in clips:
        # Frames of one clip have one prompt and one size, so that they need no padding.
        def forward(frames: list[Pixels], caption: str = clip.text or "") -> Tensor:
            return judge.rate([frame[None] for frame in frames], caption)[:, 0]

        ratings += batched(forward, [list(clip.views[0])], FRAMES, ROW)
    return ratings


HPSV3_NETWORK = Backbone(name=ROW, load=_load, row=ROW, packages=("torch", "transformers"))

HPSV3 = Encoder("hpsv3", 1, HPSV3_NETWORK, _rate, views=(Frames(Linspace(FRAMES), resize),), text="video")
"""5 frames spread over the clip and the video prompt -> mean and spread of the preference (5, 2), unbounded."""
