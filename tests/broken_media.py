"""Twelve kinds of broken or strange media, made from good clips."""

from __future__ import annotations

import random
from collections.abc import Callable
from pathlib import Path

import av
import numpy as np
from synthetic import draw_frames, draw_sound, write_clip


def _frames() -> np.ndarray:
    return draw_frames(1, seconds=1.0, size=(48, 64))


def empty(path: Path, good: bytes) -> None:
    path.write_bytes(b"")


def text(path: Path, good: bytes) -> None:
    path.write_text("this is not a video\n" * 50)


def noise(path: Path, good: bytes) -> None:
    path.write_bytes(random.Random(str(path)).randbytes(20_000))


def headless(path: Path, good: bytes) -> None:
    path.write_bytes(good[64:])


def without_index(path: Path, good: bytes) -> None:
    # The index (moov) sits at the end of these files: a crashed writer leaves this.
    path.write_bytes(good[: len(good) // 2])


def zeroed_middle(path: Path, good: bytes) -> None:
    # Pictures and sound overwritten, index intact.
    start = good.index(b"mdat") + 4
    end = good.index(b"moov") - 4
    path.write_bytes(good[:start] + bytes(end - start) + good[end:])


def cut_after_index(path: Path, good: bytes) -> None:
    source = path.with_suffix(".whole.tmp")
    source.write_bytes(good)
    fast = path.with_suffix(".fast.mp4.tmp")
    with (
        av.open(str(source)) as old,
        av.open(str(fast), "w", format="mp4", options={"movflags": "faststart"}) as new,
    ):
        streams = {s.index: new.add_stream_from_template(s) for s in old.streams}
        for packet in old.demux():
            if packet.dts is not None:
                packet.stream = streams[packet.stream.index]
                new.mux(packet)
    data = fast.read_bytes()
    path.write_bytes(data[: int(len(data) * 0.5)])
    source.unlink()
    fast.unlink()


def no_sound(path: Path, good: bytes) -> None:
    write_clip(path, _frames(), None)


def no_picture(path: Path, good: bytes) -> None:
    write_clip(path, None, draw_sound(1, seconds=1.0))


def one_frame(path: Path, good: bytes) -> None:
    write_clip(path, _frames()[:1], draw_sound(1, seconds=1.0))


def playlist(path: Path, good: bytes) -> None:
    path.write_text("#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:1,\nhttp://127.0.0.1:9/x.ts\n#EXT-X-ENDLIST\n")


def missing(path: Path, good: bytes) -> None:
    """Listed in the manifest and never written."""


KINDS: dict[str, Callable[[Path, bytes], None]] = {
    function.__name__: function
    for function in (
        empty, text, noise, headless, without_index, zeroed_middle, cut_after_index, no_sound, no_picture, one_frame,
        playlist, missing,
    )
}  # fmt: skip
