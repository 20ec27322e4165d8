"""CAVP: inputs and both networks against the reference's numbers, and how it loads."""

from __future__ import annotations

import numpy as np
import pytest

from avbench.clips import Clip
from avbench.encoders import ClipInput, EncoderStore, LoadContext, WeightsConfig
from avbench.encoders.networks.cavp.encoders import (
    CAVP,
    CAVP_WHOLE_SECONDS,
    SEGMENT,
    FourPerSecond,
    common_steps,
    steps_in,
    whole_second_steps,
)
from avbench.encoders.networks.cavp.inputs import log_mel, mel_filters, shrink
from avbench.errors import EnvironmentProblem
from avbench.media import AudioInfo, Media, VideoInfo, decode_clip

torch = pytest.importorskip("torch")

from avbench.encoders.networks.cavp import network as cavp_network  # noqa: E402 - imports torch

REDUCED = LoadContext(WeightsConfig("keyed-random-reduced"), "cpu")
NAMES = pytest.mark.parametrize("name", ["clip_a", "clip_c"])


@pytest.fixture(scope="module")
def expected(golden_clips):
    return np.load(golden_clips.parent / "cavp.npz")


@pytest.fixture(scope="module")
def media(golden_clips):
    def decode(name):
        clip = Clip(name, golden_clips / f"{name}.mp4", golden_clips / f"{name}.wav")
        return decode_clip(clip, name, CAVP.views)

    return {name: decode(name) for name in ("clip_a", "clip_c")}


@pytest.fixture(scope="module")
def network():
    return CAVP.backbone.load(REDUCED)


def drawn(seconds: float, audio_seconds: float, fps: float = 8.0, seed: int = 0) -> Media:
    generator = np.random.default_rng(seed)
    frames = generator.integers(0, 256, (round(seconds * fps), 24, 32, 3)).astype(np.uint8)
    sound = 0.1 * generator.standard_normal(round(audio_seconds * 16000))
    return Media.from_arrays(f"{seconds} {audio_seconds} {seed}", frames, fps, sound, 16000)


def given(media: Media) -> ClipInput:
    return ClipInput(tuple(media.view(view) for view in CAVP.views), None, media.video, media.audio)


@NAMES
def test_frames_equal_the_reference(name, media, expected):
    frames = media[name].view(CAVP.views[0])
    np.testing.assert_array_equal(frames[:, 5::32, 5::32].transpose(0, 3, 1, 2), expected[f"{name}_frames_sub"])
    np.testing.assert_allclose(frames.mean((1, 2)), expected[f"{name}_frames_mean"], atol=1e-4)


@NAMES
def test_spectrogram_equals_the_reference(name, media, expected):
    sound = media[name].view(CAVP.views[1])[0]
    mel = log_mel(sound, len(expected[f"{name}_frames_sub"]))
    assert mel.shape == (len(expected[f"{name}_mel_mean"]), 128)
    np.testing.assert_allclose(mel.T[::4, ::3], expected[f"{name}_mel_sub"], atol=2e-6)
    np.testing.assert_allclose(mel.mean(1), expected[f"{name}_mel_mean"], atol=2e-6)


@pytest.mark.long
def test_spectrogram_equals_librosa():
    librosa = pytest.importorskip("librosa")
    sound = np.random.default_rng(0).normal(0, 0.05, 20000).astype(np.float32)
    spectrum = np.abs(librosa.stft(np.append(sound, np.zeros(3999)), n_fft=1024, hop_length=250))
    filters = librosa.filters.mel(sr=16000, n_fft=1024, fmin=125, fmax=7600, n_mels=128)
    decibel = 20 * np.log10(np.maximum(filters @ spectrum, 1e-5)) - 20 + 100
    np.testing.assert_allclose(log_mel(sound, 6), np.clip(decibel / 100, 0, 1).T, atol=2e-6)
    np.testing.assert_allclose(mel_filters(), filters, atol=1e-8)


