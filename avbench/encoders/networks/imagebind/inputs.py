"""From images and sound to what the network takes."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from avbench.encoders.networks.imagebind.geometry import RATE, Span, audio_clips, audio_windows
from avbench.encoders.networks.imagebind.network import MEL_BINS, MEL_FRAMES

FRAME = 400  # 25 ms
_HOP = 160
_FFT = 512
_LOWEST_HZ = 20.0
_PREEMPHASIS = 0.97

# Mean and standard deviation of red, green and blue in [0, 1], which ImageBind took over from CLIP.
_RGB_MEAN = (0.48145466, 0.4578275, 0.40821073)
_RGB_STD = (0.26862954, 0.26130258, 0.27577711)

# Mean and standard deviation of the log-mel values that ImageBind was trained with.
_MEL_MEAN, _MEL_STD = -4.268, 9.138

Samples = NDArray[np.float32]


def normalise_images(images: Sequence[NDArray[Any]], device: torch.device) -> Tensor:
    """Stack and normalise channels.

    Args:
        images: equal shapes (..., H, W, 3), uint8, or float32 in [0, 1].
        device: where to compute.

    Returns:
        (B, ..., H, W, 3) float32.
    """
    stacked = torch.from_numpy(np.stack(images)).to(device)
    scaled = stacked.float() / 255 if stacked.dtype == torch.uint8 else stacked
    return (scaled - torch.tensor(_RGB_MEAN, device=device)) / torch.tensor(_RGB_STD, device=device)


@cache
def _mel_filters(device: torch.device) -> Tensor:
    """Kaldi's 128 triangles from 20 Hz to 8 kHz on the mel axis, without the bin at 8 kHz, (256, 128)."""
    lowest, highest = (1127 * math.log1p(hz / 700) for hz in (_LOWEST_HZ, RATE / 2))
    edges = lowest + (highest - lowest) / (MEL_BINS + 1) * torch.arange(MEL_BINS + 2)
    mels = 1127 * torch.log1p(RATE / _FFT * torch.arange(_FFT // 2) / 700)[:, None]
    rising = (mels - edges[:-2]) / (edges[1:-1] - edges[:-2])
    falling = (edges[2:] - mels) / (edges[2:] - edges[1:-1])
    return torch.minimum(rising, falling).clamp(min=0).to(device)


def fbank(waveforms: Tensor) -> Tensor:
    """Kaldi's log-mel energies: 25 ms frames every 10 ms, no dither.

    Args:
        waveforms: float32 (B, N) at 16 kHz, N >= 400.

    Returns:
        float32 (B, 1 + (N - 400) // 160, 128).

    Source: equal to torchaudio.compliance.kaldi.fbank with the settings of ImageBind's data.py.
    """
    frames = waveforms.unfold(1, FRAME, _HOP)  # (B, frames, 400)
    frames = frames - frames.mean(dim=-1, keepdim=True)
    frames = frames - _PREEMPHASIS * torch.cat([frames[..., :1], frames[..., :-1]], dim=-1)
    frames = frames * torch.hann_window(FRAME, periodic=False, device=waveforms.device)
    power = torch.fft.rfft(frames, n=_FFT).abs().square()[..., :-1]  # (B, frames, 256)
    energies = power @ _mel_filters(waveforms.device)
    return torch.as_tensor(energies.clamp(min=torch.finfo(torch.float32).eps).log())


def mel_spectrograms(slices: Sequence[Samples], device: torch.device) -> Tensor:
    """Normalised log-mel spectrograms (B, 1, 128, 204) of slices (N,) of up to 2 s; empty columns hold log energy 0."""
    images = torch.zeros(len(slices), 1, MEL_BINS, MEL_FRAMES, device=device)
    # Slices below 2 s have lengths of their own.
    for length in dict.fromkeys(len(waveform) for waveform in slices):
        rows = [row for row, waveform in enumerate(slices) if len(waveform) == length]
        mels = fbank(torch.from_numpy(np.stack([slices[row] for row in rows])).to(device))
        images[rows, 0, :, : mels.shape[1]] = mels.transpose(1, 2)
    return (images - _MEL_MEAN) / _MEL_STD


@dataclass(frozen=True)
class AudioPlan:
    """The distinct slices (N,) of one clip, and which of them the three clips and the windows are."""

    slices: list[Samples]
    clips: list[int]
    windows: list[int]


def plan_audio(waveform: Samples, *, ib_inplace_mean: bool) -> AudioPlan:
    """Slices to embed of one clip.

    Args:
        waveform: float32 (C, N) at 16 kHz.
        ib_inplace_mean: subtract each slice's mean from the shared sound, as the reference does, so that a later
            slice which overlaps it has a step inside. Clips and windows each start from untouched sound. False
            leaves the sound alone, and clips and windows that are the same slice are embedded once.

    Returns:
        Slices of the first channel, less the mean over all channels; no slice when there are under 25 ms of sound.
    """
    samples = waveform.shape[1]
    if samples < FRAME:
        return AudioPlan([], [], [])
    clips, windows = audio_clips(samples), audio_windows(samples)
    if not ib_inplace_mean:
        spans = list(dict.fromkeys([*clips, *windows]))
        slices = [_centred(waveform[:, start:stop])[0] for start, stop in spans]
        return AudioPlan(slices, [spans.index(span) for span in clips], [spans.index(span) for span in windows])
    distinct = list(dict.fromkeys(clips))
    slices = _centred_in_place(waveform, distinct) + _centred_in_place(waveform, windows)
    indices = [distinct.index(span) for span in clips]
    return AudioPlan(slices, indices, list(range(len(distinct), len(slices))))


def _centred(part: Samples) -> Samples:
    return np.asarray(part - part.mean())


def _centred_in_place(waveform: Samples, spans: Sequence[Span]) -> list[Samples]:
    buffer = np.array(waveform)
    slices = []
    for start, stop in spans:
        buffer[:, start:stop] = _centred(buffer[:, start:stop])
        slices.append(buffer[0, start:stop].copy())
    return slices
