"""What GRiT sees in a clip against what its prompt names: VBench's four dimensions of objects."""

from __future__ import annotations

from typing import Any

from avbench.clips import Prompt
from avbench.encoders import Encoder, EncoderStore
from avbench.encoders.networks.grit.detections import Detection, from_array
from avbench.encoders.networks.grit.encoders import FRAMES, GRIT, GRIT_ANTIALIAS, GRIT_ROUNDED
from avbench.errors import near
from avbench.media import Media
from avbench.metrics.base import Score, no_prompt, scorer
from avbench.metrics.vbench_matching import (
    COCO,
    COLORS,
    RELATIONS,
    color_frames,
    frames_showing,
    object_by_substrings,
    object_of,
    relation_scores,
)

_METADATA: dict[str, Any] = {
    "family": "vbench",
    "unit": "1",
    "higher_is_better": True,
    "range": (0.0, 1.0),
    "needs": ("video", "prompt"),
}
_SOURCE = "VBench (Huang et al., CVPR 2024), vbench/{}.py; Wu et al., GRiT, arXiv 2212.00280"
_FIXED = {"mode": "fixed", "frames": FRAMES}
_CAVEAT = (
    "A detector's opinion of 16 single frames: what it misses or misnames counts against the clip, and how an object "
    "looks or moves counts for nothing. It names the 80 classes of COCO. "
)
_ANTIALIAS = (
    "Differs from the name without antialias for frames of more than 768 pixels at the shorter side alone: only for "
    "comparison with numbers of VBench that torchvision 0.17 or later made. "
)


@scorer(
    "object_class",
    prompt_role="objects",
    encoders=(GRIT,),
    params={"frames": FRAMES},
    source=_SOURCE.format("object_class"),
    caveat=_CAVEAT,
    **_METADATA,
)
def object_class(media: Media, prompt: Prompt, store: EncoderStore) -> Score:
    """Fraction of frames that show the object which the prompt names.

    Formula: frames among whose detections is one of that name, divided by 16. The name is `prompt.expected.objects`.
    """
    return _frames_with_all(media, prompt, store, GRIT, 1)


@scorer(
    "object_class_antialias_compat",
    prompt_role="objects",
    encoders=(GRIT_ANTIALIAS,),
    params={"mode": "compat", "flags": "grit_antialias", "frames": FRAMES},
    source=_SOURCE.format("object_class"),
    caveat=_ANTIALIAS + _CAVEAT,
    **_METADATA,
)
def object_class_antialias_compat(media: Media, prompt: Prompt, store: EncoderStore) -> Score:
    """Fraction of frames that show the object, as VBench computes it with torchvision from 0.17 on.

    Formula: as object_class, large frames being smoothed before they are made smaller.
    """
    return _frames_with_all(media, prompt, store, GRIT_ANTIALIAS, 1)


@scorer(
    "multiple_objects",
    prompt_role="objects",
    encoders=(GRIT,),
    params={"frames": FRAMES},
    source=_SOURCE.format("multiple_objects"),
    caveat=_CAVEAT + "Both objects must be seen in one frame.",
    **_METADATA,
)
def multiple_objects(media: Media, prompt: Prompt, store: EncoderStore) -> Score:
    """Fraction of frames that show both objects which the prompt names.

    Formula: as object_class, of frames with both names. They are `prompt.expected.objects`, "dog and cat".
    """
    return _frames_with_all(media, prompt, store, GRIT, 2)


@scorer(
    "multiple_objects_antialias_compat",
    prompt_role="objects",
    encoders=(GRIT_ANTIALIAS,),
    params={"mode": "compat", "flags": "grit_antialias", "frames": FRAMES},
    source=_SOURCE.format("multiple_objects"),
    caveat=_ANTIALIAS + _CAVEAT,
    **_METADATA,
)
def multiple_objects_antialias_compat(media: Media, prompt: Prompt, store: EncoderStore) -> Score:
    """Fraction of frames that show both objects, as VBench computes it with torchvision from 0.17 on.

    Formula: as multiple_objects, large frames being smoothed before they are made smaller.
    """
    return _frames_with_all(media, prompt, store, GRIT_ANTIALIAS, 2)


