"""The calls of PyAV whose arguments differ between its versions."""

from __future__ import annotations

import re
from collections.abc import Mapping
from fractions import Fraction
from itertools import pairwise
from typing import Any

import av
import numpy as np
from av.filter import Graph
from av.video.frame import VideoFrame
from numpy.typing import NDArray

from avbench.errors import EnvironmentProblem

_VERSION = tuple(int(part) for part in re.findall(r"\d+", av.__version__)[:2])
# Tags may hold bytes that are no UTF-8. PyAV 19 always keeps them; before it, they made opening fail unless replaced.
_OPEN_ARGUMENTS: Mapping[str, Any] = {} if _VERSION >= (19, 0) else {"metadata_errors": "replace"}
# The scaler's own threads cost more than they bring at clip sizes. PyAV 16 has none.
_CONVERT_ARGUMENTS: Mapping[str, Any] = {"threads": 1} if _VERSION >= (17, 0) else {}


def open_input(
    url: str, container_options: Mapping[str, str], probe_options: Mapping[str, str]
) -> av.container.InputContainer:
    """Open a media file for reading; tags that are no UTF-8 do not matter.

    Args:
        url: what FFmpeg opens.
        container_options: of the container.
        probe_options: of the decoders that find out what a header leaves out; not used before PyAV 17.1, which crashes
            on them where a container names its streams late (FLV, MPEG program streams).

    Raises:
        EnvironmentProblem: this PyAV does not take our arguments.
        av.FFmpegError, ValueError, OSError: no readable media file.
    """
    options = dict(probe_options) if _VERSION >= (17, 1) else {}
    try:
        container: av.container.InputContainer = av.open(
            url, options=options, container_options=dict(container_options), **_OPEN_ARGUMENTS
        )
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


def to_rgb_scaled(frame: VideoFrame, width: int, height: int) -> NDArray[np.uint8]:
    """A decoded frame scaled to a size and converted to RGB in one step, uint8 (height, width, 3).

    Bilinear, by FFmpeg's filter: from YUV it differs from scaling the RGB of `to_rgb`, and from `VideoFrame.reformat`.

    Raises:
        av.FFmpegError, ValueError: the frame cannot be converted.
    """
    graph = Graph()
    nodes = (
        graph.add_buffer(
            width=frame.width, height=frame.height, format=frame.format, time_base=frame.time_base or Fraction(1)
        ),
        graph.add("scale", f"{width}:{height}:flags=bilinear"),
        graph.add("format", "rgb24"),
        graph.add("buffersink"),
    )
    for node, following in pairwise(nodes):
        node.link_to(following)
    graph.configure()
    graph.push(frame)
    scaled = graph.pull()
    assert isinstance(scaled, VideoFrame)
    return to_rgb(scaled)


def _refusal(error: TypeError) -> EnvironmentProblem:
    return EnvironmentProblem(
        f"PyAV {av.__version__} does not take the arguments that avbench passes ({error}); install a version "
        "that avbench was tried with: python -m pip install 'av>=16,<20'"
    )
