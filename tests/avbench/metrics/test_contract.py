"""What holds for every registered scorer; a new metric is covered by being registered."""

from __future__ import annotations

import json
from functools import cache
from typing import Any

import av
import numpy as np
import pytest
from synthetic import draw_frames, draw_sound, write_clip

from avbench.clips import Clip, Expected, Prompt
from avbench.encoders import EncoderStore, WeightsConfig
from avbench.media import Media, View
from avbench.media.decode import decode_clip
from avbench.metrics import Scorer
from avbench.metrics.base import registry

NEEDS = {"video", "audio", "prompt"}
EXPECTED = Expected("dog", "brown", "dog | on the left of | cat", "alley", "watercolor painting", "riding a bike")
PROMPT = Prompt("a dog barks in the rain", "a dog", "barking", None, EXPECTED, "Go on.", "en")
SETUP = WeightsConfig("keyed-random-reduced")
ALL = pytest.mark.parametrize("scorer", registry().values(), ids=lambda scorer: scorer.name)
# Most of the code of a metric with the reference's quirks is that of the metric without: these are long tests.
SCORERS = pytest.mark.parametrize(
    "scorer",
    [
        pytest.param(s, marks=pytest.mark.long if s.name.endswith("_compat") else ())
        for s in registry().values()
        if s.level == "clip"
    ],
    ids=lambda scorer: scorer.name,
)
STORE = EncoderStore(max_resident=40, setup=SETUP)  # all of them: none is loaded twice


class RecordingMedia(Media):
    """Remembers which views were asked for."""

    def view(self, view: View) -> Any:
        self.__dict__.setdefault("asked", []).append(view)
        return super().view(view)


def clip(seed: int = 0, frames: int = 30, seconds: float = 1.2) -> RecordingMedia:
    generator = np.random.default_rng(seed)
    pictures = generator.integers(0, 256, (frames, 48, 64, 3)).astype(np.uint8)
    sound = 0.2 * generator.standard_normal((2, int(seconds * 16000)))
    media = RecordingMedia.from_arrays(f"clip {seed} {frames} {seconds}", pictures, 25.0, sound, 16000)
    assert isinstance(media, RecordingMedia)
    return media


def without(media: Media, scorer: Scorer) -> Media:
    """The clip with only those tracks that the scorer declares."""
    for need, fields in (("video", ("video", "frames")), ("audio", ("audio", "waveform"))):
        if need not in scorer.needs:
            for name in fields:
                setattr(media, name, None)
    return media


def require(scorer: Scorer) -> None:
    reason = scorer.unavailable(SETUP)
    if reason:
        pytest.skip(reason)


def score(scorer: Scorer, media: Media) -> Any:
    """A score for which every encoder embeds a clip of this key once, whichever metric asks first."""
    return scorer(media, PROMPT, STORE)


def score_anew(scorer: Scorer, media: Media) -> Any:
    """A score that no earlier test has left embeddings for."""
    STORE.forget(media.key)
    return score(scorer, media)


@ALL
def test_facts_are_complete(scorer: Scorer) -> None:
    for fact in ("name", "summary", "unit", "source", "family", "caveat"):
        assert getattr(scorer, fact).strip(), f"{scorer.name} has no {fact}"
    assert scorer.name == scorer.name.lower().replace("-", "_").replace(" ", "_")
    assert scorer.needs
    assert scorer.needs <= NEEDS
    assert ("prompt" in scorer.needs) == (scorer.prompt_role is not None)
    low, high = scorer.range
    assert low < high
    assert scorer.version >= 1
    assert "\n" not in scorer.summary
    json.dumps(dict(scorer.params))
    hash(scorer)


@SCORERS
def test_range_detail_and_repetition_with_no_more_than_it_declares(scorer: Scorer) -> None:
    """A track that is not among the needs may be absent, and every view asked for was declared."""
    require(scorer)
    first = score_anew(scorer, clip())
    assert first.status in ("ok", "skipped"), first.reason
    media = without(clip(), scorer)
    assert score_anew(scorer, media) == first
    assert set(media.__dict__.get("asked", [])) <= set(scorer.all_views)
    if first.value is not None:
        assert scorer.range[0] <= first.value <= scorer.range[1]
    json.dumps(dict(first.detail), allow_nan=False)


@SCORERS
@pytest.mark.parametrize(
    ("frames", "seconds"), [(1, 1 / 16000), pytest.param(2, 0.05, marks=pytest.mark.slow), (3, 0.5)]
)
def test_short_clips_never_raise(scorer: Scorer, frames: int, seconds: float) -> None:
    require(scorer)
    result = score(scorer, clip(1, frames, seconds))
    assert result.status in ("ok", "skipped"), result.reason
    json.dumps(dict(result.detail), allow_nan=False)


@SCORERS
def test_constant_clips_never_raise(scorer: Scorer) -> None:
    require(scorer)
    media = clip(2)
    assert media.frames is not None
    assert media.waveform is not None
    media.frames[:], media.waveform[:] = 0, 0.0
    result = score(scorer, media)
    assert result.status in ("ok", "skipped"), result.reason


@cache
def whole_status(scorer: Scorer) -> str:
    return str(score(scorer, clip(3)).status)


@pytest.mark.long
@SCORERS
@pytest.mark.parametrize("index", [0, 15, pytest.param(29, marks=pytest.mark.slow)])
def test_one_odd_frame_costs_no_score(scorer: Scorer, index: int) -> None:
    """A black frame, as encoders drop one in at a cut, leaves a score where there was one, within the range."""
    require(scorer)
    odd = clip(3)
    odd.key += f", frame {index} black"
    assert odd.frames is not None
    odd.frames[index] = 0
    result = score(scorer, odd)
    assert result.status == whole_status(scorer), result.reason
    if result.value is not None:
        assert scorer.range[0] <= result.value <= scorer.range[1]
    json.dumps(dict(result.detail), allow_nan=False)


@pytest.fixture(scope="module")
def orders(tmp_path_factory: pytest.TempPathFactory) -> list[Media]:
    """The same packets in two files, decoded for all metrics: the video track first, and the audio track first."""
    folder = tmp_path_factory.mktemp("orders")
    frames, sound = draw_frames(4, seconds=1.6, size=(48, 64)), draw_sound(4, seconds=1.6)
    first = write_clip(folder / "video.mp4", frames, sound)
    second = folder / "audio.mp4"
    with av.open(str(first)) as old, av.open(str(second), "w") as new:
        streams = {s.index: new.add_stream_from_template(s) for s in (old.streams.audio[0], old.streams.video[0])}
        for packet in old.demux():
            if packet.dts is not None:
                packet.stream = streams[packet.stream.index]
                new.mux(packet)
    with av.open(str(second)) as written:
        assert [stream.type for stream in written.streams] == ["audio", "video"]
    scorers = [one for one in registry().values() if one.level == "clip" and not one.unavailable(SETUP)]
    views = [view for one in scorers for view in one.all_views]
    decoded = [decode_clip(Clip(path.stem, path), path.stem, views) for path in (first, second)]
    assert not any(media.problems for media in decoded)
    return decoded


@pytest.mark.long
@SCORERS
def test_the_order_of_the_tracks_changes_nothing(scorer: Scorer, orders: list[Media]) -> None:
    require(scorer)
    scores = [score(scorer, media) for media in orders]
    assert scores[0].status in ("ok", "skipped"), scores[0].reason
    assert scores[0] == scores[1]
