"""Latents of a joint audio-video model: two token streams, their conditioning, and their shape."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class Latents:
    """The two streams in model units (normalised, packed).

    Attributes:
        video: (B, Lv, Cv), tokens ordered frame, row, column.
        audio: (B, La, Ca).
    """

    video: Tensor
    audio: Tensor

    def __len__(self) -> int:
        return len(self.video)

    def __getitem__(self, index: slice | Tensor | list[int]) -> Latents:
        return Latents(self.video[index], self.audio[index])

    def map(self, function: Callable[[Tensor], Tensor]) -> Latents:
        """The same function of both streams."""
        return Latents(function(self.video), function(self.audio))

    @staticmethod
    def cat(parts: Sequence[Latents]) -> Latents:
        """Parts one after another along B."""
        return Latents(torch.cat([part.video for part in parts]), torch.cat([part.audio for part in parts]))


@dataclass(frozen=True)
class Condition:
    """Text conditioning as the transformer takes it.

    Attributes:
        video: (B, S, Dv) for the video stream.
        audio: (B, S, Da) for the audio stream.
        mask: (B, S), 1 for tokens to attend to; None for all.
    """

    video: Tensor
    audio: Tensor
    mask: Tensor | None = None

    def __len__(self) -> int:
        return len(self.video)

    def __getitem__(self, index: slice | Tensor | list[int]) -> Condition:
        return Condition(self.video[index], self.audio[index], None if self.mask is None else self.mask[index])

    @staticmethod
    def cat(parts: Sequence[Condition]) -> Condition:
        """Parts one after another along B; either all have a mask or none."""
        masks = [part.mask for part in parts if part.mask is not None]
        return Condition(
            torch.cat([part.video for part in parts]),
            torch.cat([part.audio for part in parts]),
            torch.cat(masks) if masks else None,
        )


@dataclass(frozen=True)
class Geometry:
    """Sizes of a clip in latents.

    Attributes:
        frames, height, width: of the video latents; their product is the number of video tokens.
        audio_frames: number of audio tokens.
        video_channels, audio_channels: features of a token.
        fps: frames per second of the decoded video, for positions in time.
    """

    frames: int
    height: int
    width: int
    audio_frames: int
    video_channels: int
    audio_channels: int
    fps: float

    @property
    def video_tokens(self) -> int:
        """Lv."""
        return self.frames * self.height * self.width

    def noise(self, seeds: Sequence[int], device: torch.device | str = "cpu") -> Latents:
        """Standard normal latents, one seed per rollout, drawn on the CPU so that every device gets the same."""
        video, audio = [], []
        for seed in seeds:
            generator = torch.Generator().manual_seed(seed)
            video.append(torch.randn(self.video_tokens, self.video_channels, generator=generator))
            audio.append(torch.randn(self.audio_frames, self.audio_channels, generator=generator))
        return Latents(torch.stack(video).to(device), torch.stack(audio).to(device))
