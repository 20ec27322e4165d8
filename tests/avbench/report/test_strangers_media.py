"""A run that someone sent names files of this machine: the page holds none but the clips that were scored."""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
from pathlib import Path
from typing import Any

import pytest

from avbench.clips import Clip, clip_digest
from avbench.report.html import write_report
from avbench.report.media_files import NOT_FOUND, OTHER_CONTENT
from avbench.results import ClipRow, RunFolder, load_run

SECRET = b"content of a file that nobody sent"
CLIP = b"content of a clip"
SOUND = b"content of its sound"


def digest(*contents: bytes) -> str:
    return clip_digest([hashlib.sha256(content).digest() for content in contents])


def page_of(
    folder: Path, video: str, *, sha: str = "", audio: str | None = None, source: str = "clips", **options: Any
) -> tuple[str, dict[str, Any]]:
    """The page of a run with one clip, and the data in it; `source` is what run.json says."""
    row = ClipRow("one", None, 0, None, "text", None, None, video, audio, sha or digest(SECRET))
    with RunFolder(folder) as run:
        run.write_json("run.json", {"schema_version": 1, "source": source})
        run.write_tables([], [row], [Clip("one", Path("x"))])
    text = write_report(load_run(folder), **options).read_text()
    found = re.search(r'id="report-data"[^>]*>(.*?)</script>', text, re.DOTALL)
    assert found
    return text, json.loads(found[1])


