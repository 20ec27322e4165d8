"""Pixels that are not square: frames are taken as they are stored."""

from __future__ import annotations

from fractions import Fraction

import av
import numpy as np
import pytest

from avbench.clips import Clip
from avbench.media import Frames, decode_clip


@pytest.mark.parametrize("ratio", [Fraction(16, 11), Fraction(1, 2)])
def test_frames_keep_the_stored_size(tmp_path, ratio):
    path = tmp_path / "a.mp4"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=25)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        stream.codec_context.sample_aspect_ratio = ratio
        for index in range(4):
            frame = av.VideoFrame.from_ndarray(np.full((48, 64, 3), 40 * index, np.uint8), format="rgb24")
            frame.pts = index
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    with av.open(str(path)) as container:
        assert container.streams.video[0].sample_aspect_ratio == ratio
    media = decode_clip(Clip("a", path), "a", [Frames()])
    assert media.view(Frames()).shape[1:3] == (48, 64)
    assert (media.video.width, media.video.height) == (64, 48)
