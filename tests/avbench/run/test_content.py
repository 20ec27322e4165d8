"""Clips that change after their digest was taken: an error row, nothing kept, and scored again by the next run."""

from __future__ import annotations

import importlib
import os
import shutil
import sys
from pathlib import Path

import pytest
from pandas.testing import assert_frame_equal
from synthetic import draw_frames, draw_sound, write_clip

import avbench.run.score_clip
from avbench import Clip, score_clips
from avbench.errors import MediaError
from avbench.metrics import base as registry_module
from avbench.run.content import ChangedError, read_content, unchanged
from avbench.run.options import RunOptions
from avbench.sources import Source
from avbench.validity.decoding import decode_cases

VOLATILE = ["seconds", "run_id"]


@pytest.fixture(scope="module")
def drawn(tmp_path_factory):
    """Three contents: two clips, and one as wide as `misbehaving` wants it."""
    root = tmp_path_factory.mktemp("drawn")
    for seed, width in ((0, 64), (1, 64), (2, 80)):
        frames = draw_frames(seed, seconds=0.5, size=(48, width))
        write_clip(root / f"{seed}.mp4", frames, draw_sound(seed, seconds=0.5))
    write_clip(root / "sound.m4a", None, draw_sound(0, seconds=0.5))
    write_clip(root / "other.m4a", None, draw_sound(1, seconds=0.5))
    return root


@pytest.fixture
def clips(drawn, tmp_path):
    """Clips "a" and "b" of different content, and "twin" with the content of "b"."""
    for name, seed in (("a", 0), ("b", 1), ("twin", 1)):
        shutil.copy(drawn / f"{seed}.mp4", tmp_path / f"{name}.mp4")
    return [Clip(name, tmp_path / f"{name}.mp4") for name in ("a", "b", "twin")]


@pytest.fixture
def misbehaving(monkeypatch):
    """Registers the metrics of tests/misbehaving.py for one test."""
    registry_module.registry()
    monkeypatch.setattr(registry_module, "_REGISTRY", dict(registry_module._REGISTRY))
    monkeypatch.delitem(sys.modules, "misbehaving", raising=False)
    return importlib.import_module("misbehaving")


def while_decoding(monkeypatch, name, before, after=lambda: None):
    """Do something right before, and right after, the clip of this name is decoded."""
    decode = avbench.run.score_clip.decode_clip

    def hooked(clip, *arguments):
        if clip.clip_id == name:
            before()
        try:
            return decode(clip, *arguments)
        finally:
            if clip.clip_id == name:
                after()

    monkeypatch.setattr(avbench.run.score_clip, "decode_clip", hooked)


def in_place(path: Path, content: Path) -> None:
    """Other bytes in the same file, of the same size and with the same time."""
    status, size = path.stat(), path.stat().st_size
    data = content.read_bytes()
    path.write_bytes(data[:size] + bytes(max(0, size - len(data))))
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))
    assert (path.stat().st_size, path.stat().st_mtime_ns) == (status.st_size, status.st_mtime_ns)


def other_file(path: Path, content: Path) -> None:
    """Another file under the same name, with the time of the old one."""
    status, new = path.stat(), path.with_suffix(".new")
    shutil.copy(content, new)
    os.utime(new, ns=(status.st_atime_ns, status.st_mtime_ns))
    new.replace(path)


