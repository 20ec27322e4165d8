"""Lip sync: the reference's numbers from given distances, both sides of each flag, and why a clip has no number."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest
from speech_goldens import arrays, golden

from avbench.clips import Prompt
from avbench.encoders import Encoder
from avbench.encoders.networks.silero import SILERO
from avbench.encoders.networks.syncnet.encoders import LIPS
from avbench.encoders.networks.syncnet.lip_tracks import LipTrack, LipTracks
from avbench.encoders.networks.syncnet.windows import distances
from avbench.media import Media
from avbench.metrics import Score
from avbench.metrics.base import registry
from avbench.metrics.lip_distances import mean_distances, read_lips

FORMULA, METADATA = arrays("syncnet_formula"), golden("syncnet_formula")
KEYED, KEYED_FACTS = arrays("syncnet_keyed"), golden("syncnet_keyed")
WITH_VECTORS = [name for name in METADATA if f"{name}_lip" in FORMULA.files]


def assert_reads_as(reading: Any, facts: Any) -> None:
    assert -reading.shift == facts["offset"]
    assert reading.confidence == pytest.approx(facts["confidence"], abs=1e-5)
    assert reading.distance == pytest.approx(facts["min_dist"], abs=1e-5)


@pytest.mark.parametrize("name", WITH_VECTORS)
def test_distances_of_the_reference(name: str) -> None:
    table = distances(FORMULA[f"{name}_lip"], FORMULA[f"{name}_aud"])
    reading = read_lips(table, zero_rows=True)
    assert_reads_as(reading, METADATA[name])
    np.testing.assert_allclose(mean_distances(table, zero_rows=True), FORMULA[f"{name}_mdist"], atol=1e-5)
    if "true_lag_of_sound_frames" in METADATA[name]:
        assert reading.shift == METADATA[name]["true_lag_of_sound_frames"]
        np.testing.assert_allclose(reading.framewise, FORMULA[f"{name}_framewise"], atol=1e-5)


@pytest.mark.parametrize("reach", [5, 10])
def test_distances_of_fewer_shifts(reach: int) -> None:
    table = distances(FORMULA["late_+3_lip"], FORMULA["late_+3_aud"], reach)
    assert_reads_as(read_lips(table, zero_rows=True), METADATA[f"late_+3_vshift{reach}"])


def test_distances_of_equal_rows() -> None:
    rows = np.full((40, 16), 1.5, np.float32)
    table = distances(rows, rows)
    np.testing.assert_allclose(mean_distances(table, zero_rows=True), FORMULA["constant_equal_mdist"], atol=1e-5)
    assert_reads_as(read_lips(table, zero_rows=True), METADATA["constant_equal"])


@pytest.mark.parametrize("case", ["syn_a", "syn_b"])
def test_distances_of_the_network_in_the_reference(case: str) -> None:
    reading = read_lips(KEYED[f"{case}_dists"], zero_rows=True)
    assert_reads_as(reading, KEYED_FACTS[case])
    np.testing.assert_allclose(reading.framewise, KEYED[f"{case}_framewise"], atol=1e-5)


@pytest.mark.parametrize("lag", [-15, -4, 0, 9, 15])
def test_fixed_finds_the_lag_too(lag: int) -> None:
    assert read_lips(table_of(60, lag), zero_rows=False).shift == lag


def test_zero_rows_bend_the_ends_in_compat_only() -> None:
    """Embeddings that match badly lie nearer to zeros than to each other."""
    table = table_of(40, 2, noise=2.5)
    assert abs(read_lips(table, zero_rows=True).shift) == 15
    assert read_lips(table, zero_rows=False).shift == 2


def test_fixed_curve_of_equal_rows_is_flat() -> None:
    rows = np.full((40, 16), 1.5, np.float32)
    assert np.ptp(mean_distances(distances(rows, rows), zero_rows=False)) < 1e-6


def test_framewise_begins_where_there_is_sound() -> None:
    early, late = (read_lips(table_of(60, lag), zero_rows=False) for lag in (-4, 4))
    assert (early.first, len(early.framewise)) == (4, 56)
    assert (late.first, len(late.framewise)) == (0, 56)


def test_shifts_without_any_sound_are_left_out() -> None:
    means = mean_distances(table_of(8, 0), zero_rows=False)
    assert np.isnan(means).sum() == 16
    assert read_lips(table_of(8, 0), zero_rows=False).shift == 0


def table_of(rows: int, lag: int, *, noise: float = 0.1, seed: int = 0) -> np.ndarray:
    """Distances where the sound says the same as the lips `lag` frames later."""
    generator = np.random.default_rng(seed)
    meaning = generator.standard_normal((rows + 40, 32)).astype(np.float32)
    lips, sounds = meaning[20 : 20 + rows], meaning[20 - lag : 20 - lag + rows]
    return distances(lips + 0 * sounds, sounds + noise * generator.standard_normal(sounds.shape).astype(np.float32))


class Embeddings:
    """A store that knows what the networks say of a clip."""

    def __init__(self, known: Mapping[Encoder, Any]) -> None:
        self.known = known

    def embed(self, encoder: Encoder, media: Media, prompt: Prompt | None = None) -> Any:
        return self.known[encoder]


def track(lag: int = 0, *, first: int = 0, frames: int = 100, detections: int = 0, noise: float = 0.1) -> LipTrack:
    boxes = np.tile(np.array([[10, 20, 130, 160]], np.float32), (frames, 1))
    return LipTrack(first, detections or frames, boxes, table_of(frames - 5, lag, noise=noise))


def score(
    name: str,
    *tracks: LipTrack,
    speech: tuple[float, float] = (0.0, 4.0),
    with_face: int | None = None,
    audio_start: float = 0.0,
    height: int = 110,
) -> Score:
    """Score of a clip of five seconds with these faces, in which somebody speaks from one second to another."""
    media = Media.from_arrays("c", np.zeros((125, height, 112, 3), np.uint8), 25, np.zeros((1, 80_000)), 16000)
    assert media.audio is not None
    object.__setattr__(media.audio, "start", audio_start)
    at = np.arange(157) * 0.032
    voice = np.where((at >= speech[0]) & (at < speech[1]), 0.9, 0.0).astype(np.float32)
    lips = LipTracks(125, 125 if with_face is None else with_face, 0, tracks).as_array()
    return registry()[name](media, Prompt(), Embeddings({SILERO: voice, LIPS: lips}))  # type: ignore[arg-type]


def test_numbers_of_one_face() -> None:
    confidence, distance, offset = (score(name, track(3)) for name in ("lse_c", "lse_d", "sync_offset"))
    expected = read_lips(track(3).distances, zero_rows=False)
    assert confidence.value == pytest.approx(expected.confidence)
    assert distance.value == pytest.approx(expected.distance)
    assert offset.value == pytest.approx(0.12)
    assert offset.detail["confidence"] == pytest.approx(expected.confidence)
    assert len(confidence.detail["framewise"]) == 92
    face = confidence.detail["faces"][0]
    assert face["boxes"][0] == [10, 20, 130, 160]
    assert (face["size_px"], len(face["boxes"]), face["boxes_every_s"]) == (140, 20, 0.2)
    assert confidence.detail["framewise_every_s"] == 0.04


def test_what_a_report_draws_is_bounded() -> None:
    """A minute of a face, and twenty more faces."""
    brief = [track(7, first=number, frames=60, noise=3.0) for number in range(20)]
    detail = score("lse_c", *brief, track(3, frames=1500), speech=(0.0, 5.0)).detail
    assert detail["chosen"] == len(detail["faces"]) - 1
    boxes = [len(face["boxes"]) for face in detail["faces"] if "boxes" in face]
    assert len(boxes) <= 12 and max(boxes) <= 100 and "boxes" in detail["faces"][detail["chosen"]]
    assert len(detail["framewise"]) <= 100
    whole = read_lips(track(3, frames=1500).distances, zero_rows=False).framewise
    assert np.mean(detail["framewise"]) == pytest.approx(whole.mean(), abs=0.02)
    assert len(detail["framewise"]) * detail["framewise_every_s"] == pytest.approx(len(whole) / 25, abs=0.7)


def test_the_sign_is_that_of_av_offset() -> None:
    assert score("sync_offset", track(5)).value == pytest.approx(0.2)
    assert score("sync_offset", track(-5)).value == pytest.approx(-0.2)


def test_the_face_that_goes_best_with_the_sound_counts() -> None:
    listener, speaker = track(7, noise=3.0), track(2)
    for name in ("lse_c", "lse_d", "sync_offset"):
        for faces, chosen in (((listener, speaker), 1), ((speaker, listener), 0)):
            result = score(name, *faces)
            assert result.value == score(name, speaker).value
            assert result.detail["chosen"] == chosen
            assert len(result.detail["faces"]) == 2


def test_a_face_out_of_view_while_somebody_speaks_does_not_count() -> None:
    early, late = track(2, frames=60), track(4, first=65, frames=60, noise=1.5)
    assert score("sync_offset", early, late).value == pytest.approx(0.08)
    assert score("sync_offset", early, late, speech=(3.0, 4.5)).value == pytest.approx(0.16)


def test_speech_lies_where_the_sound_does() -> None:
    face = track(2, frames=60)
    assert score("lse_c", face, speech=(2.7, 4.0)).status == "skipped"
    assert score("lse_c", face, speech=(2.7, 4.0), audio_start=-1.0).status == "ok"


@pytest.mark.parametrize("name", ["lse_c", "lse_d", "sync_offset"])
@pytest.mark.parametrize(
    ("reason", "tracks", "options"),
    [
        ("no speech found", [track()], {"speech": (0.0, 0.0)}),
        ("speech, but no face in view: an off-screen voice?", [], {"with_face": 0}),
        ("no face of more than 100 pixels for 50 frames at 25 per second", [], {"with_face": 90}),
        (
            "speech, but none while a face is in view: an off-screen voice?",
            [track(first=60, frames=60)],
            {"speech": (0.0, 2.0)},
        ),
        ("the sound ends before lips can be compared with it", [track(frames=34)], {}),
    ],
)
def test_why_there_is_no_number(name: str, reason: str, tracks: list[LipTrack], options: dict[str, Any]) -> None:
    result = score(name, *tracks, **options)
    assert (result.status, result.reason) == ("skipped", reason)


@pytest.mark.parametrize("name", ["lse_c", "lse_d", "sync_offset", "lse_c_latentsync_compat"])
def test_frames_that_the_detector_does_not_take_say_nothing_of_faces(name: str) -> None:
    result = score(name, with_face=0, height=109)
    assert result.reason == "frames below 110 pixels: too small for the detector of faces"
    assert score(name, with_face=0, height=109, speech=(0.0, 0.0)).status == "skipped"


@pytest.mark.parametrize("lag", [-15, 15])
def test_an_offset_at_the_end_of_the_search_is_none(lag: int) -> None:
    assert score("sync_offset", track(lag)).reason == "no offset within 0.6 s stands out"
    assert score("lse_c", track(lag)).status == "ok"


def test_zero_rows_count() -> None:
    """Flag lse_zero_rows."""
    face = track(2, frames=101, noise=0.8)
    fixed, compat = (read_lips(face.distances, zero_rows=zero_rows) for zero_rows in (False, True))
    for which in ("joonson", "wav2lip", "latentsync"):
        assert score(f"lse_c_{which}_compat", face).value == pytest.approx(compat.confidence)
    for which in ("joonson", "wav2lip"):
        assert score(f"lse_d_{which}_compat", face).value == pytest.approx(compat.distance)
    assert score("lse_c", face).value == pytest.approx(fixed.confidence)
    assert abs(fixed.confidence - compat.confidence) > 0.01


@pytest.mark.parametrize("which", ["joonson", "wav2lip", "latentsync"])
def test_speech_is_not_asked_for(which: str) -> None:
    """Flag lse_without_speech."""
    face = track(frames=101)
    assert score(f"lse_c_{which}_compat", face, speech=(0.0, 0.0)).status == "ok"
    assert score("lse_c", face, speech=(0.0, 0.0)).reason == "no speech found"


def test_which_tracks_count() -> None:
    """Flags lse_first_track and lse_mean_of_tracks."""
    first, second = track(1, frames=110, noise=2.0), track(6, frames=110)
    values = [read_lips(face.distances, zero_rows=True) for face in (first, second)]
    assert score("lse_c_joonson_compat", first, second).value == pytest.approx(values[0].confidence)
    assert score("lse_d_joonson_compat", first, second).value == pytest.approx(values[0].distance)
    mean = np.mean([value.confidence for value in values])
    assert score("lse_c_wav2lip_compat", first, second).value == pytest.approx(mean)
    assert score("lse_c_latentsync_compat", first, second).value == pytest.approx(mean)
    assert score("lse_d_wav2lip_compat", first, second).value == pytest.approx(np.mean([v.distance for v in values]))
    assert score("lse_c", first, second).detail["chosen"] == 1


@pytest.mark.parametrize(("which", "limit"), [("joonson", 100), ("wav2lip", 100), ("latentsync", 50)])
def test_a_track_has_more_detections_than_the_limit(which: str, limit: int) -> None:
    enough, few = (track(frames=120, detections=count) for count in (limit + 1, limit))
    assert score(f"lse_c_{which}_compat", enough).status == "ok"
    assert score(f"lse_c_{which}_compat", few).reason == f"no track of more than {limit} detections"
    assert score("lse_c", track(frames=120, detections=50)).status == "ok"


def test_offsets_have_the_opposite_sign_and_are_kept_at_the_ends() -> None:
    """Flag sync_offset_opposite_sign."""
    assert score("sync_offset_joonson_compat", track(5, frames=101)).value == -5
    assert score("sync_offset", track(5, frames=101)).value == pytest.approx(0.2)
    assert score("sync_offset_joonson_compat", track(15, frames=101)).value == -15
    assert score("sync_offset", track(15, frames=101)).status == "skipped"


def test_latentsync_cuts_the_mean_offset() -> None:
    faces = track(-2, frames=110), track(-5, frames=110)
    assert score("sync_offset_latentsync_compat", *faces).value == 3
    assert score("sync_offset_joonson_compat", *faces).value == 2


def test_no_face_is_a_reason_and_no_zero() -> None:
    for speech in ((0.0, 0.0), (0.0, 4.0)):
        result = score("lse_c_latentsync_compat", with_face=0, speech=speech)
        assert (result.status, result.reason) == ("skipped", "no face in view"), "nobody asked who speaks"
    assert score("lse_c_latentsync_compat", with_face=3).reason.startswith("no face of more than 100 pixels")
