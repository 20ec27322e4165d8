"""Intervals, tests and summaries: the one place where uncertainty is computed."""

from avbench.statistics.intervals import LEVEL, MIN_CLUSTERS, Interval, mean_interval, mean_intervals, seed_interval

__all__ = ["LEVEL", "MIN_CLUSTERS", "Interval", "mean_interval", "mean_intervals", "seed_interval"]
