"""Controlled damage: pure functions on decoded clips, each with severities from mild to strong."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Collection
from dataclasses import dataclass, replace

import cv2
import numpy as np
from numpy.typing import NDArray

from avbench.media import Media, Waveform
from avbench.metrics.base import Need

Pixels = NDArray[np.uint8]
Samples = NDArray[np.float32]

_LOW_PASS_ORDER = 8
_LEAST_FRACTION_OF_SHIFT = 0.95


class Inapplicable(Exception):  # noqa: N818 - a property of a clip and a severity, not an error
    """This corruption at this severity does not exist for this clip; the message says why."""


@dataclass(frozen=True)
class Variant:
    """Arguments of a corruption.

    Attributes:
        severity: how much, in the corruption's unit.
        seed: seeds of the generator; the same for all severities, so that severities differ in strength alone.
        other: another clip of the source, or None where there is none.
    """

    severity: float
    seed: tuple[int, ...] = (0,)
    other: Media | None = None


@dataclass(frozen=True)
class Corruption:
    """One way of making a clip worse.

    Attributes:
        name: short, snake_case.
        touches: the track that it changes, or "prompt".
        severities: from mild to strong. The untouched clip is level 0 of every corruption and not listed here.
        unit: of the severities; empty where there is only one.
        untouched: how level 0 is written.
        what: one line for tables.
        apply: the damaged clip; the key of the result is set by the caller.
        between: each track stays good and they no longer belong together, so metrics of one track are not asked.
        on_request: done only where it is named.
    """

    name: str
    touches: Need
    severities: tuple[float, ...]
    unit: str
    untouched: str
    what: str
    apply: Callable[[Media, Variant], Media]
    between: bool = False
    on_request: bool = False

    def concerns(self, needs: Collection[Need]) -> bool:
        """Whether a metric with these needs can be expected to notice."""
        return self.touches in needs and (not self.between or len(needs) > 1)

    @property
    def labels(self) -> tuple[str, ...]:
        """All levels as text, the untouched clip first."""
        return (self.untouched, *(f"{severity:g}" for severity in self.severities))

    @property
    def binary(self) -> bool:
        """Whether there is only with and without."""
        return len(self.severities) == 1


def seed_of(seed: int, *names: str) -> tuple[int, ...]:
    """Seeds that differ between clips and corruptions and do not depend on their order."""
    digest = hashlib.sha256("|".join(names).encode()).digest()
    return (seed, *np.frombuffer(digest[:16], dtype=np.uint32).tolist())


def shift_audio(sound: Samples, rate: int, seconds: float) -> Samples:
    """The sound (C, N) later by `seconds`; what leaves at the end comes in at the start, so the length stays.

    Raises:
        Inapplicable: the sound is too short: shifted around further than by half its length, it comes closer again.
    """
    length = sound.shape[1] / rate
    if min(seconds, length - seconds) < _LEAST_FRACTION_OF_SHIFT * seconds:
        raise Inapplicable(f"sound of {length:.2f} s is too short to be shifted by {seconds:g} s")
    return np.roll(sound, round(seconds * rate), axis=1)


def blur(frames: Pixels, sigma: float) -> Pixels:
    """Frames (T, H, W, 3) under a Gaussian of `sigma` pixels."""
    return np.stack([cv2.GaussianBlur(frame, (0, 0), sigma) for frame in frames]).astype(np.uint8)


def shrink_frames(frames: Pixels, fraction: float) -> Pixels:
    """Frames (T, H, W, 3) at a fraction of their sides, in the middle of black ones of the old size."""
    height, width = frames.shape[1:3]
    small = max(1, round(height * fraction)), max(1, round(width * fraction))
    top, left = (height - small[0]) // 2, (width - small[1]) // 2
    result = np.zeros_like(frames)
    for index, frame in enumerate(frames):
        shrunk = cv2.resize(frame, small[::-1], interpolation=cv2.INTER_AREA)
        result[index, top : top + small[0], left : left + small[1]] = shrunk
    return result


def add_video_noise(frames: Pixels, sigma: float, seed: tuple[int, ...]) -> Pixels:
    """Frames (T, H, W, 3) with independent Gaussian noise of `sigma` of 255 on each pixel and channel."""
    generator = np.random.default_rng(seed)
    noisy = np.empty(frames.shape, dtype=np.uint8)
    for index, frame in enumerate(frames):  # frame by frame: a whole clip of floats is large
        noise = generator.standard_normal(frame.shape, dtype=np.float32) * np.float32(sigma)
        noisy[index] = np.clip(np.rint(frame + noise), 0, 255)
    return noisy


def drop_frames(frames: Pixels, fraction: float, seed: tuple[int, ...]) -> Pixels:
    """Frames (T, H, W, 3) of which a fraction is replaced by what was shown before; the first one stays.

    The frames dropped at a small fraction are among those dropped at a larger one.
    """
    count = len(frames)
    order = np.random.default_rng(seed).permutation(count - 1) + 1
    kept = np.arange(count)
    kept[order[: round(fraction * (count - 1))]] = 0
    return np.asarray(frames[np.maximum.accumulate(kept)])


def low_pass(sound: Samples, rate: int, cutoff: float) -> Samples:
    """The sound (C, N) without what lies above `cutoff` Hz: a Butterworth filter of order 8, forward and backward.

    Applied to the spectrum of the whole clip, so it delays nothing. -6 dB at the cutoff.
    """
    spectrum = np.fft.rfft(sound.astype(np.float64), axis=1)
    frequency = np.fft.rfftfreq(sound.shape[1], 1.0 / rate)
    gain = 1.0 / (1.0 + (frequency / cutoff) ** (2 * _LOW_PASS_ORDER))
    return np.asarray(np.fft.irfft(spectrum * gain, n=sound.shape[1], axis=1), dtype=np.float32)


def clip_audio(sound: Samples, gain_db: float) -> Samples:
    """The sound (C, N) amplified by `gain_db` and cut at full scale."""

    return np.asarray(np.clip(sound * 10 ** (gain_db / 20), -1.0, 1.0), dtype=np.float32)


def add_audio_noise(sound: Samples, snr_db: float, seed: tuple[int, ...]) -> Samples:
    """The sound (C, N) with white noise `snr_db` below its own power.

    Raises:
        Inapplicable: silence has no signal-to-noise ratio.
    """
    power = float(np.mean(np.square(sound, dtype=np.float64)))
    if power == 0:
        raise Inapplicable("silent sound has no signal-to-noise ratio")
    noise = np.random.default_rng(seed).standard_normal(sound.shape, dtype=np.float32)
    return np.asarray(sound + noise * np.float32(np.sqrt(power * 10 ** (-snr_db / 10))), dtype=np.float32)


def fit_length(sound: Samples, samples: int) -> Samples:
    """The sound (C, N) cut, or repeated from its start, to `samples`."""
    fitted: Samples = sound[:, np.arange(samples) % sound.shape[1]]
    return fitted


def exchange_audio(media: Media, variant: Variant) -> Media:
    """The clip with the sound of the other one, at its rate and channels, over the own length and start.

    Raises:
        Inapplicable: there is no other clip with sound.
    """
    other = variant.other
    if other is None or other.waveform is None or other.audio is None:
        raise Inapplicable("no other clip of this source has a sound")
    assert media.audio is not None
    samples = max(1, round(media.audio.duration * other.audio.sample_rate))
    info = replace(other.audio, samples=samples, start=media.audio.start, gaps=())
    return replace(media, waveform=fit_length(other.waveform, samples), audio=info)


def _on_audio(change: Callable[[Samples, int, Variant], Samples]) -> Callable[[Media, Variant], Media]:
    def apply(media: Media, variant: Variant) -> Media:
        assert media.waveform is not None
        assert media.audio is not None
        # Where its gaps lie then, nobody knows.
        audio = replace(media.audio, gaps=())
        return replace(media, waveform=change(media.waveform, audio.sample_rate, variant), audio=audio)

    return apply


def _on_video(change: Callable[[Pixels, Variant], Pixels]) -> Callable[[Media, Variant], Media]:
    def apply(media: Media, variant: Variant) -> Media:
        assert media.frames is not None
        return replace(media, frames=change(media.frames, variant))

    return apply


def corrupt(corruption: Corruption, media: Media, variant: Variant, key: str) -> Media:
    """The damaged clip. What was computed on the track that stays is kept; a clip without the track stays as it is.

    Raises:
        Inapplicable: this severity does not exist for this clip.
    """
    if corruption.touches == "prompt" or getattr(media, corruption.touches) is None:
        return media
    audio_changes = corruption.touches == "audio"
    views = {v: array for v, array in media.views.items() if isinstance(v, Waveform) != audio_changes}
    failures = {v: error for v, error in media.failures.items() if isinstance(v, Waveform) != audio_changes}
    return replace(corruption.apply(media, variant), key=key, views=views, failures=failures)


CORRUPTIONS = (
    Corruption(
        "sound_shift", "audio", (0.1, 0.2, 0.5, 1.0, 2.0), "seconds", "0",
        "the sound comes later; its end moves to its start",
        _on_audio(lambda sound, rate, v: shift_audio(sound, rate, v.severity)),
    ),
    Corruption(
        "sound_of_another_clip", "audio", (1.0,), "", "0", "the sound of another clip", exchange_audio, between=True
    ),
    Corruption(
        "blur", "video", (1.0, 2.0, 4.0, 8.0), "sigma in pixels", "0", "Gaussian blur",
        _on_video(lambda frames, v: blur(frames, v.severity)),
    ),
    Corruption(
        "picture_noise", "video", (5.0, 10.0, 20.0, 40.0), "sigma of 255", "0",
        "Gaussian noise on each pixel and channel",
        _on_video(lambda frames, v: add_video_noise(frames, v.severity, v.seed)),
    ),
    Corruption(
        "small_picture", "video", (0.7, 0.5, 0.35, 0.25), "fraction of the sides", "1",
        "the frame smaller, black around it",
        _on_video(lambda frames, v: shrink_frames(frames, v.severity)), on_request=True,
    ),
    Corruption(
        "frame_drops", "video", (0.1, 0.25, 0.5, 0.75), "fraction of frames", "0",
        "frames replaced by their predecessor",
        _on_video(lambda frames, v: drop_frames(frames, v.severity, v.seed)),
    ),
    Corruption(
        "low_pass", "audio", (8.0, 4.0, 2.0, 1.0), "cutoff in kHz", "none", "no sound above a cutoff",
        _on_audio(lambda sound, rate, v: low_pass(sound, rate, 1000 * v.severity)),
    ),
    Corruption(
        "clipping", "audio", (6.0, 12.0, 24.0), "gain in dB", "0", "amplified, then cut at full scale",
        _on_audio(lambda sound, rate, v: clip_audio(sound, v.severity)),
    ),
    Corruption(
        "sound_noise", "audio", (30.0, 20.0, 10.0, 0.0), "signal-to-noise ratio in dB", "none", "white noise",
        _on_audio(lambda sound, rate, v: add_audio_noise(sound, v.severity, v.seed)),
    ),
    Corruption(
        "wrong_prompt", "prompt", (1.0,), "", "0", "the prompt of another clip", lambda media, v: media, between=True
    ),
)  # fmt: skip
"""All of them, in the order of tables and plots."""
USUAL = tuple(corruption for corruption in CORRUPTIONS if not corruption.on_request)
"""Those that are done where none is named."""
