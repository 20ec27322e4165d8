"""The constants in a TensorFlow Lite file, without a runtime: of its FlatBuffers tables those that hold weights."""

from __future__ import annotations

import struct
from dataclasses import dataclass
from math import prod
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from avbench.errors import EnvironmentProblem

# Numbers of the fields in TensorFlow's schema.fbs.
_SUBGRAPHS, _BUFFERS = 2, 4
_TENSORS = 0
_SHAPE, _TYPE, _BUFFER = 0, 1, 2
_DATA = 0
_FLOAT32 = 0


@dataclass(frozen=True)
class _Table:
    """A table of a FlatBuffer: where it lies, and its fields by number."""

    data: bytes
    at: int

    def _number(self, form: str, at: int) -> int:
        (value,) = struct.unpack_from(f"<{form}", self.data, at)
        return int(value)

    def _field(self, number: int) -> int:
        """Position of a field; 0 where the table lacks it."""
        directory = self.at - self._number("i", self.at)
        entry = 4 + 2 * number
        offset = self._number("H", directory + entry) if entry < self._number("H", directory) else 0
        return self.at + offset if offset else 0

    def _vector(self, number: int) -> tuple[int, int]:
        """Position of the first item of a vector, and how many there are."""
        field = self._field(number)
        if not field:
            return 0, 0
        start = field + self._number("I", field)
        return start + 4, self._number("I", start)

    def integer(self, number: int, form: str) -> int:
        field = self._field(number)
        return self._number(form, field) if field else 0

    def integers(self, number: int) -> tuple[int, ...]:
        start, count = self._vector(number)
        return struct.unpack_from(f"<{count}i", self.data, start)

    def content(self, number: int) -> bytes:
        start, count = self._vector(number)
        return self.data[start : start + count]

    def tables(self, number: int) -> list[_Table]:
        start, count = self._vector(number)
        offsets = range(start, start + 4 * count, 4)
        return [_Table(self.data, offset + self._number("I", offset)) for offset in offsets]


def float_constants(path: Path) -> list[NDArray[np.float32]]:
    """The float32 tensors that the first graph of a file has values for, in the order of the file.

    Raises:
        EnvironmentProblem: no such file.
    """
    data = path.read_bytes()
    try:
        model = _Table(data, struct.unpack_from("<I", data)[0])
        buffers = model.tables(_BUFFERS)
        tensors = model.tables(_SUBGRAPHS)[0].tables(_TENSORS)
        floats = [tensor for tensor in tensors if tensor.integer(_TYPE, "b") == _FLOAT32]
        held = [(tensor.integers(_SHAPE), buffers[tensor.integer(_BUFFER, "I")].content(_DATA)) for tensor in floats]
        return [_array(shape, content) for shape, content in held if content]
    except (struct.error, IndexError, ValueError) as error:
        raise EnvironmentProblem(f"{path} is no TensorFlow Lite file that can be read ({error})") from error


def _array(shape: tuple[int, ...], content: bytes) -> NDArray[np.float32]:
    if prod(shape) * 4 != len(content):
        raise ValueError(f"a tensor of shape {shape} has {len(content)} bytes")
    return np.frombuffer(content, dtype="<f4").reshape(shape).astype(np.float32)
