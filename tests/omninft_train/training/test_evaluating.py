"""Evaluation while training: what is kept and told, what it must not change, and how it goes on."""

from __future__ import annotations

import csv
import json
import logging
import shutil
from collections.abc import Mapping
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pytest
from tiny_training import assert_equal, log, make, run, tiny_config, tiny_weights

from omninft_train import judging
from omninft_train.errors import UsageError
from omninft_train.evaluate import evaluate
from omninft_train.evaluation import (
    FILE,
    Evaluation,
    Metric,
    evaluation_folder,
    read_evaluation,
    read_evaluations,
    write_evaluation,
)
from omninft_train.generate import Trained, load_trained, step_number
from omninft_train.miniature.world import evaluation_prompts
from omninft_train.prompts import load_prompts
from omninft_train.recipe import load
from omninft_train.rewards.spec import Rewards
from omninft_train.training import checkpoint, evaluating, saving
from omninft_train.training.assemble import load_evaluation_prompts
from omninft_train.training.distributed import World
from omninft_train.training.evaluating import evaluate_policy, how_evaluated, planned, start_evaluations
from omninft_train.training.tracking import Tracker

HELD_OUT = {"av_align", "speed", "impacts", "level"}
PICTURE = '{scorer = "omninft_train.miniature.judges:picture", weight = 1.0, route = "video"}'


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_weights(tmp_path_factory.mktemp("pretraining"))


@pytest.fixture(scope="module")
def settings(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, ...]:
    """Evaluations of one clip of each of seven prompts, after every step."""
    path = tmp_path_factory.mktemp("prompts") / "seven.jsonl"
    path.write_text("".join(json.dumps(asdict(prompt)) + "\n" for prompt in evaluation_prompts()[:7]))
    return ("run.eval_every=1", "evaluation.samples=1", "evaluation.steps=2", f'evaluation.prompts="{path}"')


class Keeper:
    """A service that remembers what it was told."""

    def __init__(self) -> None:
        self.told: list[tuple[int, Mapping[str, Any]]] = []

    def log(self, step: int, values: Mapping[str, Any]) -> None:
        self.told.append((step, values))


@pytest.mark.parametrize(
    ("recipe", "changes"),
    [
        ("omninft", ()),
        pytest.param("arr", (), marks=pytest.mark.long),
        pytest.param("omninft", ("policy.parameters=lora", "policy.rank=2"), marks=pytest.mark.long),
    ],
    ids=["omninft", "arr", "lora"],
)
def test_the_trajectory_stays_as_it_is(
    weights: Path, settings: tuple[str, ...], tmp_path: Path, recipe: str, changes: tuple[str, ...]
) -> None:
    wanted = run(tiny_config(weights, *changes, recipe=recipe), tmp_path / "without")
    found = run(tiny_config(weights, *changes, *settings, recipe=recipe), tmp_path / "with")
    assert_equal(found, wanted)
    assert log(tmp_path / "with") == log(tmp_path / "without")
    assert list(read_evaluations(tmp_path / "with")) == [0, 1, 2]


def test_what_is_kept_is_what_the_command_gives(weights: Path, settings: tuple[str, ...], tmp_path: Path) -> None:
    """The first one of the generator before training, the last one of the last checkpoint."""
    config = tiny_config(weights, *settings, "run.eval_every=3", "run.save_every=3")
    run(config, tmp_path / "run")
    found, trained = read_evaluations(tmp_path / "run"), load_trained(tmp_path / "run")
    assert list(found) == [0, 2]
    prompts, how = load_prompts(Path(config.evaluation.prompts)), how_evaluated(config)
    for role, step in (("reference", 0), ("policy", 2)):
        other = evaluate(trained, prompts, replace(how, role=role), tmp_path / f"{role}.json")
        assert other is not None
        write_evaluation(other, tmp_path / f"{role}.json")
        wanted = read_evaluation(tmp_path / f"{role}.json")
        assert found[step] == replace(wanted, role="policy", step=step)
    assert found[0].metrics != found[2].metrics
    metrics = found[2].metrics
    assert {name for name, metric in metrics.items() if not metric.rewarded} == HELD_OUT
    assert [metrics[name].higher_is_better for name in ("picture", "av_align", "speed")] == [True, True, None]
    folder = evaluation_folder(tmp_path / "run", 2)
    clips = {f"0000{prompt}-0.mp4" for prompt in range(7)}
    assert {path.name for path in folder.iterdir()} == clips | {FILE, "manifest.csv", "sampling.json"}
    rows = list(csv.DictReader((folder / "manifest.csv").read_text().splitlines()))
    assert {row["video"] for row in rows} == clips and rows[6]["text"] == prompts[6].prompt_av
    assert {row["model"] for row in rows} == {"policy-step-2"}


