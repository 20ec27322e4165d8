"""Sizes that the footer of a Parquet file states, read without Arrow.

Arrow's accessors for the metadata of column chunks end the process where a damaged footer makes them throw. The footer
is a Thrift structure in the compact protocol; the numbers of its fields are those of the Parquet format.
"""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

_MAX_FOOTER = 64 << 20
_MAX_DEPTH = 16
_ROW_GROUPS, _COLUMNS, _META_DATA, _VALUES, _UNCOMPRESSED, _COMPRESSED = 4, 1, 3, 5, 6, 7
_TRUE, _FALSE, _BYTE, _DOUBLE, _BINARY, _LIST, _SET, _MAP, _STRUCT = 1, 2, 3, 7, 8, 9, 10, 11, 12


def column_sizes(path: Path) -> list[tuple[int, int]]:
    """Bytes before compression and number of values of each leaf column, over all row groups.

    Raises:
        ValueError: no Parquet footer, or a damaged one.
    """
    try:
        groups = _struct(io.BytesIO(_footer(path)), 0).get(_ROW_GROUPS, [])
        chunks = [[chunk[_META_DATA] for chunk in group[_COLUMNS]] for group in groups]
        columns = list(zip(*chunks, strict=True))
        return [
            (
                sum(max(chunk[_UNCOMPRESSED], chunk[_COMPRESSED], 0) for chunk in column),
                sum(max(chunk[_VALUES], 0) for chunk in column),
            )
            for column in columns
        ]
    except (KeyError, IndexError, TypeError, AttributeError) as exc:
        raise ValueError("damaged footer") from exc


def _footer(path: Path) -> bytes:
    with path.open("rb") as file:
        size = file.seek(0, io.SEEK_END)
        file.seek(max(size - 8, 0))
        tail = file.read(8)
        length = int.from_bytes(tail[:4], "little")
        if tail[4:] != b"PAR1" or length > min(size - 12, _MAX_FOOTER):
            raise ValueError("no Parquet footer at the end of the file")
        file.seek(size - 8 - length)
        return file.read(length)


def _struct(data: io.BytesIO, depth: int) -> dict[int, Any]:
    if depth > _MAX_DEPTH:
        raise ValueError("damaged footer")
    fields: dict[int, Any] = {}
    number = 0
    while head := _take(data, 1)[0]:
        number = number + (head >> 4) if head >> 4 else _integer(data)
        kind = head & 15
        fields[number] = kind == _TRUE if kind in (_TRUE, _FALSE) else _value(data, kind, depth)
    return fields


def _value(data: io.BytesIO, kind: int, depth: int) -> Any:
    if kind in (_TRUE, _FALSE, _BYTE):
        return _take(data, 1)[0]
    if kind == _DOUBLE:
        return _take(data, 8)
    if kind == _BINARY:
        return _take(data, _varint(data))
    if kind in (_LIST, _SET):
        head = _take(data, 1)[0]
        count = head >> 4 if head >> 4 < 15 else _varint(data)
        return [_value(data, head & 15, depth + 1) for _ in range(count)]
    if kind == _MAP:
        count = _varint(data)
        kinds = _take(data, 1)[0] if count else 0
        return [(_value(data, kinds >> 4, depth + 1), _value(data, kinds & 15, depth + 1)) for _ in range(count)]
    return _struct(data, depth + 1) if kind == _STRUCT else _integer(data)


def _take(data: io.BytesIO, size: int) -> bytes:
    taken = data.read(size)
    if len(taken) < size:
        raise ValueError("damaged footer")
    return taken


def _integer(data: io.BytesIO) -> int:
    number = _varint(data)
    return (number >> 1) ^ -(number & 1)


def _varint(data: io.BytesIO) -> int:
    number = shift = 0
    while (byte := _take(data, 1)[0]) & 128:
        number |= (byte & 127) << shift
        shift += 7
        if shift > 63:
            raise ValueError("damaged footer")
    return number | byte << shift
