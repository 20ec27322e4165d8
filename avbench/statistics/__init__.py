"""Intervals, tests and summaries: uncertainty is computed nowhere else."""

from avbench.statistics.intervals import LEVEL, MIN_CLUSTERS, Interval, mean_interval, mean_intervals, seed_interval

__all__ = ["LEVEL", "MIN_CLUSTERS", "Interval", "mean_interval", "mean_intervals", "seed_interval"]
