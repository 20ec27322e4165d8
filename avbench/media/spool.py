"""Arrays that wait on disk for their network, so that memory depends neither on clip length nor on clip count."""

from __future__ import annotations

import mmap
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from avbench.errors import EnvironmentProblem
from avbench.files import new_file


@dataclass(frozen=True)
class Spooled:
    """An array in a file. Opened at each use: thousands of open maps would exceed the limit on open files."""

    path: Path
    dtype: str
    shape: tuple[int, ...]

    def open(self) -> NDArray[Any]:
        """The array, memory-mapped and read-only."""
        return np.memmap(self.path, dtype=self.dtype, mode="r", shape=self.shape)

    @property
    def nbytes(self) -> int:
        """Size in bytes."""
        return int(np.dtype(self.dtype).itemsize * np.prod(self.shape, dtype=np.int64))


class ArrayWriter:
    """Collects equal-shaped arrays in order into one array (K, ...), in memory or in a file below `folder`."""

    def __init__(self, folder: Path | None) -> None:
        self._folder = folder
        self._parts: list[NDArray[Any]] = []
        self._file: IO[bytes] | None = None
        self._path: Path | None = None
        self._first: NDArray[Any] | None = None
        self._count = 0

    def append(self, array: NDArray[Any], repeat: int = 1) -> None:
        """Add `array` `repeat` times.

        Raises:
            EnvironmentProblem: the disk is full.
        """
        self._count += repeat
        if self._folder is None:
            self._parts += [array] * repeat
            return
        try:
            if self._file is None:
                self._path, self._file = new_file(self._folder, suffix=".raw")
                self._first = array
            for _ in range(repeat):
                self._file.write(np.ascontiguousarray(array).data)
        except OSError as error:
            raise EnvironmentProblem(f"cannot write to {self._folder}: {error.strerror or error}") from error

    def finish(self) -> NDArray[Any] | Spooled:
        """Everything appended so far as one array."""
        if self._file is None or self._path is None or self._first is None:
            return np.stack(self._parts) if self._parts else np.zeros((0,))
        self._file.close()
        return Spooled(self._path, self._first.dtype.str, (self._count, *self._first.shape))

    def discard(self) -> None:
        """Forget what was appended."""
        if self._file is not None and self._path is not None:
            self._file.close()
            self._path.unlink(missing_ok=True)


def release_pages(array: NDArray[Any]) -> None:
    """Give back the memory that an array in a file was read into; what is asked for again is read again.

    A network that reads a long clip frame by frame holds all of it otherwise. Arrays in memory are left alone.
    """
    base: object = array
    while isinstance(base, np.ndarray):
        base = base.base
    if isinstance(base, mmap.mmap) and hasattr(mmap, "MADV_DONTNEED"):
        base.madvise(mmap.MADV_DONTNEED)


def spool(array: NDArray[Any], folder: Path | None) -> NDArray[Any] | Spooled:
    """The array itself, or its copy below `folder`."""
    if folder is None or not array.size:
        return array
    writer = ArrayWriter(folder)
    for row in array:
        writer.append(row)
    return writer.finish()
