"""Every kind of file a generator, a camera or an accident leaves behind, made from the shipped clips."""

from __future__ import annotations

import hashlib
import subprocess
import sys
from fractions import Fraction

import av
import numpy as np
import pytest
from synthetic import draw_frames, draw_sound, write_clip

from avbench.clips import Clip
from avbench.errors import MediaError
from avbench.media import All, AtRate, Frame, Frames, FrameSeries, Linspace, Media, Waveform, decode_clip

FULL = [Frames(), Waveform(limit=False, mono=False)]


def decode(path, views=FULL, audio=None):
    return decode_clip(Clip(path.stem, path, audio), path.stem, views)


@pytest.mark.parametrize("name", ["clip_a", "clip_b", "clip_c", "clip_d"])
def test_pixels_equal_the_reference_decoder(name, golden, golden_clips):
    expected = golden("decode")[name]
    frames = decode(golden_clips / f"{name}.mp4").view(Frames())
    assert list(frames.shape) == expected["shape"]
    assert hashlib.sha256(frames.tobytes()).hexdigest() == expected["sha256"]


def test_sidecar_wins_and_is_recorded(golden_clips, small_clip):
    media = decode(small_clip, audio=golden_clips / "clip_d.wav")
    assert (media.audio.source, media.audio.sample_rate) == ("sidecar", 22050)
    assert decode(small_clip).audio.source == "embedded"


def test_series_sampling_and_memory_agree_with_all_frames(small_clip):
    mean = FrameSeries("mean", _mean)
    views = [Frames(), Frames(Linspace(5)), Frames(AtRate(10)), mean]
    media = decode(small_clip, views)
    everything = media.view(Frames())
    times = media.video.times
    np.testing.assert_array_equal(media.view(Frames(Linspace(5))), everything[Linspace(5).indices(times, 24.0)])
    assert len(media.view(Frames(AtRate(10)))) == 25
    np.testing.assert_allclose(media.view(mean)[:, 0], everything.mean(axis=(1, 2, 3)))
    memory = Media.from_arrays("m", everything, 24)
    for view in views:
        np.testing.assert_array_equal(memory.view(view), media.view(view))


def _mean(previous: Frame | None, current: Frame) -> tuple[float, ...]:
    return (float(current.rgb.mean()),)


def test_a_series_that_raises_costs_only_itself(small_clip):
    def broken(previous: Frame | None, current: Frame) -> tuple[float, ...]:
        raise ZeroDivisionError("on purpose")

    bad, good = FrameSeries("bad", broken), FrameSeries("mean", _mean)
    media = decode(small_clip, [bad, good])
    assert len(media.view(good)) == 60
    with pytest.raises(ZeroDivisionError, match="on purpose"):
        media.view(bad)


def test_an_undeclared_view_is_a_programming_error(small_clip):
    with pytest.raises(LookupError, match="not declared"):
        decode(small_clip, []).view(Frames())


def test_variable_frame_rate_keeps_true_times(tmp_path, small_clip):
    path, times = tmp_path / "vfr.mkv", [0, 1, 2, 10, 11, 30, 31, 32]
    with av.open(str(path), "w") as out:
        stream = out.add_stream("libx264", rate=24)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        stream.codec_context.time_base = Fraction(1, 24)
        for index, pts in enumerate(times):
            frame = av.VideoFrame.from_ndarray(np.full((48, 64, 3), 20 * index, np.uint8), format="rgb24")
            frame.pts, frame.time_base = pts, Fraction(1, 24)
            out.mux(stream.encode(frame))
        out.mux(stream.encode(None))
    media = decode(path, [Frames(AtRate(24))])
    assert media.problems == {}
    np.testing.assert_allclose(media.video.times - media.video.times[0], np.array(times) / 24, atol=2e-3)
    # 33 ticks; the picture at each tick is the nearest one in time.
    assert len(media.view(Frames(AtRate(24)))) == pytest.approx(33, abs=1)


def test_ten_bit_odd_size_and_missing_frame_count(tmp_path):
    frames = draw_frames(0, seconds=1.0, size=(48, 64))
    deep = write_clip(tmp_path / "deep.mp4", frames, None, pixel_format="yuv420p10le")
    assert decode(deep).view(Frames()).shape == (24, 48, 64, 3)
    odd = write_clip(tmp_path / "odd.mp4", frames[:, :47, :63], None, pixel_format="yuv444p")
    assert decode(odd).view(Frames()).shape == (24, 47, 63, 3)
    uncounted = write_clip(tmp_path / "uncounted.mkv", frames, None)
    with av.open(str(uncounted)) as container:
        assert container.streams.video[0].frames == 0
    assert decode(uncounted, [Frames(Linspace(3))]).view(Frames(Linspace(3))).shape[0] == 3


