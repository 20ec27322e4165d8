"""Numbers of the reference implementation of VBench, and the clips that they were measured on."""

from __future__ import annotations

import gzip
import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np

from avbench.clips import Clip
from avbench.media import Media, View, decode_clip

FOLDER = Path(__file__).parent / "goldens" / "vbench"


def golden(name: str) -> Any:
    """Content of one JSON file."""
    return json.loads((FOLDER / f"{name}.json").read_text())


def arrays(name: str) -> Any:
    """Arrays of one file by name."""
    return np.load(FOLDER / f"{name}.npz")


def checkpoint_entries(name: str) -> dict[str, list[int]]:
    """Names and shapes of a published checkpoint's entries."""
    entries: dict[str, list[int]] = json.loads(
        gzip.decompress((FOLDER / f"state_dict_keys/{name}.json.gz").read_bytes())
    )
    return entries


def entries_of(build: Any) -> dict[str, list[int]]:
    """Names and shapes of the entries of the network that `build` makes, without memory for its weights."""
    import torch

    with torch.device("meta"):
        return {name: list(entry.shape) for name, entry in build().state_dict().items()}


def decoded(path: Path, views: Iterable[View]) -> Media:
    """A clip with what an encoder reads of it."""
    return decode_clip(Clip(path.stem, path), path.stem, views)
