"""Channel layouts by FFmpeg's names: which speaker each channel is for."""

from __future__ import annotations

from av.audio.layout import AudioLayout


def speakers(layout: str) -> tuple[str, ...]:
    """Speaker of each channel: "FL", "FC", "LFE", "BL", "SL" ...; "NONE" where a layout gives only the count.

    Args:
        layout: "stereo", "5.1(side)", "hexagonal", "FL+FR+LFE" ...

    Raises:
        ValueError: FFmpeg knows no such layout.
    """
    try:
        return tuple(channel.name for channel in AudioLayout(layout).channels)
    except (ValueError, TypeError) as error:
        raise ValueError(
            f"{layout!r} is no channel layout; name one of FFmpeg's, such as 5.1, quad or FL+FR+LFE"
        ) from error
