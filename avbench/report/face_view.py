"""Where the faces of a clip are and how well the lips of one go with the voice; faces.js draws it.

From the details of `lse_c`, or of `face_ratio` where no lips could be read.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from avbench.pages.axes import Axis, make_axis, ticks
from avbench.report.details import number, parse

WIDTH, LEFT, RIGHT = 1000, 76, 990
MOST_FACES, MOST_POINTS = 12, 100
_BAR, _STEP, _TOP = 10, 16, 8
_CURVE_HEIGHT, _FLOOR = 70, 26

Content = Mapping[str, Any]
Box = tuple[float, float, float, float]


def face_view(lips: str | None, ratio: str | None, size: tuple[object, object]) -> dict[str, Any] | None:
    """What the page draws for one clip.

    Args:
        lips: JSON text of an `lse_c` row with a value, None without one.
        ratio: the same of `face_ratio`.
        size: width and height of the clip in pixels; boxes are drawn relative to them.

    Returns:
        `faces` with their times in seconds and boxes as fractions of width and height, and positions in pixels for the
        drawing below the player; None where the details hold no usable face.
    """
    width, height = (number(side) for side in size)
    if not width or not height:
        return None
    for content in (parse(lips), parse(ratio)):
        if faces := _faces(content, width, height):
            return _drawing(faces, content)
    return None


def _drawing(faces: list[dict[str, Any]], content: Content) -> dict[str, Any]:
    """A bar for each face, below them the curve, and the time axis."""
    axis = make_axis(0.0, max(face["end"] for face in faces), LEFT, RIGHT)
    for row, face in enumerate(faces):
        face |= {"from": axis.at(face["begin"]), "to": axis.at(face["end"]), "top": _TOP + _STEP * row}
    below = _TOP + _STEP * len(faces)
    curve = _confidence(content, axis, below)
    bottom = below + (_CURVE_HEIGHT if curve else 0)
    return {
        "width": WIDTH, "height": bottom + _FLOOR, "left": LEFT, "right": RIGHT, "first": axis.low, "last": axis.high,
        "bar": _BAR, "bottom": bottom, "ticks": [[axis.at(t), f"{t:g}"] for t in ticks(axis.low, axis.high, 10)],
        "faces": faces, "curve": curve, "label": _label(faces),
    }  # fmt: skip


def _faces(content: Content, width: float, height: float) -> list[dict[str, Any]]:
    """Those that have a time and boxes, the chosen one first."""
    listed, chosen = content.get("faces"), content.get("chosen")
    if not isinstance(listed, list):
        return []
    first = chosen if type(chosen) is int and 0 <= chosen < len(listed) else None
    order = sorted(range(len(listed)), key=lambda position: position != first)
    faces = (_face(listed[position], width, height, chosen=position == first) for position in order)
    return [face for face in faces if face][:MOST_FACES]


def _face(face: object, width: float, height: float, *, chosen: bool) -> dict[str, Any] | None:
    if not isinstance(face, dict) or not isinstance(face.get("boxes"), list):
        return None
    begin, end, every = (number(face.get(name)) for name in ("begin_s", "end_s", "boxes_every_s"))
    boxes = [_relative(box, width, height) for box in face["boxes"][:MOST_POINTS]]
    if begin is None or end is None or every is None or not boxes or None in boxes:
        return None
    if not 0 <= begin < end or every <= 0:
        return None
    return {"begin": begin, "end": end, "every": every, "boxes": boxes, "chosen": chosen}


def _relative(box: object, width: float, height: float) -> Box | None:
    """Left, top, width and height as fractions of the frame, held inside it."""
    edges = [number(edge) for edge in box] if isinstance(box, list) else []
    if len(edges) != 4 or None in edges:
        return None
    left, top, right, bottom = (
        min(1.0, max(0.0, (edge or 0.0) / side)) for edge, side in zip(edges, (width, height) * 2, strict=True)
    )
    return round(left, 4), round(top, 4), round(max(0.0, right - left), 4), round(max(0.0, bottom - top), 4)


def _confidence(content: Content, axis: Axis, top: float) -> dict[str, Any] | None:
    """The curve of the chosen face as a path, the height of zero, and the largest value as text."""
    values = content.get("framewise")
    begin, every = (number(content.get(name)) for name in ("framewise_begin_s", "framewise_every_s"))
    if not isinstance(values, list) or begin is None or every is None or every <= 0:
        return None
    points = [value for value in map(number, values[:MOST_POINTS]) if value is not None]
    if len(points) < 2 or len(points) < min(len(values), MOST_POINTS):
        return None
    top += _STEP
    up = make_axis(min(0.0, *points), max(0.0, *points), top + _CURVE_HEIGHT - _STEP, top)
    line = (f"{axis.at(begin + (position + 0.5) * every):g} {up.at(value):g}" for position, value in enumerate(points))
    return {"d": "M" + "L".join(line), "zero": up.at(0.0), "top": top, "highest": f"{max(points):.3g}"}


def _label(faces: list[dict[str, Any]]) -> str:
    count = "1 face" if len(faces) == 1 else f"{len(faces)} faces"
    return f"{count}; the lips of the marked one count" if faces[0]["chosen"] else count
