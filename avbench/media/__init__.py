"""Decoded clips: one open and one demux pass per file, every view of every scorer in that pass."""

from avbench.media.decode import decode_clip
from avbench.media.info import AudioInfo, VideoInfo
from avbench.media.limits import Limits
from avbench.media.media import Media
from avbench.media.sampling import All, AtRate, Linspace, Middle, Sampling, windows
from avbench.media.views import Frame, Frames, FrameSeries, View, Waveform

__all__ = [
    "All",
    "AtRate",
    "AudioInfo",
    "Frame",
    "FrameSeries",
    "Frames",
    "Limits",
    "Linspace",
    "Media",
    "Middle",
    "Sampling",
    "VideoInfo",
    "View",
    "Waveform",
    "decode_clip",
    "windows",
]
