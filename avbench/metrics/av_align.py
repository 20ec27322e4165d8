"""AV-Align: do sound onsets and motion peaks coincide?"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from avbench.media import Media, Waveform
from avbench.metrics.base import Score, scorer
from avbench.metrics.onsets import onset_strength, onset_times
from avbench.metrics.optical_flow import FLOW, flow_magnitude

Times = NDArray[np.float64]

WAVEFORM = Waveform()
TOLERANCE_FRAMES = 3


def flow_peaks(magnitude: Times, fps: float) -> Times:
    """Times (n,) in seconds of strict local maxima of the mean flow magnitude (T,)."""
    inner = magnitude[1:-1]
    peaks = np.flatnonzero((inner > magnitude[:-2]) & (inner > magnitude[2:])) + 1
    return np.asarray(peaks / fps, dtype=np.float64)


def intersection_over_union(onsets: Times, peaks: Times, fps: float) -> float:
    """Fraction of coinciding events: onsets (n,) with a peak (m,) nearer than one frame, over all events.

    hits / (n + m - hits + 1e-6). Several onsets may share one peak, and each counts as a hit: onsets nearer to each
    other than two frames can lift the value above 1.
    """
    hits = int((_distance_to_nearest(onsets, peaks) < 1.0 / fps).sum())
    return hits / (len(onsets) + len(peaks) - hits + 1e-6)


def symmetric_agreement(onsets: Times, peaks: Times, tolerance: float) -> float:
    """Fraction of all events, onsets and peaks, that have one of the other kind within `tolerance` seconds."""
    matched = (_distance_to_nearest(onsets, peaks) <= tolerance).sum()
    matched += (_distance_to_nearest(peaks, onsets) <= tolerance).sum()
    return float(matched / (len(onsets) + len(peaks)))


def _distance_to_nearest(events: Times, others: Times) -> Times:
    if len(others) == 0 or len(events) == 0:
        return np.full(len(events), np.inf)
    return np.asarray(np.abs(events[:, None] - others[None, :]).min(axis=1))


def _events(media: Media) -> tuple[Times, Times] | None:
    """Onset times and motion peak times in seconds from each track's start, or None below three frames."""
    assert media.audio is not None
    assert media.video is not None
    series = media.view(FLOW)
    if len(series) < 3:
        return None
    rate = media.audio.sample_rate
    onsets = onset_times(onset_strength(media.view(WAVEFORM)[0], rate), rate)
    return onsets, flow_peaks(flow_magnitude(series), media.video.fps)


@scorer(
    "av_align",
    family="synchrony",
    unit="1",
    higher_is_better=True,
    range=(0.0, float("inf")),
    source="JavisDiT eval/javisbench/av_align; Yariv et al., arXiv 2309.16429",
    needs=["video", "audio"],
    views=(WAVEFORM, FLOW),
    caveat="Peaks have no minimum height, so about a third of the frames of ordinary video are peaks; "
    "a tolerance of one frame makes the score small even for perfect sync. Onsets that share a peak each count as a "
    "hit, so that a few events close together can give more than 1.",
)
def av_align(media: Media) -> Score:
    """Intersection over union of sound onsets and motion peaks, one frame tolerance."""
    events = _events(media)
    if events is None:
        return Score.skipped("fewer than 3 frames: motion peaks need a frame on both sides")
    assert media.video is not None
    value = intersection_over_union(*events, media.video.fps)
    return Score.ok(value, onsets=len(events[0]), motion_peaks=len(events[1]))


@scorer(
    "av_align_symmetric",
    family="synchrony",
    unit="1",
    higher_is_better=True,
    range=(0.0, 1.0),
    source="formula in JavisDiT eval/javisbench/README.md, section 4.4, which its code does not run",
    needs=["video", "audio"],
    views=(WAVEFORM, FLOW),
    params={"tolerance_frames": TOLERANCE_FRAMES},
    caveat="With a third of all frames being motion peaks, chance alone scores high.",
)
def av_align_symmetric(media: Media) -> Score:
    """Fraction of sound onsets and motion peaks with a counterpart within three frames."""
    events = _events(media)
    if events is None:
        return Score.skipped("fewer than 3 frames: motion peaks need a frame on both sides")
    if not len(events[0]) + len(events[1]):
        return Score.skipped("no sound onset and no motion peak")
    assert media.video is not None
    value = symmetric_agreement(*events, TOLERANCE_FRAMES / media.video.fps)
    return Score.ok(value, onsets=len(events[0]), motion_peaks=len(events[1]))
