"""The encoder of voices: embeddings of the speech of a clip, whole and in halves."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from avbench.encoders.base import Backbone, ClipInput, Encoder, LoadContext
from avbench.encoders.batching import batched
from avbench.encoders.mel import slaney_filters
from avbench.encoders.networks.resemblyzer.trimming import RATE, Samples, without_pauses
from avbench.media import Waveform
from avbench.weights.locate import files

if TYPE_CHECKING:
    from torch import Tensor

ROW = "resemblyzer"
_FFT, _HOP, _BANDS = 400, 160, 40
# A stretch of 1.6 s begins every 0.77 s; a last one that the sound fills to less than three quarters is left out.
_LENGTH, _STEP, _LEAST = 160, 77, 0.75
_BATCH = 32


def _load(context: LoadContext) -> Any:
    from avbench.encoders.loading import fill_keyed_random, load_strict, read_state_dict, to_device
    from avbench.encoders.networks.resemblyzer.network import PUBLISHED, REDUCED, VoiceEncoder

    network = VoiceEncoder(REDUCED if context.setup.reduced else PUBLISHED)
    if context.setup.is_test:
        fill_keyed_random(network, he=True)
    else:
        (path,) = files(ROW, context.setup).values()
        load_strict(network, read_state_dict(path), path)
    return to_device(network, context)


def mel_power(sound: Samples) -> NDArray[np.float32]:
    """Mel bands (T, 40) in power, not in decibels: windows of 25 ms every 10 ms, zeros beyond the ends."""
    padded = np.pad(sound, _FFT // 2)
    frames = np.lib.stride_tricks.sliding_window_view(padded, _FFT)[::_HOP]  # (T, 400)
    hann = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(_FFT) / _FFT)
    power = np.abs(np.fft.rfft(frames * hann, axis=1)) ** 2
    return np.asarray(power @ slaney_filters(RATE, _FFT, _BANDS, RATE / 2).T, dtype=np.float32)


def starts(samples: int) -> list[int]:
    """First steps of 10 ms of the stretches of a sound; one at least."""
    count = -(-(samples + 1) // _HOP)
    starts = list(range(0, max(1, count - _LENGTH + _STEP + 1), _STEP))
    filled = (samples / _HOP - starts[-1]) / _LENGTH
    return starts if filled >= _LEAST or len(starts) == 1 else starts[:-1]


def stretches(sound: Samples) -> list[NDArray[np.float32]]:
    """Mel bands of the stretches of a sound, each (160, 40); zeros behind its end."""
    begins = starts(len(sound))
    missing = max((begins[-1] + _LENGTH) * _HOP - len(sound), 0)
    mel = mel_power(np.pad(sound, (0, missing)))
    return [mel[begin : begin + _LENGTH] for begin in begins]


def _run(network: Any, clips: Sequence[ClipInput]) -> list[NDArray[np.float32]]:
    """Embeddings of the speech, of its first half and of its second, (3, 256); (0, 256) where nobody speaks."""
    import torch

    weight = next(network.parameters())

    def forward(chosen: list[NDArray[np.float32]]) -> Tensor:
        result: Tensor = network(torch.from_numpy(np.stack(chosen)).to(weight))
        return result

    parts = [_parts(clip.views[0][0]) for clip in clips]
    items = [stretches(part) for clip in parts for part in clip]
    means = iter([_mean(rows) for rows in batched(forward, items, _BATCH, "resemblyzer")])
    width = network.linear.out_features
    return [np.array([next(means) for _ in clip], dtype=np.float32).reshape(-1, width) for clip in parts]


def _parts(sound: Samples) -> list[Samples]:
    speech = without_pauses(sound)
    half = len(speech) // 2
    return [speech, speech[:half], speech[half:]] if half else []


def _mean(rows: NDArray[np.float32]) -> NDArray[np.float32]:
    """Direction of the mean of embeddings (S, D)."""
    mean = rows.mean(axis=0)
    return np.asarray(mean / max(float(np.linalg.norm(mean)), float(np.finfo(np.float32).tiny)))


VOICE = Encoder(
    name="resemblyzer",
    version=1,
    backbone=Backbone(name="resemblyzer", load=_load, row=ROW, packages=("torch", "webrtcvad"), extra="speech"),
    run=_run,
    views=(Waveform(rate=RATE, mono=True),),
)
"""Three embeddings of a clip's speech without pauses: all, first half, second half."""
