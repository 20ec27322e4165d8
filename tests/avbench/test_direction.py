"""The one coding of which way is better."""

from __future__ import annotations

import math

import pytest

from avbench.direction import Direction


@pytest.mark.parametrize(
    ("declared", "direction", "arrow", "phrase"),
    [
        (True, Direction.HIGHER, "↑", "higher is better"),
        (False, Direction.LOWER, "↓", "lower is better"),
        (None, Direction.NEITHER, "·", "neither is better"),
    ],
)
def test_what_a_metric_declares_comes_back(
    declared: bool | None, direction: Direction, arrow: str, phrase: str
) -> None:
    assert Direction.of(declared) is direction
    assert direction.higher_is_better is declared
    assert Direction.of_metadata({"higher_is_better": declared}) is direction
    assert (direction.arrow, direction.phrase) == (arrow, phrase)


def test_a_metric_that_is_not_described_has_none() -> None:
    assert Direction.of_metadata(None) is Direction.of_metadata({}) is Direction.NEITHER


def test_better_is_a_matter_of_the_sign() -> None:
    assert [Direction.HIGHER.better(d) for d in (-0.1, 0.0, 0.1, math.inf)] == [False, None, True, True]
    assert [Direction.LOWER.better(d) for d in (-0.1, 0.0, 0.1, -math.inf)] == [True, None, False, True]
    assert [Direction.NEITHER.better(d) for d in (-0.1, 0.0, 0.1)] == [None, None, None]
