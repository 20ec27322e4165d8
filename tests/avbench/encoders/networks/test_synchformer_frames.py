"""Which frames Synchformer sees, against FFmpeg's filter, and how they are scaled."""

from __future__ import annotations

from fractions import Fraction

import av
import numpy as np
import pytest

pytest.importorskip("torch")
pytest.importorskip("torchvision")

from avbench.clips import Clip
from avbench.encoders.networks.synchformer.frames import FpsFilter, square
from avbench.media import Frames, decode_clip

GOLDEN_CLIPS = ["clip_a", "clip_b", "clip_c", "clip_d"]


def through_ffmpeg(frames, time_base, *, flush):
    """Ticks and pixels that FFmpeg's fps=25 filter gives for frames of (pixels, pts, duration)."""
    graph = av.filter.Graph()
    height, width = frames[0][0].shape[:2]
    source = graph.add_buffer(width=width, height=height, format="rgb24", time_base=time_base)
    graph.link_nodes(source, graph.add("fps", "fps=25"), graph.add("buffersink")).configure()
    pulled = []
    for pixels, pts, duration in frames:
        frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(pixels), format="rgb24")
        frame.pts, frame.time_base, frame.duration = pts, time_base, duration
        graph.push(frame)
        pulled += drain(graph)
    if flush:
        graph.push(None)
        pulled += drain(graph)
    return pulled


def drain(graph):
    pulled = []
    while True:
        try:
            pulled.append(graph.pull().to_ndarray(format="rgb24"))
        except (av.BlockingIOError, av.EOFError):
            return pulled


def numbered(count):
    """Pictures that tell their own number."""
    return [np.full((16, 16, 3), number, dtype=np.uint8) for number in range(count)]


@pytest.mark.parametrize(
    ("rate", "time_base"),
    [
        (Fraction(24), Fraction(1, 12288)),
        (Fraction(25), Fraction(1, 12800)),
        (Fraction(30), Fraction(1, 15360)),
        (Fraction(30000, 1001), Fraction(1, 30000)),
        (Fraction(24000, 1001), Fraction(1, 24000)),
        (Fraction(30), Fraction(1, 1000)),
        (Fraction(60), Fraction(1, 90000)),
        (Fraction(50), Fraction(1, 90000)),
        (Fraction(10), Fraction(1, 90000)),
    ],
)
@pytest.mark.parametrize("start", [0, 37])
def test_frames_are_those_of_ffmpegs_filter(rate, time_base, start):
    step = 1 / rate / time_base
    pts = [start + int(number * step) for number in range(100)]
    frames = list(zip(numbered(100), pts, [round(step)] * 100, strict=True))
    times = np.array([float(value * time_base) for value in pts])
    chosen = FpsFilter().indices(times, float(rate))
    flushed = [int(pixels[0, 0, 0]) for pixels in through_ffmpeg(frames, time_base, flush=True)]
    assert chosen.tolist() == flushed
    kept = len(chosen) - FpsFilter().lost(times, float(rate))
    assert chosen[:kept].tolist() == [int(pixels[0, 0, 0]) for pixels in through_ffmpeg(frames, time_base, flush=False)]


def test_frames_are_those_of_ffmpegs_filter_at_a_variable_rate():
    generator = np.random.default_rng(0)
    gaps = generator.choice([300, 1500, 3003, 3600, 9000], 99)
    pts = [0, *np.cumsum(gaps).tolist()]
    typical = int(np.median(gaps))
    frames = list(zip(numbered(100), pts, [*gaps.tolist(), typical], strict=True))
    chosen = FpsFilter().indices(np.array(pts) / 90000, 25.0)
    pulled = through_ffmpeg(frames, Fraction(1, 90000), flush=True)
    assert chosen.tolist() == [int(pixels[0, 0, 0]) for pixels in pulled]


@pytest.mark.parametrize("name", GOLDEN_CLIPS)
def test_frames_of_a_file_are_those_of_ffmpegs_filter(name, golden_clips):
    view = Frames(FpsFilter(), None)
    path = golden_clips / f"{name}.mp4"
    with av.open(str(path)) as container:
        decoded = [(f.to_ndarray(format="rgb24"), f.pts, f.duration) for f in container.decode(video=0)]
        expected = through_ffmpeg(decoded, container.streams.video[0].time_base, flush=True)
    np.testing.assert_array_equal(decode_clip(Clip(name, path), name, [view]).view(view), np.stack(expected))


@pytest.mark.parametrize(("count", "expected"), [(0, 0), (1, 1), (2, 2)])
def test_few_frames(count, expected):
    assert len(FpsFilter().indices(np.arange(count) / 25.0, 25.0)) == expected


@pytest.mark.parametrize("shape", [(224, 224), (96, 128), (300, 8), (720, 1280), (1, 1)])
def test_every_frame_becomes_a_square(shape):
    pixels = np.full((*shape, 3), 77, dtype=np.uint8)
    scaled = square(pixels)
    assert scaled.shape == (224, 224, 3)
    assert (scaled == 77).all()


def test_crop_takes_the_centre():
    pixels = np.zeros((224, 424, 3), dtype=np.uint8)
    pixels[:, 100:324] = 200
    assert (square(pixels) == 200).all()
