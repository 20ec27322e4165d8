"""The result schema, the run folder that holds it, and reading it back."""

from avbench.results.folder import SPOOL_PREFIX, RunFolder
from avbench.results.read import Run, by_metric, load_run, read_clips
from avbench.results.schema import SCHEMA_VERSION, UNAVAILABLE, ClipRow, ScoreRow

__all__ = [
    "SCHEMA_VERSION",
    "SPOOL_PREFIX",
    "UNAVAILABLE",
    "ClipRow",
    "Run",
    "RunFolder",
    "ScoreRow",
    "by_metric",
    "load_run",
    "read_clips",
]
