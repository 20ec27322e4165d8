"""How a clip is decoded."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from avbench.media.limits import Limits

DECODING_VERSION = 2
"""Raise it whenever the same file gives other frames, samples or times; cached embeddings are computed anew then."""


def default_threads() -> int:
    """CPUs that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


@dataclass(frozen=True)
class DecodeOptions:
    """How a clip is decoded.

    Attributes:
        threads: threads for per-frame work; None for all CPUs of this process.
        seconds: only this much from the start of each track; None for everything.
        spool: folder where sampled frames and sound wait; None keeps them in memory.
        limits: what the clip may cost.
        progress: called at each gigapixel of decoded video; a watchdog allows `limits.seconds_per_clip` anew then.
    """

    threads: int | None = None
    seconds: float | None = None
    spool: Path | None = None
    limits: Limits = field(default_factory=Limits)
    progress: Callable[[], None] | None = None
