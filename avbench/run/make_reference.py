"""Make a reference set: the features of real clips that set metrics compare with."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from avbench.errors import EnvironmentProblem, UsageError
from avbench.metrics.base import Scorer, get_scorers
from avbench.results import RunFolder, read_clips
from avbench.run.options import RunOptions
from avbench.run.reference_sets import ReferenceSet, encoder_key, save_reference
from avbench.run.runner import run_source
from avbench.sources import Source
from avbench.suites import Suite

_METRICS: dict[Literal["fixed", "compat"], tuple[str, ...]] = {
    "fixed": ("fvd", "fad"),
    "compat": ("fvd_compat", "fad_compat"),
}
"""Metrics whose encoders serve all distances of a mode."""


def reference_suite(metrics: Sequence[str] = (), mode: Literal["fixed", "compat"] = "fixed") -> Suite:
    """The set metrics that a reference set is made for: those named, else those of a mode of fvd, kvd and fad.

    Raises:
        UsageError: an unknown metric, or one that judges single clips.
    """
    scorers = get_scorers(metrics or _METRICS[mode])
    of_clips = [scorer.name for scorer in scorers if scorer.level != "set"]
    if of_clips:
        raise UsageError(f"{', '.join(of_clips)} judges single clips; only set metrics compare with a reference set.")
    return Suite("reference", "Features of real clips.", tuple(scorer.name for scorer in scorers))


def make_reference(source: Source, out: Path, run: Path, *, suite: Suite, options: RunOptions) -> int:
    """Write the features of real clips that the set metrics of a suite compare with.

    Args:
        source: real clips.
        out: the .npz file.
        run: run folder to work in.
        suite: see `reference_suite`.
        options: device and weights.

    Returns:
        How many clips are in the set: those with features of every encoder.

    Raises:
        EnvironmentProblem: the networks cannot run here, or a file cannot be written.
        UsageError: no clip has all features.
    """
    scorers = get_scorers(suite.metrics)
    for scorer in scorers:
        if reason := scorer.unavailable(options.setup):
            raise EnvironmentProblem(reason)
    outcome = run_source(source, suite, run, options)
    if outcome.stopped:
        raise EnvironmentProblem("; ".join(outcome.stopped.values()))
    ids, features = _collect(run, scorers, options)
    if not ids:
        tracks = " and ".join(sorted({need for scorer in scorers for need in scorer.needs}))
        raise UsageError(f"{source.root}: no clip gives all features; each one needs {tracks}.")
    note = " (test weights)" if options.setup.is_test else ""
    arrays = {key: np.stack(rows) for key, rows in features.items()}
    save_reference(out, ReferenceSet(arrays, f"{source.root.name}{note}", tuple(ids)))
    return len(ids)


def _collect(
    run: Path, scorers: Sequence[Scorer], options: RunOptions
) -> tuple[list[str], dict[str, list[NDArray[np.float32]]]]:
    """Prompt ids, and the features of each encoder, of the clips that have all."""
    encoders = {encoder_key(encoder): encoder for scorer in scorers for encoder in scorer.encoders}
    ids: list[str] = []
    features: dict[str, list[NDArray[np.float32]]] = {key: [] for key in encoders}
    clips = read_clips(run)
    with RunFolder(run) as folder:
        for clip in clips.itertuples():
            media_key = options.protocol.media_key(str(clip.clip_sha256))
            vectors = {k: folder.feature(e.feature_space(options.setup), media_key) for k, e in encoders.items()}
            if all(value is not None for value in vectors.values()):
                ids.append(str(clip.prompt_id or clip.clip_id))
                for key, value in vectors.items():
                    if value is not None:
                        features[key].append(value)
    return ids, features
