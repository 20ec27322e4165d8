"""Digests of many clips: files are read in parallel, and one that did not change since is not read again."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from avbench.clips import Clip
from avbench.errors import EnvironmentProblem
from avbench.files import make_folder, read_regular, write_atomically
from avbench.run.content import Content, Stamps, look, read_content
from avbench.threads import map_in_threads

SETTLED_SECONDS = 2.0
"""A file that changed less than this before it was read can change again without another time stamp."""
_THREADS = 8
_MOST_BYTES = 2**30

_Known = Mapping[str, tuple[Stamps, str]]


@dataclass(frozen=True)
class DigestStore:
    """Where digests of clips are remembered between runs.

    Attributes:
        folder: one file for each source lies here; None remembers nothing.
        trusted: whether what is remembered is used; it is written in any case.
    """

    folder: Path | None = None
    trusted: bool = True

    def read(self, clips: Sequence[Clip], source: Path) -> Iterator[Content]:
        """The content of each clip, in order.

        A digest is remembered by the paths of the clip's files and by inode, size, and times of the last change of
        content and of inode. Files are read in threads, since hashing a block leaves the others running.

        Args:
            clips: of one source.
            source: its folder, which names the file of remembered digests.
        """
        path = self._path(source)
        known = _load(path) if path and self.trusted else {}
        kept: dict[str, tuple[Stamps, str]] = {}
        digests = map_in_threads(lambda clip: _digest(clip, known), clips, min(_THREADS, os.cpu_count() or 1))
        try:
            for clip, (content, settled) in zip(clips, digests, strict=True):
                if settled:
                    kept[_key(clip)] = (content.stamps, content.sha256)
                yield content
        finally:  # also what was read before an interrupt
            if path and not kept.items() <= known.items():
                _add(path, kept)

    def _path(self, source: Path) -> Path | None:
        name = hashlib.sha256(os.fsencode(source.absolute())).hexdigest()[:16]
        return self.folder / f"{name}.json" if self.folder else None


def _add(path: Path, kept: dict[str, tuple[Stamps, str]]) -> None:
    """Remember more: what others remembered meanwhile, such as runs over other shards of the source, stays."""
    content = json.dumps(_load(path) | kept, separators=(",", ":")).encode()
    with contextlib.suppress(EnvironmentProblem):  # the next run is only slower
        make_folder(path.parent)
        write_atomically(path, content)


def _digest(clip: Clip, known: _Known) -> tuple[Content, bool]:
    """The content, and whether its digest may be remembered."""
    stamps, sha256 = known.get(_key(clip), ((), ""))
    if stamps and None not in stamps and stamps == look(clip):
        return Content(sha256, stamps), True
    now = time.time()
    content = read_content(clip)
    return content, all(stamp is not None and now - stamp[3] / 1e9 > SETTLED_SECONDS for stamp in content.stamps)


def _key(clip: Clip) -> str:
    return json.dumps([os.path.abspath(path) for path in (clip.video, clip.audio) if path])  # noqa: PTH100


def _load(path: Path) -> dict[str, tuple[Stamps, str]]:
    """What a file remembers; nothing where it holds something else."""
    try:
        content = json.loads(read_regular(path, most=_MOST_BYTES))
        return {str(key): (_stamps(stamps), _sha256(sha256)) for key, (stamps, sha256) in content.items()}
    except (OSError, ValueError, TypeError, AttributeError, RecursionError, MemoryError):
        return {}


def _stamps(stored: Any) -> Stamps:
    inode_size_times = [tuple(int(number) for number in stamp) for stamp in stored]
    if any(len(numbers) != 4 for numbers in inode_size_times):
        raise ValueError("a stamp has four numbers")
    return tuple((a, b, c, d) for a, b, c, d in inode_size_times)


def _sha256(stored: Any) -> str:
    if len(bytes.fromhex(stored)) != 32:
        raise ValueError("no SHA-256 digest")
    return str(stored)
