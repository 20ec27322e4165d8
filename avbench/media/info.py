"""Metadata of the tracks of a clip."""

from __future__ import annotations

from dataclasses import dataclass

from avbench.media.sampling import Times, last_gap

# Longer lists would fill the report and the score table.
_GAPS_NAMED, _GAPS_LISTED = 3, 20


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
    """Metadata of an audio track.

    Attributes:
        sample_rate: samples per second.
        channels: number of channels.
        samples: samples per channel, silence in gaps included.
        start: seconds of the first sample on the clip's timeline.
        codec: name of the codec, "raw" for arrays.
        source: "embedded", "sidecar" or "memory".
        layout: FFmpeg's name of the channel layout ("5.1(side)"); None where the channel count is all that is known.
        gaps: where the track's timestamps jump: (seconds after the first sample, seconds of silence put in);
            negative where samples overlap and the later ones were left out.
    """

    sample_rate: int
    channels: int
    samples: int
    start: float = 0.0
    codec: str = "raw"
    source: str = "embedded"
    layout: str | None = None
    gaps: tuple[tuple[float, float], ...] = ()

    @property
    def duration(self) -> float:
        """Seconds of sound, gaps included."""
        return self.samples / self.sample_rate

    @property
    def gap_detail(self) -> dict[str, object]:
        """The gaps as numbers for the detail of a score: seconds of silence put in, and the first 20 jumps."""
        silence = sum(seconds for _, seconds in self.gaps if seconds > 0)
        return {"gap_s": silence, "gaps": [list(gap) for gap in self.gaps[:_GAPS_LISTED]]}

    @property
    def gap_note(self) -> str | None:
        """The gaps in words, None without any."""
        if not self.gaps:
            return None
        parts = [
            f"{seconds:.2f} s missing at {at:.2f} s" if seconds > 0 else f"{-seconds:.2f} s overlapping at {at:.2f} s"
            for at, seconds in self.gaps[:_GAPS_NAMED]
        ]
        more = f", and {len(self.gaps) - _GAPS_NAMED} more" if len(self.gaps) > _GAPS_NAMED else ""
        return f"the timestamps of the sound jump: {', '.join(parts)}{more}; what is missing counts as silence"
