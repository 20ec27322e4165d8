"""Clips drawn for tests: a disc that changes direction at known times, with a click at each change."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import av
import numpy as np

SOUND_RATE = 16_000


def bounce_times(seed: int, seconds: float) -> np.ndarray:
    """Irregular times, 0.3 to 0.8 s apart."""
    gaps = np.random.default_rng(seed).uniform(0.3, 0.8, int(seconds / 0.3))
    times = 0.4 + np.cumsum(gaps)
    return times[times < seconds - 0.3]


def draw_frames(seed: int = 0, *, seconds: float = 5.0, fps: int = 24, size: tuple[int, int] = (96, 128)) -> np.ndarray:
    """uint8 (T, H, W, 3): a textured background and a disc with a new velocity after each bounce."""
    rng = np.random.default_rng(seed)
    height, width = size
    bounces = bounce_times(seed, seconds)
    background = np.kron(rng.integers(60, 120, (height // 8, width // 8)), np.ones((8, 8))).astype(np.uint8)
    texture = rng.integers(150, 255, (height, width)).astype(np.uint8)
    y, x = np.mgrid[:height, :width]
    position, frames = np.array([height / 2, width / 2]), []
    direction = 0.7
    for index in range(int(seconds * fps)):
        time = index / fps
        angle = direction + np.pi * 0.9 * np.searchsorted(bounces, time)
        position = position + 60.0 / fps * np.array([np.sin(angle), np.cos(angle)])
        position = np.clip(position, 14, [height - 14, width - 14])
        inside = (y - position[0]) ** 2 + (x - position[1]) ** 2 < 12**2
        grey = np.where(inside, np.roll(texture, position.astype(int), (0, 1)), background)
        frames.append(np.stack([grey, grey // 2, 255 - grey], axis=-1))
    return np.array(frames, dtype=np.uint8)


def draw_sound(seed: int = 0, *, seconds: float = 5.0, shift: float = 0.0, rate: int = SOUND_RATE) -> np.ndarray:
    """float32 (1, N): decaying clicks at the bounces, later by `shift` seconds, over faint noise."""
    rng = np.random.default_rng(seed + 1)
    sound = rng.normal(0, 0.002, int(seconds * rate))
    tail = np.arange(int(0.08 * rate)) / rate
    for time in bounce_times(seed, seconds) + shift:
        start = round(time * rate)
        if 0 <= start < len(sound):
            click = 0.5 * np.exp(-tail * 60) * np.sin(2 * np.pi * rng.uniform(600, 1500) * tail)
            part = sound[start : start + len(click)]
            part += click[: len(part)]
    return sound[None].astype(np.float32)


def write_clip(
    path: Path,
    frames: np.ndarray | None,
    sound: np.ndarray | None,
    *,
    fps: int = 24,
    rate: int = SOUND_RATE,
    codec: str = "libx264",
    pixel_format: str = "yuv420p",
    audio_codec: str = "aac",
    options: dict[str, str] | None = None,
) -> Path:
    """Encode frames (T, H, W, 3) and sound (C, N) into `path`; either may be None."""
    with av.open(str(path), "w", options=options or {}) as container:
        video = audio = None
        if frames is not None:
            video = container.add_stream(codec, rate=fps)
            video.height, video.width = frames.shape[1:3]
            video.pix_fmt = pixel_format
        if sound is not None:
            layout = {1: "mono", 2: "stereo", 6: "5.1"}[sound.shape[0]]
            audio = container.add_stream(audio_codec, rate=rate, layout=layout)
        for index, pixels in enumerate(frames if frames is not None else []):
            frame = av.VideoFrame.from_ndarray(pixels, format="rgb24")
            frame.pts, frame.time_base = index, Fraction(1, fps)
            container.mux(video.encode(frame))
        if video is not None:
            container.mux(video.encode(None))
        if sound is not None:
            chunk = av.AudioFrame.from_ndarray(np.ascontiguousarray(sound, np.float32), format="fltp", layout=layout)
            chunk.sample_rate, chunk.pts, chunk.time_base = rate, 0, Fraction(1, rate)
            container.mux(audio.encode(chunk))
            container.mux(audio.encode(None))
    return path
