"""What differences are worth, against cases worked by hand and drawn ones of known truth."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd
import pytest

from omninft_train.ablation.collect import CLIP_COLUMNS, SET_COLUMNS, Results
from omninft_train.ablation.compare import compare, differences, judge, order_sentences, summarise
from omninft_train.ablation.grid import Metric, Row
from omninft_train.ablation.reading import load_grid

UP = Metric("picture", "picture", "higher")
A, B = Row("routing", "routing"), Row("vanilla", "vanilla")


def results(tables: dict[str, np.ndarray], sets: dict[str, list[float]] | None = None) -> Results:
    """Results of one metric from arrays (seeds, prompts, samples) by variant."""
    rows = [
        (variant, seed, "picture", prompt, sample, value)
        for variant, values in tables.items()
        for (seed, prompt, sample), value in np.ndenumerate(values)
    ]
    own = [(v, seed, "distance", value) for v, values in (sets or {}).items() for seed, value in enumerate(values)]
    metrics = (UP, *((Metric("distance", "distance", "lower"),) if sets else ()))
    frame = pd.DataFrame(rows, columns=list(CLIP_COLUMNS))
    return Results(frame, pd.DataFrame(own, columns=list(SET_COLUMNS)), metrics, frozenset({"picture"}), (), (), {}, {})


def test_means_and_spreads_over_seeds_by_hand(grid_file):
    values = np.array([[[1.0, 3.0], [2.0, 2.0]], [[3.0, 5.0], [4.0, 4.0]], [[5.0, 7.0], [6.0, math.nan]]])
    found = summarise(results({"vanilla": values}, {"vanilla": [1.0, 2.0, math.nan]}), (0, 1, 2), ["vanilla"])
    one = found["vanilla", "picture"]
    assert one.by_seed == (2.0, 4.0, 6.0)
    assert (one.mean, one.sd) == (4.0, 2.0)
    assert (one.n, one.n_of) == (11, 12)
    distance = found["vanilla", "distance"]
    assert distance.by_seed == (1.0, 2.0, None)
    assert (distance.mean, distance.n_of, distance.low) == (1.5, 0, None)


def test_differences_are_paired_by_seed_prompt_and_sample(grid_file):
    rng = np.random.default_rng(0)
    shared = rng.normal(0, 10, (3, 6, 2))  # what both policies see, far larger than the difference
    one = shared + 1.0
    one[0, 0, 0] = math.nan  # one failed clip: its partner must leave as well
    found = compare(load_grid(grid_file), results({"routing": one, "vanilla": shared}), "t", UP, A, B, "previous")
    assert found.difference == pytest.approx(1.0)
    assert found.by_seed == pytest.approx((1.0, 1.0, 1.0))
    assert found.pairs == 35
    assert (found.low, found.high) == pytest.approx((1.0, 1.0))
    assert found.verdict == "supported"
    assert found.sentence == "picture: routing is better than vanilla: supported by the seeds (3 of 3)."


@pytest.mark.parametrize(
    ("shifts", "verdict"),
    [
        ((1.0, 1.1, 0.9), "supported"), ((1.0, 0.05, 3.0), "agree"), ((1.0, -0.2, 1.0), "disagree"),
        ((0.0, 0.0, 0.0), "equal"), ((-1.0, -1.1, -0.9), "supported"),
    ],
)  # fmt: skip
def test_verdicts_by_what_the_seeds_do(grid_file, shifts, verdict):
    base = np.random.default_rng(1).normal(size=(3, 6, 1))
    moved = base + np.array(shifts)[:, None, None]
    found = compare(load_grid(grid_file), results({"routing": moved, "vanilla": base}), "t", UP, A, B, "previous")
    assert found.verdict == verdict
    assert ("not supported" in found.sentence) == (verdict in ("agree", "disagree"))
    if shifts[0] < 0:
        assert "worse than" in found.sentence


def test_prompts_that_disagree_keep_seeds_from_being_enough(grid_file):
    base = np.zeros((3, 6, 1))
    moved = base + np.array([5.0, -1, -1, -1, -1, -0.5])[None, :, None] + np.array([0.1, 0.11, 0.09])[:, None, None]
    found = compare(load_grid(grid_file), results({"routing": moved, "vanilla": base}), "t", UP, A, B, "previous")
    assert all(value > 0 for value in found.by_seed)
    assert found.low > 0
    assert found.prompt_low < 0
    assert found.verdict == "agree"


def test_directions_one_seed_and_no_values():
    assert judge([1.0], (None, None), (0.5, 1.5), UP) == "one seed"
    assert judge([], (None, None), (None, None), UP) == "no values"
    assert judge([1.0, 1.0], (0.5, 1.5), (0.5, 1.5), Metric("speed", "speed")) == "no direction"
    assert judge([1.0, 1.1], (0.5, 1.5), (None, None), UP) == "supported", "a metric over sets has no prompts"


def test_nothing_is_supported_too_often_where_nothing_is(grid_file):
    """Three seeds and twenty prompts without any effect: far below 5 %, as two intervals must exclude 0."""
    grid, rng = load_grid(grid_file), np.random.default_rng(3)
    calls = 0
    for _ in range(60):
        base = rng.normal(size=(3, 8, 1))
        moved = base + rng.normal(0, 0.3, (3, 1, 1)) + rng.normal(0, 0.3, (1, 8, 1)) + rng.normal(0, 0.3, (3, 8, 1))
        found = compare(grid, results({"routing": moved, "vanilla": base}), "t", UP, A, B, "previous")
        calls += found.verdict == "supported"
    assert calls <= 6


def test_each_pair_of_rows_is_compared_once(grid_file):
    grid = load_grid(grid_file)
    values = {name: np.random.default_rng(i).normal(size=(3, 4, 1)) for i, name in enumerate(grid.used)}
    found = differences(grid, results(values), grid.tables[0])
    assert [(d.row.variant, d.against.variant, d.role) for d in found] == [
        ("vanilla", "base", "previous"), ("routing", "vanilla", "previous"),
    ]  # fmt: skip
    grouped = grid.tables[1]
    assert differences(grid, results(values), grouped) == [], "rows of different groups are no sequence"


def test_an_order_of_all_rows_is_said_in_one_sentence(grid_file):
    grid = load_grid(grid_file)
    base = np.random.default_rng(5).normal(size=(3, 6, 1))
    table = grid.tables[0]
    rising = results({"base": base, "vanilla": base + 1, "routing": base + 2})
    (told,) = order_sentences(differences(grid, rising, table), [UP])
    assert told == "picture: the order of the rows is supported by the seeds: each is better than the row before it."
    bent = results({"base": base, "vanilla": base + 1, "routing": base})
    (told,) = order_sentences(differences(grid, bent, table), [UP])
    assert "not supported by the seeds: 1 of 2 steps" in told
    assert "worse, and supported: + routing & more" in told
