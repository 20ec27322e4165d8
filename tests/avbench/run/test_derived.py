"""Derived metrics: computed at the end of a run from its rows, and anew where these change."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from avbench import Clip, Prompt, Run, score_clips
from avbench.cli.ls import command
from avbench.metrics import Score
from avbench.metrics import base as registry_module
from avbench.metrics.base import scorer
from avbench.metrics.derived import JudgedClip, derived_scorer
from avbench.report.html import write_report
from avbench.results.info import read_summary
from avbench.run.options import RunOptions
from avbench.statistics.intervals import mean_interval

METADATA: dict[str, Any] = {"unit": "1", "higher_is_better": True, "range": (0.0, 10.0), "source": "test"}
NAMES = ("length", "longest", "fails")


@pytest.fixture(autouse=True)
def metrics(monkeypatch: pytest.MonkeyPatch) -> None:
    """`length` of each text, the largest of them, and one that raises."""
    monkeypatch.setattr(registry_module, "_REGISTRY", dict(registry_module.registry()))

    def length(media: Any, prompt: Prompt, store: Any) -> Score:
        """Number of letters."""
        return Score.ok(len(prompt.text or "")) if prompt.text != "none" else Score.skipped("no letters")

    def longest(clips: Sequence[JudgedClip]) -> Score:
        """Largest number of letters."""
        values = [value for clip in clips if "length" in clip.scores and (value := clip.scores["length"].value)]
        if not values:
            return Score.skipped("no clip has letters")
        interval = mean_interval(values, range(len(values)))
        return Score.ok(max(values), clips=len(values), frames=clips[0].frames, **interval.detail())

    def fails(clips: Sequence[JudgedClip]) -> Score:
        """A metric with a fault."""
        raise RuntimeError("a fault")

    scorer("length", needs=("prompt",), prompt_role="text", family="test", **METADATA)(length)
    derived_scorer("longest", inputs=("length",), family="test", **METADATA)(longest)
    derived_scorer("fails", inputs=("length",), family="test", **METADATA)(fails)


@pytest.fixture
def clips(small_clip: Path) -> list[Clip]:
    """Six clips with texts of 1 to 6 letters."""
    return [Clip(str(number), small_clip, prompt=Prompt("x" * (number + 1))) for number in range(6)]


def row_of(run: Run, name: str) -> dict[str, Any]:
    (row,) = run.scores[run.scores["metric"] == name].to_dict("records")
    assert row["scope"] == "all"
    return dict(row)


def score(clips: Sequence[Clip], out: Path, names: Sequence[str] = NAMES, **options: Any) -> Run:
    return score_clips(clips, out, metrics=names, options=RunOptions(**options))


def test_a_derived_metric_has_a_row_and_a_place_in_the_summary(clips: list[Clip], tmp_path: Path) -> None:
    run = score(clips, tmp_path / "run")
    row = row_of(run, "longest")
    assert (row["value"], row["status"]) == (6.0, "ok")
    entry = next(entry for entry in read_summary(tmp_path / "run")["overall"] if entry["metric"] == "longest")
    assert (entry["mean"], entry["n"], entry["n_ok"], entry["prompts"]) == (6.0, 6, 6, 6)
    assert entry["low"] < 3.5 < entry["high"]
    assert '"frames": ' in row["detail"]
    write_report(run)


def test_a_fault_costs_its_own_row_only(clips: list[Clip], tmp_path: Path) -> None:
    run = score(clips, tmp_path / "run")
    row = row_of(run, "fails")
    assert (row["status"], row["reason"]) == ("error", "RuntimeError: a fault")
    assert (run.scores["status"] == "ok").sum() == 7


def test_what_is_not_there_is_a_reason(clips: list[Clip], tmp_path: Path) -> None:
    without = [replace(clip, prompt=Prompt("none")) for clip in clips]
    assert row_of(score(without, tmp_path / "run"), "longest")["reason"] == "no clip has letters"
    alone = score(clips, tmp_path / "alone", ["longest"])
    assert row_of(alone, "longest")["reason"] == "no clip has letters"


def test_it_follows_the_rows_and_is_written_only_when_it_changes(clips: list[Clip], tmp_path: Path) -> None:
    out = tmp_path / "run"
    score(clips[:5], out)
    written = (out / "scores.jsonl").read_bytes()
    score(clips[:5], out)
    assert (out / "scores.jsonl").read_bytes() == written
    assert row_of(score(clips, out), "longest")["value"] == 6.0
    longer = [replace(clips[0], prompt=Prompt("x" * 9)), *clips[1:]]
    assert row_of(score(longer, out), "longest")["value"] == 9.0
    assert row_of(score(clips, out), "longest")["value"] == 6.0


def test_ls_says_what_it_judges(capsys: pytest.CaptureFixture[str]) -> None:
    command("vbench_total")
    assert "all clips together, from their scores" in capsys.readouterr().out
