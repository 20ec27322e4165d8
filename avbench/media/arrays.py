"""Frames and sound from memory: what is accepted, and as what."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from avbench.media.info import AudioInfo, VideoInfo
from avbench.media.layout import speakers

# Offset and scale of PCM by its type. Other integers are no PCM: int64 may hold samples of any width.
_PCM = {"uint8": (128, 2**7), "int8": (0, 2**7), "int16": (0, 2**15), "int32": (0, 2**31)}
# +24 dBFS. Codecs and vocoders overshoot by a few dB; integers that were cast to float lie far above.
_HIGHEST_LEVEL = 16.0
# No named layout has more; an array with more rows is samples by channels, or a spectrogram.
_MOST_CHANNELS = 64
# Below it an array with more rows than columns may really be channels of very few samples.
_FEW_CHANNELS = 8


def check_frames(frames: Any, fps: Any) -> tuple[VideoInfo | None, NDArray[np.uint8] | None]:
    """Frames as uint8 (T, H, W, 3) with their metadata, not copied where they are that already.

    Raises:
        ValueError: wrong shape, dtype or rate.
    """
    if frames is None:
        return None, None
    pixels = _array(frames, "frames")
    if cure := _frames_cure(pixels):
        raise ValueError(f"frames must be uint8 (T, H, W, 3), got {pixels.dtype} {pixels.shape}: {cure}")
    rate = _number(fps, "fps")
    count, height, width, _ = pixels.shape
    return VideoInfo(np.arange(count) / rate, rate, width, height), pixels


def check_waveform(
    waveform: Any, sample_rate: Any, layout: str | None = None
) -> tuple[AudioInfo | None, NDArray[np.float32] | None]:
    """Sound as float32 (C, N) with its metadata, not copied where it is that already.

    Raises:
        ValueError: wrong shape, dtype, rate or layout, or a masked array.
    """
    if waveform is None:
        return None, None
    if sample_rate is None:
        raise ValueError("waveform needs a positive sample_rate, got None")
    rate = _number(sample_rate, "sample_rate")
    if rate != int(rate):
        raise ValueError(f"sample_rate must be a whole number of samples per second, got {sample_rate}")
    sound = _array(waveform, "waveform")
    sound = sound[None] if sound.ndim == 1 else sound
    if cure := _waveform_cure(sound):
        raise ValueError(f"waveform must be (C, N) or (N,), got {sound.dtype} {np.shape(waveform)}: {cure}")
    sound = _samples(sound)
    if layout is not None and len(speakers(layout)) != len(sound):
        raise ValueError(f"layout {layout} has {len(speakers(layout))} channels, the waveform {len(sound)}")
    return AudioInfo(int(rate), sound.shape[0], sound.shape[1], source="memory", layout=layout), sound


def _array(value: Any, name: str) -> NDArray[Any]:
    """A NumPy array of what the caller has: an array, a tensor on any device, or nested lists."""
    if isinstance(value, np.ma.MaskedArray):
        raise ValueError(f"{name} is a masked array, and what is masked has no value; fill it with .filled(...)")
    try:
        if hasattr(value, "detach"):  # a torch tensor; torch itself need not be installed
            tensor = value.detach().cpu()
            value = tensor.float() if str(tensor.dtype) == "torch.bfloat16" else tensor
        array = np.asarray(value)
    except (TypeError, ValueError, RuntimeError) as error:
        raise ValueError(f"{name} cannot be read as one array ({error}); pass one NumPy array or tensor") from error
    if array.dtype.name == "bfloat16":
        array = array.astype(np.float32)
    if array.dtype.kind not in "biuf":
        raise ValueError(f"{name} must hold numbers, got {type(value).__name__} of {array.dtype}")
    return array


def _number(value: Any, name: str) -> float:
    """A positive number; Fraction, NumPy and torch scalars count."""
    try:
        number = math.nan if isinstance(value, (str, bytes, bool, np.bool_)) else float(value)
    except (TypeError, ValueError, OverflowError, RuntimeError):
        number = math.nan
    if not (math.isfinite(number) and number > 0):
        raise ValueError(f"{name} must be a positive number, got {value!r}")
    return number


def _frames_cure(pixels: NDArray[Any]) -> str | None:
    """What to do about frames that are no uint8 (T, H, W, 3); None for those that are."""
    return _frames_shape_cure(pixels.shape) or _frames_dtype_cure(pixels)


def _frames_shape_cure(shape: tuple[int, ...]) -> str | None:
    if len(shape) == 5:
        return "one clip at a time, pass frames[0]"
    if len(shape) == 3:
        return "pass frames[None] for a single image, or repeat grey frames along a last axis of 3"
    if len(shape) != 4:
        return "four axes are needed"
    if 0 in shape:
        return "it holds no frame; pass None for a clip without video"
    if shape[3] == 3:
        return None
    if shape[1] == 3:
        return "looks like (T, C, H, W), pass it with the axes in the order (0, 2, 3, 1)"
    if shape[0] == 3:
        return "looks like (C, T, H, W), pass it with the axes in the order (1, 2, 3, 0)"
    return {
        4: "drop the alpha channel, pass frames[..., :3]",
        1: "repeat grey frames along the last axis",
    }.get(shape[3], "the last axis must be red, green, blue")


def _frames_dtype_cure(pixels: NDArray[Any]) -> str | None:
    if pixels.dtype == np.uint8:
        return None
    if pixels.dtype.kind != "f":
        return "pass values from 0 to 255 as uint8"
    low, high = float(pixels.min()), float(pixels.max())
    if not (math.isfinite(low) and math.isfinite(high)):
        return "it holds NaN or infinite values"
    scaled = "frames * 255" if high <= 1 else "frames"
    scaled = "(frames + 1) * 127.5" if -1 <= low < 0 and high <= 1 else scaled
    return f"its values lie from {low:.3g} to {high:.3g}, pass ({scaled}).round().clip(0, 255) as uint8"


def _waveform_cure(sound: NDArray[Any]) -> str | None:
    """What to do about sound that is no (C, N) of a known type; None for one that is."""
    if sound.ndim == 3:
        return "one clip at a time, pass waveform[0]"
    if sound.ndim != 2:
        return "two axes are needed"
    rows, columns = sound.shape
    if sound.size == 0:
        return "it holds no samples; pass None for a clip without sound"
    if rows > max(columns, _FEW_CHANNELS):
        return "looks like (N, C), pass waveform.T"
    if rows > _MOST_CHANNELS:
        return f"more than {_MOST_CHANNELS} channels; a spectrogram is no waveform"
    if sound.dtype.kind != "f" and sound.dtype.name not in _PCM:
        return f"integers are read as PCM of {', '.join(_PCM)}; pass one of these, or float in [-1, 1]"
    return None


def _samples(sound: NDArray[Any]) -> NDArray[np.float32]:
    """Float as it is, PCM scaled by its type, as float32."""
    if sound.dtype.name in _PCM:
        offset, scale = _PCM[sound.dtype.name]
        return np.asarray((sound.astype(np.float64) - offset) / scale, np.float32)
    low, high = float(sound.min()), float(sound.max())
    if not (math.isfinite(low) and math.isfinite(high)):
        raise ValueError("waveform holds NaN or infinite samples; it must be finite")
    if max(-low, high) > _HIGHEST_LEVEL:
        raise ValueError(
            f"waveform has values up to {max(-low, high):.4g}, where 1 is full scale: pass PCM as the integers it was, "
            "or divide by full scale (32768 for int16)"
        )
    return np.asarray(sound, np.float32)
