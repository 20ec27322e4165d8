"""Scenes as pixels and sound."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from omninft_train.miniature.world import (
    COLOURS,
    FPS,
    FRAMES,
    PITCHES,
    RADII,
    SAMPLE_RATE,
    SAMPLES,
    SIDE,
    TIMBRES,
    Quality,
    Scene,
    positions,
)
from omninft_train.models.backbone import Decoded

BACKGROUND = 0.15
"""Brightness of the room."""
_ATTACK = 0.004  # seconds in which a contact reaches its full strength
_PEAK = 0.5  # of a contact
_PHASE = np.pi / 4  # spreads a tone evenly over successive windows of the codec
_COARSE = 4  # samples between values of background noise
_HUM = 120.0  # hertz


def render(scene: Scene) -> Decoded:
    """One scene as a clip."""
    return render_scenes([scene])[0]


def render_scenes(scenes: Sequence[Scene]) -> list[Decoded]:
    """Scenes as clips."""
    frames, sound = render_frames(scenes), render_audio(scenes)
    return [Decoded(f, FPS, s[None], SAMPLE_RATE) for f, s in zip(frames, sound, strict=True)]


def frame_times(frames: int = FRAMES) -> NDArray[np.floating[Any]]:
    """When each frame is taken: in the middle of its part of the clip, (T,) seconds."""
    return (np.arange(frames) + 0.5) / FPS


def render_frames(scenes: Sequence[Scene]) -> NDArray[np.uint8]:
    """Frames of scenes: uint8 (B, T, H, W, 3)."""
    centres = np.stack([positions(scene, frame_times()) for scene in scenes]).astype(np.float32)  # (B, T, 2)
    frames = np.empty((len(scenes), FRAMES, SIDE, SIDE, 3), np.uint8)
    for index, scene in enumerate(scenes):
        shape = str(scene.subject.shape)
        cover = coverage(shape, RADII[str(scene.subject.size)], centres[index], scene.quality.blur)
        frames[index] = disturbed(painted(BACKGROUND, cover, str(scene.subject.colour)), scene.quality, scene.seed)
    return frames


def painted(picture: float | NDArray[np.float32], cover: NDArray[np.float32], colour: str) -> NDArray[np.float32]:
    """A picture, (T, H, W, 3) or one value for all, with a shape in front that covers (T, H, W) of each pixel."""
    front: Any = np.array(COLOURS[colour], np.float32)
    mixed: NDArray[np.float32] = picture + cover[..., None] * (front - picture)
    return mixed


def disturbed(picture: NDArray[np.float32], quality: Quality, seed: int) -> NDArray[np.uint8]:
    """A picture (T, H, W, 3) with flicker and grain, in 8 bits; changes its input."""
    random = np.random.default_rng([seed % 2**63, 1])
    picture *= 1 + quality.flicker * random.standard_normal((len(picture), 1, 1, 1), np.float32)
    picture += quality.grain * random.standard_normal(picture.shape, np.float32)
    frames: NDArray[np.uint8] = np.clip(picture * 255 + 0.5, 0, 255).astype(np.uint8)
    return frames


def coverage(
    shape: str, radius: float, centres: NDArray[np.float32], blur: float = 2.0, side: int = SIDE
) -> NDArray[np.float32]:
    """How much of each pixel a shape covers.

    Args:
        shape: "circle", "square" or "triangle".
        radius: of a circle of about the same area, in pixels.
        centres: (T, 2), row and column in pixels, pixel centres at 0, 1, ....
        blur: width of the edge in pixels.
        side: height and width of a frame in pixels.

    Returns:
        (T, H, W) in [0, 1].
    """
    position = np.arange(side, dtype=np.float32)
    down = (position - centres[:, 0:1])[:, :, None]  # (T, H, 1)
    right = (position - centres[:, 1:2])[:, None, :]  # (T, 1, W)
    if shape == "circle":
        inside = radius - np.sqrt(down**2 + right**2)
    elif shape == "square":
        inside = 0.89 * radius - np.maximum(np.abs(down), np.abs(right))
    else:
        # An equilateral triangle on its base; all three sides are equally far from the centre.
        slope = np.float32(np.sqrt(3) / 2)
        inside = 0.78 * radius - np.maximum(down, slope * np.abs(right) - 0.5 * down)
    return np.clip(0.5 + inside / blur, 0, 1).astype(np.float32)


def render_audio(scenes: Sequence[Scene]) -> NDArray[np.float32]:
    """Sound of scenes: float32 (B, N)."""
    return np.stack(
        [
            contact_sound(str(scene.subject.pitch), str(scene.subject.timbre), scene.impacts, scene.quality, scene.seed)
            for scene in scenes
        ]
    )


def contact_sound(
    pitch: str, timbre: str, impacts: Sequence[float], quality: Quality, seed: int, samples: int = SAMPLES
) -> NDArray[np.float32]:
    """Sound of contacts at some times in seconds, with hum and hiss, (N,)."""
    time = np.arange(samples) / SAMPLE_RATE
    strength = np.zeros(samples)
    ratio, amplitude, decay = TIMBRES[timbre]
    # The tone runs through and contacts open it, so its phase depends on the time alone and not on the contact.
    cycles = 2 * np.pi * PITCHES[pitch] * time
    tone = np.cos(cycles + _PHASE) + amplitude * np.cos(ratio * cycles + _PHASE)
    for impact in impacts:
        first = int(np.ceil(impact * SAMPLE_RATE))
        since = time[first:] - impact
        strength[first:] += np.minimum(since / _ATTACK, 1) * np.exp(-since / decay)
    random = np.random.default_rng([seed % 2**63, 2])
    sound = _PEAK / (1 + amplitude) * strength * tone
    sound += quality.hum * np.cos(2 * np.pi * _HUM * time) + _hiss(quality.hiss, samples, random)
    return np.clip(sound, -1, 1).astype(np.float32)


def _hiss(level: float, samples: int, random: np.random.Generator) -> NDArray[np.float64]:
    """Noise without steep edges in its spectrum, mostly below 1 kHz."""
    coarse = level * random.standard_normal(samples // _COARSE + 1)
    return np.interp(np.arange(samples) / _COARSE, np.arange(len(coarse)), coarse)


def enlarge(clip: Decoded, factor: int) -> Decoded:
    """The clip with each pixel as a square of `factor` pixels, to be looked at."""
    frames = clip.frames.repeat(factor, axis=1).repeat(factor, axis=2)
    return dataclasses.replace(clip, frames=frames)
