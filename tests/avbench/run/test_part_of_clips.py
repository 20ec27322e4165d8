"""A suite that asks a metric of a part of the clips: the others cost nothing and are counted nowhere."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from avbench import Category, Clip, load_run
from avbench.cli.score import show_outcome
from avbench.metrics import Score
from avbench.metrics import base as registry_module
from avbench.metrics.base import scorer
from avbench.report.html import write_report
from avbench.results import RunFolder
from avbench.run.options import RunOptions
from avbench.run.outcome import Outcome
from avbench.run.runner import run_source
from avbench.sources import Source
from avbench.statistics.summary import NOT_ASKED
from avbench.suites import Suite

RED = Category("colour", "red")
SUITE = Suite("part", "", ("plain",), {"plain": RED})


@pytest.fixture(autouse=True)
def plain(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(registry_module, "_REGISTRY", dict(registry_module.registry()))
    facts: dict[str, Any] = {"unit": "1", "higher_is_better": True, "range": (0.0, 1.0), "source": "test"}
    scorer("plain", needs=("video",), family="test", **facts)(lambda media, prompt, store: Score.ok(0.5))


@pytest.fixture
def source(small_clip: Path, tmp_path: Path) -> Source:
    """A red clip, and two files that are no clips and would be errors if they were opened."""
    for name in "bc":
        (tmp_path / f"{name}.mp4").write_bytes(name.encode())
    clips = [Clip("a", small_clip, categories=(RED,)), *(Clip(name, tmp_path / f"{name}.mp4") for name in "bc")]
    return Source(tmp_path, "clips", tuple(clips), "as given")


def run(source: Source, out: Path, suite: Suite = SUITE) -> Outcome:
    return run_source(source, suite, out, RunOptions())


def test_other_clips_are_not_opened_and_not_counted(
    source: Source, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    outcome = run(source, tmp_path / "run")
    assert (outcome.computed, outcome.reused, outcome.not_asked, outcome.failed) == (1, 0, 2, ())
    scores = load_run(tmp_path / "run").scores.set_index("clip_id")
    assert scores["status"].to_dict() == {"a": "ok", "b": "skipped", "c": "skipped"}
    assert set(scores.loc[["b", "c"], "weights_digest"]) == {NOT_ASKED}
    assert set(scores.loc[["b", "c"], "reason"]) == {"colour is not red"}
    (entry,) = outcome.summary["overall"]
    assert (entry["n"], entry["n_ok"], entry["n_skipped"], entry["reasons"]) == (1, 1, 0, {})
    page = write_report(load_run(tmp_path / "run")).read_text(encoding="utf-8")
    assert "colour is not red" not in page
    show_outcome(outcome, None, html=False)
    assert "1 computed, 0 reused, 0 not possible here, 2 not asked for by the suite" in capsys.readouterr().out


def test_the_same_run_again_writes_nothing(source: Source, tmp_path: Path) -> None:
    run(source, tmp_path / "run")
    before = (tmp_path / "run" / "scores.jsonl").read_bytes()
    outcome = run(source, tmp_path / "run")
    assert (outcome.computed, outcome.reused, outcome.not_asked) == (0, 1, 2)
    assert (tmp_path / "run" / "scores.jsonl").read_bytes() == before


def test_another_suite_asks_all_of_them(source: Source, tmp_path: Path) -> None:
    run(source, tmp_path / "run")
    outcome = run(source, tmp_path / "run", replace(SUITE, only={}))
    assert (outcome.computed, outcome.not_asked, outcome.failed) == (2, 0, ("b", "c"))
    with RunFolder(tmp_path / "run") as folder:
        assert [row.status for row in folder.rows()] == ["skipped", "skipped", "ok", "error", "error"]
