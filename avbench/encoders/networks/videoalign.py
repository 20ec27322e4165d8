"""VideoAlign (VideoReward): a Qwen2-VL 2B that rates a video's looks, its motion, and how it fits its prompt."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from avbench.encoders.base import Backbone, ClipInput, Encoder, LoadContext
from avbench.encoders.batching import batched
from avbench.encoders.networks.qwen2vl.frames import FACTOR, EvenFrames, Pixels, resize_torch
from avbench.encoders.networks.qwen2vl.prompts import (
    VIDEO_PAD,
    VOCABULARY,
    load_tokenizer,
    read_constant,
    stand_in_tokenizer,
)
from avbench.errors import EnvironmentProblem
from avbench.media import Frames
from avbench.weights.locate import files

if TYPE_CHECKING:
    from torch import Tensor, nn

    from avbench.encoders.networks.qwen2vl.judge import Judge
    from avbench.encoders.networks.qwen2vl.network import RewardNetwork

ROW = "videoalign"
AXES = ("VQ", "MQ", "TA")
REWARD_TOKENS = tuple(f"<|{axis}_reward|>" for axis in AXES)
LOW = 128 * FACTOR**2  # pixels of a frame
HIGH = 256 * FACTOR**2
RATE = 2.0
REWARD_RATE = 24.0
NORMALISATION = {"VQ": (3.6757, 2.2476), "MQ": (1.1646, 1.3811), "TA": (2.8105, 2.5121)}
"""Mean and standard deviation of each axis, from the checkpoint's model_config.json."""

_TEMPLATE = "DETAILED_PROMPT_WITH_SPECIAL_TOKEN", "fdb6309bac618dd0c8b1b589d3a0970a974f7856eecbb355a190b2dce54af700"
_STAND_IN = "Looks: {}\nMotion: {}\nCaption - {{text_prompt}}\nFit: {}\n".format(*REWARD_TOKENS)
_PREFIX = "base_model.model."  # of every entry, because PEFT wraps the network
_LORA = ".lora_A.default.weight", ".lora_B.default.weight"


def _load(context: LoadContext) -> Judge:
    from avbench.encoders.networks.qwen2vl import network as qwen
    from avbench.encoders.networks.qwen2vl.judge import Judge

    if context.setup.is_test:
        network = qwen.build(qwen.REDUCED if context.setup.reduced else qwen.QWEN2_VL_2B, *_vocabulary_and_head(1))
        qwen.fill_at_random(network)
        tokenize, template = stand_in_tokenizer(REWARD_TOKENS), _STAND_IN
    else:
        base = files("qwen2_vl_2b", context.setup)
        paths = files(ROW, context.setup)
        qwen.check_config(base["config.json"], qwen.QWEN2_VL_2B)
        tokenize = load_tokenizer(base, REWARD_TOKENS)
        template = read_constant(files("videoalign_template", context.setup)["prompt_template.py"], *_TEMPLATE)
        network = load_published(paths["model.pth"], read_settings(paths["model_config.json"]), qwen.QWEN2_VL_2B)
    return Judge(qwen.ready(network, context), tokenize, template, VIDEO_PAD, len(AXES))


def _vocabulary_and_head(outputs: int) -> tuple[int, Any]:
    def head(hidden: int) -> nn.Module:
        from torch import nn

        return nn.Linear(hidden, outputs, bias=False)

    return VOCABULARY + len(REWARD_TOKENS), head


def load_published(path: Path, settings: Mapping[str, float], sizes: Any) -> RewardNetwork:
    """The network of a published model.pth.

    Args:
        path: the file.
        settings: see `read_settings`.
        sizes: `Sizes` of the network.

    Raises:
        EnvironmentProblem: the file does not fit.
    """
    from avbench.encoders.loading import load_strict, read_state_dict
    from avbench.encoders.networks.qwen2vl.network import build

    network = build(sizes, *_vocabulary_and_head(int(settings["outputs"])))
    load_strict(network, merged(read_state_dict(path), settings, path), path)
    return network


