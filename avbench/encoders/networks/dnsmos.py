"""DNSMOS P.835 and P.808: predicted speech quality, from the ONNX files in package speechmos (MIT)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from avbench.encoders.base import Backbone, ClipInput, Encoder, LoadContext
from avbench.encoders.mel import slaney_filters
from avbench.encoders.onnx import files_digest, open_session, package_file
from avbench.media import Waveform

RATE = 16000
SEGMENT_S = 9.01
_P835 = "dnsmos_models/sig_bak_ovr.onnx"
_P808 = "dnsmos_models/model_v8.onnx"

# Microsoft's calibration of the raw outputs, highest power first (DNS-Challenge, dnsmos_local.py).
_CALIBRATION = {
    "sig": (-0.08397278, 1.22083953, 0.0052439),
    "bak": (-0.13166888, 1.60915514, -0.39604546),
    "ovr": (-0.06766283, 1.11546468, 0.04602535),
}
_FFT, _HOP, _MELS = 321, 160, 120

Samples = NDArray[np.float32]


def _load(context: LoadContext) -> tuple[Any, Any]:
    # Small networks in ONNX files; the CPU build of onnxruntime suffices, so the device is not used.
    return open_session(package_file("speechmos", _P835)), open_session(package_file("speechmos", _P808))


def _run(sessions: tuple[Any, Any], clips: Sequence[ClipInput]) -> list[NDArray[np.float64]]:
    return [_qualities(*sessions, clip.views[0][0]) for clip in clips]


def _qualities(p835: Any, p808: Any, sound: Samples) -> NDArray[np.float64]:
    """Mean over segments of (overall, signal, background, P.808), each on the MOS scale, (4,)."""
    rows = []
    for segment in _segments(sound):
        sig, bak, ovr = p835.run(None, {"input_1": segment[None]})[0][0]
        mel = _log_mel(segment[:-_HOP])[None]  # (1, 900, 120)
        other = p808.run(None, {"input_1": mel})[0][0][0]
        fitted = [np.polyval(_CALIBRATION[k], v) for k, v in (("ovr", ovr), ("sig", sig), ("bak", bak))]
        rows.append([*fitted, other])
    return np.asarray(np.mean(rows, axis=0), dtype=np.float64)


def _segments(sound: Samples) -> list[Samples]:
    """Stretches of 9.01 s at every second; short sound is doubled until it suffices, as in the reference."""
    size = int(SEGMENT_S * RATE)
    if len(sound) == 0:
        return [np.zeros(size, dtype=np.float32)]
    while len(sound) < size:
        sound = np.concatenate([sound, sound])
    count = int(len(sound) // RATE - SEGMENT_S) + 1
    starts = [second * RATE for second in range(count)]
    return [sound[start : start + size] for start in starts if start + size <= len(sound)]


def _log_mel(sound: Samples) -> NDArray[np.float32]:
    """Mel spectrogram (T, 120) in dB below its maximum, -40 dB scaled to 0, as librosa 0.11 makes it."""
    half = _FFT // 2
    padded = np.pad(sound, half)
    frames = np.lib.stride_tricks.sliding_window_view(padded, _FFT)[::_HOP]  # (T, 321)
    hann = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(_FFT) / _FFT)
    power = np.abs(np.fft.rfft(frames * hann, axis=1)) ** 2  # (T, 161)
    mel = np.maximum(power @ slaney_filters(RATE, _FFT, _MELS, RATE / 2).T, 1e-10)  # (T, 120)
    decibels = 10 * np.log10(mel / mel.max())
    return np.asarray((np.maximum(decibels, -80.0) + 40) / 40, dtype=np.float32)


DNSMOS = Encoder(
    name="dnsmos",
    version=1,
    backbone=Backbone(
        name="dnsmos",
        load=_load,
        packaged_digest=lambda: files_digest("speechmos", _P835, _P808),
        packages=("onnxruntime", "speechmos"),
        extra="speech",
        packaged_licence="MIT",
        deferred=False,
    ),
    run=_run,
    views=(Waveform(rate=RATE, mono=True),),
)
