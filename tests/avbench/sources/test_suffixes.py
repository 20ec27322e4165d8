"""Which files of a folder are clips: every container that is read, by suffix; the others are counted."""

from __future__ import annotations

from pathlib import Path

import av
import numpy as np
import pytest

from avbench.errors import UsageError
from avbench.media import Limits
from avbench.media.container import open_media
from avbench.sources import load_source
from avbench.sources.suffixes import VIDEO_SUFFIXES

# How FFmpeg calls what is written under a suffix, and a codec that goes with it.
WRITTEN_AS = {
    **dict.fromkeys((".mp4", ".m4v", ".f4v"), ("mp4", "mpeg4")),
    **dict.fromkeys((".mov", ".qt"), ("mov", "mpeg4")),
    **dict.fromkeys((".mkv", ".mk3d"), ("matroska", "mpeg4")),
    **dict.fromkeys((".avi", ".divx"), ("avi", "mpeg4")),
    **dict.fromkeys((".wmv", ".asf"), ("asf", "mpeg4")),
    **dict.fromkeys((".mpg", ".mpeg", ".mpe", ".vob"), ("vob", "mpeg2video")),
    **dict.fromkeys((".ts", ".mts", ".m2t"), ("mpegts", "mpeg2video")),
    **dict.fromkeys((".ogv", ".ogm"), ("ogg", "libvpx")),
    **dict.fromkeys((".h264", ".264"), ("h264", "libx264")),
    **dict.fromkeys((".hevc", ".h265", ".265"), ("hevc", "libx265")),
    ".m2ts": ("mpegts", "mpeg2video"),
    ".m1v": ("mpeg1video", "mpeg1video"),
    ".m2v": ("mpeg2video", "mpeg2video"),
    ".3gp": ("3gp", "mpeg4"),
    ".3g2": ("3g2", "mpeg4"),
    ".mj2": ("mov", "mpeg4"),
    ".webm": ("webm", "libvpx"),
    ".flv": ("flv", "flv"),
    ".ivf": ("ivf", "libvpx"),
}


def write(path: Path, kind: str, codec: str) -> Path:
    options = {"mpegts_m2ts_mode": "1"} if path.suffix == ".m2ts" else {}
    with av.open(str(path), "w", format=kind, options=options) as container:
        stream = container.add_stream(codec, rate=25)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        for index in range(6):
            frame = av.VideoFrame.from_ndarray(np.full((48, 64, 3), 30 * index, np.uint8), format="rgb24")
            frame.pts = index
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return path


def test_every_suffix_is_tried():
    assert set(WRITTEN_AS) == set(VIDEO_SUFFIXES)


@pytest.mark.parametrize("suffix", VIDEO_SUFFIXES)
def test_what_is_taken_can_be_read(clips, suffix):
    kind, codec = WRITTEN_AS[suffix]
    if codec not in av.codecs_available:
        pytest.skip(f"this FFmpeg has no {codec}")
    path = write(clips / f"a{suffix}", kind, codec)
    path = path.rename(path.with_suffix(suffix.upper()))
    for source in (load_source(clips), load_source(path)):
        assert [clip.video for clip in source.clips] == [path]
        assert source.notes == ()
    with open_media(path, Limits()) as container:
        assert container.streams.video[0].width == 64


def test_videos_of_other_kinds_are_counted_by_suffix(touch):
    source = load_source(touch("a.mp4", "b.GIF", "sub/c.gif", "d.y4m", "e.flv", "f.png", "g.txt", ".h.gif"))
    assert [clip.clip_id for clip in source.clips] == ["a.mp4", "e.flv"]
    assert source.notes == ("3 videos of other kinds were not taken: 2 .gif (b.GIF, sub/c.gif), 1 .y4m (d.y4m)",)


def test_a_folder_of_other_kinds_only(touch):
    with pytest.raises(UsageError, match=r"no video files.*2 videos of other kinds \(2 \.gif \(a\.gif, b\.gif\)\)"):
        load_source(touch("a.gif", "b.gif"))
    with pytest.raises(UsageError, match=r"a\.gif: videos of kind \.gif are not read\. Convert it to \.mp4"):
        load_source(touch() / "a.gif")


@pytest.mark.parametrize("suffix", [".ts", ".TS", ".mts"])
def test_typescript_is_no_clip_and_broken_mpeg_ts_is_one(clips, touch, suffix):
    touch("a.mp4")
    (clips / f"program{suffix}").write_text("// Größe\nexport const size: number = 3;\n" * 40, encoding="utf-8")
    (clips / f"broken{suffix}").write_bytes(bytes(range(256)))
    (clips / f"empty{suffix}").write_bytes(b"")
    source = load_source(clips)
    assert {clip.clip_id for clip in source.clips} == {"a.mp4", f"broken{suffix}", f"empty{suffix}"}
    assert source.notes == (f"1 files hold text, not MPEG-TS, and were not taken: program{suffix}",)


def test_sound_files_go_with_videos_of_all_kinds(touch, clips):
    source = load_source(touch("a.flv", "a.wav", "b.ogv", "b.ogg", "c.ogg"))
    assert [clip.audio for clip in source.clips] == [clips / "a.wav", clips / "b.ogg"]
    assert any("1 sound files have no video of the same name: c.ogg" in note for note in source.notes)
