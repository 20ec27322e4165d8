"""One decoded track."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from avbench.media.spool import Spooled
from avbench.media.views import View


@dataclass
class DecodedTrack:
    """Result of decoding a track: metadata and views, or a `problem`."""

    info: Any
    problem: str | None
    views: dict[View, NDArray[Any] | Spooled]
    failures: dict[View, Exception] = field(default_factory=dict)
    waveform: NDArray[np.float32] | None = None
