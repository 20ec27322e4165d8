"""FVD, KVD and FAD: how far the clips of a run as a whole are from a reference set."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial

import numpy as np
from numpy.typing import NDArray

from avbench.encoders.networks.audioclip.encoders import AUDIOCLIP_COMPAT, AUDIOCLIP_FIXED, COMPAT_MAX_S
from avbench.encoders.networks.i3d.encoders import FRAMES, I3D_COMPAT, I3D_FIXED
from avbench.metrics.base import Score, set_scorer
from avbench.metrics.distances import FAD_FACTOR, MIN_ROWS, first_rows, frechet_distance, polynomial_mmd

Features = NDArray[np.float32]

_FAMILY = "frechet"
_FVD_SOURCE = "Unterthiner et al. 2018 (arXiv 1812.01717) on 400 I3D logits, as in JavisDiT eval/javisbench"
_KVD_SOURCE = "kernel variant of FVD (Unterthiner et al. 2018, arXiv 1812.01717), as in JavisDiT eval/javisbench"
_FAD_SOURCE = "Kilgour et al. 2019 (arXiv 1812.08466) on AudioCLIP features, as in JavisDiT eval/javisbench"
_SETS = "Judges a set, not clips; compare only numbers with the same reference set and equally many clips."
_SINGULAR = (
    f"{_SETS} Fewer clips give a larger distance; below {{columns}} the covariance is singular and the number rests "
    "on few directions."
)
_RANGE_ERROR = "The network sees pixels in half of the range that it was trained on."
_SCALE_ERROR = (
    "The network sees 16 kHz sound 90 dB too quiet, where rounding of float32 shows. With fewer clips than columns "
    "the reference's own number is off by about 1 %, because it takes matrix roots in float32."
)


def judge(distance: Callable[[Features, Features], float], fake: Features, real: Features) -> Score:
    """The distance of two sets with their sizes, or why there is none.

    Args:
        distance: function of `fake` and `real`.
        fake: features of generated clips (N, D).
        real: features of the reference set (M, D).

    Returns:
        ok with `n_fake` and `n_real`, the rows compared; skipped below two rows on either side.
    """
    counts = {"n_fake": len(fake), "n_real": len(real)}
    rows = {"clips": len(fake), "reference clips": len(real)}
    few = [f"{count} {what}" for what, count in rows.items() if count < MIN_ROWS]
    if few:
        return Score.skipped(f"{' and '.join(few)}: a distance of sets needs {MIN_ROWS} on each side", **counts)
    return Score.ok(distance(fake, real), **counts)


def scaled_frechet_distance(fake: Features, real: Features) -> float:
    """Fréchet distance times 10,000, the scale on which JavisBench reports sound."""
    return FAD_FACTOR * frechet_distance(fake, real)


@set_scorer(
    "fvd",
    encoder=I3D_FIXED,
    unit="1",
    higher_is_better=False,
    range=(0.0, math.inf),
    source=_FVD_SOURCE,
    needs=("video",),
    params={"mode": "fixed", "frames": FRAMES},
    family=_FAMILY,
    caveat=_SINGULAR.format(columns=400),
)
def fvd(fake: Features, real: Features) -> Score:
    """Fréchet video distance of I3D logits to the reference set, all rows of both sets."""
    return judge(frechet_distance, fake, real)


@set_scorer(
    "fvd_compat",
    encoder=I3D_COMPAT,
    unit="1",
    higher_is_better=False,
    range=(0.0, math.inf),
    source=_FVD_SOURCE,
    needs=("video",),
    params={"mode": "compat", "flags": "fvd_half_range", "frames": FRAMES},
    family=_FAMILY,
    caveat=f"{_SINGULAR.format(columns=400)} {_RANGE_ERROR}",
)
def fvd_compat(fake: Features, real: Features) -> Score:
    """Fréchet video distance as JavisBench computes it, on the first min(N, M) rows of each set."""
    return judge(frechet_distance, *first_rows(fake, real))


@set_scorer(
    "kvd",
    encoder=I3D_FIXED,
    unit="1",
    higher_is_better=False,
    range=(-math.inf, math.inf),
    source=_KVD_SOURCE,
    needs=("video",),
    params={"mode": "fixed", "frames": FRAMES},
    family=_FAMILY,
    caveat=f"{_SETS} Unbiased, so that equal distributions give values around 0, negative ones too.",
)
def kvd(fake: Features, real: Features) -> Score:
    """Kernel video distance of I3D logits to the reference set, all rows of both sets."""
    return judge(partial(polynomial_mmd, centred=False), fake, real)


@set_scorer(
    "kvd_compat",
    encoder=I3D_COMPAT,
    unit="1",
    higher_is_better=False,
    range=(-math.inf, math.inf),
    source=_KVD_SOURCE,
    needs=("video",),
    params={"mode": "compat", "flags": "fvd_half_range,kvd_centred", "frames": FRAMES},
    family=_FAMILY,
    caveat=f"{_SETS} Means are subtracted first, so that a shift of the whole set is not seen. {_RANGE_ERROR}",
)
def kvd_compat(fake: Features, real: Features) -> Score:
    """Kernel video distance as JavisBench computes it, on centred features of the first min(N, M) rows."""
    return judge(partial(polynomial_mmd, centred=True), *first_rows(fake, real))


@set_scorer(
    "fad",
    encoder=AUDIOCLIP_FIXED,
    unit="1e-4",
    higher_is_better=False,
    range=(0.0, math.inf),
    source=_FAD_SOURCE,
    needs=("audio",),
    params={"mode": "fixed", "factor": FAD_FACTOR},
    family=_FAMILY,
    caveat=f"{_SINGULAR.format(columns=1024)} Times 10,000. Numbers on VGGish or CLAP features are not comparable.",
)
def fad(fake: Features, real: Features) -> Score:
    """Fréchet audio distance of AudioCLIP features to the reference set, times 10,000, all rows of both sets."""
    return judge(scaled_frechet_distance, fake, real)


@set_scorer(
    "fad_compat",
    encoder=AUDIOCLIP_COMPAT,
    unit="1e-4",
    higher_is_better=False,
    range=(0.0, math.inf),
    source=_FAD_SOURCE,
    needs=("audio",),
    params={"mode": "compat", "flags": "fad_scale", "factor": FAD_FACTOR, "max_audio_len_s": COMPAT_MAX_S},
    family=_FAMILY,
    caveat=f"{_SINGULAR.format(columns=1024)} Times 10,000. {_SCALE_ERROR}",
)
def fad_compat(fake: Features, real: Features) -> Score:
    """Fréchet audio distance as JavisBench computes it, times 10,000, on the first min(N, M) rows of each set."""
    return judge(scaled_frechet_distance, *first_rows(fake, real))
