"""Appearance style against VBench's own numbers, and clips without a style."""

from __future__ import annotations

import numpy as np
import pytest
import vbench_goldens as vbench
from synthetic import draw_frames, write_clip

from avbench import Clip, Prompt, score_clips
from avbench.clips import Expected
from avbench.encoders import EncoderStore, WeightsConfig
from avbench.encoders.networks.clip import CLIP_EVERY_FRAME_ANTIALIASED, CLIP_STYLE, network_input, token_ids
from avbench.encoders.texts import split_text
from avbench.media import Media
from avbench.metrics.vbench_appearance_style import appearance_style
from avbench.run.options import RunOptions

torch = pytest.importorskip("torch")
pytest.importorskip("open_clip")

CLIPS = ["clip_a16", "bbb6"]


@pytest.fixture(scope="module")
def store():
    return EncoderStore(setup=WeightsConfig("keyed-random-reduced"))


def styled(style: str | None, text: str | None = "a bridge") -> Prompt:
    return Prompt(text, expected=Expected(style=style))


def drawn(count: int) -> Media:
    frames = np.random.default_rng(0).integers(0, 256, (count, 48, 64, 3)).astype(np.uint8)
    return Media.from_arrays(f"drawn {count}", frames, 24)


@pytest.mark.parametrize("name", CLIPS)
def test_inputs_and_tokens_equal_vbench(name):
    expected, facts = vbench.arrays_of("appearance_style", name), vbench.golden("appearance_style")[name]
    frames = torch.from_numpy(vbench.media(name).view(CLIP_EVERY_FRAME_ANTIALIASED.views[0]))
    inputs = network_input(frames, clip_bgr=False).numpy()
    np.testing.assert_allclose(vbench.sub_input(inputs), expected["in_sub"], atol=1e-6)
    np.testing.assert_allclose(inputs.mean(axis=(2, 3), dtype=np.float64), expected["in_mean"], atol=1e-6)
    assert list(inputs.shape) == facts["in_shape"]
    ids, count = token_ids(facts["text"])
    assert ids[:count].tolist() == facts["tokens"]


def test_only_the_style_is_read(store):
    media = drawn(2)
    score = appearance_style(media, styled("pixel art"), store)
    assert score == appearance_style(media, styled("pixel art", "a dog in the snow"), store)
    assert score.value != appearance_style(media, styled("Van Gogh style"), store).value


def test_the_detail_has_the_last_frame(store):
    media = drawn(3)
    score = appearance_style(media, styled("pixel art"), store)
    last = Media.from_arrays("last", media.frames[-1:], 24)
    assert score.detail["frames"] == 3
    assert score.detail["last_frame"] == pytest.approx(
        appearance_style(last, styled("pixel art"), store).value, abs=1e-6
    )


def test_a_still_scores_as_its_frame(store):
    frame = drawn(1)
    still = Media.from_arrays("still", frame.frames.repeat(9, axis=0), 24)
    single = appearance_style(frame, styled("pixel art"), store)
    assert appearance_style(still, styled("pixel art"), store).value == pytest.approx(single.value, abs=1e-7)


def test_a_prompt_without_style_costs_its_own_row_alone(tmp_path, store):
    clips = [
        Clip(
            name,
            write_clip(tmp_path / f"{name}.mp4", draw_frames(seed, seconds=0.3, size=(48, 64)), None),
            prompt=prompt,
        )
        for seed, (name, prompt) in enumerate({"styled": styled("pixel art"), "plain": Prompt("a bridge")}.items())
    ]
    options = RunOptions(setup=WeightsConfig("keyed-random-reduced"))
    run = score_clips(clips, tmp_path / "run", metrics=["appearance_style"], options=options)
    rows = run.scores.set_index("clip_id")
    assert rows["status"].to_dict() == {"styled": "ok", "plain": "skipped"}
    assert rows.loc["plain", "reason"] == "the prompt names no style; manifest column prompt_style"
    assert appearance_style(drawn(1), Prompt("a bridge"), store).reason == rows.loc["plain", "reason"]


@pytest.mark.slow
def test_scores_equal_vbench():
    store = EncoderStore(setup=WeightsConfig("keyed-random"))
    for name in CLIPS:
        expected, arrays = vbench.golden("appearance_style")[name], vbench.arrays_of("appearance_style", name)
        media, prompt = vbench.media(name), styled(expected["text"])
        score = appearance_style(media, prompt, store)
        features = store.embed(CLIP_EVERY_FRAME_ANTIALIASED, media)
        np.testing.assert_allclose(features[:, ::16], arrays["feat_sub"], atol=2e-5)
        style, _ = split_text(store.embed(CLIP_STYLE, media, prompt))
        np.testing.assert_allclose(style, arrays["text_feat"], atol=2e-5)
        cosines = features @ style / np.linalg.norm(features, axis=1) / np.linalg.norm(style)
        np.testing.assert_allclose(cosines, arrays["frame_results"], atol=1e-5)
        assert score.value == pytest.approx(expected["score"], abs=1e-5)
        assert score.detail["last_frame"] == pytest.approx(expected["cur_sim_last_frame"], abs=1e-5)
