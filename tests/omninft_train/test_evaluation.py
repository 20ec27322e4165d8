"""What is printed of an evaluation."""

from __future__ import annotations

import pytest

from avbench.statistics import mean_interval
from omninft_train.evaluation import Evaluation, Metric, summarise


def evaluation(prompts: int) -> Evaluation:
    """Four samples of each prompt, which hardly differ; one value failed."""
    values = [prompt**2 / 10 + sample / 1000 for prompt in range(prompts) for sample in range(4)]
    metrics = {"sync": Metric(True, (None, *values[1:]))}
    return Evaluation("policy", 1, 0, 4, 2, tuple(map(str, range(prompts))), metrics, {"distance": 0.5}, ("failed",))


def cells(found: Evaluation) -> list[list[str]]:
    return [[cell.text for cell in row.cells] for row in summarise(found).rows]


def test_intervals_are_over_prompts_not_over_clips() -> None:
    sync, distance = cells(evaluation(8))
    values = [prompt**2 / 10 + sample / 1000 for prompt in range(8) for sample in range(4)][1:]
    wanted = mean_interval(values, [index // 4 for index in range(1, 32)])
    assert sync == ["sync", "yes", f"{wanted.mean:.4f}", f"[{wanted.low:.4f}, {wanted.high:.4f}]", "31", "1"]
    alone = mean_interval(values, range(31))
    assert wanted.high - wanted.low > 1.5 * (alone.high - alone.low)  # type: ignore[operator]
    assert distance == ["distance", "no", "0.5000", "", "all", ""]


def test_where_there_is_no_interval_the_reason_stands() -> None:
    (_, _, mean, ends, *_), _ = cells(evaluation(2))
    assert float(mean) == pytest.approx(0.059, abs=1e-3)
    assert ends == f"no interval: {evaluation(2).mean('sync').reason}"
