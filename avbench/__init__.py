"""avbench: evaluation of joint audio-video generators. One environment, one decode, one command."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from avbench.api import score_clips
    from avbench.clips import Category, Clip, Prompt
    from avbench.media import Frame, Frames, FrameSeries, Limits, Media, Waveform
    from avbench.metrics import Score, Scorer, scorer
    from avbench.results import Run, load_run
    from avbench.sources import Source, load_source

__all__ = [
    "Category",
    "Clip",
    "Frame",
    "FrameSeries",
    "Frames",
    "Limits",
    "Media",
    "Prompt",
    "Run",
    "Score",
    "Scorer",
    "Source",
    "Waveform",
    "load_run",
    "load_source",
    "score_clips",
    "scorer",
]

# Imported at first use, so that "avbench --help" and light users do not wait for pandas and OpenCV.
_HOMES = {
    "avbench.api": ("score_clips",),
    "avbench.clips": ("Category", "Clip", "Prompt"),
    "avbench.media": ("Frame", "FrameSeries", "Frames", "Limits", "Media", "Waveform"),
    "avbench.metrics": ("Score", "Scorer", "scorer"),
    "avbench.results": ("Run", "load_run"),
    "avbench.sources": ("Source", "load_source"),
}


def __getattr__(name: str) -> Any:
    for home, names in _HOMES.items():
        if name in names:
            return getattr(import_module(home), name)
    raise AttributeError(f"module 'avbench' has no attribute {name!r}")
