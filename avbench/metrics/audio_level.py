"""Levels of a sound track: loudness, true peak, silence, clipping, bandwidth. No weights."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from avbench.media import AudioInfo, Media, Waveform
from avbench.media.layout import speakers
from avbench.metrics.base import Score, scorer

Samples = NDArray[np.float32]

AS_DECODED = Waveform(mono=False, limit=False)
"""All channels at the track's own rate, with whatever the codec decoded above full scale."""

GATING_BLOCK_S = 0.4
# The weighting shelf of BS.1770 sits at 1.5 kHz and still rises at 3 kHz; below this rate it is cut off.
LOWEST_LOUDNESS_RATE = 8000
SILENT_RMS = 10 ** (-60 / 20)
SILENCE_WINDOW_S = 0.05
CLIP_LEVEL = 0.999
CLIP_RUN = 3
ROLL_OFF = 0.99
SPECTRUM_SAMPLES = 4096

# BS.1770-4, table 3, by FFmpeg's names of the speakers and as FFmpeg's ebur128 applies it: 1 in front of and above
# the listener, 1.41 (+1.5 dB) beside and behind, 0 for LFE. Wide speakers and ambisonics have no weight of their own.
_FRONT = "FL FR FC FLC FRC BIL BIR DL DR TC TFL TFC TFR TSL TSR BFC BFL BFR"
_SURROUND = "BL BR BC SL SR SDL SDR TBL TBC TBR"
_WEIGHTS = (
    dict.fromkeys(_FRONT.split(), 1.0) | dict.fromkeys(_SURROUND.split(), 1.41) | dict.fromkeys(("LFE", "LFE2"), 0.0)
)


@scorer(
    "loudness",
    family="sound",
    unit="LUFS",
    higher_is_better=None,
    range=(-70.0, math.inf),
    source="ITU-R BS.1770-4, annex 1 (integrated loudness), through pyloudnorm",
    needs=("audio",),
    views=(AS_DECODED,),
    version=2,
    params={"block_s": GATING_BLOCK_S},
    caveat="A level, not a quality; delivery targets are -23 LUFS (EBU R 128) or about -14 LUFS (streaming).",
)
def loudness(media: Media) -> Score:
    """Integrated loudness of the sound track.

    Formula: -0.691 + 10 log10(sum_c G_c mean_c) over K-weighted 0.4 s blocks that pass the gates at -70 LUFS
    and 10 LU below the mean of those; G is 1 for speakers in front, 1.41 for those beside and behind, 0 for LFE, by
    the channel layout of the file; without a layout one and two channels are mono and stereo.
    -70 is the absolute gate.
    """
    sound = media.view(AS_DECODED)  # (C, N)
    rate = _rate(media)
    layout = _audio(media).layout
    names = _speakers(layout, len(sound))
    unweighted = sorted(set(names) - set(_WEIGHTS))
    if unweighted:
        return Score.skipped(f"{len(sound)} channels: {_unweighted_reason(layout, unweighted)}")
    if rate < LOWEST_LOUDNESS_RATE:
        return Score.skipped(f"sample rate {rate} Hz is below {LOWEST_LOUDNESS_RATE} Hz")
    if sound.shape[1] < GATING_BLOCK_S * rate:
        return Score.skipped(f"shorter than one gating block of {GATING_BLOCK_S} s")
    weights = [_WEIGHTS[name] for name in names]
    value = _integrated_loudness(sound, weights, rate)
    if not math.isfinite(value):
        return Score.skipped("all blocks are below the absolute gate of -70 LUFS")
    return Score.ok(value, channels=sum(weight > 0 for weight in weights), speakers=list(names))


@scorer(
    "true_peak",
    family="sound",
    unit="dBTP",
    higher_is_better=None,
    range=(-math.inf, math.inf),
    source="ITU-R BS.1770-4, annex 2 (true-peak level, oversampling to at least 192 kHz)",
    needs=("audio",),
    views=(AS_DECODED,),
    params={"oversampled_rate": 192000},
    caveat="Above 0 dBTP a player may clip; low values are no fault. Lossy codecs overshoot by 1 dB or more.",
)
def true_peak(media: Media) -> Score:
    """Highest level of the reconstructed signal over all channels.

    Formula: 20 log10 max |x|, x being the samples and their interpolation with factor 4 (2 from 96 kHz on,
    1 from 192 kHz on).
    0 is full scale.
    """
    sound = media.view(AS_DECODED)
    sample_peak = float(np.abs(sound).max())
    if sample_peak == 0.0:
        return Score.skipped("digital silence")
    peak = max(sample_peak, _interpolated_peak(sound, _rate(media)))
    return Score.ok(20 * math.log10(peak), sample_peak_dbfs=20 * math.log10(sample_peak))


@scorer(
    "silence_share",
    family="sound",
    unit="1",
    higher_is_better=None,
    range=(0.0, 1.0),
    source="avbench definition; -60 dBFS is the default noise level of FFmpeg's silencedetect",
    needs=("audio",),
    views=(AS_DECODED,),
    params={"window_s": SILENCE_WINDOW_S, "rms_dbfs": -60},
    caveat="Silence can be asked for; room tone and codec noise may lie above -60 dBFS.",
)
def silence_share(media: Media) -> Score:
    """Fraction of 50 ms windows that are silent.

    Formula: windows with sqrt(mean x^2) < 10^(-60/20) over all windows, the mean taken over all channels, so
    that opposite phases do not cancel; the last window may be shorter.
    """
    sound = media.view(AS_DECODED)
    size = max(round(SILENCE_WINDOW_S * _rate(media)), 1)
    power = np.square(sound, dtype=np.float64).mean(axis=0)  # (N,)
    starts = np.arange(0, len(power), size)
    lengths = np.diff(np.append(starts, len(power)))
    rms = np.sqrt(np.add.reduceat(power, starts) / lengths)
    return Score.ok(float(np.mean(rms < SILENT_RMS)), windows=len(starts), **_audio(media).gap_detail)