def test_sound_is_cut_or_padded_to_the_steps():
    sound = np.full(5000, 0.1, dtype=np.float32)
    np.testing.assert_array_equal(log_mel(sound, 2), log_mel(np.append(sound, np.zeros(9000, np.float32)), 2))
    assert log_mel(sound, 1).shape == (16, 128)
    assert log_mel(sound[:1], 1).shape == (16, 128)
    assert log_mel(sound, 0).shape == (0, 128)
    assert not log_mel(np.zeros(4000, np.float32), 1).any()


@pytest.mark.parametrize(
    ("count", "fps", "chosen"),
    [
        (24, 24, [2, 8, 14, 20]),
        (25, 25, [3, 9, 15, 21]),
        (3, 2, [0, 0, 1, 1, 2, 2]),
        (1, 24, [0]),
        (30, 25, [3, 9, 15, 21]),
    ],
)
def test_frames_are_those_of_the_fps_filter(count, fps, chosen):
    for start in (0.0, 1.7):
        assert FourPerSecond().indices(start + np.arange(count) / fps, fps).tolist() == chosen


def test_variable_rate_goes_by_time():
    times = np.array([0.0, 0.1, 0.2, 0.9, 0.95])
    assert FourPerSecond().indices(times, 10).tolist() == [1, 2, 2, 2]
    assert FourPerSecond().indices(times[:0], 10).tolist() == []


def test_shrink_ignores_the_aspect():
    assert shrink(np.zeros((30, 500, 3), np.uint8)).shape == (224, 224, 3)


def test_steps_follow_the_shorter_track_and_its_start():
    video = VideoInfo(1.0 + np.arange(50) / 25, 25, 32, 24)
    assert common_steps(video, AudioInfo(16000, 1, 48000, start=1.0)) == 8
    assert common_steps(video, AudioInfo(16000, 1, 20000, start=1.0)) == 5
    assert common_steps(video, AudioInfo(16000, 1, 20000, start=1.25)) == 6
    assert common_steps(video, AudioInfo(16000, 1, 8000, start=0.2)) == 0
    assert whole_second_steps(video, AudioInfo(16000, 1, 20000, start=1.0)) == 8
    assert [steps_in(s) for s in (-1, 0.24, 0.2499, 4.0 - 1e-9, 4.04, 4.25)] == [0, 0, 1, 16, 16, 17]


@NAMES
def test_reduced_network_equals_the_reference(name, media, expected):
    store = EncoderStore(setup=REDUCED.setup)
    for encoder in (CAVP, CAVP_WHOLE_SECONDS):
        picture, sound = store.embed(encoder, media[name])
        np.testing.assert_allclose(picture, expected[f"{name}_reduced_picture"], atol=2e-6)
        np.testing.assert_allclose(sound, expected[f"{name}_reduced_sound"], atol=2e-6)


@pytest.mark.slow
def test_full_network_equals_the_reference(media, expected, golden):
    store = EncoderStore(setup=WeightsConfig("keyed-random"))
    for name, found in media.items():
        picture, sound = store.embed(CAVP, found)
        np.testing.assert_allclose(picture[:, ::8], expected[f"{name}_full_picture"], atol=1e-5)
        np.testing.assert_allclose(sound[:, ::8], expected[f"{name}_full_sound"], atol=1e-5)
        score, known = (picture * sound).sum(1).mean(), golden("cavp")["clips"][name]
        assert score == pytest.approx(known["score"]["full"], abs=1e-6)
        # The lossy re-encode that is left out moves the full network less than the reduced one.
        assert score == pytest.approx(known["score_after_lossy_reencode"]["full"], abs=1e-4)


def test_names_and_shapes_are_those_of_the_checkpoint(golden):
    with torch.device("meta"):
        found = cavp_network.Cavp(cavp_network.Config()).state_dict()
    assert {key: list(value.shape) for key, value in found.items()} == golden("cavp")["state_dict"]


