"""`avbench validate` as a subprocess: files, table, exit codes."""

from __future__ import annotations

import os

import pytest

FILES = {"validity.csv", "summary.csv", "summary.md", "validity.svg", "study.json"}


def wide() -> dict[str, str]:
    return {**os.environ, "COLUMNS": "200"}


def test_it_writes_its_files_and_says_what_moved(avbench, small_clip, tmp_path):
    out = tmp_path / "study"
    done = avbench(
        "validate", small_clip, "-o", out, "-m", "loudness,sharpness,fvd", "--seconds", 1, "--device", "cpu", env=wide()
    )
    assert done.returncode == 0, done.stderr
    assert {path.name for path in out.iterdir()} == FILES
    assert "too few clips: all 3" in done.stdout
    assert "fvd: judges sets of clips" in done.stdout
    assert str(out / "validity.svg") in done.stdout


def test_quiet_says_nothing(avbench, small_clip, tmp_path):
    done = avbench("validate", small_clip, "-o", tmp_path / "study", "-m", "loudness", "--seconds", 1, "--quiet")
    assert (done.stdout, done.stderr, done.returncode) == ("", "", 0)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["CLIP", "--weights", "keyed-random-reduced"], ["keyed-random-reduced", "mean nothing"]),
        (["CLIP", "-m", "loudnes"], ["unknown metric 'loudnes'"]),
        (["nowhere"], ["nowhere"]),
        (["CLIP", "--device", "tpu"], ["--device"]),
    ],
)
def test_wrong_use_is_one_line_and_exit_code_2(avbench, small_clip, tmp_path, arguments, words):
    done = avbench("validate", *[str(small_clip) if a == "CLIP" else a for a in arguments], cwd=tmp_path)
    assert done.returncode == 2
    assert all(word in done.stderr for word in words)
    assert len(done.stderr.strip().splitlines()) == 1
    assert not (tmp_path / "runs").exists()


def test_a_broken_clip_gives_exit_code_3_and_the_files(avbench, small_clip, tmp_path):
    clips = tmp_path / "clips"
    clips.mkdir()
    (clips / "good.mp4").write_bytes(small_clip.read_bytes())
    (clips / "bad.mp4").write_text("no")
    done = avbench("validate", clips, "-o", tmp_path / "study", "-m", "loudness", "--seconds", 1, "-q")
    assert done.returncode == 3
    assert "1 of 2 clips failed" in done.stderr
    assert {path.name for path in (tmp_path / "study").iterdir()} == FILES


def test_no_metric_that_can_run_gives_exit_code_4(avbench, small_clip, tmp_path):
    done = avbench("validate", small_clip, "-o", tmp_path / "study", "-m", "fvd", "--device", "cpu")
    assert done.returncode == 4
    assert "none of the metrics can take part" in done.stderr
