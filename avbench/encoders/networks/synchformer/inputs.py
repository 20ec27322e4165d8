"""Normalised images and spectrograms, as Synchformer was trained with. Everything at float32."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from avbench.encoders.networks.synchformer.segments import RATE

MELS, COLUMNS = 128, 66
_FFT, _WINDOW, _HOP = 1024, 400, 160
# Mean and standard deviation of log-mel values of the training set; both networks take twice the deviation.
_MEAN, _STD = -4.2677393, 4.5689974


def normalise(frames: Tensor) -> Tensor:
    """uint8 frames (B, T, H, W, 3) to float32 (B, 3, T, H, W) in [-1, 1]."""
    return (frames.permute(0, 4, 1, 2, 3).to(torch.float32) / 255 - 0.5) / 0.5


def log_mel(waveform: Tensor) -> Tensor:
    """Normalised log-mel spectrogram of segments at 16 kHz.

    Args:
        waveform: float32 (B, 10240).

    Returns:
        float32 (B, 128, 66); the last column stands for no sound.
    """
    window = torch.hann_window(_WINDOW, device=waveform.device)
    spectrum = torch.stft(waveform, _FFT, _HOP, _WINDOW, window, center=True, pad_mode="reflect", return_complex=True)
    mel = _mel_filters().to(waveform.device) @ spectrum.abs().square()  # (B, 128, 65)
    logarithm = torch.log(mel + 1e-6)
    # The reference fills with 0, which is not the value of silence, before it normalises.
    logarithm = functional.pad(logarithm, (0, COLUMNS - logarithm.shape[-1]))
    return (logarithm - _MEAN) / (2 * _STD)


def _mel_filters() -> Tensor:
    """Triangles of height 1 on the HTK mel scale, 0 to 8 kHz, (128, 513)."""
    highest = 2595 * torch.log10(torch.tensor(1 + RATE / 2 / 700, dtype=torch.float64))
    edges = 700 * (10 ** (torch.linspace(0, float(highest), MELS + 2, dtype=torch.float64) / 2595) - 1)
    bins = torch.linspace(0, RATE / 2, _FFT // 2 + 1, dtype=torch.float64)
    rising = (bins - edges[:-2, None]) / edges.diff()[:-1, None]
    falling = (edges[2:, None] - bins) / edges.diff()[1:, None]
    return torch.minimum(rising, falling).clamp(min=0).float()
