"""Embeddings on disk: what was embedded once is not embedded again, in this run or another."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from avbench.errors import EnvironmentProblem
from avbench.files import make_folder, writing_aside
from avbench.media.options import DECODING_VERSION

# A walk over the folder costs about a second per 100,000 files, so it is not done at each write.
_WRITES_BETWEEN_WALKS = 256


class EmbeddingCache:
    """A folder of arrays and JSON mappings by key, bounded in size; what was used least recently leaves first.

    Several processes may use one folder: files appear by rename and a file that vanished is a miss. A cache that
    cannot be written is only slower, so its errors are not raised.

    Args:
        folder: where the files are; made at the first write.
        max_bytes: size that is restored when it was exceeded.
    """

    def __init__(self, folder: Path, max_bytes: int) -> None:
        self.folder = folder
        self.max_bytes = max_bytes
        self._writes = 0

    def array(self, key: tuple[Any, ...]) -> NDArray[Any] | None:
        """The array of this key, None when it is not here or damaged."""
        path = self._path(key, ".npy")
        try:
            array: NDArray[Any] = np.load(path, allow_pickle=False)
            os.utime(path)
        except OSError:
            return None
        except ValueError:  # torn by a crash of the machine
            path.unlink(missing_ok=True)
            return None
        return array

    def has_array(self, key: tuple[Any, ...]) -> bool:
        """Whether there is a file for this key."""
        return self._path(key, ".npy").exists()

    def put_array(self, key: tuple[Any, ...], value: NDArray[Any]) -> None:
        """Keep an array."""
        self._write(self._path(key, ".npy"), lambda file: np.save(file, value, allow_pickle=False))

    def metadata(self, key: tuple[Any, ...]) -> dict[str, Any] | None:
        """The JSON mapping of this key, None when it is not here."""
        path = self._path(key, ".json")
        try:
            metadata: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
            os.utime(path)
        except (OSError, ValueError):
            return None
        return metadata

    def put_metadata(self, key: tuple[Any, ...], value: dict[str, Any]) -> None:
        """Keep a JSON-able mapping."""
        self._write(self._path(key, ".json"), lambda file: file.write(json.dumps(value).encode()))

    def _path(self, key: tuple[Any, ...], suffix: str) -> Path:
        # What an older decoder saw of the same file is another input.
        name = hashlib.sha256(json.dumps([DECODING_VERSION, *key]).encode()).hexdigest()
        return self.folder / name[:2] / f"{name}{suffix}"

    def _write(self, path: Path, write: Any) -> None:
        with contextlib.suppress(EnvironmentProblem):
            make_folder(path.parent)
            # What a crash of the machine tears is noticed when it is read, and to wait for the disk costs more.
            with writing_aside(path, durable=False) as file:
                write(file)
            self._writes += 1
            if self._writes % _WRITES_BETWEEN_WALKS == 1:
                self.prune()

    def prune(self) -> None:
        """Remove the files used least recently until nine tenths of the bound are kept."""
        files = []
        for path in self.folder.glob("*/*"):
            with contextlib.suppress(OSError):
                status = path.stat()
                files.append((status.st_mtime_ns, status.st_size, path))
        total = sum(size for _, size, _ in files)
        if total <= self.max_bytes:
            return
        for _, size, path in sorted(files, key=lambda entry: entry[0]):
            with contextlib.suppress(OSError):
                path.unlink()
                total -= size
            if total <= 0.9 * self.max_bytes:
                return
