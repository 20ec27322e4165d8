"""Whether the clip shows the kind of place that its prompt names, as VBench measures it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from avbench.clips import Prompt
from avbench.encoders import EncoderStore
from avbench.encoders.networks.tag2text.encoders import FRAMES, TAG2TEXT_CAPTIONS, from_bytes
from avbench.media import Media
from avbench.metrics.base import Score, no_prompt, scorer

_METADATA: dict[str, Any] = {
    "family": "vbench",
    "unit": "1",
    "higher_is_better": True,
    "range": (0.0, 1.0),
    "source": "VBench (Huang et al., CVPR 2024), vbench/scene.py; Huang et al., Tag2Text, arXiv 2303.05657",
    "needs": ["video", "prompt"],
    "prompt_role": "scene",
    "encoders": (TAG2TEXT_CAPTIONS,),
}
_CAVEAT = (
    "The place counts as shown when a caption holds its words, also inside others (an alley in alleyway) and in any "
    "order: a caption that says the same in other words counts for nothing. Frames are stretched to a square."
)
# Beams of the reference's search: it repeats what captions are read off once more for each than it should.
REPEATS = 3


def shows(caption: str, scene: str) -> bool:
    """Whether each word of a scene's name occurs in a caption, be it inside another word."""
    return all(word in caption for word in scene.lower().split())


def _fraction(prompt: Prompt, captions: Sequence[str]) -> Score:
    scene = prompt.expected.scene or ""
    shown = sum(shows(caption, scene) for caption in captions)
    return Score.ok(shown / len(captions), scene=scene, shown=shown, captions=list(captions))


def _captions(media: Media, prompt: Prompt, store: EncoderStore) -> list[str] | Score:
    if not (prompt.expected.scene or "").strip():
        return Score.skipped(no_prompt("scene"))
    return from_bytes(store.embed(TAG2TEXT_CAPTIONS, media))


@scorer("scene", params={"mode": "fixed", "frames": FRAMES}, caveat=_CAVEAT, **_METADATA)
def scene(media: Media, prompt: Prompt, store: EncoderStore) -> Score:
    """Fraction of frames whose caption names the place that the prompt expects.

    Formula: of the middle frames of sixteen sixteenths of the clip, the fraction whose caption by Tag2Text holds every
    word of `prompt.expected.scene`. The detail holds the captions.
    """
    captions = _captions(media, prompt, store)
    return captions if isinstance(captions, Score) else _fraction(prompt, captions)


@scorer(
    "scene_compat",
    params={"mode": "compat", "flags": "scene_first_frames", "frames": FRAMES},
    caveat="The last ten of sixteen frames are never looked at: only for comparison with published numbers. " + _CAVEAT,
    **_METADATA,
)
def scene_compat(media: Media, prompt: Prompt, store: EncoderStore) -> Score:
    """Scene as VBench computes it: caption k of sixteen is that of frame k / 3, rounded down.

    Formula: as scene, of the captions of the first six frames, the first five counted three times each.
    """
    captions = _captions(media, prompt, store)
    if isinstance(captions, Score):
        return captions
    return _fraction(prompt, [captions[number // REPEATS] for number in range(len(captions))])
