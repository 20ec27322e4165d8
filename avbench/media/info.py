"""Facts of the tracks of a clip."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from avbench.media.sampling import Times


@dataclass(frozen=True)
class VideoInfo:
    """Facts of a picture track. `times` (T,) are seconds on the clip's timeline; `fps` is nominal."""

    times: Times
    fps: float
    width: int
    height: int
    codec: str = "raw"
    rotation: int = 0

    @property
    def duration(self) -> float:
        """Seconds from the first frame to the end of the last one."""
        if len(self.times) == 0:
            return 0.0
        last = float(np.median(np.diff(self.times))) if len(self.times) > 1 else 1.0 / self.fps
        return float(self.times[-1] - self.times[0]) + last


@dataclass(frozen=True)
class AudioInfo:
    """Facts of a sound track; `start` in seconds on the clip's timeline."""

    sample_rate: int
    channels: int
    samples: int
    start: float = 0.0
    codec: str = "raw"
    source: str = "embedded"

    @property
    def duration(self) -> float:
        """Seconds of decoded sound."""
        return self.samples / self.sample_rate