def read_settings(path: Path) -> dict[str, float]:
    """What the checkpoint's model_config.json leaves open: "rank" and "scale" of its adapters, "outputs" of its head.

    Raises:
        EnvironmentProblem: a setting differs from what these encoders do.
    """
    config = json.loads(path.read_text(encoding="utf-8"))
    data, model, lora, norm = (
        config.get(part) or {} for part in ("data_config", "model_config", "peft_lora_config", "inference_config")
    )
    rank, outputs = lora.get("lora_r", 1), model.get("output_dim")
    pairs = [
        ("max_frame_pixels", data.get("max_frame_pixels"), HIGH),
        ("fps", data.get("fps"), RATE),
        ("num_frames", data.get("num_frames"), None),
        ("sample_type", data.get("sample_type", "uniform"), "uniform"),
        ("prompt_template_type", data.get("prompt_template_type"), "detailed_special"),
        ("use_special_tokens", model.get("use_special_tokens"), True),
        ("output_dim", outputs, len(AXES) if outputs == len(AXES) else 1),
        ("lora_enable", lora.get("lora_enable"), True),
        ("use_rslora", lora.get("use_rslora", False), False),
    ]
    for axis, (mean, std) in NORMALISATION.items():
        pairs += [(f"{axis}_mean", norm.get(f"{axis}_mean"), mean), (f"{axis}_std", norm.get(f"{axis}_std"), std)]
    if wrong := [f"{name} {actual}, expected {value}" for name, actual, value in pairs if actual != value]:
        raise EnvironmentProblem(f"{path} describes another judge: {'; '.join(wrong)}.")
    return {"rank": rank, "scale": lora.get("lora_alpha", 1) / rank, "outputs": outputs}


def merged(state: Mapping[str, Tensor], settings: Mapping[str, float], path: Path) -> dict[str, Tensor]:
    """Entries of a published model.pth with the adapters added to the weights, in float32, and without the word head.

    Raises:
        EnvironmentProblem: a name without PEFT's prefix, no word head, or adapters elsewhere than on every linear
            layer of the language part.
    """
    names = {key.removeprefix(_PREFIX): value for key, value in state.items()}
    adapted = {key.removesuffix(_LORA[0]) for key in names if key.endswith(_LORA[0])}
    linear = {key.split("_proj.")[0] + "_proj" for key in names if key.startswith("model.layers.") and "_proj." in key}
    if not all(key.startswith(_PREFIX) for key in state) or "lm_head.weight" not in names:
        raise EnvironmentProblem(f"{path} is not a published VideoReward checkpoint: its entries have other names.")
    if not adapted or adapted != linear:
        raise EnvironmentProblem(
            f"{path}: {len(adapted)} adapters for {len(linear)} linear layers of the language part."
        )
    del names["lm_head.weight"]
    for layer in adapted:
        down, up = (names.pop(layer + suffix).float() for suffix in _LORA)
        if down.shape[0] != settings["rank"]:
            raise EnvironmentProblem(f"{path}: {layer} has rank {down.shape[0]}, expected {settings['rank']}.")
        base = names.pop(f"{layer}.base_layer.weight")
        names[f"{layer}.weight"] = base.float() + settings["scale"] * (up @ down)
        if (bias := names.pop(f"{layer}.base_layer.bias", None)) is not None:
            names[f"{layer}.bias"] = bias
    return names


def resize(frame: Pixels) -> Pixels:
    """A frame (H, W, 3) at the size that the judge sees: sides in multiples of 28, 100,352 to 200,704 pixels."""
    return resize_torch(frame, LOW, HIGH)


def axis_values(answers: Tensor) -> Tensor:
    """One number per token (B, 3) of the head's answers (B, 3, K): with K = 3, token i has output i."""
    return answers.diagonal(dim1=1, dim2=2) if answers.shape[2] == len(AXES) else answers[..., 0]


def _rate(judge: Judge, clips: Sequence[ClipInput]) -> list[NDArray[np.float32]]:
    def forward(items: list[ClipInput]) -> Tensor:
        return axis_values(judge.rate([items[0].views[0]], items[0].text or ""))

    # One clip at a time: sequences run to tens of thousands of tokens, and padding would change low bits.
    return [rows[0] for rows in batched(forward, [[clip] for clip in clips], 1, ROW)]


VIDEOALIGN_NETWORK = Backbone(name=ROW, load=_load, row=ROW, packages=("torch", "transformers"))
_encoder = partial(Encoder, version=1, backbone=VIDEOALIGN_NETWORK, run=_rate)

VIDEOALIGN = _encoder("videoalign", views=(Frames(EvenFrames(RATE), resize),), text="text")
"""2 frames a second and the joint prompt -> logits (3,) of visual quality, motion quality, text alignment."""

VIDEOALIGN_24 = _encoder("videoalign_24", views=(Frames(EvenFrames(REWARD_RATE), resize),), text="video")
"""24 frames a second and the video prompt -> logits (3,), as OmniNFT's reward has them."""
