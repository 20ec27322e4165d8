"""VideoAlign: checkpoints, and the reference's numbers."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from avbench.clips import Clip
from avbench.encoders import ClipInput, LoadContext, WeightsConfig
from avbench.encoders.networks.qwen2vl.frames import EvenFrames
from avbench.encoders.networks.qwen2vl.prompts import (
    VIDEO_PAD,
    conversation,
    prompt_ids,
    stand_in_tokenizer,
)
from avbench.encoders.networks.videoalign import (
    AXES,
    NORMALISATION,
    REWARD_TOKENS,
    VIDEOALIGN,
    axis_values,
    load_published,
    read_settings,
    resize,
)
from avbench.errors import EnvironmentProblem
from avbench.media import Frames, decode_clip

torch = pytest.importorskip("torch")
pytest.importorskip("transformers")

SETTINGS = {"rank": 4, "scale": 2.0, "outputs": 1}
CONFIG: dict[str, dict[str, Any]] = {
    "data_config": {
        "max_frame_pixels": 200704,
        "fps": 2.0,
        "num_frames": None,
        "sample_type": "uniform",
        "prompt_template_type": "detailed_special",
    },
    "model_config": {"output_dim": 1, "use_special_tokens": True},
    "peft_lora_config": {"lora_enable": True, "lora_r": 64, "lora_alpha": 128, "use_rslora": False},
    "inference_config": {
        f"{axis}_{name}": value
        for axis in AXES
        for name, value in zip(("mean", "std"), NORMALISATION[axis], strict=True)
    },
}


@pytest.fixture(scope="module")
def judge() -> Any:
    return VIDEOALIGN.backbone.load(LoadContext(WeightsConfig("keyed-random-reduced"), "cpu"))


def noise(count: int, height: int = 56, width: int = 84, seed: int = 0) -> NDArray[np.uint8]:
    return np.random.default_rng(seed).integers(0, 256, (count, height, width, 3)).astype(np.uint8)


def keyed(keys: Mapping[str, list[int]]) -> dict[str, Any]:
    """Keyed-random entries of these names and shapes."""
    from avbench.encoders.loading import _keyed_random

    return {key: _keyed_random(key, torch.zeros(shape), he=True) for key, shape in keys.items()}


# Checkpoints


def test_entries_are_those_of_the_published_checkpoint(golden: Callable[[str], Any]) -> None:
    from avbench.encoders.networks.qwen2vl.network import QWEN2_VL_2B, build
    from avbench.encoders.networks.videoalign import _vocabulary_and_head

    network = build(QWEN2_VL_2B, *_vocabulary_and_head(1))
    expected = golden("state_dict_keys/qwen2_vl_2b")
    assert expected.pop("lm_head.weight") == expected["model.embed_tokens.weight"]
    expected["model.embed_tokens.weight"][0] = 151_660
    expected["rm_head.weight"] = [1, 1536]
    assert {key: list(value.shape) for key, value in network.state_dict().items()} == expected


@pytest.fixture(scope="module", params=[1, 3])
def published(request: pytest.FixtureRequest, golden: Callable[[str], Any], tmp_path_factory: Any) -> Any:
    """A small checkpoint in the published layout, and how many outputs its head has."""
    keys = dict(golden("videoalign_tiny")["models"]["1"]["keys"])
    keys["base_model.model.rm_head.weight"] = [request.param, 32]
    path = tmp_path_factory.mktemp("checkpoint") / "model.pth"
    torch.save(keyed(keys), path)
    return path, request.param


@pytest.mark.parametrize("case", ["clip_a@2", "clip_d@2", "clip_d@24"])
def test_logits_are_those_of_the_reference(
    case: str, published: Any, golden: Callable[[str], Any], golden_clips: Path
) -> None:
    from avbench.encoders.networks.qwen2vl.inputs import patches
    from avbench.encoders.networks.qwen2vl.judge import Judge
    from avbench.encoders.networks.qwen2vl.network import REDUCED

    path, outputs = published
    reference = golden("videoalign_tiny")
    expected = reference["models"]["1"]["clips"][case]
    name, rate = case.split("@")
    view = Frames(EvenFrames(float(rate)), resize)
    media = decode_clip(Clip(name, golden_clips / f"{name}.mp4"), name, [view])
    frames = media.view(view)
    assert media.video is not None
    assert EvenFrames(float(rate)).indices(media.video.times, media.video.fps).tolist() == expected["indices"]
    assert list(frames.shape[1:3]) == expected["size"]
    np.testing.assert_allclose(frames.mean(axis=(1, 2, 3)), expected["frame_mean"], atol=1e-3)
    rows, grid = patches(frames, torch.device("cpu"))
    assert list(grid) == expected["grid"]
    np.testing.assert_allclose(rows[::611, ::97], expected["patches_sub"], atol=1e-5)

    network = load_published(path, SETTINGS | {"outputs": outputs}, REDUCED).eval()
    judge = Judge(network, stand_in_tokenizer(REWARD_TOKENS), reference["template"], VIDEO_PAD, 3)
    (logits,) = VIDEOALIGN.run(judge, [ClipInput((frames,), reference["caption"])])
    wanted = reference["models"][str(outputs)]["clips"][case]["logits"]
    np.testing.assert_allclose(logits, wanted, atol=1e-4)


def test_prompt_ids_are_those_of_the_reference(golden: Callable[[str], Any]) -> None:
    reference = golden("videoalign_tiny")
    for case in reference["models"]["1"]["clips"].values():
        text = reference["template"].format(text_prompt=reference["caption"])
        pads = int(np.prod(case["grid"])) // 4
        ids = prompt_ids(stand_in_tokenizer(REWARD_TOKENS), VIDEO_PAD, pads, text)
        assert len(ids) == case["length"]
        assert hashlib.sha256(np.asarray(ids, np.int64).tobytes()).hexdigest() == case["ids"]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda state: state.pop("base_model.model.lm_head.weight"), "other names"),
        (lambda state: state.update({"x": torch.zeros(1)}), "other names"),
        (lambda state: state.update({"base_model.model.x": torch.zeros(1)}), "unknown keys"),
        (lambda state: state.pop("base_model.model.model.norm.weight"), "missing keys"),
        (
            lambda state: state.pop("base_model.model.model.layers.1.mlp.up_proj.lora_A.default.weight"),
            "13 adapters for 14",
        ),
        (
            lambda state: state.update({"base_model.model.visual.merger.mlp.0.lora_A.default.weight": torch.zeros(1)}),
            "15 adapters for 14",
        ),
    ],
)
def test_other_checkpoints_are_refused(
    change: Callable[[dict[str, Any]], Any], message: str, golden: Callable[[str], Any], tmp_path: Path
) -> None:
    from avbench.encoders.networks.qwen2vl.network import REDUCED

    state = {key: torch.zeros(shape) for key, shape in golden("videoalign_tiny")["models"]["1"]["keys"].items()}
    change(state)
    torch.save(state, tmp_path / "model.pth")
    with pytest.raises(EnvironmentProblem, match=message):
        load_published(tmp_path / "model.pth", SETTINGS, REDUCED)


def test_another_rank_is_refused(golden: Callable[[str], Any], tmp_path: Path) -> None:
    from avbench.encoders.networks.qwen2vl.network import REDUCED

    keys = golden("videoalign_tiny")["models"]["1"]["keys"]
    torch.save({key: torch.zeros(shape) for key, shape in keys.items()}, tmp_path / "model.pth")
    with pytest.raises(EnvironmentProblem, match="rank 4, expected 8"):
        load_published(tmp_path / "model.pth", SETTINGS | {"rank": 8}, REDUCED)


def test_settings_of_the_checkpoint(tmp_path: Path) -> None:
    path = tmp_path / "model_config.json"
    path.write_text(json.dumps(CONFIG))
    assert read_settings(path) == {"rank": 64, "scale": 2.0, "outputs": 1}
    for part, name, value in (
        ("data_config", "max_frame_pixels", 501760),
        ("model_config", "output_dim", 4),
        ("inference_config", "TA_std", 1.0),
    ):
        path.write_text(json.dumps(CONFIG | {part: CONFIG[part] | {name: value}}))
        with pytest.raises(EnvironmentProblem, match=name):
            read_settings(path)


def test_checkpoint_files_are_put_together(published: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The way that real weights take, with a small checkpoint and the stand-in for the tokenizer."""
    from avbench.encoders.networks.qwen2vl import network as qwen
    from avbench.encoders.networks.qwen2vl.judge import Judge

    path, outputs = published
    template = "\nLook: <|VQ_reward|> <|MQ_reward|> {text_prompt} <|TA_reward|>\n"
    (tmp_path / "prompt_template.py").write_text(f"TEMPLATE = {template!r}\n")
    lora = {"lora_enable": True, "lora_r": 4, "lora_alpha": 8}
    model = {"output_dim": outputs, "use_special_tokens": True}
    settings = CONFIG | {"peft_lora_config": lora, "model_config": model}
    (tmp_path / "model_config.json").write_text(json.dumps(settings))
    (tmp_path / "config.json").write_text(json.dumps(qwen.text_settings(qwen.REDUCED) | {"rope_theta": 1e6}))
    tables = {
        "videoalign": {"model.pth": path, "model_config.json": tmp_path / "model_config.json"},
        "qwen2_vl_2b": {"config.json": tmp_path / "config.json"},
        "videoalign_template": {"prompt_template.py": tmp_path / "prompt_template.py"},
    }
    monkeypatch.setattr(
        "avbench.encoders.networks.videoalign.load_tokenizer", lambda paths, tokens: stand_in_tokenizer(tokens)
    )
    monkeypatch.setattr("avbench.encoders.networks.videoalign.files", lambda row, setup: tables[row])
    monkeypatch.setattr(qwen, "QWEN2_VL_2B", qwen.REDUCED)
    digest = hashlib.sha256(template.encode()).hexdigest()
    monkeypatch.setattr("avbench.encoders.networks.videoalign._TEMPLATE", ("TEMPLATE", digest))
    loaded = VIDEOALIGN.backbone.load(LoadContext(WeightsConfig(), "cpu"))

    clip = ClipInput((noise(4),), "a dog")
    network = load_published(path, SETTINGS | {"outputs": outputs}, qwen.REDUCED).eval()
    by_hand = Judge(network, stand_in_tokenizer(REWARD_TOKENS), template, VIDEO_PAD, 3)
    np.testing.assert_array_equal(VIDEOALIGN.run(loaded, [clip])[0], VIDEOALIGN.run(by_hand, [clip])[0])


