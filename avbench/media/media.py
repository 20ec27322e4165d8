"""Media: a decoded clip, from a file or from tensors. Scorers cannot tell the difference."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any, SupportsFloat

import numpy as np
from av.video.frame import VideoFrame
from numpy.typing import ArrayLike, NDArray

from avbench.media.arrays import check_frames, check_waveform
from avbench.media.info import AudioInfo, VideoInfo
from avbench.media.pyav import to_rgb_scaled
from avbench.media.spool import Spooled
from avbench.media.views import Frame, Frames, FrameSeries, Pixels, View, Waveform


@dataclass
class Media:
    """A decoded clip.

    Attributes:
        key: sha256 of the file(s), or an id that the trainer gives a rollout.
        video, audio: metadata, or None where the track is absent or broken.
        problems: reason per broken track ("video", "audio"); an absent track has no entry.
        views: what was computed while decoding; some of it may wait on disk.
        failures: what a view raised instead; asking for it raises the same.
        frames: all frames uint8 (T, H, W, 3) when the clip came from tensors, otherwise None.
        waveform: decoded sound float32 (C, N), not clamped; None without sound.
    """

    key: str
    video: VideoInfo | None
    audio: AudioInfo | None
    problems: dict[str, str] = field(default_factory=dict)
    views: dict[View, NDArray[Any] | Spooled] = field(default_factory=dict)
    failures: dict[View, Exception] = field(default_factory=dict)
    frames: NDArray[np.uint8] | None = None
    waveform: NDArray[np.float32] | None = None

    @classmethod
    def from_arrays(
        cls,
        key: str,
        frames: ArrayLike | None,
        fps: SupportsFloat,
        waveform: ArrayLike | None = None,
        sample_rate: SupportsFloat | None = None,
        *,
        layout: str | None = None,
    ) -> Media:
        """Build a clip from memory. Nothing is guessed: what could mean two things is refused with the cure.

        NumPy arrays, nested lists and torch tensors (any device, with or without gradient) are taken. uint8 frames
        and float32 sound in memory are not copied.

        Args:
            key: unique id of the content.
            frames: uint8 (T, H, W, 3) RGB; None for no video. Other dtypes and orders of axes are refused.
            fps: frames per second, a positive number; a Fraction too. Not looked at without frames.
            waveform: (C, N) or (N,); None for no sound. float16, bfloat16, float32 or float64 nominally in [-1, 1],
                refused above 16, because that is PCM cast to float. Integers are PCM: int8 / 2^7, int16 / 2^15,
                int32 / 2^31, (uint8 - 128) / 2^7; others are refused. So is (N, C).
            sample_rate: samples per second, a whole positive number, required with `waveform`.
            layout: FFmpeg's name of the channel layout, such as "5.1" or "quad"; without it three channels and more
                have no speaker positions, and `loudness` skips them.

        Raises:
            ValueError: wrong shape, dtype, value range, rate or layout; the message says what to pass.
        """
        video, pixels = check_frames(frames, fps)
        audio, sound = check_waveform(waveform, sample_rate, layout)
        return cls(key=key, video=video, audio=audio, frames=pixels, waveform=sound)

    def view(self, view: View) -> NDArray[Any]:
        """The array that `view` describes.

        Raises:
            LookupError: the track is missing, or the clip came from a file and the scorer did not declare
                this view.
        """
        if view in self.failures:
            raise self.failures[view]
        if view not in self.views:
            self.views[view] = self._compute(view)
        array = self.views[view]
        return array.open() if isinstance(array, Spooled) else array

    def keep_only(self, views: Iterable[View]) -> None:
        """Drop what no later reader asks for."""
        kept = set(views)
        self.views = {view: array for view, array in self.views.items() if view in kept}

    def _compute(self, view: View) -> NDArray[Any]:
        if isinstance(view, Waveform):
            if self.waveform is None or self.audio is None:
                raise LookupError(f"{view} asked of a clip without sound; add 'audio' to the scorer's needs")
            return render_waveform(self.waveform, self.audio.sample_rate, view)
        if self.video is None:
            raise LookupError(f"{view} asked of a clip without video; add 'video' to the scorer's needs")
        if self.frames is None:
            raise LookupError(f"{view} was not declared in the scorer's views, so it was not decoded")
        if isinstance(view, Frames):
            chosen = self.frames[view.sampling.indices(self.video.times, self.video.fps)]
            if view.scaled is not None:
                chosen = np.stack([_scaled(pixels, view.scaled) for pixels in chosen])
            return chosen if view.transform is None else np.stack([view.transform(f) for f in chosen])
        return series_array(view, _steps(view, self._iterate()))

    def _iterate(self) -> Iterator[Frame]:
        if self.frames is None or self.video is None:
            return
        for index, (pixels, time) in enumerate(zip(self.frames, self.video.times, strict=True)):
            yield Frame(pixels, index, float(time))


def _scaled(pixels: Pixels, size: tuple[int, int]) -> Pixels:
    return to_rgb_scaled(VideoFrame.from_ndarray(np.ascontiguousarray(pixels), format="rgb24"), *size)


def _steps(view: FrameSeries, frames: Iterable[Frame]) -> Iterator[tuple[float, ...]]:
    previous: Frame | None = None
    for frame in frames:
        yield view.step(previous, frame)
        previous = frame


def series_array(view: FrameSeries, rows: Iterable[tuple[float, ...]]) -> NDArray[np.float64]:
    """Rows of a series as float64 (T, K)."""
    return np.array(list(rows), dtype=np.float64).reshape(-1, view.width)


def render_waveform(waveform: NDArray[np.float32], rate: int, view: Waveform) -> NDArray[np.float32]:
    """Apply a `Waveform` view to a decoded track (C, N)."""
    # Clamp before mixing: a 16-bit file clamps each channel.
    sound = np.clip(waveform, -1.0, 1.0) if view.limit else waveform
    if view.mono and sound.shape[0] > 1:
        sound = sound.mean(axis=0, keepdims=True, dtype=np.float32)
    if view.rate is not None and view.rate != rate and view.resampler == "sinc":
        from avbench.media.resample import resample_sinc

        sound = resample_sinc(sound, rate, view.rate)
    elif view.rate is not None and view.rate != rate:
        import soxr

        sound = np.ascontiguousarray(soxr.resample(sound.T, rate, view.rate, quality="HQ").T)
    return sound.astype(np.float32, copy=False)
