"""When each video frame is shown: times that strictly rise, or the reason why there are none."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from avbench.errors import MediaError
from avbench.media.packets import Packets
from avbench.media.sampling import Times, last_gap

# Frame times are multiples of a time base that floats do not hold exactly.
TICK = 1e-6
# A frame that lasts longer than this many median gaps is held on purpose.
_HELD_GAPS = 1.5
# FFmpeg's own limit (dts_delta_threshold) above which a jump in a transport stream is a break, not a held frame.
_BREAK_S = 10.0


class NoTimesError(MediaError):
    """A video track whose frames cannot be placed in time. The message is the reason."""


@dataclass(frozen=True, eq=False)
class FrameTimes:
    """Presentation times of a video track.

    Attributes:
        times: seconds (T,), strictly rising.
        end: seconds at which the last frame ends where it is held; None: one median gap after its start.
    """

    times: Times
    end: float | None = None

    def equals(self, other: FrameTimes) -> bool:
        """Whether both are the same to the bit."""
        return np.array_equal(self.times, other.times) and self.end == other.end

    def first(self, seconds: float | None) -> FrameTimes:
        """The frames that start within the first `seconds`; all for None."""
        if seconds is None or not len(self.times):
            return self
        limit = self.times[0] + seconds
        kept = self.times[self.times < limit - TICK]
        if len(kept) < len(self.times):
            return FrameTimes(kept)
        return FrameTimes(kept, None if self.end is None else min(self.end, float(limit)))


def packet_times(packets: Packets, time_base: Any, step: float) -> FrameTimes:
    """Expected frame times from the container's packets, before decoding; every `step` seconds without timestamps."""
    shown = [packet for packet in packets if not packet.is_discard]
    stamped = sorted((packet.pts, packet.duration or 0) for packet in shown if packet.pts is not None)
    if not stamped:
        return FrameTimes(np.arange(len(shown), dtype=np.float64) * np.float64(step))
    times = np.array([float(pts * time_base) for pts, _ in stamped], dtype=np.float64)
    return FrameTimes(times, held_until(times, 1.0 / step, float(stamped[-1][1] * time_base)))


def held_until(times: Times, fps: float, last: float) -> float | None:
    """Seconds at which a held last frame ends; None where its own duration `last` is about one frame or unknown."""
    return float(times[-1]) + last if len(times) and last > _HELD_GAPS * last_gap(times, fps) else None


def decoding_times(packets: Packets, time_base: Any, *, stated: bool) -> Times | None:
    """Decoding times, which are the presentation times of the frames in order of display where no frame is late.

    Args:
        packets: of the track, as they lie in the file.
        time_base: seconds per unit of their timestamps.
        stated: the container states presentation times, so the earliest of them is the start; otherwise the first
            frame is shown when it is decoded.

    Returns:
        Seconds, one per packet; None where they are missing or do not rise.
    """
    shown = [packet for packet in packets if not packet.is_discard]
    stamps = [packet.dts for packet in shown if packet.dts is not None]
    if not stamps or len(stamps) < len(shown) or np.any(np.diff(stamps) <= 0):
        return None
    starts = [packet.pts for packet in shown if packet.pts is not None] if stated else []
    late = min(starts) - stamps[0] if starts else 0
    return np.array([float((stamp + late) * time_base) for stamp in stamps])


def presentation_times(stamps: Sequence[float | None], step: float) -> Times:
    """Times of decoded frames by their timestamps.

    Frames without a timestamp, or with that of the frame before them, are spread evenly up to the next one that has
    its own; at the ends they follow at `step`.

    Args:
        stamps: seconds per frame in order of display, None where there is none.
        step: nominal seconds per frame.

    Raises:
        NoTimesError: the timestamps go back or are mostly equal.
    """
    indices = np.arange(len(stamps), dtype=np.float64)
    known = np.array([np.nan if stamp is None else stamp for stamp in stamps], dtype=np.float64)
    stamped = np.flatnonzero(~np.isnan(known))
    if not len(stamped):
        return indices * np.float64(step)
    rises = np.diff(known[stamped], prepend=-np.inf)
    if np.any(rises < 0):
        index = int(np.argmax(rises < 0))
        raise goes_back(known[stamped[index - 1]], known[stamped[index]], int(stamped[index]))
    distinct = stamped[rises > 0]
    if 2 * len(distinct) < len(stamped):
        raise NoTimesError(f"{len(stamped)} frames have only {len(distinct)} different timestamps; {_CURE}")
    times: Times = np.interp(indices, distinct, known[distinct]).astype(np.float64)
    times += np.minimum(indices - distinct[0], 0) * step + np.maximum(indices - distinct[-1], 0) * step
    times[distinct] = known[distinct]
    return times


def refuse_breaks(times: Times) -> None:
    """Check the times of a track whose container may start its clock anew (MPEG-TS).

    Raises:
        NoTimesError: a step of more than 10 s, which there is a new clock and no held frame.
    """
    steps = np.diff(times)
    if len(steps) and steps.max() > _BREAK_S:
        index = int(np.argmax(steps))
        raise NoTimesError(f"the timestamps jump {_between(times[index], times[index + 1], index + 1)}; {_CURE}")


def goes_back(before: float, after: float, index: int) -> NoTimesError:
    """The reason for frame `index` whose time lies before that of the frame ahead of it."""
    return NoTimesError(f"the timestamps go back {_between(before, after, index)}; {_CURE}")


_CURE = "write the file anew with rising timestamps (streams written one behind the other need this)"


def _between(before: float, after: float, index: int) -> str:
    return f"from {before:.2f} s to {after:.2f} s at frame {index}"
