"""Write generated clips as MP4 files."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import av
import numpy as np
from numpy.typing import NDArray

from omninft_train.errors import EnvironmentProblem
from omninft_train.files import path_aside
from omninft_train.models.backbone import Decoded

# Sampling rates that AAC can carry, in samples per second; sound at another one is resampled to 48 kHz.
_AAC_RATES = (8000, 11025, 12000, 16000, 22050, 24000, 32000, 44100, 48000)
_LAYOUTS = {1: "mono", 2: "stereo"}
# Constant quality of H.264; lower is better. 18 is visually close to the original.
_QUALITY = "18"


def save_mp4(decoded: Decoded, path: Path) -> Path:
    """Write a clip as H.264 and AAC.

    Written under another name and renamed, so that a file with the right name is whole. Frames with an odd side get
    their last row or column twice, which H.264 in 4:2:0 needs.

    Args:
        decoded: frames uint8 (T, H, W, 3), waveform (1 or 2, N); values outside [-1, 1] are cut off.
        path: ends in .mp4; missing folders are made.

    Returns:
        `path`.

    Raises:
        EnvironmentProblem: the file cannot be written.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with (
            path_aside(path) as aside,
            av.open(str(aside), "w", format="mp4", options={"movflags": "faststart"}) as container,
        ):
            _write(container, decoded)
    except (OSError, av.error.FFmpegError) as error:
        raise EnvironmentProblem(
            f"{path}: the clip cannot be written ({error}). Free space, or choose another folder."
        ) from error
    return path


def _write(container: av.container.OutputContainer, decoded: Decoded) -> None:
    frames = _even(decoded.frames)
    rate = Fraction(decoded.fps).limit_denominator(1001)
    video = container.add_stream("libx264", rate=rate, options={"crf": _QUALITY})
    video.height, video.width, video.pix_fmt = frames.shape[1], frames.shape[2], "yuv420p"
    audio_rate = decoded.sample_rate if decoded.sample_rate in _AAC_RATES else 48_000
    layout = _LAYOUTS[decoded.waveform.shape[0]]
    audio = container.add_stream("aac", rate=audio_rate, layout=layout)
    for index, pixels in enumerate(frames):
        frame = av.VideoFrame.from_ndarray(pixels, format="rgb24")
        frame.pts, frame.time_base = index, 1 / rate
        container.mux(video.encode(frame))
    container.mux(video.encode(None))
    for chunk in _audio_frames(decoded, layout, audio_rate):
        container.mux(audio.encode(chunk))
    container.mux(audio.encode(None))


def _audio_frames(decoded: Decoded, layout: str, rate: int) -> list[av.AudioFrame]:
    finite = np.nan_to_num(decoded.waveform, nan=0.0, posinf=1.0, neginf=-1.0)
    samples = np.ascontiguousarray(finite.clip(-1, 1), np.float32)  # (C, N)
    frame = av.AudioFrame.from_ndarray(samples, format="fltp", layout=layout)
    frame.sample_rate, frame.pts, frame.time_base = decoded.sample_rate, 0, Fraction(1, decoded.sample_rate)
    if rate == decoded.sample_rate:
        return [frame]
    resampler = av.AudioResampler(format="fltp", layout=layout, rate=rate)
    return [*resampler.resample(frame), *resampler.resample(None)]


def _even(frames: NDArray[np.uint8]) -> NDArray[np.uint8]:
    height, width = frames.shape[1:3]
    return np.pad(frames, ((0, 0), (0, height % 2), (0, width % 2), (0, 0)), mode="edge")
