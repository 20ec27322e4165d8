"""Bounds on what one clip may cost: a file that claims too much is refused with a reason."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass, fields

from avbench.errors import MediaError, UsageError

_REASON = re.compile(r"over the limit (\w+)=([\d.e+]+)")


class OverLimitError(MediaError):
    """A clip that costs more than the limits allow."""


@dataclass(frozen=True)
class Limits:
    """What one clip may cost; infinity lifts a bound. Ten minutes of 4K at 60 fps with 5.1 sound stay below all.

    Attributes:
        pixels: width x height of a frame.
        frames: frames of the video track; ten times as many packets or index entries for any other track.
        seconds: from the first to the last timestamp of a track.
        samples: audio samples times channels, as decoded and after each resampling.
        sample_rate: samples per second.
        upsampling: samples that a metric's rate makes of each sample; 64 is 48 kHz from 750 Hz.
        channels: audio channels.
        tracks: tracks of a file, also those that are not decoded.
        packet_ratio: bytes of compressed data that may be read per byte of the file.
        seconds_per_clip: wall time for decoding; as much again for each gigapixel of video that was decoded.
        fetched_bytes: of one remote file.
    """

    pixels: float = 4096 * 4096
    frames: float = 120_000
    seconds: float = 1800
    samples: float = 240_000_000
    sample_rate: float = 768_000
    upsampling: float = 64
    channels: float = 64
    tracks: float = 32
    packet_ratio: float = 2
    seconds_per_clip: float = 1800
    fetched_bytes: float = 8 * 2**30

    def __post_init__(self) -> None:
        for field in fields(self):
            if not getattr(self, field.name) > 0:
                raise UsageError(f"limit {field.name} must be positive, got {getattr(self, field.name)}")

    def check(self, name: str, value: float, what: str) -> None:
        """Refuse a clip whose `value` exceeds the limit `name`.

        Args:
            name: field of this class.
            value: in the unit of that field.
            what: what the clip has or claims, for the reason.

        Raises:
            OverLimitError: it does; the message states the limit in force.
        """
        limit = getattr(self, name)
        if value > limit:
            raise OverLimitError(f"over the limit {name}={_text(limit)}: {what}")

    def changed(self) -> list[str]:
        """Those that differ from the default, as `parse_limits` takes them."""
        changed = {f.name: value for f in fields(self) if (value := getattr(self, f.name)) != f.default}
        return [f"{name}={'none' if value == math.inf else _text(value)}" for name, value in changed.items()]

    def allow_now(self, reason: str) -> bool:
        """Whether the reason of an earlier refusal names a limit that is higher now."""
        named = _REASON.search(reason)
        return named is not None and getattr(self, named[1], 0) > float(named[2])


def parse_limits(settings: Sequence[str]) -> Limits:
    """Limits from texts such as "pixels=67108864"; "none" lifts a bound.

    Raises:
        UsageError: unknown name, or no positive number.
    """
    known = [field.name for field in fields(Limits)]
    values: dict[str, float] = {}
    for setting in settings:
        name, _, text = setting.partition("=")
        name = name.strip().replace("-", "_")
        if name not in known:
            raise UsageError(f"unknown limit {name!r}. Known: {', '.join(known)}.")
        try:
            values[name] = math.inf if text.strip() == "none" else float(text.replace("_", ""))
        except ValueError:
            raise UsageError(f"limit {name} takes a positive number or 'none', got {text!r}") from None
    return Limits(**values)


def _text(limit: float) -> str:
    return f"{limit:.0f}" if float(limit).is_integer() else f"{limit:g}"
