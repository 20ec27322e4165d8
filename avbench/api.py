"""The Python API: the same as the command line, returning pandas frames."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from pathlib import Path

from avbench.clips import Clip
from avbench.errors import EnvironmentProblem, UsageError
from avbench.metrics.base import get_scorers
from avbench.results import Run, load_run
from avbench.run.options import RunOptions
from avbench.run.runner import run_source
from avbench.sources import Source, load_source
from avbench.suites import Suite, get_suite


def choose_suite(suite: str, metrics: Sequence[str] | None) -> Suite:
    """The named suite, or the chosen metrics under the name "custom".

    Raises:
        UsageError: unknown suite or metric, with near matches.
    """
    if not metrics:
        return get_suite(suite)
    return Suite("custom", "Chosen metrics.", tuple(scorer.name for scorer in get_scorers(metrics)))


def needs_torch(suite: Suite) -> bool:
    """Whether a metric of the suite waits for a large network."""
    return any(scorer.deferred for scorer in get_scorers(suite.metrics))


def resolve_devices(text: str, suite: Suite) -> tuple[str, ...]:
    """Torch devices from "auto", "cpu", "cuda" (the first GPU), "cuda:all", "cuda:N" or a list with commas.

    Torch is imported only where the suite has a metric that uses it.

    Raises:
        UsageError: no such form.
        EnvironmentProblem: no such device on this machine.
    """
    names = tuple(name.strip() for name in text.split(","))
    for name in names:
        if re.fullmatch(r"auto|cpu|cuda(:all|:[0-9]+)?", name) is None:
            raise UsageError(
                f"device {name!r} (--device): expected auto, cpu, cuda, cuda:N, cuda:all or a list with commas"
            )
    if names == ("cpu",) or not needs_torch(suite):
        return ("cpu",)
    try:
        import torch
    except ImportError:
        return ("cpu",)  # each metric says itself that torch is not installed
    count = torch.cuda.device_count()
    if names == ("auto",):
        return ("cuda:0",) if count else ("cpu",)
    if names == ("cuda:all",):
        names = tuple(f"cuda:{number}" for number in range(count)) or ("cuda:0",)
    names = tuple("cuda:0" if name == "cuda" else name for name in names)
    for name in names:
        if name.startswith("cuda:") and int(name[5:]) >= count:
            raise EnvironmentProblem(f"device {name}: torch finds {count} GPU(s) here. See 'avbench doctor'.")
    return names


def score_clips(
    source: Path | str | Source | Sequence[Clip],
    out: Path | str,
    *,
    suite: str = "quick",
    metrics: Sequence[str] | None = None,
    prompts: Path | str | None = None,
    workers: int = 1,
    options: RunOptions | None = None,
) -> Run:
    """Score clips into a run folder and return it.

    Args:
        source: a folder, video file or manifest, also by its address; a `Source`; or `Clip` values.
        out: run folder; an existing one is continued.
        suite: name of a suite, see `avbench ls`.
        metrics: metric names instead of a suite.
        prompts: prompt file that goes with a folder.
        workers: processes.
        options: device, weights, precision, protocol, reference set, cache; `workers` is taken from it if given.

    Returns:
        `Run` with the data frames `scores`, `clips` and `categories`. A clip that could not be scored has a
        row with a status and a reason, and no value.

    Raises:
        UsageError: unknown metric, unreadable manifest, no clips.
        EnvironmentProblem: the run folder cannot be written or is in use.
    """
    if isinstance(source, (str, Path)):
        source = load_source(source, prompts=Path(prompts) if prompts else None)
    elif not isinstance(source, Source):
        source = Source(_common_folder(source), "clips", tuple(source), "as given")
    run_source(source, choose_suite(suite, metrics), Path(out), options or RunOptions(workers=workers))
    return load_run(out)


def _common_folder(clips: Sequence[Clip]) -> Path:
    """The folder that holds all clips: results name their files relative to it. The current one where none does."""
    try:
        common = Path(os.path.commonpath([clip.video.parent.absolute() for clip in clips]))
    except ValueError:  # no clips, or several drives
        return Path()
    return Path() if common == common.parent else common
