"""overall_consistency and temporal_style: one number, held to the reference's."""

from __future__ import annotations

import numpy as np
import pytest
from vbench_goldens import FOLDER, arrays, decoded, golden

from avbench.clips import Prompt
from avbench.encoders import EncoderStore, WeightsConfig
from avbench.encoders.networks.viclip.encoders import VICLIP, VICLIP_TEXT, VICLIP_VIDEO
from avbench.media import Media, Middle
from avbench.metrics.vbench_overall_consistency import overall_consistency, temporal_style

torch = pytest.importorskip("torch")
pytest.importorskip("open_clip")

BOTH = pytest.mark.parametrize("scorer", [overall_consistency, temporal_style], ids=lambda scorer: scorer.name)
GOLDEN = golden("viclip")["clip_e"]


def test_the_frames_are_the_references():
    chosen = Middle(8).indices(np.arange(GOLDEN["frames"]) / 24, 24.0)
    assert list(chosen) == GOLDEN["indices"]


class FixedStore(EncoderStore):
    """Gives the reference's features for those of the network."""

    def embed(self, encoder, media, prompt=None):
        video, text = (arrays("viclip")[f"clip_e.{name}_feat"] for name in ("vision", "text"))
        return {VICLIP_VIDEO: video, VICLIP_TEXT: np.append(text, 8)}[encoder]


@pytest.fixture(scope="module")
def store():
    return EncoderStore(setup=WeightsConfig("keyed-random-reduced"))


def drawn(frames: int, height: int = 40, width: int = 60) -> Media:
    pictures = np.random.default_rng(frames).integers(0, 256, (frames, height, width, 3)).astype(np.uint8)
    return Media.from_arrays(f"drawn {pictures.shape}", pictures, 24.0)


@BOTH
def test_the_formula_equals_the_reference(scorer):
    assert scorer(drawn(1), Prompt(GOLDEN["prompt"]), FixedStore()).value == pytest.approx(GOLDEN["score"], abs=2e-6)


@BOTH
def test_the_joint_prompt_is_read_and_a_cut_is_told(scorer, store):
    score = scorer(drawn(3), Prompt("rain on a roof", video_text="a dog", audio_text="a cat"), store)
    assert score == scorer(drawn(3), Prompt("rain on a roof"), store)
    assert score.value != scorer(drawn(3), Prompt("a dog"), store).value
    assert score.detail == {"tokens": 6}
    assert scorer(drawn(3), Prompt("rain " * 31), store).detail["note"] == "text cut from 33 to 32 tokens"


def test_both_names_share_one_pass_of_the_network(store):
    passes = []
    loaded = store._network(VICLIP)
    loaded.vision_encoder.register_forward_hook(lambda *_: passes.append(1))
    media, prompt = drawn(9), Prompt("a dog")
    assert overall_consistency(media, prompt, store).value == temporal_style(media, prompt, store).value
    assert len(passes) == 1


@pytest.mark.parametrize(("frames", "height", "width"), [(1, 48, 64), (7, 256, 64), (9, 16, 64), (2, 8, 8)])
def test_short_tall_and_small_clips_are_scored(frames, height, width, store):
    assert overall_consistency(drawn(frames, height, width), Prompt("a dog"), store).status == "ok"


@pytest.mark.slow
def test_the_score_equals_the_reference():
    media = decoded(FOLDER / "clip_e.mp4", VICLIP_VIDEO.views)
    score = overall_consistency(media, Prompt(GOLDEN["prompt"]), EncoderStore(setup=WeightsConfig("keyed-random")))
    assert score.value == pytest.approx(GOLDEN["score"], abs=2e-6)
