"""Frame times strictly rise, or the track has a reason; what the container states truly is kept as it is."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from synthetic import draw_frames, draw_sound, write_clip

from avbench import score_clips
from avbench.clips import Clip
from avbench.media import AtRate, Frames, FrameSeries, Linspace, Waveform, decode_clip
from avbench.media.frame_times import NoTimesError, decoding_times, presentation_times
from avbench.media.options import DecodeOptions

SIZE = (48, 64)
METRICS = ["motion_energy", "duration_mismatch", "av_offset"]


def decode(path, views=(), **options):
    return decode_clip(Clip(path.stem, path), path.stem, views, DecodeOptions(**options))


@pytest.fixture(scope="module")
def drawn():
    return draw_frames(3, seconds=2.5, size=SIZE), draw_sound(3, seconds=2.5)


@pytest.fixture(scope="module")
def reordered(tmp_path_factory):
    """B-frames in MP4, and in AVI, which has no room for presentation times: 5 s at 24 fps."""
    folder, drawn = tmp_path_factory.mktemp("reordered"), (draw_frames(0), draw_sound(0))
    for name in ("same.mp4", "same.avi"):
        write_clip(folder / name, *drawn, audio_codec="pcm_s16le" if name == "same.avi" else "aac")
    return folder


def test_avi_with_reordered_frames_is_as_in_mp4(reordered):
    times = FrameSeries("time", lambda previous, frame: (frame.time,))
    samplings = [AtRate(10), Linspace(5)]
    media = decode(reordered / "same.avi", [Frames(), times, *map(Frames, samplings)])
    right = np.arange(120) / 24
    assert media.problems == {}
    np.testing.assert_allclose(media.video.times, right, atol=1e-9)
    np.testing.assert_array_equal(media.view(times)[:, 0], media.video.times)
    assert media.video.duration == pytest.approx(5.0)
    everything = media.view(Frames())
    for sampling in samplings:
        np.testing.assert_array_equal(media.view(Frames(sampling)), everything[sampling.indices(right, 24.0)])
    # Two encodings: alike, though not to the bit.
    difference = np.abs(everything.astype(int) - decode(reordered / "same.mp4", [Frames()]).view(Frames()))
    assert difference.mean() < 2


@pytest.mark.parametrize("seconds", [0.5, 1.0, 1.3])
def test_the_first_seconds_of_avi_are_those_of_mp4(reordered, seconds):
    sampled = Frames(AtRate(8))
    right, media = (decode(reordered / name, [sampled], seconds=seconds) for name in ("same.mp4", "same.avi"))
    assert media.video.times.tolist() == pytest.approx(right.video.times.tolist())
    assert len(media.view(sampled)) == len(right.view(sampled))


def test_avi_scores_as_mp4(reordered, tmp_path):
    clips = [Clip(name, reordered / name) for name in ("same.avi", "same.mp4")]
    scores = score_clips(clips, tmp_path / "run", metrics=METRICS).scores
    values = scores.pivot(index="metric", columns="clip_id", values="value")
    assert set(scores["status"]) == {"ok"}
    assert values["same.avi"]["motion_energy"] == pytest.approx(values["same.mp4"]["motion_energy"], rel=0.02)
    assert values["same.avi"]["av_offset"] == pytest.approx(values["same.mp4"]["av_offset"], abs=0.05)


@pytest.mark.parametrize("codec", ["mpeg4", "mjpeg"])
def test_avi_without_reordered_frames(tmp_path, drawn, codec):
    pixel_format = {"mpeg4": "yuv420p", "mjpeg": "yuvj420p"}[codec]
    path = write_clip(tmp_path / "c.avi", *drawn, codec=codec, pixel_format=pixel_format, audio_codec="pcm_s16le")
    media = decode(path)
    assert media.problems == {}
    np.testing.assert_allclose(media.video.times, np.arange(60) / 24, atol=1e-9)


def test_joined_transport_streams_have_a_reason(tmp_path, drawn):
    part = write_clip(tmp_path / "part.ts", *drawn).read_bytes()
    (tmp_path / "joined.ts").write_bytes(part + part)
    media = decode(tmp_path / "joined.ts", [Frames(AtRate(10))])
    assert media.video is None
    assert "go back" in media.problems["video"]
    assert "frame 60" in media.problems["video"]
    rows = score_clips([Clip("joined", tmp_path / "joined.ts")], tmp_path / "run", metrics=METRICS).scores
    assert set(rows["status"]) == {"error"}
    assert rows["reason"].str.contains("go back").all()


def test_a_clock_that_jumps_ahead_has_a_reason(tmp_path, drawn):
    part = write_clip(tmp_path / "part.ts", *drawn).read_bytes()
    late = write_clip(tmp_path / "late.ts", *drawn, options={"output_ts_offset": "100"}).read_bytes()
    (tmp_path / "joined.ts").write_bytes(part + late)
    assert "jump from" in decode(tmp_path / "joined.ts").problems["video"]


def test_a_short_pause_of_a_transport_stream_is_kept(tmp_path, drawn):
    part = write_clip(tmp_path / "part.ts", *drawn).read_bytes()
    late = write_clip(tmp_path / "late.ts", *drawn, options={"output_ts_offset": "4"}).read_bytes()
    (tmp_path / "joined.ts").write_bytes(part + late)
    media = decode(tmp_path / "joined.ts")
    assert media.problems == {}
    assert len(media.video.times) == 120
    assert media.video.duration == pytest.approx(6.5, abs=0.1)


def test_equal_timestamps_of_a_coarse_clock_are_spread(tmp_path):
    # Matroska counts milliseconds.
    path = write_clip(tmp_path / "c.mkv", draw_frames(1, seconds=1.0, size=SIZE), None, fps=2000, codec="mpeg4")
    views = [Frames(AtRate(2000)), Frames()]
    media = decode(path, views)
    assert media.problems == {}
    np.testing.assert_allclose(media.video.times, np.arange(24) / 2000, atol=1e-3)
    assert (np.diff(media.video.times) > 0).all()
    assert len(media.view(views[0])) == pytest.approx(24, abs=1)
    assert len(media.view(views[1])) == 24


@pytest.fixture
def vfr(tmp_path):
    """Times in 1/24 s and a file with them."""
    from fractions import Fraction

    import av

    times, path = [0, 1, 2, 10, 11, 30, 31, 32], tmp_path / "vfr.mp4"
    with av.open(str(path), "w", options={"video_track_timescale": "24"}) as out:
        stream = out.add_stream("mpeg4", rate=24)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        stream.codec_context.time_base = Fraction(1, 24)
        for index, pts in enumerate(times):
            frame = av.VideoFrame.from_ndarray(np.full((48, 64, 3), 20 * index, np.uint8), format="rgb24")
            frame.pts, frame.time_base = pts, Fraction(1, 24)
            out.mux(stream.encode(frame))
        out.mux(stream.encode(None))
    return times, path


def test_variable_frame_rate_is_kept_to_the_tick(vfr):
    times, path = vfr
    assert decode(path).video.times.tolist() == pytest.approx([time / 24 for time in times], abs=1e-9)


# Containers count ticks, here microseconds: between two floats that are neighbours there is no time for a frame.
STAMPS = st.lists(st.one_of(st.none(), st.integers(-(10**10), 10**12).map(lambda ticks: ticks / 1e6)), max_size=40)


@given(STAMPS, st.floats(1e-3, 1.0))
def test_times_strictly_rise_or_there_is_a_reason(stamps, step):
    try:
        times = presentation_times(stamps, step)
    except NoTimesError as error:
        assert len(str(error)) > 20
        return
    assert len(times) == len(stamps)
    assert np.isfinite(times).all()
    assert (np.diff(times) > 0).all()
    stated = [stamp for stamp in stamps if stamp is not None]
    if len(set(stated)) == len(stamps):
        assert times.tolist() == stamps


@given(st.lists(st.integers(-100, 10_000), min_size=1, max_size=40, unique=True), st.data())
def test_true_times_survive_what_is_missing(ticks, data):
    ticks = sorted(ticks)
    missing = data.draw(st.lists(st.booleans(), min_size=len(ticks), max_size=len(ticks)))
    stamps = [None if gone else tick / 100 for tick, gone in zip(ticks, missing, strict=True)]
    times = presentation_times(stamps, 0.04)
    assert (np.diff(times) > 0).all()
    for time, stamp in zip(times, stamps, strict=True):
        assert stamp is None or time == stamp


@pytest.mark.parametrize(
    ("stamps", "expected"),
    [
        ([None, None, None], [0, 0.5, 1.0]),
        ([None, 2.0, 3.0], [1.5, 2.0, 3.0]),
        ([1.0, None, 3.0, None], [1.0, 2.0, 3.0, 3.5]),
        ([1.0, 1.0, 3.0, 3.0], [1.0, 2.0, 3.0, 3.5]),
        ([-0.4, 0.0, 0.4], [-0.4, 0.0, 0.4]),
        ([0.0, 1.0, 500.0], [0.0, 1.0, 500.0]),
        ([], []),
    ],
)
def test_missing_and_equal_timestamps(stamps, expected):
    assert presentation_times(stamps, 0.5).tolist() == expected


@pytest.mark.parametrize(
    ("stamps", "reason"),
    [([1.0, 2.0, 1.5], "go back from 2.00 s to 1.50 s at frame 2"), ([1.0, 1.0, 1.0], "only 1 different timestamps")],
)
def test_timestamps_that_are_no_times(stamps, reason):
    with pytest.raises(NoTimesError, match=reason):
        presentation_times(stamps, 0.5)


class Packet:
    is_discard = False

    def __init__(self, pts, dts):
        self.pts, self.dts = pts, dts


@pytest.mark.parametrize(
    ("dts", "stated", "expected"),
    [
        ([0, 1, 2], False, [0, 1, 2]),
        ([5, 6, 9], False, [5, 6, 9]),
        ([-2, -1, 0], True, [0, 1, 2]),
        ([0, None, 2], False, None),
        ([0, 1, 1], False, None),
        ([0, 2, 1], False, None),
        ([], False, None),
    ],
)
def test_decoding_times(dts, stated, expected):
    packets = [Packet(index, value) for index, value in enumerate(dts)]
    times = decoding_times(packets, 1, stated=stated)
    assert (None if times is None else times.tolist()) == expected


def test_joined_streams_have_a_reason_for_each_track(tmp_path, drawn):
    part = write_clip(tmp_path / "part.ts", *drawn).read_bytes()
    (tmp_path / "joined.ts").write_bytes(part + part)
    media = decode(tmp_path / "joined.ts", [Waveform()])
    assert set(media.problems) == {"video", "audio"}
    assert all("go back" in problem for problem in media.problems.values())
