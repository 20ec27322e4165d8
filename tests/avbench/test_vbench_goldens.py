"""Every number of VBench in `goldens/vbench` is read by a test: what nobody compares proves nothing."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import vbench_goldens as vbench

from avbench.media import Frames
from avbench.metrics.vbench_dimensions import DIMENSIONS

TESTS = Path(__file__).parents[1]
FOLDER = TESTS / "goldens" / "vbench"
REMARKS = {"_", "head", "logit_scale", "note", "auxiliary_info", "object", "score_video"}
"""How numbers were made; the last is another name of the same number."""
# Names of clips, texts, dimensions and word pieces, under which the numbers stand.
DATA = re.compile(r"clip_\w+|bbb\d+|kitchen3|t\d|\d+|.*[ +].*|mode_\w+")
NAMES = {dimension.name for dimension in DIMENSIONS}
FILES = sorted(path for path in FOLDER.iterdir() if path.suffix in (".json", ".npz"))
SOURCES = {path: path.read_text("utf-8") for path in TESTS.rglob("*.py") if path != Path(__file__)}


def keys_of(path: Path) -> set[str]:
    """Names of numbers: of arrays without their clip, and of a JSON file's inner objects."""
    if path.suffix == ".npz":
        return {key.partition(".")[2] for key in np.load(path).files}
    return set(_inner_keys(json.loads(path.read_text("utf-8"))))


def _inner_keys(content: Any) -> Iterator[str]:
    if isinstance(content, list):
        for entry in content:
            yield from _inner_keys(entry)
    if isinstance(content, dict):
        for key, value in content.items():
            yield key
            yield from _inner_keys(value)


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_every_key_is_named_by_a_test_that_reads_the_file(path: Path) -> None:
    readers = "\n".join(text for text in SOURCES.values() if re.search(rf"\b{path.stem}\b", text))
    unread = {key for key in keys_of(path) - REMARKS - NAMES if not DATA.fullmatch(key) and not named(key, readers)}
    assert not unread


@pytest.mark.parametrize("clip", vbench.golden("decode"))
def test_clips_decode_to_the_pixels_that_the_reference_saw(clip: str) -> None:
    facts = vbench.golden("decode")[clip]
    media = vbench.media(clip)  # compares the digest
    assert media.view(Frames()).mean() == pytest.approx(facts["mean"], abs=1e-3)


def named(key: str, text: str) -> bool:
    """Whether a text has a key in quotes, be it composed of a variable: blk{number}, {weights}flow_sub."""
    key = key.removeprefix("small_")
    pattern = re.sub(r"\d+", lambda number: rf"(?:{number[0]}|{{\w+}})", re.escape(key))
    return re.search(rf"[\"'.}}]{pattern}[\"']", text) is not None
