"""Metrics: one file per family, each a set of registered scorers. Adding a file here adds its metrics."""

from avbench.metrics.base import Score, Scorer, get_scorers, scorer

__all__ = ["Score", "Scorer", "get_scorers", "scorer"]