@pytest.mark.parametrize("replace", [in_place, other_file, lambda path, _: path.unlink()], ids=["in", "by", "gone"])
@pytest.mark.parametrize("when", ["before", "while"])
def test_a_changed_clip_is_an_error_that_is_not_kept(clips, drawn, tmp_path, monkeypatch, replace, when):
    expected = score_clips(clips, tmp_path / "expected", metrics=["loudness", "sharpness"]).scores
    saved = clips[1].video.read_bytes()
    # Clips are decoded in order: while "a" is, "b" has its digest and waits.
    with monkeypatch.context() as patch:
        while_decoding(patch, "a" if when == "before" else "b", lambda: replace(clips[1].video, drawn / "0.mp4"))
        run = score_clips(clips, tmp_path / "run", metrics=["loudness", "sharpness"])
    rows = run.scores.set_index(["clip_id", "metric"])
    assert set(rows.loc["b", "status"]) == {"error"}
    (reason,) = set(rows.loc["b", "reason"])
    assert "after its digest was taken" in reason and "video file" in reason and str(tmp_path) not in reason
    assert rows.loc["b", "value"].isna().all()
    assert set(rows.loc["a", "status"]) == set(rows.loc["twin", "status"]) == {"ok"}, "its twin is scored"
    facts = run.clips.set_index("clip_id")
    assert not isinstance(facts.loc["twin", "problem"], str) and facts.loc["twin", "frames"] == 12
    assert facts.loc["b", "problem"] == reason
    assert facts.loc["b", "clip_sha256"] != facts.loc["twin", "clip_sha256"]

    # Put back, it is scored without being asked.
    clips[1].video.write_bytes(saved)
    again = score_clips(clips, tmp_path / "run", metrics=["loudness", "sharpness"]).scores
    assert_frame_equal(again.drop(columns=VOLATILE), expected.drop(columns=VOLATILE), check_exact=True)


def test_a_clip_that_is_put_back_before_anyone_looks_is_noticed(clips, drawn, tmp_path, monkeypatch):
    kept = clips[1].video.with_suffix(".kept")

    def away():
        clips[1].video.rename(kept)
        shutil.copy(drawn / "0.mp4", clips[1].video)

    while_decoding(monkeypatch, "b", away, lambda: kept.replace(clips[1].video))
    scores = score_clips(clips, tmp_path / "run", metrics=["loudness"]).scores.set_index("clip_id")
    assert list(scores["status"]) == ["ok", "error", "ok"]


def test_what_an_earlier_run_gave_is_not_that_of_the_changed_clip(clips, drawn, tmp_path, monkeypatch):
    score_clips(clips, tmp_path / "run", metrics=["loudness"])
    while_decoding(monkeypatch, "b", lambda: other_file(clips[1].video, drawn / "0.mp4"))
    scores = score_clips(clips, tmp_path / "run", metrics=["loudness", "sharpness"]).scores
    rows = scores.set_index(["clip_id", "metric"])
    assert len(rows) == 6, "no clip leaves a denominator"
    assert set(rows.loc["b", "status"]) == {"error"}


def test_a_clip_that_was_only_touched_moved_or_linked_is_scored(clips, tmp_path, monkeypatch):
    def touch():
        path = clips[1].video
        path.rename(path.with_suffix(".away"))
        path.with_suffix(".away").rename(path)
        os.link(path, path.with_suffix(".link"))
        path.touch()
        clips[2].video.write_bytes(clips[2].video.read_bytes())

    while_decoding(monkeypatch, "a", touch)
    assert set(score_clips(clips, tmp_path / "run", metrics=["loudness"]).scores["status"]) == {"ok"}


@pytest.mark.parametrize("gone", [False, True])
def test_the_audio_file_belongs_to_the_clip(drawn, tmp_path, monkeypatch, gone):
    sound = tmp_path / "sound.m4a"
    shutil.copy(drawn / "sound.m4a", sound)
    clip = Clip("a", drawn / "0.mp4", audio=sound)
    while_decoding(monkeypatch, "a", sound.unlink if gone else lambda: other_file(sound, drawn / "other.m4a"))
    (row,) = score_clips([clip], tmp_path / "run", metrics=["loudness"]).scores.itertuples()
    assert row.status == "error"
    assert row.reason.startswith("the audio file vanished" if gone else "the audio file was replaced")


