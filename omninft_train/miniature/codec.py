"""The fixed mapping between clips and latents: cosine transforms, of patches for frames and of short times for sound.

Both transforms are orthonormal and keep the lower part of the spectrum, as a trained autoencoder would, so decoded
latents encode to themselves, up to 8-bit pixels and clipping; a clip loses what is finer than the kept cosines, and
sound outside 80 to 880 Hz.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from omninft_train.miniature.render import BACKGROUND
from omninft_train.miniature.world import FPS, FRAMES, SAMPLE_RATE, SAMPLES, SIDE
from omninft_train.models.backbone import Decoded
from omninft_train.models.latents import Geometry, Latents

_HOP = 100  # samples between windows of the sound transform
_HOPS = 4  # windows of an audio token
_BINS = slice(2, 22)  # of 40 Hz each

# Brightness and two differences of colour, orthonormal.
_COLOURS = torch.tensor([[1, 1, 1], [1, 0, -1], [1, -2, 1]]) / torch.tensor([3.0, 2.0, 6.0]).sqrt()[:, None]


def _cosines(size: int) -> Tensor:
    """Orthonormal cosine transform (size, size), rows by rising frequency."""
    position = torch.arange(size, dtype=torch.float64)
    rows = torch.cos(torch.pi / size * (position + 0.5) * position[:, None]) * (2 / size) ** 0.5
    rows[0] /= 2**0.5
    cosines: Tensor = rows.float()
    return cosines


def _window_cosines() -> Tensor:
    """The kept rows of the modified cosine transform with a sine window, (bins, 2 hops)."""
    position = torch.arange(2 * _HOP, dtype=torch.float64)
    index = torch.arange(_HOP, dtype=torch.float64)[_BINS, None]
    window = torch.sin(torch.pi / (2 * _HOP) * (position + 0.5))
    rows = torch.cos(torch.pi / _HOP * (position + 0.5 + _HOP / 2) * (index + 0.5))
    kept: Tensor = (window * rows * (2 / _HOP) ** 0.5).float()
    return kept


def _patch_rows(patch: int, kept: int) -> Tensor:
    """Two-dimensional cosines of a patch, (kept^2, patch^2)."""
    rows = _cosines(patch)[:kept]
    return torch.einsum("ux,vy->uvxy", rows, rows).reshape(kept**2, patch**2)


def _frequency(kept: int) -> Tensor:
    position = torch.arange(kept, dtype=torch.float32)
    return (position[:, None] + position).flatten()


# Makes the audio latents of the worlds' scenes about unit variance.
_AUDIO_SCALE = 0.18
# Amplitudes are taken to this power, so that the end of a sound counts beside its beginning.
_COMPRESSION = 0.75
_AUDIO = _window_cosines()
# Patch for which the fall of the scale with frequency was chosen.
_PATCH = 16


@dataclass(frozen=True)
class Codec:
    """The mapping for clips of one size.

    Attributes:
        patch: pixels along the side of a video token; divides `side`.
        luma, chroma: cosines kept along a side of a patch; colour is coarser than brightness.
        unit: makes the video latents of the world's scenes about unit variance.
        frames, samples: of a clip.
        side: height and width of a frame in pixels.
    """

    patch: int
    luma: int
    chroma: int
    unit: float
    frames: int = FRAMES
    samples: int = SAMPLES
    side: int = SIDE

    @cached_property
    def geometry(self) -> Geometry:
        """Sizes of the latents."""
        return Geometry(
            frames=self.frames,
            height=self.side // self.patch,
            width=self.side // self.patch,
            audio_frames=self.samples // (_HOP * _HOPS),
            video_channels=self.luma**2 + 2 * self.chroma**2,
            audio_channels=_HOPS * (_BINS.stop - _BINS.start),
            fps=FPS,
        )

    @cached_property
    def _rows(self) -> Tensor:
        """All of a token's transform, (features, patch^2 x 3)."""
        luma, chroma = (_patch_rows(self.patch, kept) for kept in (self.luma, self.chroma))
        parts = [luma[:, :, None] * _COLOURS[0], *(chroma[:, :, None] * colour for colour in _COLOURS[1:])]
        return torch.cat([part.flatten(1) for part in parts])

    @cached_property
    def _scale(self) -> Tensor:
        """What a coefficient of pixels is divided by, (features,).

        Halfway, in logarithms, between one scale for all and unit variance of each: fine detail stays small, but not so
        small that a network passes over it.
        """
        fall = -0.35 * _PATCH / self.patch
        std = [1.3 * torch.exp(fall * _frequency(kept)) + 0.06 for kept in (self.luma, self.chroma, self.chroma)]
        return torch.cat(std).sqrt() * self.unit

    def encode(self, clips: Sequence[Decoded]) -> Latents:
        """Latents of clips of this size, in model units."""
        frames = np.stack([clip.frames for clip in clips])
        waveforms = np.stack([clip.waveform.mean(axis=0) for clip in clips])
        return Latents(self.encode_frames(frames), encode_audio(waveforms))

    def decode(self, latents: Latents) -> list[Decoded]:
        """Clips of latents; values that pixels and samples cannot take are clipped."""
        frames, sound = self.decode_frames(latents.video), decode_audio(latents.audio)
        return [Decoded(f, FPS, s[None], SAMPLE_RATE) for f, s in zip(frames, sound, strict=True)]

    def encode_frames(self, frames: NDArray[np.uint8]) -> Tensor:
        """uint8 (B, T, H, W, 3) -> (B, L, D)."""
        pixels = torch.from_numpy(frames).float() / 255 - BACKGROUND
        by_column = torch.unflatten(pixels, 3, (-1, self.patch))
        patches = torch.unflatten(by_column, 2, (-1, self.patch))  # (B, T, rows, patch, columns, patch, 3)
        tokens = patches.permute(0, 1, 2, 4, 3, 5, 6).flatten(4).flatten(1, 3)  # (B, L, patch^2 x 3)
        latents: Tensor = tokens @ self._rows.T / self._scale
        return latents

    def decode_frames(self, video: Tensor) -> NDArray[np.uint8]:
        """(B, L, D) -> uint8 (B, T, H, W, 3)."""
        tokens = (video.detach().cpu().float() * self._scale) @ self._rows
        count, grid, patch = len(video), self.side // self.patch, self.patch
        patches = tokens.reshape(count, self.frames, grid, grid, patch, patch, 3).permute(0, 1, 2, 4, 3, 5, 6)
        pixels = (patches.reshape(count, self.frames, self.side, self.side, 3) + BACKGROUND) * 255
        # What is not a number is drawn black; a diverged policy should show, not crash.
        frames: NDArray[np.uint8] = pixels.nan_to_num(0.0).round().clamp(0, 255).to(torch.uint8).numpy()
        return frames