def _frames_with_all(media: Media, prompt: Prompt, store: EncoderStore, encoder: Encoder, count: int) -> Score:
    names = _words(prompt.expected.objects).split(" and ")
    if reason := _unusable(names, count):
        return Score.skipped(reason)
    detections = _detections(encoder, media, store)
    success = frames_showing([{detection.name for detection in frame} for frame in detections], names)
    return Score.ok(success / len(detections), objects=names, frames_with=success, frames=len(detections))


@scorer(
    "color",
    prompt_role="color",
    encoders=(GRIT,),
    params=_FIXED,
    source=_SOURCE.format("color"),
    caveat=_CAVEAT + "Frames whose caption names no colour do not count, and a clip without any that counts has no "
    "number: a model that does not draw the object at all loses nothing here.",
    **_METADATA,
)
def color(media: Media, prompt: Prompt, store: EncoderStore) -> Score:
    """Fraction of the frames with the object in some colour in which it has the colour that the prompt names.

    Formula: a frame counts if a detection of that name has a caption with a colour, and succeeds if one of these
    captions has the wanted colour, all in whole words. The colour is `prompt.expected.color`, the object
    `prompt.expected.objects`, else what the text leaves without articles and colour.
    """
    wanted = _words(prompt.expected.color)
    name = _words(prompt.expected.objects) or object_of(_words(prompt.text), wanted)
    if reason := _no_color(wanted) or _unusable([name], 1):
        return Score.skipped(reason)
    detections = _detections(GRIT, media, store)
    return _color_score(name, wanted, color_frames(detections, name, wanted))


@scorer(
    "color_compat",
    prompt_role="color",
    encoders=(GRIT_ROUNDED,),
    params={
        "mode": "compat",
        "flags": "color_first_name,color_substrings,color_object_substrings,color_rounded_resize",
        "frames": FRAMES,
    },
    source=_SOURCE.format("color"),
    caveat="All detections of a frame go by the name of the first, and colours are found within other words: only for "
    "comparison with published numbers. " + _CAVEAT,
    **_METADATA,
)
def color_compat(media: Media, prompt: Prompt, store: EncoderStore) -> Score:
    """Colour of the object as VBench computes it: the first detection's name stands for all of its frame.

    Formula: as color, with the flaws that the flags name. The object is taken from the text.
    """
    wanted = _words(prompt.expected.color)
    if reason := _no_color(wanted):
        return Score.skipped(reason)
    if wanted not in COLORS:
        return Score.skipped(f"{wanted!r} is none of the colours that VBench knows: {', '.join(COLORS)}")
    if not prompt.text:
        return Score.skipped("no joint prompt; VBench takes the object from it")
    name = object_by_substrings(prompt.text, wanted)
    detections = _detections(GRIT_ROUNDED, media, store)
    return _color_score(name, wanted, color_frames(detections, name, wanted, first_name=True, substrings=True))


def _color_score(name: str, wanted: str, counts: tuple[int, int]) -> Score:
    of_object, of_color = counts
    if of_object == 0:
        return Score.skipped(
            f"no frame shows {name!r:.60} with a caption that names a colour; VBench leaves such clips out",
            object_frames=0,
        )
    return Score.ok(of_color / of_object, object=name, color=wanted, object_frames=of_object, color_frames=of_color)


@scorer(
    "spatial_relationship",
    prompt_role="relation",
    encoders=(GRIT,),
    params=_FIXED,
    source=_SOURCE.format("spatial_relationship"),
    caveat=_CAVEAT + "Sides are those of the frame, whatever way an object faces, and only centres and overlap count.",
    **_METADATA,
)
def spatial_relationship(media: Media, prompt: Prompt, store: EncoderStore) -> Score:
    """How well the two objects stand to each other as the prompt says, over frames.

    Formula: mean over 16 frames of the best pair's score, 0 without a pair. A pair of the first and the second object
    scores 1 if their centres are further apart along the axis of the relation than across it, in its order, and the
    boxes overlap by less than 0.1 (intersection over union); 0.1 / IoU if they overlap more; else 0.
    The relation is `prompt.expected.relation`, "bicycle | on the left of | car".
    """
    return _relation(media, prompt, store, GRIT)


