"""Folders of videos and single videos."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from avbench.errors import UsageError
from avbench.sources import load_source


def ids(source):
    return [clip.clip_id for clip in source.clips]


def test_lists_videos_below_a_folder_in_natural_order(touch):
    names = ["clip 10.mp4", "clip 2.MOV", "b/x.mkv", "b/y.webm", "a.avi", "z.M4V", "read.txt", "notes"]
    source = load_source(touch(*names))
    assert ids(source) == ["a.avi", "b/x.mkv", "b/y.webm", "clip 2.MOV", "clip 10.mp4", "z.M4V"]
    assert source.kind == "folder"
    assert source.notes == ()
    assert "0 of 6 clips have a prompt" in source.matching
    assert all(clip.audio is None and clip.prompt.is_empty and clip.sample_index == 0 for clip in source.clips)


def test_skips_hidden_files_and_folders_but_not_a_hidden_root(touch, clips):
    root = touch(".cfg/a.mp4", ".cfg/.b.mp4", ".cfg/._a.mp4", ".cfg/.cache/c.mp4") / ".cfg"
    assert ids(load_source(root)) == ["a.mp4"]


def test_same_name_in_two_folders_gives_two_ids(touch):
    assert ids(load_source(touch("m1/x.mp4", "m2/x.mp4", "x.mp4"))) == ["m1/x.mp4", "m2/x.mp4", "x.mp4"]


def test_sound_file_of_the_same_stem_wins_over_the_embedded_track(touch, clips):
    source = load_source(touch("a.mp4", "a.WAV", "b.mp4", "sub/b.wav", "c.mp4", "c.flac", "d.mp4", "d.m4a"))
    sounds = {clip.clip_id: clip.audio for clip in source.clips}
    assert sounds == {
        "a.mp4": clips / "a.WAV",
        "b.mp4": None,
        "c.mp4": clips / "c.flac",
        "d.mp4": clips / "d.m4a",
    }
    assert any("1 sound files have no video" in note and "sub/b.wav" in note for note in source.notes)


@pytest.mark.parametrize(
    ("suffixes", "winner"),
    [(["m4a", "flac", "wav"], "wav"), (["m4a", "flac"], "flac"), (["aac", "ogg", "mp3"], "mp3")],
)
def test_several_sound_files_prefer_wav_and_say_so(touch, suffixes, winner):
    source = load_source(touch("a.mp4", *(f"a.{suffix}" for suffix in suffixes)))
    assert source.clips[0].audio.name == f"a.{winner}"
    assert any("several sound files" in note and f"a.{winner}" in note for note in source.notes)


def test_single_video(touch, clips):
    touch("a.mp4", "a.wav", "b.mp4")
    source = load_source(clips / "a.mp4")
    assert (source.kind, ids(source), source.root) == ("file", ["a.mp4"], clips.resolve())
    assert source.clips[0].audio == clips / "a.wav"


def test_single_video_with_a_single_prompt(touch, clips, write):
    touch("a.mp4")
    source = load_source(clips / "a.mp4", prompts=write("p.txt", "a dog barks\n"))
    assert source.clips[0].prompt.text == "a dog barks"


@pytest.mark.parametrize("names", [[], ["a.wav", "b.txt"], [".a.mp4"]])
def test_folder_without_videos(touch, names):
    with pytest.raises(UsageError, match=r"no video files below .*clips"):
        load_source(touch(*names))


def test_missing_path_unknown_suffix_and_unknown_layout(touch, clips):
    with pytest.raises(UsageError, match="does not exist"):
        load_source(clips / "nothing")
    with pytest.raises(UsageError, match="does not exist"):
        load_source(Path("a\0b"))
    with pytest.raises(UsageError, match=r"unknown kind of source '\.txt'.*\.mp4"):
        load_source(touch("a.txt") / "a.txt")
    with pytest.raises(UsageError, match="unknown layout"):
        load_source(clips, layout="javis")
    with pytest.raises(UsageError, match="device"):
        load_source(Path(os.devnull))


@pytest.mark.parametrize("layout", ["javisbench", "vbench"])
def test_layouts_need_a_folder(touch, layout):
    with pytest.raises(UsageError, match="needs a folder"):
        load_source(touch("a.mp4") / "a.mp4", layout=layout)


def test_link_out_of_the_folder_is_refused_unless_allowed(touch, clips, tmp_path):
    touch("a.mp4")
    (tmp_path / "other.mp4").write_bytes(b"dummy")
    (clips / "b.mp4").symlink_to(tmp_path / "other.mp4")
    with pytest.raises(UsageError, match=r"b\.mp4.*outside"):
        load_source(clips)
    assert ids(load_source(clips, allow_outside=True)) == ["a.mp4", "b.mp4"]


def test_links_inside_and_dangling_links_are_clips(touch, clips):
    touch("a.mp4")
    (clips / "b.mp4").symlink_to("a.mp4")
    (clips / "c.mp4").symlink_to("gone.mp4")
    assert ids(load_source(clips)) == ["a.mp4", "b.mp4", "c.mp4"]


def test_linked_folders_are_not_entered(touch, clips):
    touch("a.mp4", "sub/b.mp4")
    (clips / "sub" / "loop").symlink_to(clips, target_is_directory=True)
    source = load_source(clips)
    assert ids(source) == ["a.mp4", "sub/b.mp4"]
    assert any("sub/loop" in note for note in source.notes)


def test_loop_of_links_and_pipes(touch, clips):
    touch("a.mp4")
    os.mkfifo(clips / "pipe.mp4")
    source = load_source(clips)
    assert ids(source) == ["a.mp4"]
    assert any("pipe.mp4" in note for note in source.notes)
    # It costs no other clip.
    (clips / "loop.mp4").symlink_to("loop.mp4")
    assert ids(load_source(clips)) == ["a.mp4", "loop.mp4"]


def test_undecodable_file_name_gives_a_printable_id(clips):
    try:
        (clips / os.fsdecode(b"caf\xe9.mp4")).write_bytes(b"dummy")
    except OSError:
        pytest.skip("this file system takes UTF-8 names only")
    clip_id = ids(load_source(clips))[0]
    assert clip_id.encode("utf-8")
    assert clip_id.startswith("caf")


def test_reads_no_media(touch, monkeypatch):
    root = touch("a.mp4", "a.wav")

    def refuse(self, *args, **kwargs):
        raise AssertionError(f"opened {self}")

    monkeypatch.setattr(Path, "open", refuse)
    monkeypatch.setattr(Path, "read_bytes", refuse)
    assert ids(load_source(root)) == ["a.mp4"]


@pytest.mark.parametrize("name", ["train-00.tar", "train-{00..01}.tar", "."])
def test_local_tar_shards_are_refused_with_what_to_do(tmp_path, name):
    (tmp_path / "train-00.tar").write_bytes(bytes(1024))
    with pytest.raises(UsageError, match=r"tar shards .* extract them into a folder"):
        load_source(tmp_path / name)
