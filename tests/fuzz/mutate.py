"""Small clips in many containers, and ways to damage their bytes."""

from __future__ import annotations

import random
import wave
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
from synthetic import draw_frames, draw_sound, write_clip

# av_offset wants two seconds.
SECONDS, FPS = 2.2, 8
RATE = 16_000
_OPUS_RATE = 48_000

_VIDEOS: tuple[tuple[str, str, str, dict[str, str]], ...] = (
    ("h264.mp4", "libx264", "aac", {}),
    ("h264.mov", "libx264", "pcm_s16le", {}),
    ("fragmented.mp4", "libx264", "aac", {"movflags": "frag_keyframe+empty_moov"}),
    ("fast.mp4", "mpeg4", "aac", {"movflags": "faststart"}),
    ("h264.mkv", "libx264", "flac", {}),
    ("vp9.webm", "libvpx-vp9", "libopus", {}),
    ("mpeg4.avi", "mpeg4", "libmp3lame", {}),
    ("h264.ts", "libx264", "aac", {}),
    ("h264.flv", "libx264", "aac", {}),
)
_SOUNDS = {"wav": "pcm_s16le", "flac": "flac", "mp3": "libmp3lame", "m4a": "aac", "opus": "libopus"}

# Values that counters, sizes and offsets break at.
_EDGES = (0, 1, 2, 0x7F, 0xFF, 0x7FFF, 0xFFFF, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFE, 0xFFFFFFFF)
_HEADER_BYTES = 2048


def base_videos(folder: Path) -> dict[str, bytes]:
    """Clips of 2.2 s, 64x48, with sound, by name."""
    frames, clips = draw_frames(1, seconds=SECONDS, fps=FPS, size=(48, 64)), {}
    for name, codec, audio_codec, options in _VIDEOS:
        rate = _OPUS_RATE if audio_codec == "libopus" else RATE
        path = folder / name
        sound = draw_sound(1, seconds=SECONDS, rate=rate)
        _write(path, frames, sound, rate, (codec, audio_codec, options))
        clips[name] = path.read_bytes()
    return clips


def _write(path: Path, frames: np.ndarray, sound: np.ndarray, rate: int, how: tuple[str, str, dict[str, str]]) -> None:
    codec, audio_codec, options = how
    if not audio_codec.startswith(("pcm", "flac", "lib")):
        write_clip(path, frames, sound, fps=FPS, rate=rate, codec=codec, audio_codec=audio_codec, options=options)
        return
    with av.open(str(path), "w", options=options) as container:
        video = container.add_stream(codec, rate=FPS)
        video.height, video.width, video.pix_fmt = *frames.shape[1:3], "yuv420p"
        audio = container.add_stream(audio_codec, rate=rate, layout="mono")
        for index, pixels in enumerate(frames):
            frame = av.VideoFrame.from_ndarray(pixels, format="rgb24")
            frame.pts, frame.time_base = index, Fraction(1, FPS)
            container.mux(video.encode(frame))
        container.mux(video.encode(None))
        _mux_sound(container, audio, sound, rate)


def base_sounds(folder: Path) -> dict[str, bytes]:
    """Sound files of 2.2 s, by name."""
    sounds = {}
    for suffix, codec in _SOUNDS.items():
        path, rate = folder / f"sound.{suffix}", _OPUS_RATE if codec == "libopus" else RATE
        sound = draw_sound(1, seconds=SECONDS, rate=rate)
        if suffix == "wav":
            with wave.open(str(path), "wb") as file:
                file.setparams((1, 2, RATE, 0, "NONE", ""))
                file.writeframes((sound[0] * 32767).astype("<i2").tobytes())
        else:
            with av.open(str(path), "w") as container:
                _mux_sound(container, container.add_stream(codec, rate=rate, layout="mono"), sound, rate)
        sounds[path.name] = path.read_bytes()
    return sounds


def _mux_sound(container: av.container.OutputContainer, audio: av.AudioStream, sound: np.ndarray, rate: int) -> None:
    resampler = av.AudioResampler(format=audio.codec_context.format, layout="mono", rate=rate)
    chunk = av.AudioFrame.from_ndarray(np.ascontiguousarray(sound, np.float32), format="fltp", layout="mono")
    chunk.sample_rate, chunk.pts, chunk.time_base = rate, 0, Fraction(1, rate)
    for part in [*resampler.resample(chunk), None]:
        container.mux(audio.encode(part))


def _flip(data: bytearray, rng: random.Random) -> None:
    for _ in range(rng.choice((1, 1, 4, 16, 64))):
        data[rng.randrange(len(data))] ^= 1 << rng.randrange(8)


def _overwrite(data: bytearray, rng: random.Random) -> None:
    start, length = rng.randrange(len(data)), rng.choice((1, 4, 64, 1024))
    data[start : start + length] = rng.choice((bytes, rng.randbytes))(len(data[start : start + length]))


def _edit_header(data: bytearray, rng: random.Random) -> None:
    """Numbers of one, two, four or eight bytes near the start or the end, where headers and indices are."""
    for _ in range(rng.choice((1, 1, 2, 4))):
        near = rng.randrange(min(_HEADER_BYTES, len(data)))
        start, width = rng.choice((near, len(data) - 1 - near)), rng.choice((1, 2, 4, 4, 8))
        value = rng.choice(_EDGES) % (1 << 8 * width)
        data[start : start + width] = value.to_bytes(width, rng.choice(("big", "little")))


def _truncate(data: bytearray, rng: random.Random) -> None:
    del data[rng.randrange(1, len(data)) :]


def _swap(data: bytearray, rng: random.Random) -> None:
    size = rng.choice((16, 188, 512, 2048))
    one, other = (rng.randrange(max(1, len(data) - size)) for _ in range(2))
    data[one : one + size], data[other : other + size] = data[other : other + size], data[one : one + size]


def _repeat(data: bytearray, rng: random.Random) -> None:
    start, size = rng.randrange(len(data)), rng.choice((8, 188, 2048))
    data[start:start] = data[start : start + size] * rng.choice((1, 2, 50))


def _delete(data: bytearray, rng: random.Random) -> None:
    start = rng.randrange(len(data))
    del data[start : start + rng.choice((1, 4, 188, 2048))]


_CHANGES: tuple[Callable[[bytearray, random.Random], None], ...] = (
    _flip, _flip, _overwrite, _edit_header, _edit_header, _truncate, _swap, _repeat, _delete,
)  # fmt: skip


def damaged(data: bytes, others: list[bytes], rng: random.Random) -> bytes:
    """The file after one to three changes; now and then its front with the back of another file."""
    changed = bytearray(data)
    if rng.random() < 0.08:
        other = rng.choice(others)
        changed = bytearray(data[: rng.randrange(len(data))] + other[rng.randrange(len(other)) :])
    for _ in range(rng.choice((1, 1, 2, 3))):
        if len(changed) > 16:
            rng.choice(_CHANGES)(changed, rng)
    return bytes(changed)
