"""HPSv3: frames, entries of the checkpoint, and the reference's numbers."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from avbench.clips import Clip
from avbench.encoders import ClipInput, LoadContext, WeightsConfig
from avbench.encoders.networks.hpsv3 import HPSV3, REWARD_TOKENS, head, load_published, resize
from avbench.encoders.networks.qwen2vl.prompts import IMAGE_PAD, VOCABULARY, prompt_ids, stand_in_tokenizer
from avbench.errors import EnvironmentProblem
from avbench.media import Linspace, decode_clip

torch = pytest.importorskip("torch")
pytest.importorskip("transformers")


@pytest.fixture(scope="module")
def judge() -> Any:
    return HPSV3.backbone.load(LoadContext(WeightsConfig("keyed-random-reduced"), "cpu"))


def noise(count: int, height: int = 56, width: int = 84, seed: int = 0) -> NDArray[np.uint8]:
    return np.random.default_rng(seed).integers(0, 256, (count, height, width, 3)).astype(np.uint8)


def published(golden: Callable[[str], Any], folder: Path) -> Path:
    """A small checkpoint in the published layout with the weights of the golden run."""
    from safetensors.torch import save_file

    from avbench.encoders.loading import _keyed_random

    keys = golden("hpsv3_tiny")["keys"]
    entries = {key: _keyed_random(key, torch.zeros(shape), he=True) for key, shape in keys.items()}
    save_file(entries, folder / "HPSv3.safetensors")
    return folder / "HPSv3.safetensors"


def test_frame_choice_is_that_of_the_reference() -> None:
    for total in [*range(1, 500), 7200]:
        expected = [round(place * (total - 1) / 4) for place in range(5)]
        assert Linspace(5).indices(np.arange(total) / 24, 24.0).tolist() == expected


def test_entries_are_those_of_the_published_checkpoint(golden: Callable[[str], Any]) -> None:
    from avbench.encoders.networks.qwen2vl.network import QWEN2_VL_7B, build

    network = build(QWEN2_VL_7B, VOCABULARY + 1, head)
    expected = golden("state_dict_keys/qwen2_vl_7b")
    assert expected.pop("lm_head.weight") == expected["model.embed_tokens.weight"]
    expected["model.embed_tokens.weight"][0] = 151_658
    for layer, (width, inner) in {0: (1024, 3584), 3: (16, 1024), 5: (2, 16)}.items():
        expected |= {f"rm_head.{layer}.weight": [width, inner], f"rm_head.{layer}.bias": [width]}
    assert {key: list(value.shape) for key, value in network.state_dict().items()} == expected


@pytest.mark.parametrize("clip", ["clip_a", "clip_d"])
def test_ratings_are_those_of_the_reference(
    clip: str, golden: Callable[[str], Any], golden_clips: Path, tmp_path: Path
) -> None:
    from avbench.encoders.networks.qwen2vl.inputs import patches
    from avbench.encoders.networks.qwen2vl.judge import Judge
    from avbench.encoders.networks.qwen2vl.network import REDUCED

    reference = golden("hpsv3_tiny")
    expected = reference["clips"][clip]
    frames = decode_clip(Clip(clip, golden_clips / f"{clip}.mp4"), clip, HPSV3.views).view(HPSV3.views[0])
    assert list(frames.shape[1:3]) == expected["size"]
    np.testing.assert_allclose(frames.mean(axis=(1, 2, 3)), expected["frame_mean"], atol=1e-6)
    rows, grids = zip(*(patches(frame[None], torch.device("cpu")) for frame in frames), strict=True)
    assert list(grids[0]) == expected["grid"]
    np.testing.assert_allclose(torch.cat(rows)[::611, ::97], expected["patches_sub"], atol=1e-5)
    text = reference["template"].format(text_prompt=reference["caption"])
    ids = prompt_ids(stand_in_tokenizer(REWARD_TOKENS), IMAGE_PAD, int(np.prod(grids[0])) // 4, text)
    assert hashlib.sha256(np.asarray(ids, np.int64).tobytes()).hexdigest() == expected["ids"]

    network = load_published(published(golden, tmp_path), REDUCED).eval()
    judge = Judge(network, stand_in_tokenizer(REWARD_TOKENS), reference["template"], IMAGE_PAD, 1)
    (ratings,) = HPSV3.run(judge, [ClipInput((frames,), reference["caption"])])
    np.testing.assert_allclose(ratings, expected["logits"], atol=1e-4)


def test_other_checkpoints_are_refused(golden: Callable[[str], Any], tmp_path: Path) -> None:
    from safetensors.torch import load_file, save_file

    from avbench.encoders.networks.qwen2vl.network import REDUCED

    path = published(golden, tmp_path)
    state = load_file(path)
    for key, message in (("lm_head.weight", "not the published"), ("rm_head.3.bias", "missing keys")):
        save_file({name: value for name, value in state.items() if name != key}, path)
        with pytest.raises(EnvironmentProblem, match=message):
            load_published(path, REDUCED)


def test_checkpoint_files_are_put_together(
    golden: Callable[[str], Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The way that real weights take, with a small checkpoint and the stand-in for the tokenizer."""
    from avbench.encoders.networks.qwen2vl import network as qwen

    source = tmp_path / "data_collator_qwen.py"
    source.write_text("FIRST = 'Caption: {text_prompt}'\nSECOND = ' Rate: <|Reward|>'\n")
    (tmp_path / "config.json").write_text(json.dumps(qwen.text_settings(qwen.REDUCED)))
    tables = {
        "hpsv3": {"HPSv3.safetensors": published(golden, tmp_path)},
        "qwen2_vl_7b": {"config.json": tmp_path / "config.json"},
        "hpsv3_template": {"data_collator_qwen.py": source},
    }
    monkeypatch.setattr("avbench.encoders.networks.hpsv3.files", lambda row, setup: tables[row])
    monkeypatch.setattr(
        "avbench.encoders.networks.hpsv3.load_tokenizer", lambda paths, tokens: stand_in_tokenizer(tokens)
    )
    monkeypatch.setattr(qwen, "QWEN2_VL_7B", qwen.REDUCED)
    for constant, name, text in (
        ("_INSTRUCTION", "FIRST", "Caption: {text_prompt}"),
        ("_SUFFIX", "SECOND", " Rate: <|Reward|>"),
    ):
        digest = hashlib.sha256(text.encode()).hexdigest()
        monkeypatch.setattr(f"avbench.encoders.networks.hpsv3.{constant}", (name, digest))
    judge = HPSV3.backbone.load(LoadContext(WeightsConfig(), "cpu"))
    assert judge.template == "Caption: {text_prompt} Rate: <|Reward|>"
    (ratings,) = HPSV3.run(judge, [ClipInput((noise(5),), "a dog")])
    assert ratings.shape == (5, 2)


