"""Whether a person does in the clip what its prompt asks for, as VBench measures it."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from avbench.clips import PERSON_IS, Prompt
from avbench.encoders import EncoderStore
from avbench.encoders.networks.umt.encoders import FRAMES, UMT, actions
from avbench.errors import near
from avbench.media import Media
from avbench.metrics.base import Score, no_prompt, scorer

TOP = 5
THRESHOLD = 0.85
_DIGITS = 4


def most_likely(logits: NDArray[np.float32]) -> list[tuple[str, float]]:
    """The five actions with the highest logits (400,), each with its sigmoid to four digits, highest first."""
    best = np.argsort(-logits, kind="stable")[:TOP]
    chances = 1 / (1 + np.exp(-logits[best].astype(np.float64)))
    return [(actions()[index], round(float(chance), _DIGITS)) for index, chance in zip(best, chances, strict=True)]


def label_of(action: str) -> str:
    """The label in "riding a bike" or "A person is riding a bike.": what follows the last "person is", if it stands."""
    return action.lower().rpartition(PERSON_IS)[2].strip(" .\n")


@scorer(
    "human_action",
    family="vbench",
    unit="1",
    higher_is_better=True,
    range=(0.0, 1.0),
    source="VBench (Huang et al., CVPR 2024), vbench/human_action.py; Li et al., Unmasked Teacher, arXiv 2303.16058",
    needs=("video", "prompt"),
    prompt_role="action",
    encoders=(UMT,),
    params={"frames": FRAMES, "top": TOP, "threshold": THRESHOLD},
    caveat="Yes or no, for the 400 actions of Kinetics only. The threshold lies on sigmoids of a network that was "
    "trained with softmax, so it is no probability. Sixteen frames, cropped to the central square, stand for the clip.",
)
def human_action(media: Media, prompt: Prompt, store: EncoderStore) -> Score:
    """Whether the action that the prompt expects is among those that UMT sees in the clip.

    Formula: 1 if the action is among the five with the highest logits and its sigmoid, rounded to four digits, is at
    least 0.85; else 0. The label is `prompt.expected.action`, one of the 400 of Kinetics; else what follows "person is"
    in the text for the video. The detail says which.
    """
    if (action := prompt.for_role("action")) is None:
        return Score.skipped(no_prompt("action"))
    label = label_of(action)
    if label not in actions():
        return Score.skipped(f"{label!r:.80} is no action of Kinetics-400. {near(label, actions())}")
    seen = most_likely(store.embed(UMT, media))
    recognised = any(name == label and chance >= THRESHOLD for name, chance in seen)
    read_from = "prompt_action" if prompt.expected.action else "text"
    return Score.ok(float(recognised), action=label, read_from=read_from, seen=[list(pair) for pair in seen])
