"""By how much is the sound late? Lag between sound onsets and changes of motion.

Method (this project): spectral flux of the sound and change of the optical-flow field, both at 100 Hz,
square root, band-passed, standardised, limited to 2.5 standard deviations so that no single event
decides, correlated over lags of -1.5 s to +1.5 s. The lag of the highest correlation is the offset.
Its confidence is the distance to the highest correlation that is more than 0.25 s away.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from avbench.media import Media, Waveform
from avbench.metrics.base import Score, scorer
from avbench.metrics.onsets import onset_strength, onset_times
from avbench.metrics.optical_flow import FLOW, motion_novelty

Curve = NDArray[np.float64]

RATE = 100
AUDIO_RATE = 16_000
WAVEFORM = Waveform(rate=AUDIO_RATE)
MAX_LAG_S = 1.5
MIN_CONFIDENCE = 0.3
"""Below it the offset is not reported. docs/metrics/av_offset.md shows how it was chosen."""

_HOP = AUDIO_RATE // RATE
_N_FFT = 1024
_SMOOTH, _DETREND = 5, 80  # standard deviations of the band-pass, in samples at 100 Hz
_LIMIT = 2.5
_EDGE = 10  # samples at 100 Hz that filters and encoder priming disturb
_APART = 25  # samples at 100 Hz: a second peak nearer than this belongs to the first
_SILENT = 1e-5
_MIN_DURATION_S = 2.0


@dataclass(frozen=True)
class Offset:
    """`lag` in seconds, positive when the sound is late; `confidence` 0..1; None when undetermined."""

    lag: float
    confidence: float


def estimate_offset(onset: Curve, heard: NDArray[np.bool_], novelty: Curve, seen: NDArray[np.bool_]) -> Offset | None:
    """Lag between two event curves on a common 100 Hz timeline.

    Args:
        onset: onset strength (L,).
        heard: where `onset` is valid (L,).
        novelty: motion novelty (L,).
        seen: where `novelty` is valid (L,).

    Returns:
        None when either curve has no event.
    """
    sound, motion = _standardise(onset, heard), _standardise(novelty, seen)
    if not sound.any() or not motion.any():
        return None
    n, reach = len(sound), int(MAX_LAG_S * RATE)
    lags = np.arange(-reach, reach + 1)
    correlation = np.zeros(len(lags))
    for i, lag in enumerate(range(-reach, reach + 1)):
        here, there = slice(max(0, lag), n + min(0, lag)), slice(max(0, -lag), n - max(0, lag))
        a, b = sound[here], motion[there]
        scale = float(np.sqrt((a * a).sum() * (b * b).sum()))
        overlap = int((heard[here] & seen[there]).sum())
        if scale > 0:
            # A short overlap correlates highly by chance.
            correlation[i] = (a * b).sum() / scale * min(1.0, np.sqrt(overlap / (0.8 * n)))
    best = int(correlation.argmax())
    others = correlation[np.abs(lags - lags[best]) > _APART]
    confidence = float(np.clip(correlation[best] - max(float(others.max()), 0.0), 0.0, 1.0))
    return Offset(float(lags[best]) / RATE, confidence)


def _standardise(curve: Curve, valid: NDArray[np.bool_]) -> Curve:
    from scipy.ndimage import gaussian_filter1d

    if valid.sum() < 2 * _EDGE:
        return np.zeros(len(curve))
    root = np.where(valid, np.sqrt(np.maximum(curve, 0.0)), 0.0)
    weight = gaussian_filter1d(valid.astype(np.float64), _DETREND, mode="constant")
    local = gaussian_filter1d(root, _DETREND, mode="constant") / np.maximum(weight, 1e-6)
    band = np.where(valid, gaussian_filter1d(np.where(valid, root, local), _SMOOTH) - local, 0.0)
    band = np.where(valid, band - band[valid].mean(), 0.0)
    std = float(band[valid].std())
    if std < 1e-9:
        return np.zeros(len(curve))
    return np.asarray(np.clip(band / std, -_LIMIT, _LIMIT) * valid)


@dataclass(frozen=True)
class _Curves:
    offset: Offset | None
    detail: dict[str, object]


def _measure(media: Media) -> _Curves:
    assert media.audio is not None
    assert media.video is not None
    sound = media.view(WAVEFORM)[0]
    strength = onset_strength(sound, AUDIO_RATE, n_fft=_N_FFT, hop=_HOP)
    novelty = motion_novelty(media.view(FLOW))
    times = media.video.times
    start = min(float(times[0]), media.audio.start)
    end = max(float(times[-1]), media.audio.start + len(sound) / AUDIO_RATE)
    grid = np.arange(int((end - start) * RATE) + 1) / RATE + start
    audio_times = media.audio.start + np.arange(len(strength)) / RATE
    onset = np.interp(grid, audio_times, strength, left=0.0, right=0.0)
    gap = float(np.median(np.diff(times)))
    # A change that shows at one frame happened, on average, half a frame earlier.
    motion = np.interp(grid, times - gap / 2, novelty, left=0.0, right=0.0)
    loud = np.flatnonzero(np.abs(sound) > _SILENT)
    heard, seen = np.zeros(len(grid), bool), np.zeros(len(grid), bool)
    if len(loud):
        first, last = (int((media.audio.start - start) * RATE + loud[i] / _HOP) for i in (0, -1))
        heard[first + _EDGE : max(last - _EDGE, 0)] = True
    for at, length in media.audio.gaps:
        # The edges of a gap are no events.
        edges = (media.audio.start - start + np.array([at, at + max(length, 0.0)])) * RATE
        heard[max(int(edges[0]) - _EDGE, 0) : int(edges[1]) + _EDGE] = False
    seen[(grid > times[0] + 2.5 * gap) & (grid < times[-1] - gap)] = True
    offset = estimate_offset(onset, heard, motion, seen)
    return _Curves(offset, _timeline(sound, strength, novelty, media, offset))


def _timeline(
    sound: NDArray[np.float32],
    strength: NDArray[np.float32],
    novelty: Curve,
    media: Media,
    offset: Offset | None,
) -> dict[str, object]:
    """What the report draws: peaks of the waveform at 50 Hz, onsets at 50 Hz, motion per frame."""
    assert media.audio is not None
    assert media.video is not None
    step = AUDIO_RATE // 50
    padded = np.pad(np.abs(sound), (0, -len(sound) % step))
    onsets = onset_times(onset_strength(sound, AUDIO_RATE), AUDIO_RATE)
    return {
        "rate_wave": 50.0,
        "wave": _rounded(padded.reshape(-1, step).max(axis=1)),
        "onset_rate": 50.0,
        "onset": _rounded(strength[::2] / max(float(strength.max()), 1e-9)),
        "motion_rate": media.video.fps,
        "motion": _rounded(novelty / max(float(novelty.max()), 1e-9)),
        "audio_start": media.audio.start,
        "video_start": float(media.video.times[0]),
        "onset_times": _rounded(onsets),
        "offset": offset.lag if offset else None,
        "confidence": round(offset.confidence, 4) if offset else None,
    }


def _rounded(values: NDArray[np.floating]) -> list[float]:
    return [round(float(value), 3) for value in values]


def _too_short(media: Media) -> str | None:
    assert media.audio is not None
    assert media.video is not None
    shorter = min(media.audio.duration, media.video.duration)
    if shorter < _MIN_DURATION_S or len(media.video.times) < 8:
        return f"too short: {shorter:.2f} s of audio and video together, {_MIN_DURATION_S:g} s needed"
    return None


_METADATA: dict[str, Any] = {
    "family": "synchrony",
    "source": "this project; definition in docs/metrics/av_offset.md",
    "needs": ("video", "audio"),
    "views": (WAVEFORM, FLOW),
    "params": {"max_lag_s": MAX_LAG_S, "min_confidence": MIN_CONFIDENCE},
}


@scorer(
    "av_offset",
    unit="s",
    higher_is_better=None,
    range=(-MAX_LAG_S, MAX_LAG_S),
    caveat="Works where distinct sounds go with distinct motions (impacts, steps, claps). Speech, music and ambience "
    "rarely reach the confidence that a number needs. Zero is best.",
    **_METADATA,
)
def av_offset(media: Media) -> Score:
    """Lag of the sound behind the video; positive means that the sound is late."""
    short = _too_short(media)
    if short:
        return Score.skipped(short)
    measured = _measure(media)
    if measured.offset is None:
        return Score.skipped("no sound onset or no change of motion to compare", **measured.detail)
    if measured.offset.confidence < MIN_CONFIDENCE:
        reason = f"no clear correspondence of sound and motion (confidence below {MIN_CONFIDENCE:g})"
        return Score.skipped(reason, **measured.detail)
    return Score.ok(measured.offset.lag, **measured.detail)


@scorer(
    "av_offset_confidence",
    unit="1",
    higher_is_better=None,
    range=(0.0, 1.0),
    caveat="Says how well an offset can be read off this clip, not how good the clip is.",
    **_METADATA,
)
def av_offset_confidence(media: Media) -> Score:
    """How far the best lag between sound onsets and motion stands out from any other."""
    short = _too_short(media)
    if short:
        return Score.skipped(short)
    measured = _measure(media)
    if measured.offset is None:
        return Score.skipped("no sound onset or no change of motion to compare")
    return Score.ok(measured.offset.confidence)
