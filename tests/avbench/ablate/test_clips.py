"""Clips that are written and scored by avbench, in parts; prompts; published figures beside ours; measured rows."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from avbench.ablate import Choice, Request, make_backend, open_ablation, record
from avbench.ablate.outcome import Outcome
from avbench.errors import EnvironmentProblem, UsageError
from avbench.leaderboard import read_folder

REPOSITORY = Path(__file__).parent.parent.parent.parent


@pytest.fixture
def clip_grid(tmp_path: Path, small_grid: Path, small_clip: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """One seed, two prompts in two parts, judged by a metric that needs no network; called AQ to have a figure."""
    monkeypatch.setenv("FAKE_CLIP", str(small_clip))
    path = tmp_path / "clips.toml"
    text = small_grid.read_text().replace("seeds = [0, 1]", 'seeds = [0]\ntrain_prompts = "avbench-175"', 1)
    text = text.replace("samples = 2", EVALUATE).replace('benchmark = "fake clips"', 'benchmark = "JavisBench"')
    text = text.replace('title = "Table 3"', 'title = "Table 3"\npublished = "Table 3"')
    text = text.replace('variant = "base" }', 'variant = "base", published = "LTX-2 (no RL)" }') + MORE
    path.write_text(text)
    return path


EVALUATE = """judge = "avbench"
prompts = "avbench-175"
limit = 2
parts = 2
samples = 1
metrics = ["sharpness", "loudness"]
rewarded = ["loudness"]
options = ["--no-cache"]
"""
MORE = """
[metric.sharpness]
label = "AQ"
direction = "higher"
published = "aq"

[published]
paper = "OmniNFT"
benchmark = "JavisBench"
caveat = "Other prompts."
"""


def made(grid: Path, out: Path) -> Outcome:
    ablation = open_ablation(Request(str(grid), out=out))
    ablation.run(make_backend("local", ablation.grid))
    return ablation.tables(REPOSITORY / "leaderboards")


def test_clips_are_generated_in_parts_scored_and_set_beside_the_paper(clip_grid, tmp_path):
    out = tmp_path / "out"
    outcome = made(clip_grid, out)
    prompts = {
        p.name: [json.loads(line) for line in p.read_text().splitlines()] for p in (out / "prompts").glob("*.jsonl")
    }
    assert {name: len(rows) for name, rows in prompts.items()} == {
        "train.jsonl": 173, "evaluate-00.jsonl": 1, "evaluate-01.jsonl": 1,
    }  # fmt: skip
    judged = {row["prompt_av"] for name, rows in prompts.items() if "evaluate" in name for row in rows}
    assert not judged & {row["prompt_av"] for row in prompts["train.jsonl"]}, "what is judged is never trained on"
    clips = outcome.results.clips
    assert sorted(clips["prompt"].unique()) == ["00-00000", "01-00000"]
    assert len(clips) == 2 * 2 * 2
    assert outcome.results.rewarded == {"loudness"}
    text = (out / "tables" / "table3.md").read_text()
    assert "## Beside the published figures" in text
    assert "| AQ ↑, measured | AQ ↑, published |" in text
    assert "5.197 <sup>one-source</sup>" in text
    assert "Other prompts." in text
    rows = [line for line in (out / "results.csv").read_text().splitlines() if ",published," in line]
    assert len(rows) == 1
    assert "Korean digest" in rows[0]
    _records_once(outcome, tmp_path)


def _records_once(outcome: Outcome, tmp_path: Path) -> None:
    import shutil

    boards = tmp_path / "boards"
    shutil.copytree(REPOSITORY / "leaderboards", boards)
    shutil.rmtree(boards / "measured")
    (boards / "measured").mkdir()
    assert record(outcome, boards, "avbench ablate --grid clips.toml", "a test") == 4
    assert record(outcome, boards, "avbench ablate --grid clips.toml", "a test") == 0
    reading = read_folder(boards)
    assert reading.problems == () or list(reading.problems) == []
    rows = reading.board.measured
    assert {(row.row, row.method, row.setting) for row in rows} == {
        ("base", "base", "not trained"), ("+ vanilla", "vanilla", "4 steps"),
    }  # fmt: skip
    assert {row.benchmark for row in rows} == {"JavisBench"}
    assert len({row.run_digest for row in rows}) == 2


def test_figures_of_another_benchmark_are_not_shown_and_the_reason_is(clip_grid, tmp_path):
    clip_grid.write_text(clip_grid.read_text().replace('benchmark = "JavisBench"', 'benchmark = "two prompts"', 1))
    outcome = made(clip_grid, tmp_path / "out")
    assert outcome.sheets[0].beside.figures == {}
    told = "No published figures: OmniNFT's are of JavisBench, these of two prompts."
    assert told in (tmp_path / "out" / "tables" / "table3.md").read_text()
    assert told.replace("'", "&#39;") in (tmp_path / "out" / "report.html").read_text()


def test_numbers_of_random_networks_are_marked_and_not_recorded(clip_grid, tmp_path):
    out = tmp_path / "out"
    made(clip_grid, out)
    for path in out.glob("runs/*/*/scores-*/run.json"):
        path.write_text(json.dumps(json.loads(path.read_text()) | {"weights": "keyed-random"}))
    ablation = open_ablation(Request(str(clip_grid), out=out))
    outcome = ablation.tables(REPOSITORY / "leaderboards")
    assert "these numbers mean nothing" in (out / "report.html").read_text()
    with pytest.raises(UsageError, match="cannot enter a leaderboard"):
        record(outcome, tmp_path, "command")


def test_prompts_that_do_not_fit_are_one_line(clip_grid, tmp_path):
    text = clip_grid.read_text()
    for old, new, message in (
        ("parts = 2", "parts = 3", "parts 3 > 2 prompts: a part would be empty"),
        ('prompts = "avbench-175"\nlimit', 'prompts = "avbench-17"\nlimit', "unknown prompt suite 'avbench-17'"),
        ('prompts = "avbench-175"\nlimit', 'prompts = "none.txt"\nlimit', "no prompt list"),
    ):
        clip_grid.write_text(text.replace(old, new, 1))
        with pytest.raises(UsageError, match=r"^[^\n]*$") as error:
            open_ablation(Request(str(clip_grid), out=tmp_path / "out"))
        assert message in str(error.value)
    clip_grid.write_text(text.replace('train_prompts = "avbench-175"', 'train_prompts = "vbench"', 1))
    ablation = open_ablation(Request(str(clip_grid), out=tmp_path / "out", choice=Choice(only=("prompts",))))
    with pytest.raises((UsageError, EnvironmentProblem), match="The trainer needs all three texts"):
        ablation.run(make_backend("local", ablation.grid))
