"""When rewards rise and held-out metrics fall: what is told, and that noise is not."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest

from omninft_train.evaluation import Evaluation, Metric, change
from omninft_train.reward_hacking import falls, latest_falls

PROMPTS = tuple(f"prompt {number}" for number in range(12))
SAMPLES = 2
CLIPS = len(PROMPTS) * SAMPLES


def evaluation(step: int, better: bool | None = True, **means: float) -> Evaluation:
    """Clips whose `reward` and `quality` have these means; each evaluation has noise of its own."""
    rng = np.random.default_rng([step, 7])
    metrics = {}
    for name, mean in means.items():
        values = mean + 0.05 * np.repeat(rng.standard_normal(len(PROMPTS)), SAMPLES) + 0.05 * rng.standard_normal(CLIPS)
        rewarded = name == "reward"
        metrics[name] = Metric(rewarded, tuple(values.tolist()), True if rewarded else better)
    return Evaluation("policy", step, 0, SAMPLES, 4, PROMPTS, metrics, {}, ())


def with_values(one: Evaluation, name: str, values: Sequence[float | None]) -> Evaluation:
    return replace(one, metrics={**one.metrics, name: replace(one.metrics[name], values=tuple(values))})


def test_a_metric_that_falls_while_rewards_rise_is_told_with_both_intervals() -> None:
    before, after = evaluation(0, reward=0.2, quality=0.8), evaluation(50, reward=0.5, quality=0.4)
    (fall,) = falls([before, after], 3)
    assert (fall.metric, fall.since, fall.step) == ("quality", 0, 50)
    assert fall.change.mean == pytest.approx(change(before, after, "quality").mean)
    assert fall.change.high is not None and -0.4 < fall.change.high < 0
    plain = change(before, after, "quality")  # the interval that decides is wider than that of one comparison
    assert plain.low is not None and fall.change.low is not None and fall.change.low < plain.low
    assert fall.rewards.keys() == {"reward"}
    assert fall.sentence.startswith("step 50 against step 0: held-out quality got worse (-0.")
    assert "reward +0." in fall.sentence


@pytest.mark.parametrize(
    "after",
    [
        evaluation(50, reward=0.2, quality=0.4),
        evaluation(50, reward=0.0, quality=0.4),
        evaluation(50, reward=0.5, quality=0.8),
        evaluation(50, reward=0.5, quality=1.2),
        replace(evaluation(50, reward=0.5, quality=0.4), seed=1),
        replace(evaluation(50, reward=0.5, quality=0.4), prompts=(*PROMPTS[:-1], "another")),
        evaluation(50, None, reward=0.5, quality=0.4),
        evaluation(50, reward=0.5),
    ],
    ids=[
        "rewards stay",
        "rewards fall",
        "held-out stays",
        "held-out rises",
        "other noise",
        "other prompts",
        "no direction",
        "not judged",
    ],
)
def test_anything_else_is_no_warning(after: Evaluation) -> None:
    before = evaluation(0, reward=0.2, quality=0.8)
    assert falls([before, after], 2) == [] == falls([before], 2) == falls([], 2)


def test_of_a_metric_that_is_better_when_lower_rising_is_falling() -> None:
    low, high = evaluation(0, False, reward=0.2, quality=0.2), evaluation(50, False, reward=0.5, quality=0.8)
    assert [fall.metric for fall in falls([low, high], 2)] == ["quality"]
    assert falls([low, evaluation(50, False, reward=0.5, quality=-0.4)], 2) == []


def test_a_fall_from_a_peak_is_told_against_the_peak() -> None:
    run = [evaluation(0, reward=0.2, quality=0.4), evaluation(10, reward=0.4, quality=0.8)]
    run.append(evaluation(20, reward=0.6, quality=0.4))
    assert [(fall.since, fall.step) for fall in latest_falls(run, 3)] == [(10, 20)]


def test_clips_that_failed_are_left_out_of_their_pairs() -> None:
    before, after = evaluation(0, reward=0.2, quality=0.8), evaluation(50, reward=0.5, quality=0.4)
    values = list(after.metrics["quality"].values)
    values[3] = None
    (fall,) = falls([before, with_values(after, "quality", values)], 2)
    pairs = zip(before.metrics["quality"].values, values, strict=True)
    differences = [b - a for a, b in pairs if a is not None and b is not None]
    assert fall.change.mean == pytest.approx(np.mean(differences)) and len(differences) == CLIPS - 1
    assert falls([before, with_values(after, "quality", [None] * CLIPS)], 2) == []


def test_noise_is_no_warning_in_a_whole_run() -> None:
    """Rewards rise in each of 40 runs of 8 evaluations, and three held-out metrics only vary: 3,360 comparisons."""
    rng = np.random.default_rng(5)
    alarms = 0
    for _ in range(40):
        run = []
        for step in range(8):
            noise = np.repeat(rng.gamma(1.0, 1.0, (3, len(PROMPTS))), SAMPLES, axis=1) + rng.standard_normal((3, CLIPS))
            metrics = {f"quality{k}": Metric(False, tuple(row.tolist())) for k, row in enumerate(noise)}
            metrics["reward"] = Metric(True, tuple((step + 0.1 * rng.standard_normal(CLIPS)).tolist()))
            run.append(Evaluation("policy", step, 0, SAMPLES, 4, PROMPTS, metrics, {}, ()))
        alarms += bool(latest_falls(run, len(run)))
    assert alarms <= 2


def test_a_metric_that_stays_low_is_shown_once() -> None:
    run = [evaluation(0, reward=0.2, quality=0.8), *(evaluation(s, reward=0.5, quality=0.4) for s in (10, 20, 30))]
    assert [fall.step for count in range(2, 5) for fall in falls(run[:count], 4)] == [10, 20, 30]
    assert [(fall.metric, fall.step) for fall in latest_falls(run, 4)] == [("quality", 30)]