def test_company_does_not_change_a_rating(judge: Any) -> None:
    """Frames of one clip share a forward; alone they get the same numbers up to the order of sums."""
    clips = [ClipInput((noise(5, seed=seed),), text) for seed, text in ((1, "a dog"), (2, "a long caption"))]
    together = HPSV3.run(judge, clips)
    for clip, ratings in zip(clips, together, strict=True):
        assert ratings.shape == (5, 2)
        np.testing.assert_array_equal(HPSV3.run(judge, [clip])[0], ratings)
        alone = [HPSV3.run(judge, [ClipInput((frame[None],), clip.text)])[0][0] for frame in clip.views[0]]
        np.testing.assert_allclose(ratings, np.stack(alone), atol=1e-5)
    assert np.abs(together[0] - together[1]).min() > 1e-4


def test_head_stays_in_float32() -> None:
    low = HPSV3.backbone.load(LoadContext(WeightsConfig("keyed-random-reduced", precision="bf16"), "cpu"))
    assert all(entry.dtype == torch.float32 for entry in low.network.rm_head.parameters())
    assert low.network.model.norm.weight.dtype == torch.bfloat16
    (ratings,) = HPSV3.run(low, [ClipInput((noise(5),), "a dog")])
    assert np.isfinite(ratings).all()


@pytest.mark.parametrize(("height", "width"), [(480, 832), (64, 64), (720, 405)])
def test_pictures_have_about_the_area_of_training(height: int, width: int) -> None:
    resized = resize(noise(1, height, width)[0])
    assert resized.shape[0] % 28 == resized.shape[1] % 28 == 0
    assert 0.85 < resized.shape[0] * resized.shape[1] / 200_704 < 1.15