def test_long_clips_are_seen_in_segments(network, media, expected):
    """48 frames are seen as 40 and 8."""
    frames = np.concatenate([media["clip_c"].view(CAVP.views[0])] * 2)
    found = network.embed_video([frames[:SEGMENT], frames[SEGMENT:]], SEGMENT).numpy()
    joined = found.reshape(-1, network.dim)[: len(frames)]
    np.testing.assert_allclose(joined, expected["clip_c_twice_reduced_picture"], atol=2e-6)
    clip = drawn(12.0, 12.0)
    embedded = CAVP.run(network, [given(clip)])[0]
    last = network.embed_video([clip.view(CAVP.views[0])[SEGMENT:]], SEGMENT).numpy()[0, :8]
    np.testing.assert_allclose(embedded[0, SEGMENT:], last, atol=2e-6)


def test_a_batch_equals_its_clips(network):
    clips = [given(drawn(*seconds)) for seconds in ((2.0, 2.0), (0.1, 0.1), (11.0, 12.0), (2.0, 1.0), (0.25, 0.3))]
    together = CAVP.run(network, clips)
    assert [pair.shape for pair in together] == [(2, steps, 16) for steps in (8, 0, 44, 4, 1)]
    for clip, pair in zip(clips, together, strict=True):
        np.testing.assert_allclose(pair, CAVP.run(network, [clip])[0], atol=2e-6)
        np.testing.assert_allclose(np.linalg.norm(pair, axis=2), 1.0, atol=1e-6)


def test_modes_differ_where_the_tracks_do(network):
    clip = given(drawn(2.5, 1.25))
    fixed, whole = (encoder.run(network, [clip])[0] for encoder in (CAVP, CAVP_WHOLE_SECONDS))
    assert fixed.shape == (2, 5, 16)
    assert whole.shape == (2, 8, 16)
    assert np.abs(fixed[1] - whole[1, :5]).max() > 1e-4


def test_sound_is_placed_on_the_clips_timeline(network):
    clip = given(drawn(2.0, 2.0))
    late = AudioInfo(16000, 1, 32000, start=0.5)
    sound = np.concatenate([np.zeros(8000, np.float32), clip.views[1][0]])[None]
    shifted = CAVP.run(network, [ClipInput(clip.views, None, clip.video, late)])[0]
    padded = CAVP.run(network, [ClipInput((clip.views[0], sound), None, clip.video, clip.audio)])[0]
    np.testing.assert_allclose(shifted, padded, atol=2e-6)
    early = AudioInfo(16000, 1, 32000, start=-0.5)
    assert CAVP.run(network, [ClipInput(clip.views, None, clip.video, early)])[0].shape == (2, 6, 16)


@pytest.mark.parametrize("precision", ["bf16", "fp16"])
def test_half_precision_is_close(precision, network):
    half = CAVP.backbone.load(LoadContext(WeightsConfig("keyed-random-reduced", precision=precision), "cpu"))
    clip = given(drawn(2.0, 2.0))
    found, exact = CAVP.run(half, [clip])[0], CAVP.run(network, [clip])[0]
    assert found.dtype == np.float32
    assert (found * exact).sum(2).min() > 0.99


def test_loads_a_checkpoint_written_by_several_processes(tmp_path, monkeypatch, network):
    monkeypatch.setattr(cavp_network, "Config", lambda: cavp_network.REDUCED)
    state = {f"module.{key}": value for key, value in network.state_dict().items()}
    torch.save({"epoch": 66, "name": "cavp", "state_dict": state}, tmp_path / "cavp.ckpt")
    loaded = cavp_network.load(LoadContext(WeightsConfig(), "cpu"), tmp_path / "cavp.ckpt")
    clip = given(drawn(1.0, 1.0))
    np.testing.assert_array_equal(CAVP.run(loaded, [clip])[0], CAVP.run(network, [clip])[0])


def test_refuses_a_checkpoint_that_does_not_fit(tmp_path, monkeypatch, network):
    monkeypatch.setattr(cavp_network, "Config", lambda: cavp_network.REDUCED)
    state = network.state_dict()
    del state["video_project_head.bias"]
    torch.save(state | {"extra": torch.zeros(1)}, tmp_path / "cavp.ckpt")
    with pytest.raises(EnvironmentProblem, match=r"1 missing keys \(video_project_head.bias\); 1 unknown keys"):
        cavp_network.load(LoadContext(WeightsConfig(), "cpu"), tmp_path / "cavp.ckpt")