def test_a_file_that_appears_late_is_not_scored_under_the_digest_of_a_missing_one(clips, drawn, tmp_path, monkeypatch):
    clips[1].video.unlink()
    while_decoding(monkeypatch, "a", lambda: shutil.copy(drawn / "1.mp4", clips[1].video))
    first = score_clips(clips, tmp_path / "run", metrics=["loudness"]).scores
    assert list(first["status"]) == ["ok", "error", "ok"]
    second = score_clips(clips, tmp_path / "run", metrics=["loudness"]).scores
    assert set(second["status"]) == {"ok"}


def test_nothing_of_a_changed_clip_is_cached(clips, drawn, tmp_path, monkeypatch, misbehaving):
    options = RunOptions(cache=tmp_path / "cache")
    with monkeypatch.context() as patch:
        while_decoding(patch, "b", lambda: other_file(clips[1].video, drawn / "0.mp4"))
        score_clips(clips[:2], tmp_path / "run", metrics=["mean_sound"], options=options)
    kept = sorted(path.suffix for path in (tmp_path / "cache").rglob("*.*") if path.is_file())
    assert kept == [".json", ".npy"], "facts and embedding of the other clip"
    shutil.copy(drawn / "1.mp4", clips[1].video)
    cached = score_clips(clips[:2], tmp_path / "warm", metrics=["mean_sound"], options=options).scores
    plain = score_clips(clips[:2], tmp_path / "cold", metrics=["mean_sound"]).scores
    assert list(cached["value"]) == list(plain["value"])


@pytest.mark.parametrize("workers", [1, 2])
def test_a_clip_that_is_replaced_while_it_is_decoded(drawn, tmp_path, monkeypatch, misbehaving, workers):
    shutil.copy(drawn / "0.mp4", tmp_path / "a.mp4")
    shutil.copy(drawn / "2.mp4", tmp_path / "wide.mp4")
    shutil.copy(drawn / "1.mp4", tmp_path / "wide.mp4.new")
    monkeypatch.setenv(misbehaving.SWAP, str(tmp_path / "wide.mp4"))
    clips = [Clip(name, tmp_path / f"{name}.mp4") for name in ("a", "wide")]
    run = score_clips(clips, tmp_path / "run", metrics=["swaps", "mean_sound"], workers=workers)
    rows = run.scores.set_index(["clip_id", "metric"])
    assert set(rows.loc["a", "status"]) == {"ok"}
    assert set(rows.loc["wide", "reason"]) == {
        "the video file was replaced or changed after its digest was taken; run the same command again"
    }


def test_a_study_of_validity_notices_it_too(clips, drawn, tmp_path, monkeypatch):
    from avbench.run.jobs import ClipJob, RunContext

    source = Source(tmp_path, "clips", tuple(clips), "as given")
    jobs = [ClipJob(clip, read_content(clip), (), RunContext("", "", "")) for clip in source.clips]
    other_file(clips[1].video, drawn / "0.mp4")
    a, b, twin = decode_cases(jobs, 1.0, 32, tmp_path)
    assert not a.media.problems and not twin.media.problems
    assert "after its digest was taken" in b.media.problems["video"]


def test_a_pipe_has_no_content_and_nobody_waits_for_it(tmp_path):
    os.mkfifo(tmp_path / "pipe.mp4")
    content = read_content(Clip("pipe", tmp_path / "pipe.mp4"))
    assert content.stamps == (None,)
    assert content == read_content(Clip("pipe", tmp_path / "pipe.mp4"))


def test_a_reason_of_the_file_is_kept_where_it_did_not_change(drawn, tmp_path):
    clip = Clip("a", drawn / "0.mp4")
    with pytest.raises(MediaError, match="broken"), unchanged(clip, read_content(clip)):
        raise MediaError("broken")
    copy = Clip("b", tmp_path / "b.mp4")
    shutil.copy(drawn / "0.mp4", copy.video)
    with pytest.raises(ChangedError), unchanged(copy, read_content(copy)):
        copy.video.write_bytes(b"half")
        raise MediaError("broken")
