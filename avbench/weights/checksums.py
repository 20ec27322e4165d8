"""Checksums of checkpoint files: each hashed once, and first downloads remembered."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from avbench.errors import EnvironmentProblem
from avbench.files import home_folder, make_folder, write_atomically

LOCK_NAME = "avbench-weights.json"

# Also in memory, so that asking for a digest again costs a stat and no file is read.
_known: dict[tuple[str, int, int], str] = {}


def cache_folder() -> Path:
    """Folder for what can be made again."""
    return Path(os.environ.get("XDG_CACHE_HOME") or home_folder() / ".cache") / "avbench"


def file_sha256(path: Path) -> str:
    """sha256 of a file; a file of the same path, size and time is not read again, in this process or another.

    Raises:
        OSError: it cannot be read.
    """
    status = path.stat()
    key = (os.path.abspath(path), status.st_size, status.st_mtime_ns)  # noqa: PTH100 - quicker, and links may stay
    if key not in _known:
        store = cache_folder() / "hashes.json"
        kept = read_json(store).get(key[0])
        if isinstance(kept, list) and kept[:2] == [*key[1:]] and len(kept) == 3:
            _known[key] = str(kept[2])
        else:
            with path.open("rb") as file:
                _known[key] = hashlib.file_digest(file, "sha256").hexdigest()
            with contextlib.suppress(EnvironmentProblem):  # a cache that cannot be written is only slower
                update_json(store, {key[0]: [*key[1:], _known[key]]})
    return _known[key]


def recorded(root: Path, checkpoint: str) -> dict[str, str]:
    """sha256 by file name as recorded at the first download into this weights folder."""
    digests = read_json(root / LOCK_NAME).get(checkpoint)
    return {str(k): str(v) for k, v in digests.items()} if isinstance(digests, dict) else {}


def record(root: Path, checkpoint: str, digests: Mapping[str, str]) -> None:
    """Remember the sha256 of files of a checkpoint; what is recorded already stays."""
    update_json(root / LOCK_NAME, {checkpoint: {**digests, **recorded(root, checkpoint)}})


def read_json(path: Path) -> dict[str, Any]:
    """A JSON table; empty when the file is absent or damaged."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return content if isinstance(content, dict) else {}


def update_json(path: Path, entries: Mapping[str, Any]) -> None:
    """Add entries to a JSON table; it is replaced in one step, so that no reader sees half a file.

    Raises:
        EnvironmentProblem: it cannot be written.
    """
    make_folder(path.parent)
    text = json.dumps(read_json(path) | dict(entries), indent=2, sort_keys=True) + "\n"
    write_atomically(path, text.encode())
