"""Quantiles and tails of Student's t, the normal and the F distribution, from scipy.special.

scipy.stats gives the same numbers by the same functions and takes a second to import, which every command would pay.
"""

from __future__ import annotations


def t_quantile(tail: float, df: float) -> float:
    """The value that Student's t exceeds with probability `tail`."""
    from scipy.special import stdtrit

    return float(-stdtrit(df, tail))


def t_tail(value: float, df: float) -> float:
    """Probability that Student's t exceeds a value."""
    from scipy.special import stdtr

    return float(stdtr(df, -value))


def normal_quantile(tail: float) -> float:
    """The value that a standard normal variable exceeds with probability `tail`."""
    from scipy.special import ndtri

    return float(-ndtri(tail))


def f_tail(value: float, between: float, within: float) -> float:
    """Probability that a variable of the F distribution with these degrees of freedom exceeds a value."""
    from scipy.special import fdtrc

    return float(fdtrc(between, within, value))
