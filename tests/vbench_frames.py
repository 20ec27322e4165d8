"""The clips of VBench's numbers in `goldens/vbench`: first frames of clips in this repository."""

from __future__ import annotations

import hashlib
import json
from itertools import islice
from pathlib import Path
from typing import Any

import av
import numpy as np

from avbench.media import Media

TESTS = Path(__file__).parent
GOLDENS = TESTS / "goldens" / "vbench"
FILES = {
    "clip_a16": TESTS / "goldens" / "metrics" / "inputs" / "clip_a.mp4",
    "clip_a1": TESTS / "goldens" / "metrics" / "inputs" / "clip_a.mp4",
    "clip_e": GOLDENS / "clip_e.mp4",
    "clip_f": GOLDENS / "clip_f.mp4",
    "bbb16": TESTS.parent / "examples" / "clips" / "big_buck_bunny_51.mp4",
    "kitchen3": GOLDENS / "kitchen3.mp4",
    "bbb6": TESTS.parent / "examples" / "clips" / "big_buck_bunny_51.mp4",
}


def golden(name: str) -> Any:
    """The numbers `name` of VBench."""
    return json.loads((GOLDENS / f"{name}.json").read_text())


def arrays(name: str, clip: str) -> dict[str, np.ndarray]:
    """The arrays `name` of VBench for one clip."""
    with np.load(GOLDENS / f"{name}.npz") as found:
        return {key.split(".", 1)[1]: found[key] for key in found.files if key.split(".")[0] == clip}


def media(clip: str) -> Media:
    """A golden clip, whose pixels are those that VBench saw."""
    expected = golden("decode")[clip]
    with av.open(str(FILES[clip])) as container:
        pictures = islice(container.decode(video=0), expected["shape"][0])
        frames = np.stack([picture.to_ndarray(format="rgb24") for picture in pictures])
    assert hashlib.sha256(frames.tobytes()).hexdigest() == expected["sha256"]
    return Media.from_arrays(clip, frames, expected["fps"])


def sub_input(pixels: np.ndarray) -> np.ndarray:
    """The part of network inputs (T, 3, H, W) that the goldens hold: up to four frames, every 32nd pixel."""
    return pixels[:: max(1, len(pixels) // 4)][:4, :, 5::32, 5::32]
