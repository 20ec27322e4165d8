"""Silero VAD: speech probability per 32 ms, from the ONNX file inside the package silero_vad (MIT)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from avbench.encoders.base import Backbone, ClipInput, Encoder, LoadContext
from avbench.encoders.onnx import files_digest, open_session, package_file
from avbench.media import Waveform

RATE = 16000
WINDOW = 512
# The network sees the end of the previous window before each window.
CONTEXT = 64
_FILE = "data/silero_vad.onnx"

Probabilities = NDArray[np.float32]


def _load(context: LoadContext) -> Any:
    # 2 MB of weights in a serial recurrence: a GPU would only add transfers, so the device is not used.
    return open_session(package_file("silero_vad", _FILE))


def _run(session: Any, clips: Sequence[ClipInput]) -> list[Probabilities]:
    return [_probabilities(session, clip.views[0]) for clip in clips]


def _probabilities(session: Any, sound: NDArray[np.float32]) -> Probabilities:
    """Speech probability (W,) per window of a mono track (1, N); the last window is padded with zeros."""
    count = -(-sound.shape[1] // WINDOW)
    padded = np.zeros(CONTEXT + count * WINDOW, dtype=np.float32)
    padded[CONTEXT : CONTEXT + sound.shape[1]] = sound[0]
    state = np.zeros((2, 1, 128), dtype=np.float32)
    rate = np.array(RATE, dtype=np.int64)
    result = np.zeros(count, dtype=np.float32)
    for window in range(count):
        start = window * WINDOW
        chunk = padded[None, start : start + CONTEXT + WINDOW]  # (1, 576)
        output, state = session.run(None, {"input": chunk, "state": state, "sr": rate})
        result[window] = output[0, 0]
    return result  # (W,)


def speech_segments(probabilities: Sequence[float] | Probabilities, samples: int) -> list[tuple[float, float]]:
    """Stretches of speech in seconds, as `silero_vad.get_speech_timestamps` with its defaults.

    Speech starts at a window with p >= 0.5 and ends where p stays below 0.35 for 100 ms; stretches of up to
    250 ms are dropped; each is widened by 30 ms, or by half the gap between two.

    Args:
        probabilities: per window of 512 samples, (W,).
        samples: length of the track at 16 kHz.
    """
    spans = _spans(probabilities, samples)
    pad = 0.030 * RATE
    widened = []
    for index, (start, end) in enumerate(spans):
        gap_before = start - spans[index - 1][1] if index else np.inf
        gap_after = spans[index + 1][0] - end if index + 1 < len(spans) else np.inf
        first = max(start - min(pad, gap_before / 2), 0)
        last = min(end + min(pad, gap_after / 2), samples)
        widened.append((float(first / RATE), float(last / RATE)))
    return widened


def _spans(probabilities: Sequence[float] | Probabilities, samples: int) -> list[tuple[int, int]]:
    """Unpadded stretches of speech in samples."""
    enter, leave = 0.5, 0.35
    shortest, silence = 0.250 * RATE, 0.100 * RATE
    spans: list[tuple[int, int]] = []
    start: int | None = None
    quiet_since: int | None = None
    for window, probability in enumerate(probabilities):
        now = window * WINDOW
        if probability >= enter:
            start = now if start is None else start
            quiet_since = None
        elif probability < leave and start is not None:
            quiet_since = now if quiet_since is None else quiet_since
            if now - quiet_since >= silence:
                spans.append((start, quiet_since))
                start = quiet_since = None
    if start is not None:
        spans.append((start, samples))
    return [span for span in spans if span[1] - span[0] > shortest]


SILERO = Encoder(
    name="silero_vad",
    version=1,
    backbone=Backbone(
        name="silero_vad",
        load=_load,
        packaged_digest=lambda: files_digest("silero_vad", _FILE),
        packages=("onnxruntime", "silero_vad"),
        extra="speech",
        packaged_licence="MIT",
        deferred=False,
    ),
    run=_run,
    views=(Waveform(rate=RATE, mono=True),),
)
