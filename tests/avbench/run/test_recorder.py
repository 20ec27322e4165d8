"""Results on their way into the run folder: rows first, then progress; no clip and no metric is left without a row."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from avbench import Clip
from avbench.encoders import Backbone, Encoder
from avbench.metrics import Score
from avbench.metrics import base as registry_module
from avbench.metrics.base import get_scorers, scorer, set_scorer
from avbench.results import UNAVAILABLE, RunFolder
from avbench.run.content import Content
from avbench.run.earlier import EarlierRows
from avbench.run.jobs import ClipJob, ClipResult, RunContext, Stopped
from avbench.run.plan import Plan
from avbench.run.recorder import Recorder
from avbench.run.rows import clip_row, score_row

CONTEXT = RunContext("run", "custom", "1")
NETWORK = Encoder("large", 1, Backbone("large", lambda context: None, packages=()), lambda network, clips: [])


@pytest.fixture(autouse=True)
def metrics(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(registry_module, "_REGISTRY", dict(registry_module.registry()))
    facts: dict[str, Any] = {"unit": "1", "higher_is_better": True, "range": (0.0, 1.0), "source": "test"}
    for name, encoders in (("light", ()), ("heavy", (NETWORK,)), ("absent", ())):
        scorer(name, needs=("video",), encoders=encoders, **facts)(lambda *_: Score.ok(1.0))
    set_scorer("of_set", encoder=NETWORK, needs=("video",), **facts)(lambda fake, real: Score.ok(1.0))


class Steps:
    """Follows a run, and what is on disk at each step."""

    def __init__(self, folder: RunFolder) -> None:
        self.folder = folder
        self.total = self.reused = 0
        self.seen: list[tuple[str, bool, int, int]] = []

    def start(self, total: int, reused: int, _clips: int) -> None:
        self.total, self.reused = total, reused

    def advance(self, clip_id: str, failed: bool, steps: int) -> None:
        self.seen.append((clip_id, failed, steps, len(self.folder.rows())))


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[RunFolder]:
    with RunFolder(tmp_path / "run") as opened:
        yield opened


def job(name: str, *metrics: str) -> ClipJob:
    return ClipJob(Clip(name, Path(f"{name}.mp4")), Content(name * 64), metrics, CONTEXT)


def result(of: ClipJob, *metrics: str, **facts: Any) -> ClipResult:
    rows = [score_row(of, metric, Score.ok(0.5), 0.1) for metric in get_scorers(metrics)]
    return ClipResult(clip_row(of.clip, of.sha256, Path(), problem=facts.pop("problem", None)), rows, **facts)


def recorder(folder: RunFolder, *jobs: ClipJob, **options: Any) -> Recorder:
    plan = Plan(list(jobs), shas={each.clip.clip_id: each.sha256 for each in jobs}, complete=2)
    plan.missing = options.pop("missing", {})
    names = options.pop("scorers", ("light", "heavy"))
    earlier = EarlierRows.of_folder(folder)
    return Recorder(folder, plan, get_scorers(names), earlier, options.pop("stopped", Stopped()), **options)


def written(folder: RunFolder) -> list[tuple[str | None, str, str]]:
    return [(row.clip_id, row.metric, row.status) for row in folder.rows()]


def test_rows_are_on_disk_before_a_step_counts(folder: RunFolder) -> None:
    a, b, steps = job("a", "light", "heavy"), job("b", "light"), Steps(folder)
    record = recorder(folder, a, b, progress=steps)
    assert (steps.total, steps.reused) == (3, 2)
    record.write(result(a, "light", last=False))
    record.write(result(b, "light"))
    record.write(result(a, "heavy", first=False))
    assert steps.seen == [("a", False, 1, 1), ("b", False, 1, 2), ("a", False, 1, 3)]
    assert [row.clip_id for row in folder.clip_rows()] == ["a", "b"]
    assert (record.computed, record.features) == (3, 0)


def test_steps_that_are_never_made_count_with_the_last_result(folder: RunFolder) -> None:
    a, steps = job("a", "light", "heavy"), Steps(folder)
    record = recorder(folder, a, progress=steps)
    record.write(result(a, "light", "heavy"))  # a clip that cannot be read
    assert [entry[2] for entry in steps.seen] == [2]


def test_a_metric_that_stopped_has_a_row_for_every_clip(folder: RunFolder) -> None:
    a, stopped = job("a", "light", "heavy"), Stopped()
    record = recorder(folder, a, stopped=stopped)
    stopped.add({"heavy": "stopped: no memory"})
    record.write(result(a, "light"))
    assert written(folder) == [("a", "light", "ok"), ("a", "heavy", "skipped")]
    assert folder.rows()[1].weights_digest == UNAVAILABLE  # computed again by a run that can
    assert record.computed == 1


def test_rows_that_come_twice_count_once(folder: RunFolder) -> None:
    a = job("a", "light", "heavy")
    record = recorder(folder, a)
    record.write(result(a, "light", last=False))
    record.write(result(a, "light", last=False))  # its process died, and another one began again
    record.write(result(a, "heavy", first=False))
    assert record.computed == 2


def test_what_the_record_says_already_is_not_written_again(folder: RunFolder) -> None:
    a, stopped, broken = job("a", "light", "heavy"), Stopped({"heavy": "no memory"}), Score.error("cannot decode")

    def failed(reason: str) -> ClipResult:
        (light,) = get_scorers(["light"])
        rows = [score_row(a, light, replace(broken, reason=reason), 0.1)]
        return ClipResult(clip_row(a.clip, a.sha256, Path(), problem=reason), rows)

    steps = Steps(folder)
    for reason, expected in (("no header", (1, 2)), ("no header", (1, 0)), ("no end", (1, 1)), ("no header", (1, 1))):
        record = recorder(folder, a, stopped=stopped, progress=steps)
        record.write(failed(reason))
        assert (record.computed, record.written) == expected
        assert steps.seen[-1][:2] == ("a", True)
    assert [row.reason for row in folder.rows()] == ["no header", "no memory", "no end", "no header"]
    assert [row.problem for row in folder.clip_rows()] == ["no header", "no end", "no header"]


def test_a_clip_that_changed_has_rows_of_its_own_for_every_metric(folder: RunFolder) -> None:
    a = job("a", "light")
    record = recorder(folder, a, scorers=("light", "heavy", "absent", "of_set"), missing={"absent": "not installed"})
    changed = replace(a, content=Content("f" * 64))
    record.write(result(changed, "light", problem="the video file was replaced"))
    assert written(folder) == [("a", "light", "ok"), ("a", "heavy", "error"), ("a", "absent", "skipped")]
    assert {row.clip_sha256 for row in folder.rows()} == {"f" * 64}
    assert folder.rows()[1].reason == "the video file was replaced"


def test_features_are_kept_for_the_set(folder: RunFolder) -> None:
    a = job("a", "of_set")
    record = recorder(folder, a, scorers=("of_set",))
    record.write(result(a, features={"of_set": np.ones(3, np.float32)}))
    kept = folder.feature(NETWORK.feature_space(CONTEXT.setup), a.media_key)
    assert kept is not None and kept.tolist() == [1.0, 1.0, 1.0]
    assert (record.computed, record.features) == (0, 1)
