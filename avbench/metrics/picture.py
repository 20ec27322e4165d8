"""Video quality without weights: sharpness, exposure, colour, blocks, black and frozen frames, motion, cuts.

All metrics read one series of numbers per frame; every frame counts the same.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from avbench.media import Media
from avbench.metrics.base import Score, scorer
from avbench.metrics.picture_series import BLACK_LUMA, BLOWN, CRUSHED, GRID, HALF_STEP, PICTURE, Col

Series = NDArray[np.float64]

BLACK_PIXELS = 0.98  # FFmpeg blackdetect: picture_black_ratio_th
FROZEN_LUMA = 0.001  # FFmpeg freezedetect: noise, -60 dB
CUT_JUMP = 0.08  # lower end of the 8 to 14 % that FFmpeg's scdet recommends
FLASH_S = 0.2  # longer than a muzzle flash or a camera flash, shorter than a shot
TOO_SHORT = "needs at least 2 frames"


@scorer(
    "sharpness",
    unit="1",
    higher_is_better=True,
    range=(0.0, 1020.0**2),
    source="variance of the Laplacian: Pech-Pacheco et al., ICPR 2000; measure LAPV in Pertuz et al. 2013",
    needs=("video",),
    views=(PICTURE,),
    caveat="Depends on content and resolution; noise and grain count as sharpness. Compare like with like.",
)
def sharpness(media: Media) -> Score:
    """Mean variance of the Laplacian of luma.

    Formula: mean over frames of var(L * Y), L = [0 1 0; 1 -4 1; 0 1 0], Y in 0..255.
    A flat image has 0, natural ones 10 to 2000.
    """
    values = media.view(PICTURE)[:, Col.SHARPNESS]
    return Score.ok(values.mean(), lowest=float(values.min()))


@scorer(
    "exposure",
    unit="1",
    higher_is_better=None,
    range=(0.0, 1.0),
    source="mean BT.601 luma (ITU-R BT.601-7, section 2.5.1)",
    needs=("video",),
    views=(PICTURE,),
    params={"crushed": CRUSHED, "blown": BLOWN},
    caveat="A night scene is rightly dark. The fractions of crushed and blown pixels in the detail tell faults.",
)
def exposure(media: Media) -> Score:
    """Mean luma; the detail holds the fractions of crushed and blown pixels.

    Formula: mean over frames and pixels of Y / 255; crushed: Y <= 5; blown: Y >= 250.
    0 is black, 1 is white.
    """
    means = media.view(PICTURE).mean(axis=0)
    return Score.ok(means[Col.LUMA], crushed=float(means[Col.CRUSHED]), blown=float(means[Col.BLOWN]))


@scorer(
    "colourfulness",
    unit="1",
    higher_is_better=None,
    range=(0.0, 300.0),
    source="Hasler & Suesstrunk, Measuring colourfulness in natural images, SPIE 5007 (2003), M3",
    needs=("video",),
    views=(PICTURE,),
    caveat="Fitted to ratings of photographs; garish colours score highest.",
)
def colourfulness(media: Media) -> Score:
    """Colourfulness M3 of Hasler and Suesstrunk.

    Formula: mean over frames of sqrt(var rg + var yb) + 0.3 sqrt(mean(rg)^2 + mean(yb)^2), rg = R - G,
    yb = (R + G) / 2 - B, on 0..255.
    0 is grey, 15 slightly, 33 moderately, 59 quite, 109 extremely colourful.
    """
    return Score.ok(media.view(PICTURE)[:, Col.COLOUR].mean())


@scorer(
    "blockiness",
    unit="1",
    higher_is_better=False,
    range=(HALF_STEP / (255 + HALF_STEP), (255 + HALF_STEP) / HALF_STEP),
    source="luma steps at the 8x8 grid, after Wang, Bovik & Evans, Blind measurement of blocking, ICIP 2000",
    needs=("video",),
    views=(PICTURE,),
    params={"grid": GRID, "half_step": HALF_STEP},
    caveat="Sees only an 8-pixel grid that starts at the corner: scaling, cropping and deblocking hide it.",
)
def blockiness(media: Media) -> Score:
    """Luma steps across the 8x8 grid relative to steps elsewhere.

    Formula: mean over frames of (B + 0.5) / (E + 0.5), B and E being the means of |dY| over neighbours in a
    row or a column that a multiple of 8 parts, and over all others. 0.5 is half a luma step: it makes a
    constant image 1 and keeps rounding noise from counting.
    About 1 without blocks.
    """
    values = media.view(PICTURE)[:, Col.BLOCKS]
    if np.isnan(values).any():
        return Score.skipped(f"no side is longer than {GRID} pixels")
    return Score.ok(values.mean(), highest=float(values.max()))


@scorer(
    "black_share",
    unit="1",
    higher_is_better=False,
    range=(0.0, 1.0),
    source="FFmpeg filter blackdetect: pixel_black_th 0.10, picture_black_ratio_th 0.98",
    needs=("video",),
    views=(PICTURE,),
    params={"luma": BLACK_LUMA, "pixels": BLACK_PIXELS},
    caveat="A fade or a night scene may be wanted. Unlike the filter, it sets no least duration.",
)
def black_share(media: Media) -> Score:
    """Fraction of black frames.

    Formula: frames in which >= 98 % of the pixels have Y <= 0.10 * 255, over all frames.
    """
    black = media.view(PICTURE)[:, Col.BLACK] >= BLACK_PIXELS
    return Score.ok(black.mean(), frames=int(black.sum()))


@scorer(
    "frozen_share",
    unit="1",
    higher_is_better=False,
    range=(0.0, 1.0),
    source="FFmpeg filter freezedetect: noise -60 dB, that is 0.001 of the range",
    needs=("video",),
    views=(PICTURE,),
    params={"luma": FROZEN_LUMA},
    caveat="Small motion in a still scene, and frames repeated for a higher rate, look frozen too.",
)
def frozen_share(media: Media) -> Score:
    """Fraction of neighbouring frames that do not differ.

    Formula: pairs with mean |dY| <= 0.001 * 255 over all pairs. The level is freezedetect's: above the
    re-encoding noise of a repeated frame, below the grain of a filmed one.
    1 is a still.
    FFmpeg's freezedetect also wants a least duration.
    """
    change = media.view(PICTURE)[1:, Col.CHANGE]
    if len(change) == 0:
        return Score.skipped(TOO_SHORT)
    frozen = change <= FROZEN_LUMA * 255
    return Score.ok(frozen.mean(), pairs=int(frozen.sum()))


@scorer(
    "motion_energy",
    unit="1/s",
    higher_is_better=None,
    range=(0.0, math.inf),
    source="avbench definition: mean absolute luma difference (as in FFmpeg's scdet), per second",
    needs=("video",),
    views=(PICTURE,),
    caveat="Texture and contrast scale it; cuts, flicker and grain add to it. No optical flow.",
)
def motion_energy(media: Media) -> Score:
    """Luma change per second.

    Formula: sum over neighbouring pairs of mean |dY| / 255, divided by t_last - t_first; at a constant frame
    rate the mean over pairs times fps.
    A still has 0; 0.1 to 1 is common.
    """
    change, times = media.view(PICTURE)[1:, Col.CHANGE], _times(media)
    if len(change) == 0 or times[-1] <= times[0]:
        return Score.skipped(TOO_SHORT)
    return Score.ok(change.sum() / 255 / (times[-1] - times[0]), highest_change=float(change.max() / 255))


@scorer(
    "shot_cuts",
    unit="1",
    higher_is_better=None,
    range=(0.0, math.inf),
    source="after FFmpeg filter scdet (mean absolute frame difference and its change), with a flash test",
    needs=("video",),
    views=(PICTURE,),
    params={"jump": CUT_JUMP, "flash_s": FLASH_S},
    caveat="Hard cuts only; misses fades, dark or equally bright shots, cuts beside flashes or fast motion.",
)
def shot_cuts(media: Media) -> Score:
    """Number of hard cuts; the detail holds their times.

    Formula: frames whose mean |dY| / 255 exceeds that of both neighbours by >= 0.08, and after which no frame
    within 0.2 s resembles one within 0.2 s before (16x16 luma thumbnails nearer than half the jump): that
    would be a flash. Times are seconds on the clip's timeline, of the first frame of the new shot.
    FFmpeg's threshold of 8 to 14 % is meant for min(difference, its change).
    """
    series, times = media.view(PICTURE), _times(media)
    if len(series) < 2:
        return Score.skipped(TOO_SHORT)
    change = np.pad(series[1:, Col.CHANGE] / 255, 1)  # (T + 1,), [t] = step into frame t, 0 at both ends
    jump = change[1:-1] - np.maximum(change[:-2], change[2:])  # (T - 1,)
    candidates = np.flatnonzero(jump >= CUT_JUMP) + 1
    thumbs = series[:, Col.THUMB :]  # (T, 256)
    cuts = [float(times[t]) for t in candidates if not _is_flash(thumbs, times, int(t))]
    return Score.ok(len(cuts), times=cuts)


def _is_flash(thumbs: Series, times: Series, cut: int) -> bool:
    """Whether the image before frame `cut` returns soon after it (or the other way round)."""
    first = int(np.searchsorted(times, times[cut - 1] - FLASH_S))
    last = int(np.searchsorted(times, times[cut] + FLASH_S, side="right"))
    before, after = thumbs[first:cut], thumbs[cut:last]
    gaps = np.abs(before[:, None] - after[None, :]).mean(axis=2)  # (before, after)
    # The step itself is the last frame before against the first one after.
    return bool(gaps.min() < gaps[-1, 0] / 2)


def _times(media: Media) -> Series:
    if media.video is None:
        raise LookupError(f"{media.key} has no video; add 'video' to the scorer's needs")
    return media.video.times
