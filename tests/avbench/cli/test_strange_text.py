"""Prompts, ids, models and file names of strangers: shown escaped, kept as they are in files."""

from __future__ import annotations

import csv
import json
import re
import subprocess
from pathlib import Path

import pytest

from avbench import load_run
from avbench.terminal.text import visible

ESC, BIDI = "\x1b]0;owned\x07\x1b[31m", "\u202egpj.exe\u2066"
PROMPT = f"{ESC}red [bold red]markup[/] [link=https://example.org]here[/link] {BIDI}\x9b2J\rnew\nline :warning:"
MODEL = f"model{ESC}{BIDI}[red]"
ID = f"clip{ESC}|a`b{BIDI}[blink]"


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory, small_clip: Path) -> Path:
    """A manifest in which every text is hostile."""
    folder = tmp_path_factory.mktemp("strange")
    name = "v\x1b[31m\u202e[red].mp4"
    (folder / name).write_bytes(small_clip.read_bytes())
    (folder / "bad\x1b[31m.mp4").write_bytes(b"\x1b[31m")
    lines = [
        {"id": ID, "video": name, "prompt_av": PROMPT, "model": MODEL, "cat:kind\x1b[31m": f"=cmd{ESC}"},
        {"id": "other", "video": "bad\x1b[31m.mp4", "prompt_av": "=1+1", "model": MODEL},
    ]
    (folder / "manifest.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    return folder


@pytest.fixture(scope="module")
def run_folder(tmp_path_factory: pytest.TempPathFactory, source: Path) -> Path:
    from avbench import score_clips

    folder = tmp_path_factory.mktemp("run") / "run"
    score_clips(source, folder, metrics=["silence_share", "sharpness"])
    return folder


def assert_visible(text: str) -> None:
    assert visible(text, keep="\n\t") == text


def test_nothing_reaches_a_terminal_as_it_is(avbench, source):
    done = avbench("clips", source)
    assert done.returncode == 0, done.stderr
    assert_visible(done.stdout)
    assert_visible(done.stderr)
    assert "\\x1b[31m" in done.stdout and "\\u202e" in done.stdout
    assert "[bold red]markup[/]" in done.stdout
    assert json.loads(avbench("clips", source, "--json").stdout)["models"] == [MODEL]


def test_a_run_shows_it_escaped_and_keeps_it(avbench, source, run_folder):
    for by in ("model", "category"):
        done = avbench("--verbose", "score", source, "-o", run_folder, "-m", "silence_share,sharpness", "--by", by)
        assert done.returncode == 3, done.stderr
        assert_visible(done.stdout)
        assert_visible(done.stderr)
    assert "\\x1b" in done.stdout
    kept = load_run(run_folder).clips.set_index("clip_id").loc[ID]
    assert (kept["text"], kept["model"]) == (PROMPT, MODEL)
    entries = [json.loads(line) for line in (run_folder / "scores.jsonl").read_text().splitlines()]
    assert any(entry.get("clip_id") == ID for entry in entries)


def test_the_page_shows_it_escaped(avbench, run_folder, tmp_path):
    done = avbench("report", run_folder, "-o", tmp_path / "page\x1b[31m.html")
    assert done.returncode == 0, done.stderr
    assert_visible(done.stdout)
    page = next(tmp_path.glob("page*.html")).read_text()
    assert_visible(page)
    data = json.loads(re.search(r'<script[^>]*id="report-data"[^>]*>(.*?)</script>', page, re.DOTALL)[1])
    assert_visible(json.dumps(data, ensure_ascii=False))
    assert "\\u202egpj.exe" in page


def test_a_comparison_shows_it_escaped(avbench, run_folder, tmp_path):
    done = avbench(
        "check", run_folder, "-b", run_folder, "--markdown", tmp_path / "t.md", "--junit", tmp_path / "t.xml"
    )
    assert done.returncode in (0, 2), done.stderr
    assert_visible(done.stdout + done.stderr)
    for path in tmp_path.iterdir():
        assert_visible(path.read_text())


def test_errors_show_it_escaped_on_one_line(avbench, tmp_path):
    for arguments in (["clips", f"no{ESC}\nwhere"], ["report", f"no{BIDI}"], ["ls", f"su{ESC}ite"], [f"comm{ESC}and"]):
        done = avbench(*arguments, cwd=tmp_path)
        assert done.returncode == 2
        assert_visible(done.stderr)
    assert len(avbench("clips", f"no{ESC}\nwhere", cwd=tmp_path).stderr.splitlines()) == 1


def test_damage_tables_hold_no_formula(avbench, source, tmp_path):
    done = avbench("validate", source, "-m", "sharpness", "--seconds", 1, "--size", 32, "-o", tmp_path)
    assert_visible(done.stdout + done.stderr)
    for path in (tmp_path / "validity.csv", tmp_path / "summary.csv"):
        for row in csv.reader(path.open(newline="")):
            assert not [cell for cell in row if re.match(r"[=+@-]\D", cell)]
            assert_visible("".join(row))
    for name in ("summary.md", "validity.svg"):
        assert_visible((tmp_path / name).read_text())


@pytest.mark.long
def test_a_model_without_a_printable_name_cannot_enter_a_leaderboard(avbench, source, tmp_path):
    import shutil

    boards = Path(__file__).parents[3] / "leaderboards"
    for name in ("published", "quantities.csv", "conflicts.toml", "views.toml"):
        copy = shutil.copytree if (boards / name).is_dir() else shutil.copy
        copy(boards / name, tmp_path / name)
    avbench("score", source, "-m", "silence_share", "-o", tmp_path / "run", "--no-html", "-q")
    arguments = ("leaderboard", "add", tmp_path / "run", "--folder", tmp_path, "--benchmark", "b", "--seeds", "none")
    before = avbench("leaderboard", "check", "--folder", tmp_path)
    refused: subprocess.CompletedProcess[str] = avbench(*arguments)
    assert refused.returncode == 2
    assert "row" in refused.stderr and "control character" in refused.stderr
    assert len(refused.stderr.splitlines()) == 1
    assert_visible(refused.stderr)
    assert not (tmp_path / "measured").exists() or not list((tmp_path / "measured").iterdir())
    named = avbench(*arguments, "--row", "=HYPERLINK(1)")
    assert named.returncode == 0, named.stderr
    after = avbench("leaderboard", "check", "--folder", tmp_path)
    assert (before.returncode, after.returncode) == (0, 0), after.stderr
    again = avbench(*arguments, "--row", "=HYPERLINK(1)")
    assert "0 rows added" in again.stdout
    assert "'=HYPERLINK(1)" in (tmp_path / "measured" / "runs.csv").read_text()