@pytest.mark.parametrize(("seconds", "channels", "rate"), [(1.0, 1, 8000), (4.0, 2, 44100), (2.0, 6, 48000)])
def test_sound_longer_shorter_surround_and_8_khz(tmp_path, seconds, channels, rate):
    sound = np.repeat(draw_sound(0, seconds=seconds, rate=rate), channels, axis=0)
    path = write_clip(tmp_path / "c.mp4", draw_frames(0, seconds=2.0, size=(48, 64)), sound, rate=rate)
    media = decode(path, [Waveform(), Waveform(mono=False), Waveform(rate=16000)])
    assert media.problems == {}
    assert media.audio.duration == pytest.approx(seconds, abs=0.15)
    assert media.view(Waveform(mono=False)).shape[0] == channels
    assert media.view(Waveform(rate=16000)).shape[1] == pytest.approx(media.audio.duration * 16000, abs=2)


def test_eight_channels_keep_their_order(tmp_path):
    levels = np.linspace(0.05, 0.4, 8)
    with av.open(str(tmp_path / "seven_one.mkv"), "w") as out:
        stream = out.add_stream("pcm_s16le", rate=48000, layout="7.1")
        packed = np.tile((levels * 32767).astype(np.int16), 48000)[None]
        frame = av.AudioFrame.from_ndarray(packed, format="s16", layout="7.1")
        frame.sample_rate = 48000
        out.mux(stream.encode(frame))
        out.mux(stream.encode(None))
    sound = decode(tmp_path / "seven_one.mkv", [Waveform(mono=False)]).view(Waveform(mono=False))
    np.testing.assert_allclose(sound.mean(axis=1), levels, atol=1e-3)


def test_peaks_above_full_scale_are_kept_unless_limited(examples):
    media = decode(examples / "tears_of_steel_deck.mp4", [Waveform(limit=False, mono=False), Waveform(mono=False)])
    assert np.abs(media.view(Waveform(limit=False, mono=False))).max() > 1.1
    assert np.abs(media.view(Waveform(mono=False))).max() == 1.0


def test_missing_tracks_are_absent_not_broken(tmp_path):
    frames = draw_frames(0, seconds=1.0, size=(48, 64))
    mute = decode(write_clip(tmp_path / "mute.mp4", frames, None))
    assert (mute.audio, mute.problems) == (None, {})
    blind = decode(write_clip(tmp_path / "blind.mp4", None, draw_sound(0)))
    assert (blind.video, blind.problems) == (None, {})
    assert blind.audio is not None


def test_truncated_files_are_broken_with_the_reason(tmp_path, examples):
    whole = (examples / "nasa_telescope.mp4").read_bytes()
    with (
        av.open(str(examples / "nasa_telescope.mp4")) as source,
        av.open(str(tmp_path / "fast.mp4"), "w", options={"movflags": "faststart"}) as out,
    ):
        streams = {s.index: out.add_stream_from_template(s) for s in source.streams if s.type in ("video", "audio")}
        for packet in source.demux():
            if packet.dts is not None and packet.stream.index in streams:
                packet.stream = streams[packet.stream.index]
                out.mux(packet)
    fast = (tmp_path / "fast.mp4").read_bytes()
    (tmp_path / "cut.mp4").write_bytes(fast[: len(fast) // 2])
    media = decode(tmp_path / "cut.mp4", [Waveform()])
    assert set(media.problems) == {"video", "audio"}
    assert "truncated" in media.problems["audio"]
    (tmp_path / "headless.mp4").write_bytes(whole[100:])
    with pytest.raises(MediaError, match="not a readable media file"):
        decode(tmp_path / "headless.mp4")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "empty"),
        (b"hello world, this is text", "not a readable media"),
        (b"#EXTM3U\n#EXTINF:1,\nx.ts\n", "media"),
    ],
)
def test_not_a_video(tmp_path, content, message):
    path = tmp_path / "x.mp4"
    path.write_bytes(content)
    with pytest.raises(MediaError, match=message):
        decode(path)


def test_missing_file_and_folder(tmp_path):
    with pytest.raises(MediaError, match="file not found"):
        decode(tmp_path / "none.mp4")
    (tmp_path / "folder.mp4").mkdir()
    with pytest.raises(MediaError, match="not a regular file"):
        decode(tmp_path / "folder.mp4")


def test_a_name_that_looks_like_a_protocol_is_a_file(tmp_path, small_clip):
    path = tmp_path / "concat:a|b.mp4"
    path.write_bytes(small_clip.read_bytes())
    assert decode(path).video is not None


@pytest.mark.parametrize(
    ("frames", "fps", "sound", "rate", "message"),
    [
        (np.zeros((2, 4, 4), np.uint8), 24, None, None, "uint8"),
        (np.zeros((2, 4, 4, 3)), 24, None, None, "uint8"),
        (np.zeros((0, 4, 4, 3), np.uint8), 24, None, None, "no frame"),
        (np.zeros((2, 4, 4, 3), np.uint8), 0, None, None, "fps"),
        (None, 24, np.zeros(10), None, "sample_rate"),
        (None, 24, np.array([np.nan]), 10, "finite"),
    ],
)
def test_arrays_are_checked(frames, fps, sound, rate, message):
    with pytest.raises(ValueError, match=message):
        Media.from_arrays("x", frames, fps, sound, rate)


def test_importing_media_does_not_import_torch():
    code = "import sys, avbench.media; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0


def test_sampling_all():
    assert All().indices(np.arange(3.0), 1.0).tolist() == [0, 1, 2]
