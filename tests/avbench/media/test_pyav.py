"""What differs between versions of PyAV: tags that are no UTF-8, and arguments that some do not take."""

from __future__ import annotations

import av
import pytest
from synthetic import draw_frames

from avbench import score_clips
from avbench.clips import Clip
from avbench.errors import EnvironmentProblem
from avbench.media import Frames, decode_clip, pyav

MARK = "a title of some length"


@pytest.mark.parametrize("suffix", ["mp4", "mkv", "avi"])
def test_tags_that_are_no_utf_8_do_not_matter(suffix, tmp_path):
    path = tmp_path / f"clip.{suffix}"
    with av.open(str(path), "w") as container:
        container.metadata["title"] = MARK
        stream = container.add_stream("mpeg4", rate=24)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        for pixels in draw_frames(0, seconds=0.5, size=(48, 64)):
            container.mux(stream.encode(av.VideoFrame.from_ndarray(pixels, format="rgb24")))
        container.mux(stream.encode(None))
    data = path.read_bytes()
    assert MARK.encode() in data
    path.write_bytes(data.replace(MARK.encode(), b"\xff\xfe\xe9" + MARK.encode()[3:]))
    media = decode_clip(Clip("clip", path), "clip", [Frames()])
    assert media.problems == {}
    assert len(media.view(Frames())) == 12


@pytest.mark.parametrize("arguments", ["_OPEN_ARGUMENTS", "_CONVERT_ARGUMENTS"])
def test_arguments_that_pyav_does_not_take_end_the_run(arguments, small_clip, tmp_path, monkeypatch):
    monkeypatch.setattr(pyav, arguments, {"no_such_argument": 1})
    with pytest.raises(EnvironmentProblem, match=rf"PyAV {av.__version__} .*no_such_argument.*av>=16"):
        score_clips([Clip("clip", small_clip)], tmp_path / "run", metrics=["sharpness"])