@pytest.mark.long
def test_each_evaluated_policy_is_saved(
    weights: Path, settings: tuple[str, ...], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    run(tiny_config(weights, *settings, "run.steps=3", "run.eval_every=2", "run.save_every=3"), tmp_path)
    assert list(read_evaluations(tmp_path)) == [0, 2, 3] and list(checkpoint.policies(tmp_path)) == [2, 3]
    assert planned(tiny_config(weights, *settings, "run.steps=3", "run.eval_every=2")) == 3
    assert "nothing is held out" not in caplog.text  # the miniature has measures that are no rewards


def test_held_out_metrics_are_opened_for_evaluations_alone(
    weights: Path, settings: tuple[str, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Rewards that run are used, and stay open; a metric that is named is judged in evaluations only."""
    opened: list[list[str]] = []
    closed: list[list[str]] = []
    real, close = judging.make_rewards, Rewards.close

    def watched(section: Any) -> Rewards:
        opened.append([spec.name for spec in section.reward])
        return real(section)

    def closing(self: Rewards) -> None:
        closed.append([spec.name for spec in self.specs])
        close(self)

    config = tiny_config(weights, *settings, "run.steps=1", "evaluation.heldout=['sharpness']")
    training = make(config, tmp_path)
    monkeypatch.setattr(judging, "make_rewards", watched)
    monkeypatch.setattr(Rewards, "close", closing)
    evaluating_run(training)
    assert [set(names) for names in opened] == [HELD_OUT | {"sharpness"}] * 2 == [set(names) for names in closed]
    metrics = read_evaluations(tmp_path)[1].metrics
    assert list(metrics)[:3] == ["picture", "sound", "sync"] and list(metrics)[-1] == "sharpness"
    assert None not in metrics["sharpness"].values and not metrics["sharpness"].rewarded
    assert "reward_sharpness_mean" not in log(tmp_path)[0]


def evaluating_run(training: Any) -> None:
    from omninft_train.training.trainer import train

    train(training)


@pytest.mark.long
def test_an_interrupted_evaluation_goes_on_where_it_stopped(
    weights: Path, settings: tuple[str, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = tiny_config(weights, *settings, "sampling.batch=3")
    wanted = run(config, tmp_path / "whole")
    judged: list[int] = []
    real = judging.judge

    def failing(rewards: Rewards, clips: Any, *rest: Any) -> Any:
        if len(judged) == 5:  # of three batches for each evaluation
            raise KeyboardInterrupt
        judged.append(len(clips))
        return real(rewards, clips, *rest)

    with monkeypatch.context() as patch:
        patch.setattr(judging, "judge", failing)
        with pytest.raises(KeyboardInterrupt):
            run(config, tmp_path / "run")
    assert list(read_evaluations(tmp_path / "run")) == [0]
    assert len(list(evaluation_folder(tmp_path / "run", 1).glob("*.mp4"))) == 6
    (evaluation_folder(tmp_path / "run", 1) / "00001-0.mp4").unlink()  # a score without its clip is made again
    again: list[int] = []
    monkeypatch.setattr(judging, "judge", lambda *arguments: again.append(len(arguments[1])) or real(*arguments))
    assert_equal(run(config, tmp_path / "run"), wanted)
    assert again == [2, 3, 3, 1]
    assert len(list(evaluation_folder(tmp_path / "run", 1).glob("*.mp4"))) == 7
    found, whole = (read_evaluations(tmp_path / name) for name in ("run", "whole"))
    assert list(found) == list(whole) == [0, 1, 2] and (found[0], found[2]) == (whole[0], whole[2])
    for name, metric in whole[1].metrics.items():  # the clip that was made again lay in another batch
        assert found[1].metrics[name].values == pytest.approx(metric.values, rel=1e-5)
    assert found[1].sets == pytest.approx(whole[1].sets)
    run(config, tmp_path / "run")  # nothing is left to do
    assert len(again) == 4


@pytest.mark.long
def test_evaluations_of_checkpoints_that_are_gone_are_made_again(
    weights: Path, settings: tuple[str, ...], tmp_path: Path
) -> None:
    run(tiny_config(weights, *settings), tmp_path)
    before = read_evaluations(tmp_path)
    shutil.rmtree(tmp_path / "checkpoint-000002")
    run(tiny_config(weights, *settings, "optimizer.lr=1e-2"), tmp_path)
    after = read_evaluations(tmp_path)
    assert [after[step] == before[step] for step in (0, 1, 2)] == [True, True, False]
    # Of other settings, the policy at hand is judged anew.
    run(tiny_config(weights, *settings, "evaluation.seed=1"), tmp_path)
    assert [one.seed for one in read_evaluations(tmp_path).values()] == [0, 0, 1]


@pytest.mark.long
def test_a_run_that_starts_to_be_evaluated_late_has_something_to_compare_with(
    weights: Path, settings: tuple[str, ...], tmp_path: Path
) -> None:
    run(tiny_config(weights, "run.steps=1"), tmp_path)
    run(tiny_config(weights, *settings, "run.steps=3", "run.eval_every=3"), tmp_path)
    assert list(read_evaluations(tmp_path)) == [1, 3]


def fake(step: int, quality: float, *, better: bool | None = True, reward: float = 0.0) -> Evaluation:
    """Seven clips, of which the first is a little better."""
    values = [quality + 0.01 * (index == 0) + 0.001 * index for index in range(7)]
    metrics = {
        "picture": Metric(True, tuple(reward + 0.001 * index**2 for index in range(7))),
        "av_align": Metric(False, tuple(values), better),
    }
    return Evaluation("policy", step, 0, 1, 2, tuple("abcdefg"), metrics, {"impact_distance": 0.5}, ())


@pytest.mark.parametrize(("better", "best"), [(True, 2), (False, 3)])
def test_the_best_policy_by_a_metric_of_evaluations_stays_and_is_found(
    weights: Path, settings: tuple[str, ...], tmp_path: Path, better: bool, best: int
) -> None:
    choice = ("run.keep_policies=best", "run.best_by=eval_av_align", "run.keep_checkpoints=1")
    training = make(tiny_config(weights, *settings, *choice), tmp_path)
    write_evaluation(fake(0, 0.9, better=better), evaluation_folder(tmp_path, 0) / FILE)  # whose policy is not kept
    for step, value in enumerate((0.4, 0.7, 0.1, 0.2, None, None), 1):
        saving.save(training, step)
        if value is not None:
            write_evaluation(fake(step, value, better=better), evaluation_folder(tmp_path, step) / FILE)
    assert list(checkpoint.policies(tmp_path)) == [best, 6]  # the best, and the last, to go on from
    assert step_number(tmp_path, "best") == best


@pytest.mark.parametrize("better", [True, False])
def test_a_policy_that_breaks_clips_is_not_the_best_for_it(
    weights: Path, settings: tuple[str, ...], tmp_path: Path, better: bool
) -> None:
    training, sign = make(tiny_config(weights, *settings, "run.best_by=eval_av_align"), tmp_path), 1 if better else -1
    broken = fake(2, sign * 0.9, better=better)
    kept = (None,) * 6 + broken.metrics["av_align"].values[6:]
    broken = replace(broken, metrics={**broken.metrics, "av_align": Metric(False, kept, better)})
    other = replace(fake(3, sign * 5.0, better=better), prompts=tuple("gfedcba"))  # of other clips
    for one in (fake(1, sign * 0.6, better=better), broken, other, fake(4, sign * 0.8, better=better)):
        saving.save(training, one.step)
        write_evaluation(one, evaluation_folder(tmp_path, one.step) / FILE)
    assert step_number(tmp_path, "best") == 4


@pytest.mark.parametrize(
    "change", [{"texts": "b"}, {"guidance": (3.0, 7.0, 1.0)}, {"prompts": ("other",)}, {"noise": 2}]
)
def test_what_was_judged_or_sampled_otherwise_forms_no_pairs(change: dict[str, Any]) -> None:
    one = replace(fake(1, 0.5), texts="a", guidance=(1.5, 3.0, 1.0))
    other = replace(one, **change)
    assert one.pairs_with(replace(one, step=2)) and not one.pairs_with(other) and not other.pairs_with(one)
    if change.keys() <= {"texts", "guidance"}:
        assert replace(one, texts="", guidance=()).pairs_with(other)  # of a version that did not say


def test_prompts_that_tell_judges_something_else_are_judged_again(
    weights: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Clips depend on `prompt_av` alone, scores on the other texts as well."""
    prompts = [*evaluation_prompts()[:2]]
    trained = of(make(tiny_config(weights, "evaluation.steps=1", "evaluation.samples=1"), tmp_path / "run"))
    how, out, judged = how_evaluated(trained.config), tmp_path / "found.json", []
    real = judging.judge

    def counted(rewards: Any, clips: Any, *rest: Any) -> Any:
        judged.append(len(clips))
        return real(rewards, clips, *rest)

    monkeypatch.setattr(judging, "judge", counted)
    for change in (
        {},
        {},
        {"prompt_v": "a red square"},
        {"prompt_a": "a drum"},
        {"metadata": {"prompt_speech": "hello"}},
    ):
        before = sum(judged)
        texts = [replace(prompts[0], **change), prompts[1]]
        found = evaluate(trained, texts, how, out)
        assert found is not None and found.prompts == tuple(one.prompt_av for one in prompts)
        assert sum(judged) - before == (0 if before and not change else 2)


def of(training: Any) -> Trained:
    """The policy of a training that is not started."""
    return Trained(training.config, training.backbone, training.policy, 0, "digest")


def test_rewards_stay_open_until_all_processes_have_judged(
    weights: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Actors serve all of them, and who closes them first ends them for the others."""
    order: list[str] = []
    trained = of(make(tiny_config(weights, "evaluation.steps=1", "evaluation.samples=1"), tmp_path / "run"))
    close = Rewards.close
    real = judging._Journal.close
    monkeypatch.setattr(judging._Journal, "close", lambda self: (order.append("journal"), real(self))[1])
    monkeypatch.setattr(World, "barrier", lambda self: order.append("wait"))
    monkeypatch.setattr(Rewards, "close", lambda self: (order.append("close"), close(self))[1])
    evaluate(trained, evaluation_prompts()[:2], how_evaluated(trained.config), tmp_path / "found.json")
    end = order.index("close")
    assert order[end - 2 : end] == ["journal", "wait"] and order.count("close") == 1


def test_the_last_evaluation_reaches_the_service_of_a_run_that_was_killed_before_it(
    weights: Path, settings: tuple[str, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = tiny_config(weights, *settings, "run.steps=1", "run.tracker=tensorboard")
    run(config, tmp_path)
    opened: list[Keeper] = []
    monkeypatch.setattr("omninft_train.training.trainer.open_service", lambda *_: opened.append(Keeper()) or opened[-1])
    run(config, tmp_path)
    assert not opened  # nothing is left to do
    (evaluation_folder(tmp_path, 1) / FILE).unlink()
    run(config, tmp_path)
    ((step, told),) = opened[0].told
    assert step == 1 and "eval_av_align" in told


def test_nothing_is_dropped_before_there_is_something_to_choose_by(
    weights: Path, settings: tuple[str, ...], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    choice = ("run.keep_policies=best", "run.best_by=eval_av_align", "run.keep_checkpoints=1")
    training = make(tiny_config(weights, *settings, *choice), tmp_path)
    for step in (1, 2, 3):
        saving.save(training, step)
    assert list(checkpoint.policies(tmp_path)) == [1, 2, 3] and "all policies are kept" not in caplog.text
    with pytest.raises(UsageError, match="no saved step has an evaluation with 'eval_av_align'"):
        step_number(tmp_path, "best")


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        (("run.best_by=eval_sync",), "nothing is evaluated; set run.eval_every"),
        (("run.eval_every=1", "run.best_by=eval_sink"), "no evaluation has that. Did you mean .*eval_sync"),
        (("run.eval_every=1", "run.best_by=eval_speed"), "neither direction of this metric is better"),
        (("run.eval_every=1", "evaluation.heldout=['omninft_train.miniature.judges:sync']"), "is a reward of this run"),
        (("run.eval_every=1", "evaluation.heldout=['sharpnes']"), "unknown reward 'sharpnes'"),
        (("run.eval_every=1", "evaluation.heldout=['fvd']"), "judges sets of clips"),
        (("run.eval_every=1", "evaluation.heldout=['omninft_train.miniature.world:level']"), "two metrics named level"),
        (("run.eval_every=1", "evaluation.prompts=nowhere.jsonl"), "nowhere.jsonl: cannot be read"),
    ],
)
def test_what_cannot_be_evaluated_is_told_before_training(
    weights: Path, tmp_path: Path, changes: tuple[str, ...], said: str
) -> None:
    with pytest.raises(UsageError, match=said):
        make(tiny_config(weights, *changes), tmp_path)


def test_ltx2_needs_prompts_to_be_evaluated_on() -> None:
    with pytest.raises(UsageError, match=r"evaluation\.prompts is empty"):
        load_evaluation_prompts(load("omninft", "ltx2", ["run.eval_every=50"]))
    assert load_evaluation_prompts(load("omninft", "ltx2")) == []


@pytest.mark.long
def test_a_reward_of_weight_zero_is_held_out_and_its_scale_turns_it(weights: Path, tmp_path: Path) -> None:
    turned = '{scorer = "omninft_train.miniature.judges:sound", weight = 0.0, route = "audio", scale = -1.0}'
    against = PICTURE.replace("weight = 1.0", "weight = -1.0")
    few = ("evaluation.samples=1", "evaluation.steps=1", "run.steps=1", "run.eval_every=1")
    run(tiny_config(weights, *few, f"rewards.reward=[{against}, {turned}]"), tmp_path)
    metrics = read_evaluations(tmp_path)[0].metrics
    assert (metrics["picture"].rewarded, metrics["sound"].rewarded) == (True, False)
    assert (metrics["picture"].higher_is_better, metrics["sound"].higher_is_better) == (False, False)


def test_rewards_that_rise_while_held_out_metrics_fall_are_told(
    weights: Path,
    settings: tuple[str, ...],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    training, keeper = make(tiny_config(weights, *settings), tmp_path), Keeper()
    values = {0: fake(0, 0.5), 1: fake(1, 0.5, reward=0.2), 2: fake(2, 0.2, reward=0.4)}
    noisy = {step: jittered(one, step) for step, one in values.items()}
    monkeypatch.setattr(evaluating, "evaluate", lambda trained, *_, **__: noisy[trained.step])
    tracker = Tracker(tmp_path, services=[keeper])
    with caplog.at_level(logging.INFO, logger="omninft_train"):
        start_evaluations(training, tracker, 0)
        for step in (1, 2):
            evaluate_policy(training, tracker, step)
    assert [(step, told["eval_warnings"]) for step, told in keeper.told] == [(0, 0), (1, 0), (2, 1)]
    assert keeper.told[2][1]["eval_av_align"] == pytest.approx(noisy[2].mean("av_align").mean)
    assert keeper.told[2][1]["eval_impact_distance"] == 0.5 and keeper.told[2][1]["eval_seconds"] >= 0
    (sentence,) = keeper.told[2][1]["eval_warning_texts"]
    assert "held-out av_align got worse" in sentence and "picture +0." in sentence
    assert [record.getMessage() for record in caplog.records if record.levelno == logging.WARNING] == [sentence]
    assert "evaluation after 2 steps  picture 0.4" in caplog.text and "held out:  av_align 0.2" in caplog.text
    assert log(tmp_path) == []  # metrics.jsonl has steps of training alone


def jittered(one: Evaluation, step: int) -> Evaluation:
    """Differences of clips that are not all alike, as those of real ones."""
    metrics = {
        name: replace(metric, values=tuple(v + 0.01 * ((3 * i + step * i**2) % 5) for i, v in enumerate(metric.values)))
        for name, metric in one.metrics.items()
    }
    return replace(one, metrics=metrics)
