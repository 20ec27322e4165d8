"""Views: what a scorer asks of a clip. Frozen values, so that equal requests are computed once."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Literal

import cv2
import numpy as np
from numpy.typing import NDArray

from avbench.media.sampling import All, Sampling

Pixels = NDArray[np.uint8]


class Frame:
    """One decoded frame. Derived images are computed at first use and shared by all scorers."""

    __slots__ = ("_grey", "index", "rgb", "time")

    def __init__(self, rgb: Pixels, index: int, time: float) -> None:
        self.rgb = rgb  # (H, W, 3)
        self.index = index
        self.time = time
        self._grey: Pixels | None = None

    @property
    def grey(self) -> Pixels:
        """BT.601 luma as OpenCV computes it, (H, W) uint8."""
        if self._grey is None:
            self._grey = np.asarray(cv2.cvtColor(self.rgb, cv2.COLOR_RGB2GRAY), dtype=np.uint8)
        return self._grey


Step = Callable[[Frame | None, Frame], tuple[float, ...]]


@dataclass(frozen=True)
class FrameSeries:
    """Numbers per frame, float64 (T, K), computed while decoding: no frame is kept.

    Args:
        name: name for messages.
        step: pure function of the previous frame (None at the first) and the current one; it runs in
            threads, so it must not keep state. Returns K floats.
        width: K.
        heavy: takes longer than decoding a frame, so it runs in a pool of threads; light steps run between
            two frames, where handing them over would cost more than it brings.
    """

    name: str
    step: Step
    width: int = 1
    heavy: bool = False


@dataclass(frozen=True)
class Frames:
    """Chosen frames as uint8 (k, H, W, 3), or what `transform` makes of each.

    Args:
        sampling: which frames.
        transform: pure per-frame function of (H, W, 3) uint8, for example a resize; None keeps full size. Views
            with the same transform share its result, and it runs in threads.
        scaled: width and height to which FFmpeg scales the decoded frame, bilinear and before it becomes RGB, as
            decord does when it is given a size; None keeps full size.
    """

    sampling: Sampling = field(default_factory=All)
    transform: Callable[[Pixels], NDArray[np.generic]] | None = None
    scaled: tuple[int, int] | None = None


@dataclass(frozen=True)
class Waveform:
    """The sound as float32 (C, N).

    Args:
        rate: samples per second, None for the track's own.
        mono: average the channels into one.
        limit: clamp to [-1, 1], as a 16-bit file would. Lossy codecs decode above full scale; loudness
            and peak meters want that, networks do not.
        resampler: "soxr" (quality HQ), or "sinc", which equals torchaudio's default and what networks trained with
            it are held to.
    """

    rate: int | None = None
    mono: bool = True
    limit: bool = True
    resampler: Literal["soxr", "sinc"] = "soxr"


View = FrameSeries | Frames | Waveform
