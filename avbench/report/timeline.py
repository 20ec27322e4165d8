"""The curves behind `av_offset` as paths on one time axis; timeline.js puts them into an SVG."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from avbench.pages.axes import Axis, make_axis, ticks
from avbench.report.details import number, parse
from avbench.report.findings import LATE_SECONDS, describe_offset

WIDTH, LEFT, RIGHT = 1000, 76, 990
MOST_POINTS = 400
MOST_ONSETS = 200
_LANES = (("sound", "wave", 6.0, 52.0), ("onsets", "onset", 64.0, 110.0), ("motion", "motion", 122.0, 176.0))
HEIGHT = 200


def timeline(detail: str, reason: str = "") -> dict[str, Any] | None:
    """What the page draws for one clip.

    Args:
        detail: JSON text of an `av_offset` row: curves in 0..1 with their rates in hertz; `audio_start` and
            `video_start` in seconds on the clip's clock; `onset_times` in seconds after `audio_start`;
            `offset` in seconds (null where there is none) and its `confidence`.
        reason: the row's reason where it has no value.

    Returns:
        Paths and positions in pixels, or None where `detail` holds no usable curves.
    """
    content = parse(detail)
    usable = _usable(content)
    if not usable:
        return None
    first = min(0.0, *(start for _, _, start in usable.values()))
    last = max(start + len(curve) / rate for curve, rate, start in usable.values())
    axis = make_axis(first, last, LEFT, RIGHT)
    lanes = []
    for label, kind, top, bottom in _LANES:
        if kind in usable:
            path = _path(*usable[kind], axis, kind, top, bottom)
            lanes.append({"name": label, "kind": kind, "top": top, "bottom": bottom, "d": path})
    return {
        "width": WIDTH, "height": HEIGHT, "lanes": lanes, "first": axis.low, "last": axis.high, "left": LEFT,
        "right": RIGHT, "ticks": [[axis.at(t), f"{t:g}"] for t in ticks(axis.low, axis.high, 10)],
        **_marks(content, axis, reason), **_label(content, reason),
    }  # fmt: skip


def _usable(content: dict[str, Any]) -> dict[str, tuple[list[float], float, float]]:
    """Per lane its curve, rate and start; only lanes that can be drawn."""
    curves = {}
    for _, kind, _, _ in _LANES:
        rate = number(content.get("rate_wave" if kind == "wave" else f"{kind}_rate"))
        curve = _curve(content.get(kind))
        start = number(content.get("video_start" if kind == "motion" else "audio_start"))
        if curve and rate and rate > 0:
            curves[kind] = (curve, rate, start or 0.0)
    return curves


def _marks(content: dict[str, Any], axis: Axis, reason: str) -> dict[str, Any]:
    """Onset ticks, and the moment in the video that each belongs to, where the offset is known."""
    offset = None if reason else number(content.get("offset"))
    start = number(content.get("audio_start")) or 0.0
    onsets = [start + t for t in _curve(content.get("onset_times"))[:MOST_ONSETS]]
    times = [t for t in onsets if axis.low <= t <= axis.high]
    matched = [] if offset is None else [t - offset if axis.low <= t - offset <= axis.high else None for t in times]
    return {
        "onsets": [axis.at(t) for t in times],
        "matched": [None if t is None else axis.at(t) for t in matched],
    }


def _label(content: dict[str, Any], reason: str) -> dict[str, Any]:
    offset, confidence = number(content.get("offset")), number(content.get("confidence"))
    if reason or offset is None:
        return {"label": "no offset: " + (reason or "none was measured"), "late": False}
    sure = "" if confidence is None else f" (confidence {confidence:.2f})"
    return {"label": describe_offset(offset) + sure, "late": abs(offset) >= LATE_SECONDS}


def _path(curve: list[float], rate: float, start: float, axis: Axis, kind: str, top: float, bottom: float) -> str:
    """A closed shape: mirrored around the middle for the waveform, standing on the lane's floor otherwise."""
    step = math.ceil(len(curve) / MOST_POINTS)
    loudest = max(curve) if max(curve) >= 0.01 else 1.0  # quiet curves are drawn in full, silent ones stay flat
    peaks = [min(1.0, max(0.0, max(curve[i : i + step]) / loudest)) for i in range(0, len(curve), step)]
    xs = [axis.at(start + (i * step + min(step, len(curve) - i * step) / 2) / rate) for i in range(len(peaks))]
    if kind == "wave":
        middle, half = (top + bottom) / 2, (bottom - top) / 2
        upper = [(x, middle - max(0.4, p * half)) for x, p in zip(xs, peaks, strict=True)]
        lower = [(x, middle + max(0.4, p * half)) for x, p in zip(xs, peaks, strict=True)]
        outline = upper + lower[::-1]
    else:
        line = [(x, bottom - p * (bottom - top)) for x, p in zip(xs, peaks, strict=True)]
        outline = [(xs[0], bottom), *line, (xs[-1], bottom)]
    return "M" + "L".join(f"{x:g} {y:.1f}" for x, y in outline) + "Z"


def _curve(values: object) -> list[float]:
    """The list as numbers, with 0 in place of anything else; empty where it is no list."""
    if not isinstance(values, Sequence) or isinstance(values, str):
        return []
    return [number(value) or 0.0 for value in values]
