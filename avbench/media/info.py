"""Facts of the tracks of a clip."""

from __future__ import annotations

from dataclasses import dataclass

from avbench.media.sampling import Times, last_gap


@dataclass(frozen=True)
class VideoInfo:
    """Metadata of a video track.

    Attributes:
        times: seconds of each frame on the clip's timeline (T,), strictly rising.
        fps: nominal frame rate.
        width, height: pixels as a player shows them, turned and mirrored.
        codec: name of the codec, "raw" for arrays.
        end: seconds at which the last frame ends where its packet holds it longer than usual; None: one median gap
            after its start.
    """

    times: Times
    fps: float
    width: int
    height: int
    codec: str = "raw"
    end: float | None = None

    @property
    def duration(self) -> float:
        """Seconds from the first frame to the end of the last one."""
        if len(self.times) == 0:
            return 0.0
        if self.end is not None:
            return self.end - float(self.times[0])
        return float(self.times[-1] - self.times[0]) + last_gap(self.times, self.fps)


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