@scorer(
    "spatial_relationship_compat",
    prompt_role="relation",
    encoders=(GRIT,),
    params={"mode": "compat", "flags": "spatial_unsigned,spatial_same_name", "frames": FRAMES},
    source=_SOURCE.format("spatial_relationship"),
    caveat="Left equals right and top equals bottom, and two objects of one name are a pair: only for comparison with "
    "published numbers. " + _CAVEAT,
    **_METADATA,
)
def spatial_relationship_compat(media: Media, prompt: Prompt, store: EncoderStore) -> Score:
    """Relation of two objects as VBench computes it: which of them is on which side does not count.

    Formula: as spatial_relationship, over all pairs of boxes that have either name, in either order.
    """
    return _relation_compat(media, prompt, store, GRIT)


@scorer(
    "spatial_relationship_antialias_compat",
    prompt_role="relation",
    encoders=(GRIT_ANTIALIAS,),
    params={"mode": "compat", "flags": "spatial_unsigned,spatial_same_name,grit_antialias", "frames": FRAMES},
    source=_SOURCE.format("spatial_relationship"),
    caveat=_ANTIALIAS + _CAVEAT,
    **_METADATA,
)
def spatial_relationship_antialias_compat(media: Media, prompt: Prompt, store: EncoderStore) -> Score:
    """Relation of two objects as VBench computes it with torchvision from 0.17 on.

    Formula: as spatial_relationship_compat, large frames being smoothed before they are made smaller.
    """
    return _relation_compat(media, prompt, store, GRIT_ANTIALIAS)


def _relation_compat(media: Media, prompt: Prompt, store: EncoderStore, encoder: Encoder) -> Score:
    try:
        return _relation(media, prompt, store, encoder, unsigned=True, same_name=True)
    except ZeroDivisionError:
        return Score.skipped("a pair of boxes without area, over which VBench ends its run")


def _relation(media: Media, prompt: Prompt, store: EncoderStore, encoder: Encoder, **flags: bool) -> Score:
    parts = [_words(part) for part in (prompt.expected.relation or "").split("|")]
    if parts == [""]:
        return Score.skipped(no_prompt("relation"))
    if len(parts) != 3 or parts[1] not in RELATIONS:
        form = "'object | relation | object' with one of: " + ", ".join(RELATIONS)
        return Score.skipped(f"{' | '.join(parts)!r:.120} is no relation of two objects; write {form}")
    first, relation, second = parts
    if reason := _unusable([first, second], 2):
        return Score.skipped(reason)
    scores = relation_scores(_detections(encoder, media, store), first, relation, second, **flags)
    return Score.ok(sum(scores) / len(scores), relation=parts, frame_scores=scores)


def _detections(encoder: Encoder, media: Media, store: EncoderStore) -> list[list[Detection]]:
    return from_array(store.embed(encoder, media))


def _words(text: str | None) -> str:
    return " ".join((text or "").lower().split())


def _no_color(wanted: str) -> str | None:
    return None if wanted else no_prompt("color")


def _unusable(names: list[str], count: int) -> str | None:
    """Why these objects cannot be looked for; None when they can."""
    if names == [""]:
        return no_prompt("objects")
    if len(names) != count:
        wanted = ("one object", "two objects")[count - 1]
        return f"the prompt names {' and '.join(names)!r:.80}; this metric looks for {wanted}"
    unknown = [name for name in names if name not in COCO]
    return f"{unknown[0]!r:.80} is no class of COCO. {near(unknown[0], COCO)}" if unknown else None
