"""Digests of clips that are remembered: the files are read again exactly where they may have changed."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest

from avbench import Clip
from avbench.run import digests as module
from avbench.run.content import read_content
from avbench.run.digests import DigestStore


@pytest.fixture
def clips(tmp_path: Path) -> list[Clip]:
    for name in "abc":
        (tmp_path / f"{name}.mp4").write_bytes(name.encode())
        (tmp_path / f"{name}.wav").write_bytes(b"sound of " + name.encode())
    return [Clip(name, tmp_path / f"{name}.mp4", tmp_path / f"{name}.wav") for name in "abc"]


@pytest.fixture
def read(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Ids of the clips whose bytes were read."""
    seen: list[str] = []

    def watched(clip: Clip) -> Any:
        seen.append(clip.clip_id)
        return read_content(clip)

    monkeypatch.setattr(module, "read_content", watched)
    monkeypatch.setattr(module, "SETTLED_SECONDS", -3600.0)
    return seen


def digests(clips: list[Clip], store: DigestStore, root: Path) -> list[str]:
    return [content.sha256 for content in store.read(clips, root)]


def test_only_a_clip_that_changed_is_read_again(clips: list[Clip], tmp_path: Path, read: list[str]) -> None:
    store = DigestStore(tmp_path / "store")
    first = digests(clips, store, tmp_path)
    assert first == [read_content(clip).sha256 for clip in clips] and sorted(read) == ["a", "b", "c"]
    read.clear()
    assert digests(clips, store, tmp_path) == first and read == []
    # Same size and same time of change, put back on purpose: the time of the inode tells.
    times = clips[1].video.stat()
    clips[1].video.write_bytes(b"B")
    os.utime(clips[1].video, ns=(times.st_atime_ns, times.st_mtime_ns))
    again = digests(clips, store, tmp_path)
    assert read == ["b"] and again[1] == read_content(clips[1]).sha256 != first[1]
    read.clear()
    assert digests(clips, DigestStore(store.folder, trusted=False), tmp_path) == again and sorted(read) == [
        "a",
        "b",
        "c",
    ]


def test_a_file_that_changed_just_now_is_not_remembered(
    clips: list[Clip], tmp_path: Path, read: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Within the resolution of time stamps it could change again unseen."""
    monkeypatch.setattr(module, "SETTLED_SECONDS", 3600.0)
    store = DigestStore(tmp_path / "store")
    digests(clips, store, tmp_path)
    digests(clips, store, tmp_path)
    assert len(read) == 6


def test_a_file_that_cannot_be_read_is_not_remembered(clips: list[Clip], tmp_path: Path, read: list[str]) -> None:
    store = DigestStore(tmp_path / "store")
    assert clips[0].audio is not None
    clips[0].audio.unlink()
    first = digests(clips, store, tmp_path)
    read.clear()
    assert digests(clips, store, tmp_path) == first and read == ["a"]


@pytest.mark.parametrize("damage", [b"{", b"[]", b'{"x": 1}', b'{"x": [[[1, 2]], "00"]}', b'{"x": [[[1,2,3,4]], 5]}'])
def test_a_damaged_memory_is_forgotten(clips: list[Clip], tmp_path: Path, read: list[str], damage: bytes) -> None:
    store = DigestStore(tmp_path / "store")
    first = digests(clips, store, tmp_path)
    (file,) = (tmp_path / "store").iterdir()
    assert len(json.loads(file.read_bytes())) == 3
    file.write_bytes(damage)
    read.clear()
    assert digests(clips, store, tmp_path) == first and len(read) == 3


def test_what_was_read_before_an_interrupt_is_remembered(clips: list[Clip], tmp_path: Path, read: list[str]) -> None:
    contents = DigestStore(tmp_path / "store").read(clips, tmp_path)
    next(contents)
    next(contents)
    contents.close()  # type: ignore[attr-defined]  # a generator
    read.clear()
    digests(clips, DigestStore(tmp_path / "store"), tmp_path)
    assert read == ["c"]


def test_runs_side_by_side_remember_what_both_read(clips: list[Clip], tmp_path: Path, read: list[str]) -> None:
    store = DigestStore(tmp_path / "store")
    one, two = store.read(clips[:1], tmp_path), store.read(clips[1:], tmp_path)
    assert next(one) and next(two)
    assert len([*one, *two]) == 1
    read.clear()
    digests(clips, store, tmp_path)
    assert read == []


def test_clips_that_are_not_read_again_stay_in_the_memory(clips: list[Clip], tmp_path: Path, read: list[str]) -> None:
    store = DigestStore(tmp_path / "store")
    digests(clips, store, tmp_path)
    digests(clips[:1], DigestStore(store.folder, trusted=False), tmp_path)
    read.clear()
    digests(clips, store, tmp_path)
    assert read == []


def test_a_memory_that_cannot_be_written_costs_nothing(clips: list[Clip], tmp_path: Path, read: list[str]) -> None:
    (tmp_path / "store").write_text("a file")
    assert digests(clips, DigestStore(tmp_path / "store"), tmp_path) == [read_content(clip).sha256 for clip in clips]