# The judge


def test_prompts_that_imitate_the_judges_tokens_are_refused(judge: Any) -> None:
    tokenize = stand_in_tokenizer(REWARD_TOKENS)
    assert tokenize("ä") == list("ä".encode())
    with pytest.raises(ValueError, match="video_pad"):
        prompt_ids(tokenize, VIDEO_PAD, 2, f"text {VIDEO_PAD}")
    with pytest.raises(ValueError, match="reserved"):
        judge.rate([noise(2)], f"a dog {REWARD_TOKENS[1]}")
    assert conversation("", "x").endswith("x<|im_end|>\n<|im_start|>assistant\n")


def test_head_is_read_at_its_tokens() -> None:
    answers = torch.arange(9.0).view(1, 3, 3)
    assert axis_values(answers).tolist() == [[0.0, 4.0, 8.0]]
    assert axis_values(answers[..., :1]).tolist() == [[0.0, 3.0, 6.0]]


def test_company_does_not_change_a_rating(judge: Any) -> None:
    clips = [ClipInput((noise(count, seed=count),), text) for count, text in ((4, "a dog"), (8, "a long caption"))]
    together = VIDEOALIGN.run(judge, clips)
    for clip, rating in zip(clips, together, strict=True):
        np.testing.assert_array_equal(VIDEOALIGN.run(judge, [clip])[0], rating)


