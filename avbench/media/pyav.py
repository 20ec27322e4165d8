"""The calls of PyAV whose arguments differ between its versions."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import av
import numpy as np
from av.video.frame import VideoFrame
from numpy.typing import NDArray

from avbench.errors import EnvironmentProblem

_MAJOR = int(av.__version__.split(".")[0])
# Tags may hold bytes that are no UTF-8. PyAV 19 always keeps them; before it, they made opening fail unless replaced.
_OPEN_ARGUMENTS: Mapping[str, Any] = {} if _MAJOR >= 19 else {"metadata_errors": "replace"}
# The scaler's own threads cost more than they bring at clip sizes. PyAV 16 has none.
_CONVERT_ARGUMENTS: Mapping[str, Any] = {"threads": 1} if _MAJOR >= 17 else {}


def open_input(url: str, options: Mapping[str, str]) -> av.container.InputContainer:
    """Open a media file for reading; tags that are no UTF-8 do not matter.

    Raises:
        EnvironmentProblem: this PyAV does not take our arguments.
        av.FFmpegError, ValueError, OSError: no readable media file.
    """
    try:
        # For the container alone: before version 17.1, PyAV crashes on options for streams that it does not know yet,
        # as those of FLV and MPEG program streams.
        container: av.container.InputContainer = av.open(url, container_options=dict(options), **_OPEN_ARGUMENTS)
    except TypeError as error:
        raise _refusal(error) from error
    return container


def to_rgb(frame: VideoFrame) -> NDArray[np.uint8]:
    """A decoded frame as RGB, uint8 (H, W, 3).

    Raises:
        EnvironmentProblem: this PyAV does not take our arguments.
        av.FFmpegError, ValueError: the frame cannot be converted.
    """
    try:
        return np.asarray(frame.to_ndarray(format="rgb24", **_CONVERT_ARGUMENTS), dtype=np.uint8)
    except TypeError as error:
        raise _refusal(error) from error


def _refusal(error: TypeError) -> EnvironmentProblem:
    return EnvironmentProblem(
        f"PyAV {av.__version__} does not take the arguments that avbench passes ({error}); install a version "
        "that avbench was tried with: python -m pip install 'av>=16,<20'"
    )
