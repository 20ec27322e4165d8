"""Numbers as people read them: decimals, intervals, signs."""

from __future__ import annotations

import math
from collections.abc import Iterable

NONE = "–"
Interval = tuple[float, float] | str | None
"""Lower and upper end, or the reason why there is no interval; None where none is to be expected."""


def finite(value: object) -> float | None:
    """The value as a float; None where it is not a finite number."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        return None
    return float(value)


def decimals_for(values: Iterable[float | None]) -> int:
    """Decimals that show about three figures of the largest of `values`; the same for all of them."""
    scale = max((abs(v) for v in values if v is not None), default=0.0)
    if scale >= 0.1:
        return 2 if scale < 10 else 1 if scale < 100 else 0
    return 2 if scale == 0 else min(6, 1 - math.floor(math.log10(scale)))


def format_value(value: float | None, decimals: int | None = None) -> str:
    """A number with fixed decimals (by its own size where None), or an en dash for null."""
    if value is None or not math.isfinite(value):
        return NONE
    text = f"{value:.{decimals_for([value]) if decimals is None else decimals}f}"
    return text.removeprefix("-") if float(text) == 0 else text


def format_significant(value: object) -> str:
    """A number in four significant digits; an en dash for what is no finite number."""
    number = finite(value)
    if number is None:
        return NONE
    if number == 0:
        return "0"
    return f"{number:.0f}" if 1e4 <= abs(number) < 1e9 else f"{number:.4g}"


def with_sign(text: str) -> str:
    """The text of a number, with a plus where it is positive."""
    try:
        return f"+{text}" if float(text) > 0 else text
    except ValueError:
        return text


def interval_of(low: float | None, high: float | None, reason: str = "") -> Interval:
    """The interval of two stored ends; the reason, or None, where one of them is missing."""
    return (reason or None) if low is None or high is None else (low, high)


def no_interval(interval: Interval) -> str:
    """Words for an interval that has a reason to be absent; empty for any other."""
    return f"no interval: {interval}" if isinstance(interval, str) else ""


def interval_decimals(mean: float | None, interval: Interval) -> int:
    """Decimals for a mean and its interval, so many that the ends of a short one differ."""
    if not isinstance(interval, tuple):
        return decimals_for([mean])
    decimals, (low, high) = decimals_for([mean, *interval]), interval
    return max(decimals, min(decimals + 2, -math.floor(math.log10(high - low)))) if high > low else decimals


def format_mean_interval(mean: float | None, interval: Interval) -> str:
    """A mean with its interval as "0.43 [0.40, 0.46]"; the mean alone where there is no interval."""
    decimals = interval_decimals(mean, interval)
    if mean is None or not isinstance(interval, tuple):
        return format_value(mean, decimals)
    return f"{format_value(mean, decimals)} {format_ends(interval, decimals)}"


def format_ends(interval: Interval, decimals: int | None = None, *, signed: bool = False) -> str:
    """The ends of an interval as "[0.40, 0.46]"; its reason, or an en dash, where there are none.

    With `signed`, of a difference: signs are shown, and an end near 0 has the decimals that tell on which side it lies,
    for whether 0 is within is what the interval is read for.
    """
    if not isinstance(interval, tuple):
        return no_interval(interval) or NONE
    if signed:
        return "[" + ", ".join(with_sign(_beside_zero(end, decimals)) for end in interval) + "]"
    return "[" + ", ".join(format_value(end, decimals) for end in interval) + "]"


def _beside_zero(value: float, decimals: int | None) -> str:
    text = format_value(value, decimals)
    return text if value == 0 or not math.isfinite(value) or float(text) else f"{value:.1g}"