def files_of(*arguments: Any, **options: Any) -> list[dict[str, Any]]:
    return list(page_of(*arguments, **options)[1]["files"])


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder that holds what came (with its clips) and, elsewhere, a secret; the current folder is a third one."""
    for name in ("came/clips", "elsewhere", "here"):
        (tmp_path / name).mkdir(parents=True)
    (tmp_path / "elsewhere" / "secret.mp4").write_bytes(SECRET)
    (tmp_path / "came" / "clips" / "a.mp4").write_bytes(CLIP)
    monkeypatch.chdir(tmp_path / "here")
    return tmp_path / "came"


def test_no_file_outside_is_embedded_or_linked_even_by_its_digest(place: Path) -> None:
    secret = place.parent / "elsewhere" / "secret.mp4"
    (place / "clips" / "link.mp4").symlink_to(secret)
    (place / "clips" / "folder").symlink_to(secret.parent)
    for name in (
        str(secret), "../../elsewhere/secret.mp4", "../elsewhere/secret.mp4", "link.mp4", "folder/secret.mp4",
        f"file://{secret}", "x/../../../elsewhere/secret.mp4",
    ):  # fmt: skip
        text, data = page_of(place / "run", name, embed="always")
        assert data["files"] == [
            {"type": "application/octet-stream", "inside": False, "src": None, "note": NOT_FOUND}
        ], name
        assert 'id="file-0"' not in text


@pytest.mark.parametrize("source", ["/", "/proc", "/proc/self", "/dev", "/etc", "/sys", "..", "../..", "."])
@pytest.mark.parametrize("name", ["/etc/passwd", "/proc/self/environ", "/dev/zero", "passwd", "environ", "/proc/kmsg"])
def test_system_files_are_never_opened(place: Path, monkeypatch: pytest.MonkeyPatch, source: str, name: str) -> None:
    opened: list[str] = []
    true_open = os.open
    monkeypatch.setattr(
        os, "open", lambda path, *rest, **more: opened.append(str(path)) or true_open(path, *rest, **more)
    )
    sha = digest(Path("/etc/passwd").read_bytes())
    (entry,) = files_of(place / "run", name, sha=sha, source=source, embed="always")
    assert (entry["inside"], entry["src"]) == (False, None)
    assert not [path for path in opened if path.startswith(("/etc", "/proc", "/dev", "/sys"))]


def test_a_link_among_the_clips_to_a_system_file_is_not_followed(place: Path) -> None:
    for target in ("/etc/passwd", "/proc/self/environ", "/dev/zero"):
        (place / "clips" / "a.mp4").unlink()
        (place / "clips" / "a.mp4").symlink_to(target)
        (entry,) = files_of(place / "run", "a.mp4", source="/", embed="always")
        assert (entry["inside"], entry["src"]) == (False, None)


def test_a_pipe_does_not_block_and_an_empty_file_is_none(place: Path) -> None:
    os.mkfifo(place / "clips" / "pipe.mp4")
    (place / "clips" / "empty.mp4").touch()
    for name in ("pipe.mp4", "empty.mp4"):
        (entry,) = files_of(place / "run", name, sha=digest(b""))
        assert (entry["inside"], entry["src"]) == (False, None)


def test_a_clip_is_embedded_by_its_digest_and_another_content_is_not(place: Path) -> None:
    text, data = page_of(place / "run", "a.mp4", sha=digest(CLIP))
    assert data["files"] == [{"type": "video/mp4", "inside": True, "src": None, "note": ""}]
    assert 'id="file-0"' in text
    for embed in ("always", "never"):
        (entry,) = files_of(place / "run", "a.mp4", sha=digest(b"another"), embed=embed)
        assert (entry["inside"], entry["src"], entry["note"]) == (False, None, OTHER_CONTENT)


def test_a_sound_file_counts_in_the_digest(place: Path) -> None:
    (place / "clips" / "a.wav").write_bytes(SOUND)
    video, sound = files_of(place / "run", "a.mp4", audio="a.wav", sha=digest(CLIP, SOUND))
    assert video["inside"] and sound["inside"]
    (place / "clips" / "a.wav").write_bytes(SECRET)
    refused = files_of(place / "run", "a.mp4", audio="a.wav", sha=digest(CLIP, SOUND))
    assert [entry["note"] for entry in refused] == [OTHER_CONTENT]


def test_large_files_are_linked_and_not_read(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("avbench.report.media_files.MOST_FILE_BYTES", len(CLIP) - 1)
    (entry,) = files_of(place / "run", "a.mp4", sha=digest(CLIP), embed="always")
    assert (entry["inside"], entry["src"]) == (False, "./../clips/a.mp4")
    assert "too large" in entry["note"]


def test_the_bytes_that_one_report_reads_are_bounded(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("avbench.report.media_files.MOST_READ_BYTES", len(CLIP) - 1)
    (entry,) = files_of(place / "run", "a.mp4", sha=digest(CLIP), embed="always")
    assert (entry["inside"], entry["src"]) == (False, "./../clips/a.mp4")


def test_a_link_does_not_tell_whose_home_the_clips_lie_in(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(place / "homes" / "me"))
    for person in ("me", "you"):
        clips = place / "homes" / person / "clips"
        clips.mkdir(parents=True)
        (clips / "a.mp4").write_bytes(CLIP)
        options: dict[str, Any] = {"sha": digest(CLIP), "embed": "never", "folders": [clips], "source": ""}
        text, data = page_of(place / "run", "a.mp4", **options)
        assert data["files"][0]["src"] is None
        assert "home folder" in data["files"][0]["note"]
        assert person not in re.findall(r"homes/(\w+)", text)
        (inside,) = files_of(place / "homes" / person / "run", "a.mp4", **options)
        assert inside["src"] == "./../clips/a.mp4"


def test_source_and_run_are_found_when_both_moved(place: Path) -> None:
    page_of(place / "run", "a.mp4", sha=digest(CLIP))
    moved = place.parent / "moved" / "far"
    moved.parent.mkdir()
    place.rename(moved)
    text = write_report(load_run(moved / "run")).read_text()
    assert 'id="file-0"' in text


@pytest.mark.parametrize("recorded", ["a.mp4", "/gone/clips/a.mp4", "C:\\gone\\clips\\a.mp4"])
def test_a_source_that_moved_is_found_by_its_content(place: Path, tmp_path: Path, avbench: Any, recorded: str) -> None:
    page_of(place / "run", recorded, sha=digest(CLIP))
    new = tmp_path / "new" / "deep"
    new.mkdir(parents=True)
    shutil.move(place / "clips" / "a.mp4", new / "renamed.mp4")
    assert 'id="file-0"' not in write_report(load_run(place / "run")).read_text()
    done = avbench("report", place / "run", "--source", tmp_path / "new")
    assert done.returncode == 0, done.stderr
    assert 'id="file-0"' in (place / "run" / "report.html").read_text()


def test_a_pair_of_files_that_moved_is_found(place: Path, tmp_path: Path) -> None:
    page_of(place / "run", "a.mp4", audio="a.wav", sha=digest(CLIP, SOUND))
    new = tmp_path / "new"
    new.mkdir()
    shutil.move(place / "clips" / "a.mp4", new / "b.mp4")
    (new / "b.wav").write_bytes(SOUND)
    text = write_report(load_run(place / "run"), folders=[new], search=True).read_text()
    assert 'id="file-1"' in text


def test_a_source_that_is_not_there_is_said(place: Path, avbench: Any) -> None:
    page_of(place / "run", "a.mp4")
    done = avbench("report", place / "run", "--source", place / "nowhere")
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1
    assert "no such folder" in done.stderr
