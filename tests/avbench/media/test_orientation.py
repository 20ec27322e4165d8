"""Display matrices: turned and mirrored as a player does it."""

from __future__ import annotations

import struct

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from avbench.clips import Clip
from avbench.errors import MediaError
from avbench.media import Frames, decode_clip
from avbench.media.orientation import UPRIGHT, from_matrix

ONE = 1 << 16
# (a b c d) and what it makes of frames (T, H, W, 3): x' = ax + cy, y' = bx + dy.
MATRICES = {
    (1, 0, 0, 1): lambda frames: frames,
    (-1, 0, 0, 1): lambda frames: frames[:, :, ::-1],
    (1, 0, 0, -1): lambda frames: frames[:, ::-1],
    (-1, 0, 0, -1): lambda frames: np.rot90(frames, 2, axes=(1, 2)),
    (0, 1, -1, 0): lambda frames: np.rot90(frames, -1, axes=(1, 2)),
    (0, -1, 1, 0): lambda frames: np.rot90(frames, 1, axes=(1, 2)),
    (0, 1, 1, 0): lambda frames: frames.swapaxes(1, 2),
    (0, -1, -1, 0): lambda frames: np.rot90(frames, 2, axes=(1, 2)).swapaxes(1, 2),
}


def matrix(a, b, c, d, order="="):
    return struct.pack(f"{order}9i", *(round(value * ONE) for value in (a, b, 0, c, d, 0, 0, 0)), 1 << 30)


@pytest.fixture
def with_matrix(small_clip, tmp_path):
    """The small clip with another display matrix in its track header."""

    def write(*entries):
        data, identity = bytearray(small_clip.read_bytes()), matrix(1, 0, 0, 1, ">")
        place = data.index(identity, data.index(b"tkhd"))
        data[place : place + 36] = matrix(*entries, ">")
        path = tmp_path / "turned.mp4"
        path.write_bytes(data)
        return path

    return write


def decode(path):
    return decode_clip(Clip(path.stem, path), path.stem, [Frames()])


@pytest.mark.parametrize("entries", MATRICES, ids=str)
def test_frames_are_as_a_player_shows_them(entries, small_clip, with_matrix):
    expected = MATRICES[entries](decode(small_clip).view(Frames()))
    media = decode(with_matrix(*entries))
    assert media.problems == {}
    assert (media.video.height, media.video.width) == expected.shape[1:3]
    np.testing.assert_array_equal(media.view(Frames()), expected)


def test_scale_does_not_matter(small_clip, with_matrix):
    media = decode(with_matrix(-2, 0, 0, 0.5))
    np.testing.assert_array_equal(media.view(Frames()), decode(small_clip).view(Frames())[:, :, ::-1])


def test_an_odd_angle_has_a_reason(with_matrix):
    angle = np.radians(12)
    media = decode(with_matrix(np.cos(angle), np.sin(angle), -np.sin(angle), np.cos(angle)))
    assert media.video is None
    assert "by 12 degrees" in media.problems["video"]
    assert media.audio is not None


@pytest.mark.parametrize("quarter", [0, 90, 180, 270])
@pytest.mark.parametrize("off", [-1, 0.6, 1])
def test_a_degree_is_shown_as_it_is(quarter, off):
    entries = [
        (np.cos(angle), np.sin(angle), -np.sin(angle), np.cos(angle)) for angle in np.radians([quarter, quarter + off])
    ]
    assert from_matrix(matrix(*entries[1])) == from_matrix(matrix(*entries[0]))
    beyond = np.radians(quarter + 2 * np.sign(off))
    with pytest.raises(MediaError, match="degrees"):
        from_matrix(matrix(np.cos(beyond), np.sin(beyond), -np.sin(beyond), np.cos(beyond)))


def test_a_matrix_of_zeros_changes_nothing():
    assert from_matrix(bytes(36)) == UPRIGHT


@given(st.sampled_from(sorted(MATRICES)), st.integers(1, 5), st.integers(1, 5))
def test_each_pixel_goes_where_the_matrix_sends_it(entries, height, width):
    a, b, c, d = entries
    pixels = np.arange(height * width * 3).reshape(height, width, 3)
    y, x = np.mgrid[:height, :width]
    right, down = a * x + c * y, b * x + d * y
    shown = np.zeros((np.ptp(down) + 1, np.ptp(right) + 1, 3), int)
    shown[down - down.min(), right - right.min()] = pixels
    np.testing.assert_array_equal(from_matrix(matrix(*entries)).apply(pixels), shown)


@given(st.binary(min_size=36, max_size=36))
def test_any_matrix_gives_an_orientation_or_a_reason(data):
    try:
        shown = from_matrix(data).apply(np.zeros((4, 6, 3), np.uint8))
    except MediaError as error:
        assert "degrees" in str(error)
    else:
        assert shown.shape in ((4, 6, 3), (6, 4, 3))
