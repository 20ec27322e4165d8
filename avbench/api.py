"""The Python API: the same as the command line, returning pandas frames."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from avbench.clips import Clip
from avbench.results import Run, load_run
from avbench.runner import RunOptions, run_source
from avbench.sources import Source, load_source
from avbench.suites import Suite, get_suite


def choose_suite(suite: str, metrics: Sequence[str] | None) -> Suite:
    """The named suite, or the chosen metrics under the name "custom".

    Raises:
        UsageError: unknown suite or metric, with near matches.
    """
    if not metrics:
        return get_suite(suite)
    from avbench.metrics.base import get_scorers

    return Suite("custom", "Chosen metrics.", tuple(scorer.name for scorer in get_scorers(metrics)))


def score_clips(
    source: Path | str | Source | Sequence[Clip],
    out: Path | str,
    *,
    suite: str = "quick",
    metrics: Sequence[str] | None = None,
    prompts: Path | str | None = None,
    workers: int = 1,
) -> Run:
    """Score clips into a run folder and return it.

    Args:
        source: a folder, video file or manifest; a `Source`; or `Clip` values.
        out: run folder; an existing one is continued.
        suite: name of a suite, see `avbench ls`.
        metrics: metric names instead of a suite.
        prompts: prompt file that goes with a folder.
        workers: processes.

    Returns:
        `Run` with the data frames `scores`, `clips` and `categories`. A clip that could not be scored has a
        row with a status and a reason, and no value.

    Raises:
        UsageError: unknown metric, unreadable manifest, no clips.
        EnvironmentProblem: the run folder cannot be written or is in use.
    """
    if isinstance(source, (str, Path)):
        source = load_source(Path(source), prompts=Path(prompts) if prompts else None)
    elif not isinstance(source, Source):
        source = Source(Path(), "clips", tuple(source), "as given")
    run_source(source, choose_suite(suite, metrics), Path(out), RunOptions(workers=workers))
    return load_run(out)