def test_rating_depends_on_picture_and_prompt(judge: Any) -> None:
    frames = noise(4)
    (first,) = VIDEOALIGN.run(judge, [ClipInput((frames,), "a dog")])
    (other_text,) = VIDEOALIGN.run(judge, [ClipInput((frames,), "a cat")])
    (other_order,) = VIDEOALIGN.run(judge, [ClipInput((frames[::-1],), "a dog")])
    assert first.shape == (3,)
    assert first.dtype == np.float32
    # The caption comes after the first two tokens that are read.
    np.testing.assert_array_equal(first[:2], other_text[:2])
    assert abs(first[2] - other_text[2]) > 1e-4
    assert np.abs(first - other_order).min() > 1e-4


@pytest.mark.parametrize("precision", ["bf16", "fp16"])
def test_lower_precision_stays_near(precision: Any, judge: Any) -> None:
    low = VIDEOALIGN.backbone.load(LoadContext(WeightsConfig("keyed-random-reduced", precision=precision), "cpu"))
    clip = ClipInput((noise(4),), "a dog")
    (rating,) = VIDEOALIGN.run(low, [clip])
    np.testing.assert_allclose(rating, VIDEOALIGN.run(judge, [clip])[0], atol=0.1)
    assert low.network.rm_head.weight.dtype == torch.float32


@pytest.mark.slow
def test_logits_at_full_size_are_those_of_the_reference(golden: Callable[[str], Any]) -> None:
    reference = golden("videoalign_full")
    judge = VIDEOALIGN.backbone.load(LoadContext(WeightsConfig("keyed-random"), "cpu"))
    (logits,) = VIDEOALIGN.run(judge, [ClipInput((noise(4, 280, 392),), reference["caption"])])
    np.testing.assert_allclose(logits, reference["logits"], atol=1e-4)
