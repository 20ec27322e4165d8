"""Folders of clips with a prompt list, as a user has them, and what reading them gives."""

from __future__ import annotations

import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from avbench.errors import UsageError
from avbench.sources import Source, load_source


def texts(source):
    return {clip.clip_id: clip.prompt.text for clip in source.clips}


@contextmanager
def folder_of(names: Iterable[str]) -> Iterator[Path]:
    with tempfile.TemporaryDirectory() as name:
        root = Path(name).resolve() / "clips"
        for clip in names:
            (root / clip).parent.mkdir(parents=True, exist_ok=True)
            (root / clip).write_bytes(b"dummy")
        yield root


def attempt(names: Iterable[str], header: str, rows: Iterable[str], **options) -> Source | str:
    """The source, or the message that refuses it."""
    with folder_of(names) as root:
        path = root.parent / "list.csv"
        path.write_text("\n".join([header, *rows]) + "\n", encoding="utf-8")
        try:
            return load_source(root, prompts=path, **options)
        except UsageError as error:
            return str(error)