SOLO = Codec(patch=16, luma=6, chroma=3, unit=0.5)
"""Of the world with one shape."""


def encode_audio(waveforms: NDArray[np.float32]) -> Tensor:
    """float32 (B, N) -> (B, L, D)."""
    samples = torch.from_numpy(np.ascontiguousarray(waveforms, np.float32)).roll(_HOP // 2, dims=1)
    # The clip is a ring: windows at its end reach into its beginning, and there are as many windows as hops.
    windows = torch.cat([samples, samples[:, :_HOP]], dim=1).unfold(1, 2 * _HOP, _HOP)  # (B, hops, 2 hop)
    loudness = windows @ _AUDIO.T  # (B, hops, bins)
    compressed = loudness.sign() * loudness.abs() ** _COMPRESSION / _AUDIO_SCALE
    return torch.unflatten(compressed, 1, (-1, _HOPS)).flatten(2)


def decode_audio(audio: Tensor) -> NDArray[np.float32]:
    """(B, L, D) -> float32 (B, N)."""
    hops = torch.unflatten(audio.detach().cpu().float() * _AUDIO_SCALE, 2, (_HOPS, -1)).flatten(1, 2)
    windows = hops.sign() * hops.abs() ** (1 / _COMPRESSION) @ _AUDIO
    halves = torch.unflatten(windows, 2, (2, _HOP))  # (B, hops, 2, hop)
    samples = (halves[:, :, 0] + halves[:, :, 1].roll(1, dims=1)).flatten(1).roll(-(_HOP // 2), dims=1)
    waveforms: NDArray[np.float32] = samples.nan_to_num(0.0).clamp(-1, 1).numpy()
    return waveforms
