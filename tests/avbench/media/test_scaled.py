"""Frames that FFmpeg scales before they become RGB."""

from __future__ import annotations

import struct
from fractions import Fraction

import av
import numpy as np
import pytest
from synthetic import draw_frames, draw_sound, write_clip

from avbench.clips import Clip
from avbench.media import Frames, Linspace, Media, decode_clip

SIZE = (40, 24)
SCALED = Frames(Linspace(5), scaled=SIZE)
FULL = Frames(Linspace(5))


def mean_colour(frame):
    return frame.mean(axis=(0, 1))


@pytest.fixture(scope="module")
def clip(tmp_path_factory):
    path = tmp_path_factory.mktemp("scaled") / "a.mp4"
    return Clip("a", write_clip(path, draw_frames(1, seconds=1, size=(48, 64)), draw_sound(1, seconds=1)))


def by_the_command_line_filter(path, count: int):
    """The filter graph that `ffmpeg -vf` would make of the text, over the whole stream."""
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        graph = av.filter.Graph()
        nodes = [
            graph.add_buffer(template=stream),
            graph.add("scale", "width=40:height=24:flags=bilinear"),
            graph.add("format", "pix_fmts=rgb24"),
            graph.add("buffersink"),
        ]
        graph.link_nodes(*nodes).configure()
        frames = []
        for frame in container.decode(stream):
            graph.push(frame)
            frames.append(graph.pull().to_ndarray())
    return np.stack(frames)[np.linspace(0, len(frames) - 1, count, dtype=np.float32).round().astype(int)]


def test_a_file_is_scaled_as_by_ffmpeg(clip):
    media = decode_clip(clip, "a", [SCALED, FULL])
    assert media.view(FULL).shape == (5, 48, 64, 3)
    np.testing.assert_array_equal(media.view(SCALED), by_the_command_line_filter(clip.video, 5))


def test_yuv_is_scaled_before_it_becomes_rgb(clip):
    media = decode_clip(clip, "a", [SCALED, FULL])
    rgb = Media.from_arrays("b", media.view(FULL), 5).view(Frames(scaled=SIZE))
    assert not np.array_equal(media.view(SCALED), rgb)
    np.testing.assert_allclose(media.view(SCALED).mean((1, 2)), rgb.mean((1, 2)), atol=2)


def test_arrays_are_scaled_as_an_rgb_file(tmp_path):
    pixels = np.random.default_rng(0).integers(0, 256, (4, 48, 64, 3)).astype(np.uint8)
    with av.open(str(tmp_path / "a.mkv"), "w") as container:
        stream = container.add_stream("libx264rgb", rate=Fraction(25), options={"crf": "0"})
        stream.width, stream.height, stream.pix_fmt = 64, 48, "rgb24"
        for picture in pixels:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        container.mux(stream.encode(None))
    decoded = decode_clip(Clip("a", tmp_path / "a.mkv"), "a", [Frames(scaled=SIZE)])
    held = Media.from_arrays("b", pixels, 25)
    np.testing.assert_array_equal(decoded.view(Frames(scaled=SIZE)), held.view(Frames(scaled=SIZE)))


def test_a_transform_sees_the_scaled_picture(clip):
    view = Frames(Linspace(5), mean_colour, SIZE)
    media = decode_clip(clip, "a", [view, SCALED, Frames(Linspace(5), mean_colour)])
    np.testing.assert_array_equal(media.view(view), media.view(SCALED).mean((1, 2)))
    assert not np.array_equal(media.view(view), media.view(Frames(Linspace(5), mean_colour)))


def test_a_turned_picture_has_the_size_as_shown(clip, tmp_path):
    """The display matrix in the track header, from upright to a quarter turn."""
    unit, data = 1 << 16, bytearray(clip.video.read_bytes())
    upright, turned = (
        struct.pack(">9i", *(unit * value for value in (a, b, 0, c, d, 0, 0, 0)), 1 << 30)
        for a, b, c, d in ((1, 0, 0, 1), (0, 1, -1, 0))
    )
    place = data.index(upright, data.index(b"tkhd"))
    data[place : place + len(turned)] = turned
    (tmp_path / "turned.mp4").write_bytes(data)
    shown = decode_clip(Clip("t", tmp_path / "turned.mp4"), "t", [SCALED]).view(SCALED)
    lying = decode_clip(clip, "a", [Frames(Linspace(5), scaled=SIZE[::-1])]).view(
        Frames(Linspace(5), scaled=SIZE[::-1])
    )
    assert shown.shape == (5, 24, 40, 3)
    np.testing.assert_array_equal(shown, np.rot90(lying, -1, axes=(1, 2)))
