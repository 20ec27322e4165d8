"""Paths that a manifest may and may not name."""

from __future__ import annotations

import json
import os

import pytest

from avbench.errors import UsageError
from avbench.sources import load_source


@pytest.fixture
def load(touch, write, tmp_path):
    touch("a.mp4", "v/c.mp4", "we:ird.mp4", "C:disk.mp4")
    (tmp_path / "secret.mp4").write_bytes(b"dummy")

    def call(video, **options):
        line = json.dumps({"video": "a.mp4"}) + "\n" + json.dumps({"video": video})
        return load_source(write("list.jsonl", line), **options).clips[1]

    return call


OUTSIDE = ["../secret.mp4", "v/../../secret.mp4", "/etc/hostname", "../clips2/a.mp4", "{tmp}/secret.mp4"]


@pytest.mark.parametrize("video", OUTSIDE)
def test_paths_out_of_the_folder_need_permission(load, tmp_path, video):
    video = video.replace("{tmp}", str(tmp_path))
    with pytest.raises(UsageError, match=r"list\.jsonl, line 2: .*outside"):
        load(video)
    assert load(video, allow_outside=True).video.is_absolute()


def test_absolute_and_dotted_paths_inside_are_fine(load, clips):
    for video in [str(clips / "v/c.mp4"), "v/../v/c.mp4", "./v/c.mp4", " v/c.mp4 "]:
        clip = load(video)
        assert (clip.video, clip.clip_id) == (clips / "v/c.mp4", "v/c.mp4")


def test_links_out_of_the_folder(load, clips, tmp_path):
    (clips / "link.mp4").symlink_to(tmp_path / "secret.mp4")
    (clips / "up").symlink_to(tmp_path)
    (clips / "in.mp4").symlink_to("a.mp4")
    for video in ["link.mp4", "up/secret.mp4", "up/new.mp4"]:
        with pytest.raises(UsageError, match=r"line 2.*outside"):
            load(video)
    assert load("in.mp4").clip_id == "in.mp4"
    assert load("link.mp4", allow_outside=True).clip_id == "link.mp4"


def test_sound_files_follow_the_same_rule(clips, write, touch, tmp_path):
    touch("a.mp4")
    (tmp_path / "s.wav").write_bytes(b"dummy")
    with pytest.raises(UsageError, match=r"line 2.*outside"):
        load_source(write("l.csv", "video,audio\na.mp4,../s.wav\n"))
    (clips / "a.wav").symlink_to(tmp_path / "s.wav")
    with pytest.raises(UsageError, match=r"a\.mp4.*outside"):
        load_source(write("l.csv", "video\na.mp4\n"))


ADDRESSES = [
    "http://example.org/a.mp4",
    "HTTPS://x",
    "file:a.mp4",
    "file:///etc/passwd",
    "concat:a.mp4|b.mp4",
    "pipe:0",
    "data:video/mp4;base64,AA",
    "rtsp+x.y-z:a",
    " http://example.org",
    "we:ird.mp4",
    "//server/share/a.mp4",
    "\\\\server\\share\\a.mp4",
]


@pytest.mark.parametrize("allow", [False, True])
@pytest.mark.parametrize("video", ADDRESSES)
def test_addresses_are_always_refused(load, video, allow):
    with pytest.raises(UsageError, match=r"list\.jsonl, line 2"):
        load(video, allow_outside=allow)


def test_colons_in_file_names(load, clips):
    assert load("./we:ird.mp4").video == clips / "we:ird.mp4"
    assert load("C:disk.mp4").video == clips / "C:disk.mp4"


@pytest.mark.skipif(os.sep != "/", reason="backslashes separate folders here")
def test_backslashes_of_windows(load, clips, touch):
    for video in ["v\\c.mp4", ".\\v\\c.mp4", "v\\..\\v\\c.mp4", "v/..\\v/c.mp4"]:
        assert (load(video).video, load(video).clip_id) == (clips / "v" / "c.mp4", "v/c.mp4")
    # What has backslashes in its own name is meant by it.
    touch("v\\c.mp4")
    assert load("v\\c.mp4").video == clips / "v\\c.mp4"
    # A path that is missing is a clip with an error, as any other.
    assert load("v\\gone.mp4").video == clips / "v" / "gone.mp4"


@pytest.mark.parametrize("allow", [False, True])
@pytest.mark.parametrize(
    ("video", "message"),
    [
        ("C:\\clips\\a.mp4", "drive of Windows.*from the manifest's folder"),
        ("c:\\a.mp4", "drive of Windows"),
        ("\\/server/share/a.mp4", "network path"),
        ("/\\server\\share\\a.mp4", "network path"),
    ],
)
def test_drives_and_shares_of_windows_are_refused(load, video, message, allow):
    with pytest.raises(UsageError, match=rf"list\.jsonl, line 2: .*{message}"):
        load(video, allow_outside=allow)


def test_backslashes_lead_out_of_the_folder_no_more_than_slashes(load, tmp_path):
    for video in ["..\\secret.mp4", "v\\..\\..\\secret.mp4"]:
        with pytest.raises(UsageError, match=r"line 2.*outside"):
            load(video)
        assert load(video, allow_outside=True).video == tmp_path / "secret.mp4"


@pytest.mark.parametrize("allow", [False, True])
@pytest.mark.parametrize("video", [".", "v", "v/", os.devnull, "a\0.mp4"])
def test_folders_devices_and_nul_are_refused(load, video, allow):
    with pytest.raises(UsageError, match="line 2"):
        load(video, allow_outside=allow)


def test_pipes_are_refused(load, clips):
    os.mkfifo(clips / "p.mp4")
    with pytest.raises(UsageError, match="pipe"):
        load("p.mp4")


def test_absurd_paths(load, clips):
    assert load("x" * 5000).video.parent == clips
    (clips / "loop").symlink_to("loop")
    assert load("loop/a.mp4").video == clips / "loop" / "a.mp4"


def test_linked_root_is_resolved(touch, write, clips, tmp_path):
    touch("a.mp4")
    write("l.csv", "video\na.mp4\n")
    (tmp_path / "alias").symlink_to(clips)
    for path in [tmp_path / "alias", tmp_path / "alias" / "l.csv"]:
        source = load_source(path)
        assert source.root == clips.resolve()
        assert source.clips[0].clip_id == "a.mp4"
