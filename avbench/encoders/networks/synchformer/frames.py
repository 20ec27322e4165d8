"""Choose the frames for Synchformer by FFmpeg's `fps` rule, and scale them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from avbench.media.sampling import Indices, Times, last_gap

FPS = 25.0
SIDE = 224

# Presentation times are multiples of a time base that floats do not hold exactly; its ticks are far longer than this.
_ROUNDING = 1e-6


@dataclass(frozen=True)
class FpsFilter:
    """A constant rate by repeating and dropping frames, as FFmpeg's `fps` filter with its default rounding does it.

    Each presentation time is rounded to the nearest tick of the new rate, halves away from zero, and each tick
    shows the last frame that was rounded to it or to an earlier one.
    """

    fps: float = FPS

    def ticks(self, times: Times, fps: float, end: float | None = None) -> NDArray[np.int64]:
        """Tick of each frame, and the tick at which the last one ends, (T + 1,).

        Args:
            times: presentation times in seconds (T,), T > 0, ascending.
            fps: nominal frame rate, which says how long a single frame lasts.
            end: seconds at which a held last frame ends; None: one median gap after its start.
        """
        ticks = np.append(times, times[-1] + last_gap(times, fps) if end is None else end) * self.fps
        return np.asarray(np.sign(ticks) * np.floor(np.abs(ticks) + 0.5 + _ROUNDING), dtype=np.int64)

    def indices(self, times: Times, fps: float, end: float | None = None) -> Indices:
        """Indices into `times` (T,), ascending; frames repeat where the rate exceeds the clip's."""
        if len(times) == 0:
            return np.zeros(0, dtype=np.int64)
        ticks = self.ticks(times, fps, end)
        wanted = np.arange(ticks[0], ticks[-1])
        return np.asarray(np.searchsorted(ticks[:-1], wanted, side="right") - 1, dtype=np.int64)

    def lost(self, times: Times, fps: float, end: float | None = None) -> int:
        """How many frames at the end are missing from a filter that gets no end-of-stream signal.

        Such a filter emits a frame only when it has seen the next one, so it keeps what the last frame would give.
        """
        ticks = self.ticks(times, fps, end)
        return int(ticks[-1] - ticks[-2])


def square(pixels: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Scale a frame (H, W, 3) so that its short side is 224, bicubic with antialiasing, and crop the centre.

    Returns:
        uint8 (224, 224, 3).
    """
    import torch
    from torchvision.transforms import InterpolationMode
    from torchvision.transforms.v2 import functional

    image = torch.from_numpy(np.ascontiguousarray(pixels)).permute(2, 0, 1)  # (3, H, W)
    image = functional.resize(image, [SIDE], interpolation=InterpolationMode.BICUBIC, antialias=True)
    image = functional.center_crop(image, [SIDE, SIDE])
    return np.ascontiguousarray(image.permute(1, 2, 0).numpy())
