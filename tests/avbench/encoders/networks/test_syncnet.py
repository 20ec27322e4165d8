# ruff: noqa: E402
"""SyncNet, its input and its distances against the reference implementation at equal weights."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch")

import soundfile
from speech_goldens import FOLDER, arrays, golden

from avbench.clips import Clip
from avbench.encoders import ClipInput, LoadContext, WeightsConfig
from avbench.encoders.networks.syncnet import encoders, network
from avbench.encoders.networks.syncnet.crops import SIDE, Centre, crop, smoothed
from avbench.encoders.networks.syncnet.encoders import LIPS, LipReader
from avbench.encoders.networks.syncnet.lip_tracks import LipTracks
from avbench.encoders.networks.syncnet.mfcc import mfcc
from avbench.encoders.networks.syncnet.windows import cut_audio, distances, row_count, sixteen_bit
from avbench.errors import EnvironmentProblem
from avbench.media import AudioInfo, Frames, VideoInfo, decode_clip

KEYED, INPUTS, KEYED_FACTS = arrays("syncnet_keyed"), arrays("syncnet_inputs"), golden("syncnet_keyed")
CLIP, CLIP_FACTS = arrays("syncnet_clip"), golden("syncnet_clip")
CLIPS = Path(__file__).parents[4] / "examples" / "clips"


@pytest.fixture(scope="module")
def reader() -> LipReader:
    """The full network as the goldens had it; one of its branches would drown the other otherwise."""
    module = network.load(LoadContext(WeightsConfig("keyed-random"), "cpu"))
    module.netcnnlip[0].weight.mul_(2**-7)
    module.netcnnaud[0].weight.mul_(2**-4)
    return LipReader(None, module)


def crops(case: str) -> np.ndarray:
    """RGB frames of a golden case."""
    return np.ascontiguousarray(INPUTS[f"{case}_frames"].repeat(8, 1).repeat(8, 2)[..., ::-1])


def test_entries_are_those_of_the_published_checkpoint() -> None:
    with torch.device("meta"):
        entries = {name: list(entry.shape) for name, entry in network.SyncNet().state_dict().items()}
    assert entries == golden("syncnet_keys")


@pytest.mark.parametrize("case", ["syn_a", "syn_b"])
def test_coefficients_equal_the_reference(case: str) -> None:
    np.testing.assert_allclose(mfcc(INPUTS[f"{case}_audio"]), KEYED[f"{case}_mfcc"], atol=1e-9)


@pytest.mark.parametrize("samples", [0, 1, 400, 401])
def test_coefficients_of_short_sound(samples: int) -> None:
    found = mfcc(np.zeros(samples, np.int16))
    assert found.shape == (13, 2 if samples > 400 else 1)
    assert np.isfinite(found).all()


def test_first_rows_equal_the_reference(reader: LipReader) -> None:
    lips = reader.lips(crops("syn_b")[:8], 2)
    np.testing.assert_allclose(lips[:, ::16], KEYED["syn_b_lip"][:2], atol=1e-3)
    sounds = reader.sounds(INPUTS["syn_b_audio"], 23)
    np.testing.assert_allclose(sounds[:, ::16], KEYED["syn_b_aud"], atol=1e-3)
    np.testing.assert_allclose(np.linalg.norm(sounds, axis=1), KEYED["syn_b_aud_norm"], atol=1e-2)


@pytest.mark.parametrize("case", ["syn_a", "syn_b"])
@pytest.mark.long
def test_distances_equal_the_reference(case: str, reader: LipReader) -> None:
    frames, samples = crops(case), INPUTS[f"{case}_audio"]
    rows = row_count(len(frames), len(samples))
    assert rows == KEYED_FACTS[case]["rows"]
    lips, sounds = reader.lips(frames, rows), reader.sounds(samples, rows)
    np.testing.assert_allclose(lips[:, ::16], KEYED[f"{case}_lip"], atol=1e-3)
    np.testing.assert_allclose(np.linalg.norm(lips, axis=1), KEYED[f"{case}_lip_norm"], atol=2e-3)
    np.testing.assert_allclose(distances(lips, sounds), KEYED[f"{case}_dists"], atol=2e-3)


def clip_crops() -> np.ndarray:
    """The face of the golden clip, cut out by its boxes; RGB."""
    media = decode_clip(Clip("two_men", CLIPS / "ovi_two_men.mp4"), "two_men", LIPS.views)
    first = CLIP_FACTS["first_frame_25"]
    frames = media.view(LIPS.views[0])[first : first + CLIP_FACTS["frames"]]
    centres = smoothed(np.array(CLIP_FACTS["boxes"]))
    return np.stack([crop(frame, centre) for frame, centre in zip(frames, centres, strict=True)])


@pytest.mark.parametrize("name", golden("fps25"))
def test_frames_are_those_of_the_filter(name: str) -> None:
    sampling = LIPS.views[0].sampling
    video = decode_clip(Clip(name, CLIPS / f"{name}.mp4"), name, [Frames(sampling, transform=corner)]).video
    assert sampling.indices(video.times, video.fps, video.end).tolist() == golden("fps25")[name]


def corner(frame: np.ndarray) -> np.ndarray:
    return frame[:1, :1]


def test_crops_of_a_clip_equal_the_reference() -> None:
    bgr = clip_crops()[..., ::-1]
    assert np.abs(bgr[::5, ::8, ::8].astype(int) - CLIP["two_men_crops_sub"]).max() <= 2
    assert bgr.mean(axis=(1, 2)) == pytest.approx(np.array(CLIP_FACTS["crops_mean_bgr"]), abs=0.1)


@pytest.mark.slow
def test_a_clip_equals_the_reference(reader: LipReader) -> None:
    samples, _ = soundfile.read(FOLDER / "audio" / "ovi_two_men.flac", dtype="int16")
    samples = samples[slice(*CLIP_FACTS["samples"])]
    np.testing.assert_allclose(mfcc(samples)[:, :60], CLIP["two_men_mfcc"], atol=1e-9)
    lips, sounds = reader.lips(clip_crops(), 21), reader.sounds(samples, 21)
    np.testing.assert_allclose(lips[:, ::32], CLIP["two_men_lip"], atol=5e-2)
    np.testing.assert_allclose(sounds[:, ::32], CLIP["two_men_aud"], atol=5e-2)
    np.testing.assert_allclose(distances(lips, sounds), CLIP["two_men_dists"], atol=0.2)


def test_crops_of_a_formula_are_those_of_the_reference() -> None:
    expected = golden("face_crops")
    y, x = np.mgrid[:120, :160]
    cut = []
    for i, centre in enumerate(smoothed(np.array(expected["boxes"]))):
        bgr = np.stack([(1.5 * x + 3 * i) % 256, (2 * y + i) % 256, (x + y + 5 * i) % 256], axis=-1)
        cut.append(crop(bgr.astype(np.uint8), centre))
    found = np.stack(cut)
    # Another OpenCV may round otherwise, by one level.
    assert np.abs(found[::6, ::8, ::8].astype(int) - arrays("face_crops")["crops_sub"]).max() <= 1
    assert found.mean(axis=(1, 2)) == pytest.approx(np.array(expected["mean_per_frame_bgr"]), abs=0.1)
    if hashlib.sha256(found.tobytes()).hexdigest() != expected["sha256_bgr"]:
        pytest.skip("this OpenCV rounds otherwise than 5.0")


@pytest.mark.parametrize("centre", [Centre(-500, 20, 30), Centre(30, 700, 30), Centre(0, 0, 300)])
def test_a_face_beyond_the_frame_is_grey(centre: Centre) -> None:
    picture = crop(np.zeros((60, 80, 3), np.uint8), centre)
    assert picture.shape == (SIDE, SIDE, 3)
    assert picture.max() == 110


def test_a_cut_has_a_pixel() -> None:
    assert crop(np.full((60, 80, 3), 7, np.uint8), Centre(5, 5, 0.2)).tolist() == np.full((SIDE, SIDE, 3), 7).tolist()


def test_rows_are_what_lips_and_sound_share() -> None:
    assert [row_count(*sizes) for sizes in ((40, 25600), (31, 18000), (5, 99999), (100, 639), (6, 3840))] == [
        35, 23, 0, 0, 1,
    ]  # fmt: skip


def test_sound_before_the_track_is_silent_and_after_it_absent() -> None:
    sound = np.array([0.5, -1.0, 1.0, 2.0], np.float32)
    assert sixteen_bit(sound).tolist() == [16384, -32768, 32767, 32767]
    assert cut_audio(sound, -2, 4).tolist() == [0, 0, 0.5, -1]
    assert cut_audio(sound, 3, 4).tolist() == [2]
    assert cut_audio(sound, -9, 4).tolist() == [0, 0, 0, 0]
    assert cut_audio(sound, 9, 4).tolist() == []


def test_a_checkpoint_is_read_strictly(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    entries = network.SyncNet(divisor=16).state_dict()
    path = tmp_path / "syncnet_v2.model"
    torch.save(entries, path)
    monkeypatch.setattr(network, "files", lambda row, setup: {path.name: path})
    with pytest.raises(EnvironmentProblem, match="wrong shapes"):
        network.load(LoadContext(WeightsConfig(), "cpu"))


class TestClip:
    """The encoder over a whole clip: a detector with given boxes in place of S3FD, and a reduced SyncNet."""

    BOX = np.array([[40.0, 30, 160, 150, 0.99]])

    class Reader(LipReader):
        def faces(self, frames: Any) -> list[Any]:
            return [TestClip.BOX if frame[0, 0, 0] == 9 else np.zeros((0, 5)) for frame in frames]

    @pytest.fixture
    def reader(self) -> LipReader:
        return self.Reader(None, network.load(LoadContext(WeightsConfig("keyed-random-reduced"), "cpu")))

    @staticmethod
    def clip(shown: list[bool], start: float = 0.0, samples: int = 60 * 640, seed: int = 0) -> ClipInput:
        """A still picture whose corner says where the face is shown, with noise as sound that begins at `start`."""
        frames = np.random.default_rng(0).integers(0, 256, (180, 200, 3)).astype(np.uint8)[None].repeat(len(shown), 0)
        frames[:, 0, 0, 0] = np.where(shown, 9, 8)
        sound = 0.1 * np.random.default_rng(seed).standard_normal((1, samples)).astype(np.float32)
        video = VideoInfo(np.arange(len(shown)) / 25, 25.0, 200, 180)
        return ClipInput((frames, sound), None, video, AudioInfo(16000, 1, samples, start))

    def tracks(self, reader: LipReader, *clips: ClipInput) -> list[LipTracks]:
        return [LipTracks.from_array(array) for array in LIPS.run(reader, clips)]

    def test_a_face_is_followed_through_the_clip(self, reader: LipReader) -> None:
        (found,) = self.tracks(reader, self.clip([False] * 3 + [True] * 55 + [False] * 2))
        assert (found.frames, found.with_face, found.first_tick) == (60, 55, 0)
        (track,) = found.tracks
        assert (track.first, track.detections, track.size) == (3, 55, 120)
        assert track.boxes.shape == (55, 4)
        assert track.distances.shape == (50, 31)
        assert found.seconds(track) == (3 / 25, 58 / 25)

    @pytest.mark.parametrize(("shown", "count"), [(49, 0), (50, 1)])
    def test_a_short_look_is_no_track(self, reader: LipReader, shown: int, count: int) -> None:
        (found,) = self.tracks(reader, self.clip([True] * shown + [False] * 10))
        assert len(found.tracks) == count
        assert found.with_face == shown

    @pytest.mark.parametrize(("edge", "count"), [(400, 1), (1e9, 0)])
    def test_a_box_beyond_all_measure_is_no_face(self, edge: float, count: int) -> None:
        class Wild(LipReader):
            def faces(self, frames: Any) -> list[Any]:
                return [np.array([[0, 0, edge, edge, 0.99]])] * len(frames)

        module = network.load(LoadContext(WeightsConfig("keyed-random-reduced"), "cpu"))
        assert len(self.tracks(Wild(None, module), self.clip([True] * 55))[0].tracks) == count

    def test_sound_lies_where_its_timestamps_say(self, reader: LipReader) -> None:
        """Sound that begins 0.4 s late is that sound behind 0.4 s of silence."""
        late = self.clip([True] * 60, start=0.4, samples=50 * 640)
        padded = self.clip([True] * 60, samples=60 * 640)
        padded.views[1][0] = np.concatenate([np.zeros(10 * 640, np.float32), late.views[1][0]])
        first, second = self.tracks(reader, late, padded)
        np.testing.assert_array_equal(first.tracks[0].distances, second.tracks[0].distances)

    def test_a_face_that_enters_late_is_compared_with_its_own_sound(self, reader: LipReader) -> None:
        late = self.clip([False] * 20 + [True] * 60, samples=80 * 640)
        alone = self.clip([True] * 60)
        alone.views[1][0] = late.views[1][0, 20 * 640 :]
        first, second = self.tracks(reader, late, alone)
        assert first.seconds(first.tracks[0]) == (0.8, 3.2)
        np.testing.assert_array_equal(first.tracks[0].distances, second.tracks[0].distances)

    def test_rows_end_with_the_sound(self, reader: LipReader) -> None:
        (found,) = self.tracks(reader, self.clip([True] * 60, samples=40 * 640))
        assert found.tracks[0].distances.shape == (35, 31)

    def test_a_clip_gives_the_same_in_any_company(self, reader: LipReader) -> None:
        clips = [self.clip([True] * 60), self.clip([False] * 20), self.clip([True] * 60, seed=1, samples=0)]
        together = LIPS.run(reader, clips)
        for clip, array in zip(clips, together, strict=True):
            np.testing.assert_array_equal(LIPS.run(reader, [clip])[0], array)

    def test_no_frame(self, reader: LipReader) -> None:
        empty = ClipInput(
            (np.zeros((0, 180, 200, 3), np.uint8), np.zeros((1, 0), np.float32)),
            None,
            VideoInfo(np.zeros(0), 25.0, 200, 180),
            AudioInfo(16000, 1, 0),
        )
        (found,) = self.tracks(reader, empty)
        assert (found.frames, found.tracks) == (0, ())


def test_both_networks_are_loaded() -> None:
    reader = encoders.SYNCNET.load(LoadContext(WeightsConfig("keyed-random-reduced"), "cpu"))
    frames = np.random.default_rng(0).integers(0, 256, (2, 160, 200, 3)).astype(np.uint8)
    assert [boxes.shape[1] for boxes in reader.faces(frames)] == [5, 5]
