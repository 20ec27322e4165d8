"""Cost of one clip so far, in time and pixels, checked against the limits."""

from __future__ import annotations

import time
from collections.abc import Callable

from avbench.media.limits import Limits

_GIGAPIXEL = 10**9


class Meter:
    """The clock of one clip. A large clip is not slow: each gigapixel that was decoded sets the clock back to zero.

    Args:
        limits: the bounds.
        progress: called at each of these gigapixels.
    """

    def __init__(self, limits: Limits, progress: Callable[[], None] | None = None) -> None:
        self.limits = limits
        self._progress = progress
        self._start = time.monotonic()
        self._pixels = 0

    def check_time(self) -> None:
        """Refuse a clip that takes too long.

        Raises:
            OverLimitError: it does.
        """
        spent = time.monotonic() - self._start
        self.limits.check("seconds_per_clip", spent, "decoding takes longer (a large clip gets more time)")

    def add_pixels(self, count: int) -> None:
        """Count the pixels of a decoded frame."""
        self._pixels += count
        if self._pixels >= _GIGAPIXEL:
            self._pixels = 0
            self._start = time.monotonic()
            if self._progress is not None:
                self._progress()
