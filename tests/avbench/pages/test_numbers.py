"""Numbers as texts."""

from __future__ import annotations

import math

import pytest

from avbench.pages.numbers import (
    format_ends,
    format_mean_interval,
    format_significant,
    interval_of,
    no_interval,
    with_sign,
)


@pytest.mark.parametrize(
    ("value", "text"),
    [(0.123456, "0.1235"), (-0.0, "0"), (12345.6, "12346"), (1.5e-7, "1.5e-07"), (3, "3"), (None, "–"), (math.nan, "–"),
     (-math.inf, "–"), (True, "–"), ("1", "–")],
)  # fmt: skip
def test_numbers_in_significant_digits(value: object, text: str) -> None:
    assert format_significant(value) == text


def test_signs() -> None:
    assert [with_sign(text) for text in ("0.5", "-0.5", "0.00", "–")] == ["+0.5", "-0.5", "0.00", "–"]


def test_intervals_and_their_absence() -> None:
    assert format_mean_interval(0.43, (0.4, 0.46)) == "0.43 [0.40, 0.46]"
    assert format_mean_interval(0.43, "too few prompts") == "0.43"
    assert format_mean_interval(None, None) == "–"
    assert format_ends((-0.5, 0.25), 2, signed=True) == "[-0.50, +0.25]"
    assert format_ends((-0.27, -0.0041), 2, signed=True) == "[-0.27, -0.004]"
    assert format_ends((0.0, 0.0000312), 2, signed=True) == "[0.00, +3e-05]"
    assert format_ends("too few prompts") == "no interval: too few prompts"
    assert format_ends(None) == "–"
    assert interval_of(0.0, None, "too few prompts") == "too few prompts"
    assert interval_of(None, None) is None
    assert interval_of(0.0, 1.0, "ignored") == (0.0, 1.0)
    assert [no_interval(found) for found in ((0.0, 1.0), None, "one seed")] == ["", "", "no interval: one seed"]
