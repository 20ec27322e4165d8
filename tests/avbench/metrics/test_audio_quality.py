"""AQ, its axes and the reward: formulas, both sides of each flag, and the goldens."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from avbench.clips import Clip, Prompt
from avbench.encoders import EncoderStore, WeightsConfig
from avbench.encoders.networks.audiobox.encoders import AUDIOBOX_AXES, AUDIOBOX_AXES_COMPAT, AXES
from avbench.media import Media
from avbench.metrics.audio_quality import (
    aq,
    aq_ce,
    aq_compat,
    aq_cu,
    aq_pc,
    aq_pq,
    mean_quality,
    quality_reward,
    reward_audiobox,
)

NONE = Prompt()
AXIS_SCORERS = (aq_ce, aq_cu, aq_pc, aq_pq)


class FixedStore(EncoderStore):
    """Answers with given ratings."""

    def __init__(self, ratings: dict[str, NDArray[np.float32]]) -> None:
        super().__init__()
        self.ratings = ratings

    def embed(self, encoder: Any, media: Media, prompt: Prompt | None = None) -> NDArray[Any]:
        return self.ratings[encoder.name]


def clip(sound: NDArray[np.float32], rate: int, key: str = "clip") -> Media:
    return Media.from_arrays(key, None, 24.0, sound, rate)


def noise(samples: int, channels: int = 1) -> NDArray[np.float32]:
    return (0.1 * np.random.default_rng(3).standard_normal((channels, samples))).astype(np.float32)


@pytest.fixture
def store() -> EncoderStore:
    pytest.importorskip("torch")
    return EncoderStore(setup=WeightsConfig("keyed-random-reduced"))


def test_each_scorer_reads_its_axis() -> None:
    ratings = np.array([1.0, 2.0, 4.0, 8.0], dtype=np.float32)
    given = FixedStore({"audiobox_axes": ratings, "audiobox_axes_compat": ratings + 1})
    media = clip(noise(100), 16000)
    assert [scorer(media, NONE, given).value for scorer in AXIS_SCORERS] == [1.0, 2.0, 4.0, 8.0]
    result = aq(media, NONE, given)
    assert result.value == 3.75
    assert result.detail == {"CE": 1.0, "CU": 2.0, "PC": 4.0, "PQ": 8.0}
    assert aq_compat(media, NONE, given).value == 4.75
    assert reward_audiobox(media, NONE, given).value == pytest.approx((1 + 2 + 8 - 4) / 40)


@pytest.mark.parametrize("name", ["clip_a", "clip_b", "clip_c", "clip_d"])
def test_formulas_equal_the_reference(golden: Callable[[str], Any], name: str) -> None:
    case = golden("audiobox")["results"][name]
    of = {kind: np.array([case[kind][axis] for axis in AXES], dtype=np.float32) for kind in ("javis_axes", "path_axes")}
    assert mean_quality(of["javis_axes"]) == pytest.approx(case["javis_score"], abs=1e-9)
    assert quality_reward(of["path_axes"]) == pytest.approx(case["omninft"], abs=1e-9)


def test_one_forward_serves_all(store: EncoderStore, monkeypatch: pytest.MonkeyPatch) -> None:
    runs: list[int] = []
    original = type(store).prefetch

    def count(self: EncoderStore, encoder: Any, clips: Any) -> None:
        runs.append(len(clips))
        original(self, encoder, clips)

    monkeypatch.setattr(type(store), "prefetch", count)
    media = clip(noise(16000), 16000)
    values = [scorer(media, NONE, store).value for scorer in (*AXIS_SCORERS, aq, reward_audiobox)]
    assert runs == [1]
    assert values[4] == pytest.approx(np.mean(np.array(values[:4], dtype=np.float64)))


def test_both_modes_agree_on_what_has_no_quirk(store: EncoderStore) -> None:
    media = clip(noise(64000), 16000)
    assert aq(media, NONE, store).value == aq_compat(media, NONE, store).value


@pytest.mark.parametrize(
    ("samples", "rate"), [(192000, 48000), (32000, 16000), (80000, 16000)], ids=["resampled", "padded", "cut"]
)
def test_modes_differ_where_a_quirk_acts(store: EncoderStore, samples: int, rate: int) -> None:
    media = clip(noise(samples), rate)
    fixed, compat = aq(media, NONE, store), aq_compat(media, NONE, store)
    assert fixed.value is not None
    assert compat.value is not None
    assert abs(fixed.value - compat.value) > 1e-4


@pytest.mark.parametrize(("samples", "channels"), [(1, 1), (300, 2), (14400, 6)])
def test_odd_sounds_get_a_number(store: EncoderStore, channels: int, samples: int) -> None:
    for scorer in (aq, aq_compat, reward_audiobox):
        assert scorer(clip(noise(samples, channels), 48000), NONE, store).status == "ok"


def test_an_empty_track_is_skipped(store: EncoderStore) -> None:
    media = clip(noise(1), 16000)
    assert media.audio is not None
    object.__setattr__(media.audio, "samples", 0)
    for scorer in (aq, aq_compat, aq_pq, reward_audiobox):
        result = scorer(media, NONE, store)
        assert (result.status, result.reason) == ("skipped", "the sound track holds no sample")


def test_facts() -> None:
    assert dict(aq.params)["mode"] == dict(reward_audiobox.params)["mode"] == "fixed"
    assert dict(aq_compat.params) == {
        "mode": "compat",
        "flags": "aq_resample_bug,aq_pad_as_valid",
        "max_audio_len_s": 4.0,
    }
    assert aq_pc.higher_is_better is None
    assert aq.encoders == (AUDIOBOX_AXES,) == reward_audiobox.encoders
    assert aq_compat.encoders == (AUDIOBOX_AXES_COMPAT,)


@pytest.mark.slow
def test_files_to_scores_equal_the_reference(golden: Callable[[str], Any], golden_clips: Path) -> None:
    pytest.importorskip("torch")
    from avbench.media.decode import decode_clip

    store = EncoderStore(setup=WeightsConfig("keyed-random"))
    for name in ("clip_a", "clip_b", "clip_d"):  # cut or padded to 4 s, as aq_compat does
        case = golden("audiobox")["results"][name]
        source = Clip(name, golden_clips / f"{name}.mp4", golden_clips / f"{name}.wav")
        media = decode_clip(source, name, (*aq.all_views, *aq_compat.all_views))
        for scorer, axis in zip(AXIS_SCORERS, AXES, strict=True):
            assert scorer(media, NONE, store).value == pytest.approx(case["path_axes"][axis], abs=2e-5)
        assert aq_compat(media, NONE, store).value == pytest.approx(case["javis_score"], abs=2e-5)
        assert reward_audiobox(media, NONE, store).value == pytest.approx(case["omninft"], abs=2e-6)
