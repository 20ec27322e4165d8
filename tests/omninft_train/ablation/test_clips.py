"""Clips that are written and scored by avbench, in parts; prompts; published figures beside ours; measured rows."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from avbench.errors import EnvironmentProblem, UsageError
from avbench.leaderboard import read_folder
from omninft_train.ablation import Choice, Request, make_backend, open_ablation, record
from omninft_train.ablation.outcome import Outcome

FAKE = Path(__file__).parent / "fake_trainer.py"
REPOSITORY = Path(__file__).parent.parent.parent.parent

pytestmark = pytest.mark.long

CLIPS = """
name = "clips"
benchmark = "JavisBench"
seeds = [0]
jobs = 2
train_prompts = "avbench-175"

[trainer]
command = ["{python}", "FAKE"]

[train]
run.steps = 4

[evaluate]
judge = "avbench"
prompts = "avbench-175"
limit = 2
parts = 2
samples = 1
metrics = ["sharpness", "loudness"]
rewarded = ["loudness"]
options = ["--no-cache"]

[variant.base]

[variant.vanilla]
label = "+ vanilla"
recipe = "gdpo"

[table.table3]
title = "Table 3"
published = "Table 3"
baseline = "vanilla"
rows = [{ variant = "base", published = "LTX-2 (no RL)" }, { variant = "vanilla" }]

# Not AQ at all: the name lets a figure be looked up.
[metric.sharpness]
label = "AQ"
direction = "higher"
published = "aq"

[published]
paper = "OmniNFT"
benchmark = "JavisBench"
caveat = "Other prompts."
"""


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory, small_clip: Path) -> Path:
    """A folder with the grid clips.toml and its ablation in out/: one seed, two prompts in two parts."""
    folder = tmp_path_factory.mktemp("clips")
    (folder / "clips.toml").write_text(CLIPS.replace("FAKE", str(FAKE)))
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("FAKE_CLIP", str(small_clip))
        ablation = open_ablation(Request(str(folder / "clips.toml"), out=folder / "out"))
        ablation.run(make_backend("local", ablation.grid))
    return folder


@pytest.fixture
def place(whole: Path, tmp_path: Path) -> Path:
    """A copy to change."""
    return Path(shutil.copytree(whole, tmp_path / "place"))


def made(place: Path) -> Outcome:
    ablation = open_ablation(Request(str(place / "clips.toml"), out=place / "out"))
    return ablation.tables(REPOSITORY / "leaderboards")


def test_clips_are_generated_in_parts_scored_and_set_beside_the_paper(place, tmp_path):
    out = place / "out"
    outcome = made(place)
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
    boards = tmp_path / "boards"
    shutil.copytree(REPOSITORY / "leaderboards", boards)
    shutil.rmtree(boards / "measured")
    (boards / "measured").mkdir()
    assert record(outcome, boards, "avbench ablate --grid clips.toml", "a test") == 4
    assert record(outcome, boards, "avbench ablate --grid clips.toml", "a test") == 0
    again = _elsewhere(outcome)
    assert record(again, boards, "avbench ablate --grid clips.toml", "another machine") == 4
    reading = read_folder(boards)
    assert list(reading.problems) == []
    rows = reading.board.measured
    assert {(row.row, row.method, row.setting) for row in rows} == {
        ("base", "base", "not trained"), ("+ vanilla", "vanilla", "4 steps"),
    }  # fmt: skip
    assert {row.benchmark for row in rows} == {"JavisBench"}
    assert len({row.run_digest for row in rows}) == 4


def _elsewhere(outcome: Outcome) -> Outcome:
    """The same settings on another processor, where values come out otherwise."""
    moved = {
        key: replace(summary, mean=None if summary.mean is None else summary.mean + 0.001)
        for key, summary in outcome.summaries.items()
    }
    return replace(outcome, summaries=moved)


def test_figures_of_another_benchmark_are_not_shown_and_the_reason_is(place):
    grid = place / "clips.toml"
    grid.write_text(grid.read_text().replace('benchmark = "JavisBench"', 'benchmark = "two prompts"', 1))
    outcome = made(place)
    assert outcome.sheets[0].beside.figures == {}
    told = "No published figures: OmniNFT's are of JavisBench, these of two prompts."
    assert told in (place / "out" / "tables" / "table3.md").read_text()
    assert told.replace("'", "&#39;") in (place / "out" / "report.html").read_text()


def test_a_metric_without_weights_fails_its_step_each_time(place, small_clip, monkeypatch, tmp_path):
    """As a complete step, with an empty column, it would never run again."""
    grid = place / "clips.toml"
    grid.write_text(grid.read_text().replace('["sharpness", "loudness"]', '["sharpness", "clap_score"]'))
    monkeypatch.setenv("FAKE_CLIP", str(small_clip))
    monkeypatch.setenv("AVBENCH_WEIGHTS", str(tmp_path / "weights"))
    request = Request(str(grid), out=tmp_path / "out", choice=Choice(variants=("base",)))
    for _ in range(2):
        ablation = open_ablation(request)
        with pytest.raises(EnvironmentProblem, match=r"weights missing: .* avbench models pull"):
            ablation.run(make_backend("local", ablation.grid))


def test_numbers_of_random_networks_are_marked_and_not_recorded(place, tmp_path):
    for path in (place / "out").glob("runs/*/*/scores-*/run.json"):
        path.write_text(json.dumps(json.loads(path.read_text()) | {"weights": "keyed-random"}))
    outcome = made(place)
    assert "these numbers mean nothing" in (place / "out" / "report.html").read_text()
    with pytest.raises(UsageError, match="cannot enter a leaderboard"):
        record(outcome, tmp_path, "command")


def test_prompts_that_do_not_fit_are_one_line(place, tmp_path):
    clip_grid = place / "clips.toml"
    text = clip_grid.read_text()
    for old, new, message in (
        ("parts = 2", "parts = 3", ": [evaluate] parts 3 > 2 prompts: a part would be empty"),
        ('prompts = "avbench-175"\nlimit', 'prompts = "avbench-17"\nlimit', "unknown prompt suite 'avbench-17'"),
        ('prompts = "avbench-175"\nlimit', 'prompts = "none.txt"\nlimit', "no prompt list"),
        ('"loudness"]\nrew', '"loudnes"]\nrew', "unknown metric 'loudnes'. Did you mean loudness"),
        ('command = ["{python}"', 'command = ["$NO_SUCH"', "'$NO_SUCH' names an environment variable that is not set"),
    ):
        clip_grid.write_text(text.replace(old, new, 1))
        with pytest.raises(UsageError, match=r"^[^\n]*$") as error:
            open_ablation(Request(str(clip_grid), out=tmp_path / "out"))
        line = text.replace(old, new, 1)[: text.index(old) + len(new)].count("\n") + 1 - new.count("\n")
        assert f"{clip_grid} line {line}: " in str(error.value) and message in str(error.value)
    clip_grid.write_text(text.replace('train_prompts = "avbench-175"', 'train_prompts = "vbench"', 1))
    ablation = open_ablation(Request(str(clip_grid), out=tmp_path / "out", choice=Choice(only=("prompts",))))
    with pytest.raises((UsageError, EnvironmentProblem), match="The trainer needs all three texts"):
        ablation.run(make_backend("local", ablation.grid))
