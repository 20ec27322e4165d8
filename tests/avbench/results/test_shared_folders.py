"""A run folder can be given to others and moved: it tells nothing of the machine, and old ones still work."""

from __future__ import annotations

import json
import platform
import re
import shutil
import socket
from pathlib import Path

import pandas as pd
import pytest
from fuzz.fuzz_run_folders import DATA, METRICS, run
from pandas.testing import assert_frame_equal

from avbench import Clip, load_run, score_clips
from avbench.doctor.environment import describe_command
from avbench.files import below_or_name
from avbench.metrics.base import get_scorers


@pytest.fixture
def old(tmp_path: Path) -> Path:
    """A copy of a folder that avbench wrote when clips.parquet held absolute paths (below /srv/study/clips)."""
    return Path(shutil.copytree(DATA / "run", tmp_path / "old" / "run"))


def embedded(page: Path) -> list[bool]:
    text = page.read_text()
    found = re.search(r'id="report-data"[^>]*>(.*?)</script>', text, re.DOTALL)
    assert found
    return [file["inside"] for file in json.loads(found[1])["files"]]


def test_an_old_folder_reports_without_its_clips(old: Path) -> None:
    done = run("report", old)
    assert (done.code, done.error) == (0, "")
    assert embedded(old / "report.html") == [False]


def test_an_old_folder_finds_clips_that_moved_with_it_or_are_named(old: Path, tmp_path: Path) -> None:
    shutil.copytree(DATA / "clips", old.parent / "clips")
    assert run("report", old).code == 0
    assert embedded(old / "report.html") == [True, True, True]
    (old.parent / "clips").rename(tmp_path / "other")
    assert run("report", old, "--source", tmp_path / "other").code == 0
    assert embedded(old / "report.html") == [True, True, True]


def test_an_old_folder_goes_on_and_forgets_where_it_was(old: Path) -> None:
    before = pd.read_parquet(old / "scores.parquet")
    versions = {scorer.name: scorer.version for scorer in get_scorers([*METRICS.split(","), "true_peak"])}
    same = [name for name, version in zip(before["metric"], before["metric_version"], strict=True)
            if versions[name] == version]  # fmt: skip
    assert "sharpness" in same
    done = run("score", DATA / "clips", "-o", old, "-m", ",".join(versions), "--json")
    assert done.code == 0, done.error
    assert json.loads(done.out)["computed"] == 2 * (len(versions) - len({*same}))  # of two clips
    now = load_run(old)
    columns = ["clip_id", "clip_sha256", "metric", "status", "value", "seconds"]
    kept, had = (
        table.loc[table["metric"].isin(same), columns].reset_index(drop=True) for table in (now.scores, before)
    )
    assert_frame_equal(kept, had, check_exact=True)
    assert list(now.clips["video_path"]) == ["a.mp4", "b.mp4"]
    assert list(now.clips["audio_path"].dropna()) == ["b.m4a"]


def test_a_run_folder_tells_nothing_of_the_machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    home = tmp_path / "home-of-someone"
    clips = home / "data" / "clips"
    shutil.copytree(DATA / "clips", clips / "deep")
    (clips / "deep" / "manifest.csv").unlink()
    (clips / "broken.mp4").write_bytes(b"no video at all")
    (clips / "empty.mp4").touch()
    shutil.copy(DATA / "clips" / "a.mp4", home / "outside.mp4")
    names = ("deep/a.mp4", "broken.mp4", "empty.mp4", "missing.mp4", home / "outside.mp4")
    (clips / "list.csv").write_text("video\n" + "".join(f"{name}\n" for name in names))
    monkeypatch.setenv("HOME", str(home))
    for name in ("USER", "LOGNAME", "USERNAME"):
        monkeypatch.setenv(name, "name-of-someone")
    for module, function in ((platform, "node"), (socket, "gethostname"), (socket, "getfqdn")):
        monkeypatch.setattr(module, function, lambda *_: "host-of-someone")
    (tmp_path / "work").mkdir()
    monkeypatch.chdir(tmp_path / "work")
    out = tmp_path / "runs" / "one"
    done = run("score", clips / "list.csv", f"--out={out}", "--allow-outside", "-m", METRICS, "-q")
    assert done.code == 3
    told = [str(tmp_path), "home-of-someone", "host-of-someone", "name-of-someone"]
    for path in sorted(out.rglob("*")):
        content = path.read_bytes() if path.is_file() else b""
        if path.suffix == ".parquet":
            content = pd.read_parquet(path).to_csv().encode()
        assert not [word for word in told if word and word.encode() in content], path
    assert sorted(load_run(out).clips["video_path"]) == [
        "broken.mp4", "deep/a.mp4", "empty.mp4", "missing.mp4", "outside.mp4",
    ]  # fmt: skip
    # Two clips have one content, and the broken one is its own; an empty and a missing file cannot be shown.
    assert embedded(out / "report.html").count(True) == 2


def test_the_page_of_score_holds_its_clips_wherever_they_are(tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    clips = Path(shutil.copytree(DATA / "clips", tmp_path / "far" / "away" / "clips"))
    done = run("score", clips, "-o", tmp_path / "elsewhere" / "deep" / "run", "-m", "loudness", "-q")
    assert done.code == 0, done.error
    assert embedded(tmp_path / "elsewhere" / "deep" / "run" / "report.html") == [True, True, True]


def test_clips_from_python_are_named_below_their_common_folder(tmp_path: Path) -> None:
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        shutil.copy(DATA / "clips" / "a.mp4", tmp_path / name / "a.mp4")
    clips = [Clip(name, tmp_path / name / "a.mp4") for name in ("one", "two")]
    found = score_clips(clips, tmp_path / "run", metrics=["loudness"])
    assert list(found.clips["video_path"]) == ["one/a.mp4", "two/a.mp4"]


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (["score", "clips", "-o", "runs/x"], "avbench score clips -o runs/x"),
        (["score", "/far/away/clips", "--out=/far/runs/x"], "avbench score clips --out=x"),
        (["score", "~/clips", "../../up/clips", "..\\up"], "avbench score clips clips"),
        (["score", "a b.csv", "-m", "loudness,sharpness"], "avbench score 'a b.csv' -m loudness,sharpness"),
    ],
)
def test_a_command_is_recorded_without_folders_outside(arguments: list[str], text: str) -> None:
    assert describe_command(arguments).startswith(text)


def test_paths_below_the_current_folder_stay_relative(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert describe_command(["score", str(tmp_path / "a" / "b")]) == "avbench score a/b"
    assert below_or_name(Path("x/../y"), tmp_path) == "y"
    assert below_or_name(tmp_path, Path(tmp_path.anchor)) == tmp_path.name
