"""What a run has to do: clips that lack a metric become jobs, rows that hold are taken over, the rest is said."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from avbench import Category, Clip, Limits, Prompt
from avbench.clips import Expected
from avbench.encoders import Backbone, Encoder
from avbench.metrics import Score, Scorer
from avbench.metrics import base as registry_module
from avbench.metrics.base import get_scorers, scorer, set_scorer
from avbench.results import UNAVAILABLE, RunFolder, ScoreRow
from avbench.run.content import Content
from avbench.run.earlier import EarlierRows
from avbench.run.jobs import ClipJob, RunContext
from avbench.run.plan import Plan, make_plan
from avbench.run.rows import score_row, unavailable_rows
from avbench.run.score_clip import needed_encoders

CONTEXT = RunContext("now", "custom", "1")
NETWORK = Backbone("network", lambda context: None, packages=())
VECTOR = Encoder("vector", 1, NETWORK, lambda network, clips: [])


@pytest.fixture
def metrics(monkeypatch: pytest.MonkeyPatch) -> list[Scorer]:
    """`plain` and `worded`, which reads the prompt."""
    monkeypatch.setattr(registry_module, "_REGISTRY", dict(registry_module.registry()))
    facts: dict[str, Any] = {"unit": "1", "higher_is_better": True, "range": (0.0, 1.0), "source": "test"}
    plain = scorer("plain", needs=("video",), **facts)(lambda media, prompt, store: Score.ok(1.0))
    worded = scorer("worded", needs=("prompt",), prompt_role="text", **facts)(lambda *_: Score.ok(1.0))
    set_scorer("of_set", encoder=VECTOR, needs=("video",), **facts)(lambda fake, real: Score.ok(1.0))
    scorer("absent", needs=("video",), packages=("no_such_package",), **facts)(lambda *_: Score.ok(1.0))
    return [plain, worded]


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[RunFolder]:
    with RunFolder(tmp_path / "run") as opened:
        yield opened


@pytest.fixture
def clips(tmp_path: Path) -> list[Clip]:
    """Three files of different content; a plan reads their bytes and decodes nothing."""
    for name in "abc":
        (tmp_path / f"{name}.mp4").write_bytes(name.encode())
    return [Clip(name, tmp_path / f"{name}.mp4", prompt=Prompt(f"text {name}")) for name in "abc"]


def plan_for(
    clips: list[Clip], scorers: list[Scorer], earlier: list[ScoreRow], folder: RunFolder, **options: Any
) -> Plan:
    options = {"workers": 1, "retry_errors": False, "limits": Limits(), "context": CONTEXT} | options
    context = options.pop("context")
    return make_plan(clips, scorers, EarlierRows.of_rows(earlier), context, folder=folder, **options)


def scored(plan: Plan, score: Score | None = None) -> list[ScoreRow]:
    """The rows that the jobs of a plan give."""
    context = replace(CONTEXT, run_id="before")
    score = score or Score.ok(0.5)
    return [
        score_row(replace(job, context=context), metric, score, 0.1)
        for job in plan.jobs
        for metric in get_scorers(job.metrics)
    ]


def wanted(plan: Plan) -> dict[str, tuple[str, ...]]:
    return {job.clip.clip_id: job.metrics for job in plan.jobs}


def test_without_earlier_rows_everything_is_to_be_done(
    clips: list[Clip], metrics: list[Scorer], folder: RunFolder
) -> None:
    plan = plan_for(clips, metrics, [], folder)
    assert wanted(plan) == dict.fromkeys("abc", ("plain", "worded"))
    assert list(plan.shas) == ["a", "b", "c"]
    assert (plan.ready, plan.complete, plan.missing) == ([], 0, {})
    assert [job.threads for job in plan.jobs] == [None] * 3
    assert [job.threads for job in plan_for(clips, metrics, [], folder, workers=1000).jobs] == [1] * 3


def test_what_was_scored_is_not_scored_again(clips: list[Clip], metrics: list[Scorer], folder: RunFolder) -> None:
    earlier = scored(plan_for(clips[:2], metrics, [], folder))
    plan = plan_for(clips, metrics, earlier, folder)
    assert wanted(plan) == {"c": ("plain", "worded")}
    assert (plan.ready, plan.complete) == ([], 2)


def test_a_row_is_known_by_its_content_and_computation(
    clips: list[Clip], metrics: list[Scorer], folder: RunFolder
) -> None:
    earlier = scored(plan_for(clips, metrics, [], folder))
    clips[0].video.write_bytes(b"other")
    other_text = replace(clips[1], prompt=Prompt("another"))
    newer = [replace(metrics[0], version=2), metrics[1]]
    plan = plan_for([clips[0], other_text, clips[2]], newer, earlier, folder)
    assert wanted(plan) == {"a": ("plain", "worded"), "b": ("plain", "worded"), "c": ("plain",)}
    assert wanted(plan_for([other_text], metrics, earlier, folder)) == {"b": ("worded",)}


def test_the_same_content_under_another_name_is_taken_over(
    clips: list[Clip], metrics: list[Scorer], folder: RunFolder, tmp_path: Path
) -> None:
    earlier = scored(plan_for(clips[:1], metrics, [], folder))
    shutil.copy(clips[0].video, tmp_path / "copy.mp4")
    copy = replace(clips[0], clip_id="copy", video=tmp_path / "copy.mp4", model="other", sample_index=3)
    plan = plan_for([clips[0], copy], metrics, earlier, folder)
    assert (plan.jobs, plan.complete) == ([], 2)
    assert [row.metric for row in plan.ready] == ["plain", "worded"]
    assert {(row.clip_id, row.model, row.sample_index, row.run_id, row.value) for row in plan.ready} == {
        ("copy", "other", 3, "now", 0.5)
    }


def test_errors_stay_until_they_are_asked_for_or_the_limit_is_higher(
    clips: list[Clip], metrics: list[Scorer], folder: RunFolder
) -> None:
    first = plan_for(clips[:2], metrics[:1], [], folder)
    broken = scored(replace(first, jobs=first.jobs[:1]), Score.error("cannot decode"))
    large = scored(replace(first, jobs=first.jobs[1:]), Score.error("over the limit frames=10: has 11"))
    earlier = [*broken, *large]
    assert plan_for(clips[:2], metrics[:1], earlier, folder, limits=Limits(frames=10)).jobs == []
    assert set(wanted(plan_for(clips[:2], metrics[:1], earlier, folder, limits=Limits(frames=20)))) == {"b"}
    retried = plan_for(clips[:2], metrics[:1], earlier, folder, limits=Limits(frames=10), retry_errors=True)
    assert set(wanted(retried)) == {"a", "b"}


def test_an_error_of_an_abler_machine_stays_where_the_metric_cannot_run(
    clips: list[Clip], metrics: list[Scorer], folder: RunFolder
) -> None:
    (absent,) = get_scorers(["absent"])
    (job,) = plan_for(clips[:1], metrics[:1], [], folder).jobs
    error = replace(
        score_row(job, absent, Score.error("over the limit frames=10: has 11"), 0.1), weights_digest="weights"
    )
    for options in ({"retry_errors": True}, {"limits": Limits(frames=20)}):
        plan = plan_for(clips[:1], [absent], [error], folder, **options)
        assert (plan.jobs, plan.ready, plan.complete) == ([], [], 1)


def test_a_metric_that_cannot_run_here_has_a_row_for_every_clip(
    clips: list[Clip], metrics: list[Scorer], folder: RunFolder
) -> None:
    (absent,) = get_scorers(["absent"])
    plan = plan_for(clips, [metrics[0], absent], [], folder)
    assert wanted(plan) == dict.fromkeys("abc", ("plain",))
    assert [(row.clip_id, row.status, row.weights_digest) for row in plan.ready] == [
        (name, "skipped", UNAVAILABLE) for name in "abc"
    ]
    assert "no_such_package" in plan.missing["absent"]
    # Once said, it is not said again; where the metric can run, the row does not count.
    assert plan_for(clips, [absent], plan.ready, folder).ready == []
    able = replace(absent, packages=())
    assert wanted(plan_for(clips, [able], plan.ready, folder)) == dict.fromkeys("abc", ("absent",))


def test_a_score_made_elsewhere_serves_where_the_metric_cannot_run(
    clips: list[Clip], metrics: list[Scorer], folder: RunFolder
) -> None:
    (absent,) = get_scorers(["absent"])
    first = plan_for(clips, [replace(absent, packages=())], [], folder)
    plan = plan_for(clips, [absent], scored(first), folder)
    assert (plan.jobs, plan.ready, plan.complete) == ([], [], 3)


def test_a_set_metric_needs_the_features_of_each_clip(
    clips: list[Clip], metrics: list[Scorer], folder: RunFolder
) -> None:
    (of_set,) = get_scorers(["of_set"])
    plan = plan_for(clips, [of_set], [], folder)
    assert wanted(plan) == dict.fromkeys("abc", ("of_set",))
    folder.put_feature(VECTOR.feature_space(CONTEXT.setup), plan.shas["b"], np.ones(3, np.float32))
    assert set(wanted(plan_for(clips, [of_set], [], folder))) == {"a", "c"}


def test_rows_for_metrics_that_cannot_run_leave_set_metrics_out(clips: list[Clip], metrics: list[Scorer]) -> None:
    job = ClipJob(clips[0], Content("0" * 64), (), CONTEXT)
    rows = unavailable_rows(job, {"plain": "no network", "of_set": "no network"})
    assert [(row.metric, row.reason) for row in rows] == [("plain", "no network")]


ONLY_RED = replace(CONTEXT, only={"plain": Category("colour", "red")})


def test_a_metric_is_asked_only_of_the_clips_that_the_suite_names(
    clips: list[Clip], metrics: list[Scorer], folder: RunFolder
) -> None:
    red = replace(clips[0], categories=(Category("colour", "red"), Category("size", "small")))
    plan = plan_for([red, *clips[1:]], metrics, [], folder, context=ONLY_RED)
    assert wanted(plan) == {"a": ("plain", "worded"), "b": ("worded",), "c": ("worded",)}
    assert {(row.clip_id, row.metric, row.status, row.reason) for row in plan.ready} == {
        (name, "plain", "skipped", "colour is not red") for name in "bc"
    }
    again = plan_for([red, *clips[1:]], metrics, [*plan.ready, *scored(plan)], folder, context=ONLY_RED)
    assert (again.jobs, again.ready) == ([], [])


def test_what_one_suite_does_not_ask_is_computed_for_another_and_back(
    clips: list[Clip], metrics: list[Scorer], folder: RunFolder
) -> None:
    """The newest row is that of the suite in use: what it does not ask for is skipped, though a score exists."""
    skipped = plan_for(clips[:1], metrics[:1], [], folder, context=ONLY_RED).ready
    asked = plan_for(clips[:1], metrics[:1], skipped, folder)
    assert wanted(asked) == {"a": ("plain",)}
    rows = [*skipped, *scored(asked)]
    rows += plan_for(clips[:1], metrics[:1], rows, folder, context=ONLY_RED).ready
    assert [row.status for row in rows] == ["skipped", "ok", "skipped"]
    last = plan_for(clips[:1], metrics[:1], rows, folder)
    assert last.jobs == [] and [row.status for row in last.ready] == ["ok"]


def test_a_prompt_that_comes_back_brings_its_score_back(
    clips: list[Clip], metrics: list[Scorer], folder: RunFolder
) -> None:
    first = scored(plan_for(clips[:1], metrics[1:], [], folder))
    other = replace(clips[0], prompt=Prompt("another"))
    rows = [*first, *scored(plan_for([other], metrics[1:], first, folder), Score.ok(0.7))]
    back = plan_for(clips[:1], metrics[1:], rows, folder)
    assert back.jobs == [] and [row.value for row in back.ready] == [0.5]


@pytest.mark.parametrize(
    ("metric", "stated"),
    [
        ("object_class", Expected(objects="dog")), ("multiple_objects", Expected(objects="dog and cat")),
        ("color", Expected(color="red", objects="dog")), ("color_compat", Expected(color="red")),
        ("spatial_relationship", Expected(relation="dog | on the left of | cat")), ("scene", Expected(scene="alley")),
        ("appearance_style", Expected(style="oil painting")), ("human_action", Expected(action="archery")),
        ("overall_consistency", None),
    ],
)  # fmt: skip
def test_networks_run_for_prompts_alone_that_say_what_they_judge(metric: str, stated: Expected | None) -> None:
    (found,) = get_scorers([metric])
    with_it = Prompt("x", expected=stated or Expected())
    without = Prompt("x") if stated else Prompt()

    def encoders(prompt: Prompt) -> list[Encoder]:
        clip = Clip("a", Path("a.mp4"), prompt=prompt)
        return needed_encoders([found], ClipJob(clip, Content("0" * 64), (metric,), CONTEXT))

    assert encoders(with_it) == list(found.encoders)
    assert encoders(without) == []
