"""Whether detections match what a prompt names: plain functions of names, captions and boxes.

Source: VBench (Huang et al., CVPR 2024), vbench/object_class.py, multiple_objects.py, color.py and
spatial_relationship.py. Not a metric by itself; `vbench_objects` uses it.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Sequence
from itertools import combinations, product

from avbench.encoders.networks.grit.detections import Box, Detection, FrameDetections

COLORS = ("white", "red", "pink", "blue", "silver", "purple", "orange", "green", "gray", "yellow", "black", "grey")
COCO = (
    "person", "bicycle", "car", "motorcycle", "airplane", "bus", "train", "truck", "boat", "traffic light",
    "fire hydrant", "stop sign", "parking meter", "bench", "bird", "cat", "dog", "horse", "sheep", "cow", "elephant",
    "bear", "zebra", "giraffe", "backpack", "umbrella", "handbag", "tie", "suitcase", "frisbee", "skis", "snowboard",
    "sports ball", "kite", "baseball bat", "baseball glove", "skateboard", "surfboard", "tennis racket", "bottle",
    "wine glass", "cup", "fork", "knife", "spoon", "bowl", "banana", "apple", "sandwich", "orange", "broccoli",
    "carrot", "hot dog", "pizza", "donut", "cake", "chair", "couch", "potted plant", "bed", "dining table", "toilet",
    "tv", "laptop", "mouse", "remote", "keyboard", "cell phone", "microwave", "oven", "toaster", "sink", "refrigerator",
    "book", "clock", "vase", "scissors", "teddy bear", "hair drier", "toothbrush",
)  # fmt: skip
# Axis (0: x, 1: y) and sign of the step from the first object to the second; y points down.
RELATIONS = {
    "on the left of": (0, 1),
    "on the right of": (0, -1),
    "on the top of": (1, 1),
    "on the bottom of": (1, -1),
}
OVERLAP = 0.1  # intersection over union from which a pair counts less


def frames_showing(names: Sequence[Collection[str]], wanted: Collection[str]) -> int:
    """Number of frames among whose names are all that are wanted, letter by letter."""
    return sum(all(name in frame for name in wanted) for frame in names)


def object_of(prompt: str, color: str) -> str:
    """The object of a colour prompt such as "a red umbrella": its words without articles and colour."""
    dropped = {"a", "an", "the", *color.split()}
    return " ".join(word for word in prompt.split() if word not in dropped)


def object_by_substrings(prompt: str, color: str) -> str:
    """The object of a colour prompt as the reference takes it: "a zebra crossing" gives "zebrcrossing"."""
    for part in ("a ", "an ", color):
        prompt = prompt.replace(part, "")
    return prompt.strip()


def color_frames(
    detections: FrameDetections, name: str, color: str, *, first_name: bool = False, substrings: bool = False
) -> tuple[int, int]:
    """Frames that show the object in a colour that its caption names, and those among them in the wanted colour.

    Args:
        detections: of each frame, with captions.
        name: the object.
        color: the wanted colour.
        first_name: take the name of a frame's first detection for all of them, as the reference does.
        substrings: find colours within words ("red" in "colored"), as the reference does.
    """
    of_object = of_color = 0
    for frame in detections:
        captions = [d.caption for d in frame if (frame[0] if first_name else d).name == name]
        if any(_mentions(caption, word, substrings) for caption in captions for word in {*COLORS, color}):
            of_object += 1
            of_color += any(_mentions(caption, color, substrings) for caption in captions)
    return of_object, of_color


def _mentions(caption: str, word: str, substrings: bool) -> bool:
    return word in caption if substrings else re.search(rf"\b{re.escape(word)}\b", caption) is not None


def relation_scores(
    detections: FrameDetections,
    first: str,
    relation: str,
    second: str,
    *,
    unsigned: bool = False,
    same_name: bool = False,
) -> list[float]:
    """How well the best pair of each frame stands in a relation, 0 without a pair.

    Args:
        detections: of each frame.
        first, relation, second: as in "bicycle", "on the left of", "car"; the relation is a key of `RELATIONS`.
        unsigned: let left pass for right and top for bottom, as the reference does.
        same_name: let two boxes of one name pass for a pair, as the reference does.

    Raises:
        ZeroDivisionError: a pair without any area, when `same_name`, as in the reference.
    """
    pairs = _pairs_of_any if same_name else _pairs_of_both
    return [
        max((position_score(relation, a, b, unsigned=unsigned) for a, b in pairs(frame, first, second)), default=0.0)
        for frame in detections
    ]


def _pairs_of_both(frame: Sequence[Detection], first: str, second: str) -> Iterator[tuple[Box, Box]]:
    boxes = [[d.box for d in frame if d.name == name] for name in (first, second)]
    return ((a, b) for a, b in product(*boxes) if _area(a) + _area(b) > 0)


def _pairs_of_any(frame: Sequence[Detection], first: str, second: str) -> Iterator[tuple[Box, Box]]:
    return combinations([d.box for d in frame if d.name in (first, second)], 2)


def position_score(relation: str, first: Box, second: Box, *, unsigned: bool = False) -> float:
    """How well two boxes stand in a relation: 1, less where they overlap, 0 where their centres lie otherwise.

    Formula: with IoU the intersection over union, 1 if IoU < 0.1, else 0.1 / IoU; 0 unless the centres lie further
    apart along the axis of the relation than across it, and in its order.

    Raises:
        ZeroDivisionError: neither box has an area.
    """
    axis, sign = RELATIONS[relation]
    steps = [(second[i] + second[i + 2] - first[i] - first[i + 2]) / 2 for i in (0, 1)]
    along, across = steps[axis], steps[1 - axis]
    overlap = _iou(first, second)
    if abs(along) <= abs(across) or not (unsigned or along * sign > 0):
        return 0.0
    return 1.0 if overlap < OVERLAP else OVERLAP / overlap


def _iou(a: Box, b: Box) -> float:
    width, height = (max(0, min(a[i + 2], b[i + 2]) - max(a[i], b[i])) for i in (0, 1))
    return width * height / (_area(a) + _area(b) - width * height)


def _area(box: Box) -> int:
    return (box[2] - box[0]) * (box[3] - box[1])