@scorer(
    "clipped_share",
    family="sound",
    unit="1",
    higher_is_better=False,
    range=(0.0, 1.0),
    source="avbench definition: runs of full-scale samples, as in the clipping counters of digital recorders",
    needs=("audio",),
    views=(AS_DECODED,),
    params={"level": CLIP_LEVEL, "run": CLIP_RUN},
    caveat="Clipping that was turned down or encoded lossily later leaves no full-scale run and is missed.",
)
def clipped_share(media: Media) -> Score:
    """Fraction of samples inside runs at or above full scale.

    Formula: samples in runs of >= 3 consecutive |x| >= 0.999, per channel, over all samples. Samples that a
    codec decoded above full scale count.
    """
    sound = media.view(AS_DECODED)
    runs = [_runs(np.abs(channel) >= CLIP_LEVEL) for channel in sound]
    lengths = np.concatenate(runs)
    lengths = lengths[lengths >= CLIP_RUN]
    longest = int(lengths.max(initial=0))
    return Score.ok(float(lengths.sum() / sound.size), runs=len(lengths), longest_run=longest)


@scorer(
    "bandwidth",
    family="sound",
    unit="Hz",
    higher_is_better=None,
    range=(0.0, math.inf),
    source="spectral roll-off at 0.99 (Scheirer & Slaney 1997) of a Welch spectrum",
    needs=("audio",),
    views=(AS_DECODED,),
    params={"roll_off": ROLL_OFF, "window": SPECTRUM_SAMPLES},
    caveat="Follows the energy: speech reads a few kHz even at 48 kHz. It is not the cut-off of a codec.",
)
def bandwidth(media: Media) -> Score:
    """Frequency below which 99 % of the sound's energy lies.

    Formula: least f with sum_{g<=f} P(g) >= 0.99 sum P; P is the mean power spectrum over channels and half
    overlapping Hann windows of 4096 samples, each without its mean.
    """
    sound = media.view(AS_DECODED)
    if not np.ptp(sound, axis=1).any():
        return Score.skipped("digital silence")
    from scipy.signal import welch

    rate = _rate(media)
    size = min(SPECTRUM_SAMPLES, sound.shape[1])
    # Scaled to full scale: the squares of very quiet float32 samples would vanish.
    scaled = sound / np.abs(sound).max()
    frequencies, power = welch(scaled.astype(np.float64), rate, nperseg=size, scaling="spectrum", axis=1)
    total = np.cumsum(power.mean(axis=0))
    if total[-1] <= 0:
        return Score.skipped("no energy beside a constant offset")
    index = int(np.searchsorted(total, ROLL_OFF * total[-1]))
    return Score.ok(float(frequencies[index]), nyquist_hz=rate / 2)


def _speakers(layout: str | None, channels: int) -> tuple[str, ...]:
    """Speaker of each channel; "NONE" where neither the layout nor the count determines it."""
    names = speakers(layout) if layout is not None else ("NONE",) * channels
    if set(names) == {"NONE"} and channels <= 2:
        return ("FC",) if channels == 1 else ("FL", "FR")
    return names


def _unweighted_reason(layout: str | None, unweighted: list[str]) -> str:
    if unweighted == ["NONE"]:
        return "no channel layout says where the speakers stand, so BS.1770 weights are undefined"
    return f"BS.1770 has no weight for {', '.join(unweighted)} of the channel layout {layout}"


def _integrated_loudness(sound: Samples, weights: list[float], rate: int) -> float:
    # pyloudnorm imports scipy.signal, half a second that commands without scoring need not pay.
    import pyloudnorm

    # The K-weighting of BS.1770 as pyloudnorm has it. Its meter weighs five channels by position, so it gets one
    # whose square is the weighted power of all.
    shelf = pyloudnorm.IIRfilter(4.0, 1 / np.sqrt(2), 1500.0, rate, "high_shelf")
    high_pass = pyloudnorm.IIRfilter(0.0, 0.5, 38.0, rate, "high_pass")
    power = np.zeros(sound.shape[1])
    for channel, weight in zip(sound, weights, strict=True):
        if weight > 0:
            power += weight * np.square(high_pass.apply_filter(shelf.apply_filter(channel.astype(np.float64))))
    meter = pyloudnorm.Meter(rate, filter_class="custom", block_size=GATING_BLOCK_S)
    return float(meter.integrated_loudness(np.sqrt(power)))


def _interpolated_peak(sound: Samples, rate: int) -> float:
    factor = next(factor for factor in (1, 2, 4) if rate * factor >= 192_000 or factor == 4)
    if factor == 1:
        return float(np.abs(sound).max())
    from scipy.signal import resample_poly

    return float(np.abs(resample_poly(sound, factor, 1, axis=1)).max())


def _runs(mask: NDArray[np.bool_]) -> NDArray[np.int64]:
    """Lengths of the runs of True."""
    edges = np.flatnonzero(np.diff(mask, prepend=False, append=False))
    return edges[1::2] - edges[::2]


def _rate(media: Media) -> int:
    return _audio(media).sample_rate


def _audio(media: Media) -> AudioInfo:
    if media.audio is None:
        raise LookupError(f"{media.key} has no sound; add 'audio' to the scorer's needs")
    return media.audio
