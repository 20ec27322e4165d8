"""Numbers of the reference implementation of VBench, and the clips that they were measured on."""

from __future__ import annotations

import gzip
import hashlib
import json
from collections.abc import Iterable
from itertools import islice
from pathlib import Path
from typing import Any

import av
import numpy as np

from avbench.clips import Clip
from avbench.media import Media, View, decode_clip

TESTS = Path(__file__).parent
FOLDER = TESTS / "goldens" / "vbench"
_CLIP_A = TESTS / "goldens" / "metrics" / "inputs" / "clip_a.mp4"
_BUNNY = TESTS.parent / "examples" / "clips" / "big_buck_bunny_51.mp4"
FILES = {
    "clip_a16": _CLIP_A,
    "clip_a1": _CLIP_A,
    "clip_e": FOLDER / "clip_e.mp4",
    "clip_f": FOLDER / "clip_f.mp4",
    "bbb16": _BUNNY,
    "bbb6": _BUNNY,
    "kitchen3": FOLDER / "kitchen3.mp4",
}
"""Where the clips of `decode.json` lie; those with a number in their name are the first frames of a longer one."""


def golden(name: str) -> Any:
    """Content of one JSON file."""
    return json.loads((FOLDER / f"{name}.json").read_text("utf-8"))


def arrays(name: str) -> dict[str, np.ndarray]:
    """All arrays of one file by name."""
    with np.load(FOLDER / f"{name}.npz") as found:
        return dict(found)


def arrays_of(name: str, clip: str) -> dict[str, np.ndarray]:
    """Arrays of one file for one clip, by name without the clip."""
    return {key.removeprefix(f"{clip}."): array for key, array in arrays(name).items() if key.startswith(f"{clip}.")}


def checkpoint_entries(name: str) -> dict[str, list[int]]:
    """Names and shapes of a published checkpoint's entries."""
    content = gzip.decompress((FOLDER / "state_dict_keys" / f"{name}.json.gz").read_bytes())
    entries: dict[str, list[int]] = json.loads(content)
    return entries


def entries_of(build: Any) -> dict[str, list[int]]:
    """Names and shapes of the entries of the network that `build` makes, without memory for its weights."""
    import torch

    with torch.device("meta"):
        return {name: list(entry.shape) for name, entry in build().state_dict().items()}


def media(clip: str) -> Media:
    """A clip of `FILES`, whose pixels are those that VBench saw."""
    expected = golden("decode")[clip]
    with av.open(str(FILES[clip])) as container:
        pictures = islice(container.decode(video=0), expected["shape"][0])
        frames = np.stack([picture.to_ndarray(format="rgb24") for picture in pictures])
    assert hashlib.sha256(frames.tobytes()).hexdigest() == expected["sha256"]
    return Media.from_arrays(clip, frames, expected["fps"])


def decoded(path: Path, views: Iterable[View]) -> Media:
    """A clip with what an encoder reads of it, decoded as in a run."""
    return decode_clip(Clip(path.stem, path), path.stem, views)


def sub_input(pixels: np.ndarray) -> np.ndarray:
    """The part of network inputs (T, 3, H, W) that the goldens hold: up to four frames, every 32nd pixel."""
    return pixels[:: max(1, len(pixels) // 4)][:4, :, 5::32, 5::32]
