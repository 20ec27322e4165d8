"""Parquet files. Only columns of use are read, and none before it is known how large it becomes."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from avbench.errors import UsageError
from avbench.sources.columns import has_meaning
from avbench.sources.parquet_sizes import column_sizes
from avbench.sources.rows import Media, Row, Rows, column_name
from avbench.sources.text_files import MAX_BYTES, MAX_ROWS, check_rows
from avbench.terminal.text import visible

# Per row: a path or a prompt is shorter, a video or a sound longer.
_MEDIA_BYTES = 16 << 10
_MAX_VALUES = 10 * MAX_ROWS
# Headers and statistics that are counted with the values of a row group.
_CHUNK_BYTES = 1024
# Per row of a column without a meaning: more is neither a number of the row nor the name of a clip.
_NAME_BYTES = 256


@dataclass(frozen=True)
class _Leaf:
    """A column as it lies in the file: lists and structures have one for each part."""

    path: str
    size: int
    values: int
    is_text: bool
    is_bytes: bool

    @property
    def is_media(self) -> bool:
        return self.is_bytes and self.size > _MEDIA_BYTES * max(self.values, 1)


def read_parquet(path: Path) -> Rows:
    """Column names and rows of a Parquet file; of columns without a meaning only short cells, which may name clips.

    Bytes are taken as text where they are UTF-8, else they are `Media`, and so is a large column of bytes, unread.

    Raises:
        UsageError: not readable, a column name twice, or larger than the bounds.
    """
    from pyarrow import parquet

    try:
        with parquet.ParquetFile(path) as file:
            stored, count = file.schema_arrow.names, file.metadata.num_rows
            leaves = _leaves(file.schema, column_sizes(path))
        names = [column_name(name, str(path)) for name in stored]
        _check_names(names, path)
        check_rows(count, path)
        # Texts as dictionaries: what a million rows repeat is held once, until its whole size has been checked.
        with parquet.ParquetFile(path, read_dictionary=[leaf.path for leaf in leaves if leaf.is_text]) as file:
            columns = {
                name: _column(file, raw, leaves, path)
                for name, raw in zip(names, stored, strict=True)
                if name and (has_meaning(name) or _is_short(file, raw, leaves))
            }
    except (UsageError, MemoryError):
        raise
    except Exception as exc:
        raise UsageError(f"{path}: not a readable Parquet file ({_first_line(exc)}). Write the file again.") from exc
    rows = [Row(path, f"row {i + 1}", {name: cells[i] for name, cells in columns.items()}) for i in range(count)]
    return tuple(name for name in names if name), rows


def _first_line(exc: Exception) -> str:
    return visible(str(exc).splitlines()[0]) if str(exc).strip() else type(exc).__name__


def _check_names(names: list[str], path: Path) -> None:
    if repeated := sorted({name for name in names if name and names.count(name) > 1}):
        raise UsageError(f"{path}: column {repeated[0]!r} appears twice. Rename or remove one.")


def _leaves(schema: Any, sizes: list[tuple[int, int]]) -> list[_Leaf]:
    leaves = []
    # A file without row groups states no sizes.
    for column, (size, values) in zip(schema, sizes or [(0, 0)] * len(schema), strict=True):
        kind, is_array = column.logical_type.type, column.physical_type == "BYTE_ARRAY"
        is_bytes = kind == "NONE" and column.physical_type in ("BYTE_ARRAY", "FIXED_LEN_BYTE_ARRAY")
        leaves.append(_Leaf(column.path, size, values, is_array and kind in ("STRING", "NONE"), is_bytes))
    return leaves


def _is_short(file: Any, name: str, leaves: list[_Leaf]) -> bool:
    parts = _parts(name, leaves)
    most = _NAME_BYTES * file.metadata.num_rows
    stored = sum(leaf.size for leaf in parts)
    if any(leaf.is_bytes for leaf in parts) or stored > most + _CHUNK_BYTES * file.metadata.num_row_groups:
        return False
    if not any(leaf.is_text or leaf.path == name for leaf in parts):
        return False
    if max(leaf.values for leaf in parts) > _MAX_VALUES:
        return False
    return sum(map(_unfolded_bytes, file.read(columns=[name]).column(0).chunks)) <= int(most)


def _parts(name: str, leaves: list[_Leaf]) -> list[_Leaf]:
    return [leaf for leaf in leaves if leaf.path == name or leaf.path.startswith(f"{name}.")]


def _column(file: Any, name: str, leaves: list[_Leaf], path: Path) -> list[object]:
    """The cells of a column, bounded before they are read and before they are unfolded."""
    count = file.metadata.num_rows
    parts = _parts(name, leaves)
    if any(leaf.is_media for leaf in parts):
        beside = [leaf for leaf in parts if leaf.path == f"{name}.path" and leaf.is_text]
        if len(parts) != 2 or not beside:
            return [Media()] * count
        cells = _read(file, beside[0].path, beside, path)
        return [Media(cell["path"] if isinstance(cell, dict) else None) for cell in cells]
    return _read(file, name, parts, path)


def _read(file: Any, name: str, leaves: list[_Leaf], path: Path) -> list[object]:
    _check_size(name, sum(leaf.size for leaf in leaves), max(leaf.values for leaf in leaves), path)
    column = file.read(columns=[name]).column(0)
    _check_size(name, sum(map(_unfolded_bytes, column.chunks)), len(column), path)
    if len(column) != file.metadata.num_rows:
        raise UsageError(f"{path}: column {name!r} has {len(column)} rows, expected {file.metadata.num_rows}.")
    cells: list[object] = []
    for chunk in column.chunks:
        cells.extend((chunk.dictionary_decode() if hasattr(chunk, "dictionary_decode") else chunk).to_pylist())
    return cells


def _check_size(name: str, size: int, values: int, path: Path) -> None:
    if size > MAX_BYTES or values > _MAX_VALUES:
        raise UsageError(
            f"{path}: column {name!r} holds {size:,} bytes in {values:,} values; up to {MAX_BYTES:,} bytes in "
            f"{_MAX_VALUES:,} values are read. Split the file, or rename the column if it holds no texts."
        )


def _unfolded_bytes(array: Any) -> int:
    """What an Arrow array takes once each value of its dictionaries is written out."""
    from pyarrow import compute, types

    kind = array.type
    if types.is_dictionary(kind):
        lengths = compute.binary_length(array.dictionary).cast("int64")
        return int(compute.sum(lengths.take(array.indices.cast("int64"))).as_py() or 0)
    if types.is_map(kind):
        return _unfolded_bytes(array.keys) + _unfolded_bytes(array.items)
    if types.is_struct(kind):
        return sum(map(_unfolded_bytes, array.flatten()))
    if types.is_list(kind) or types.is_large_list(kind) or types.is_fixed_size_list(kind):
        return _unfolded_bytes(array.flatten())
    return int(array.nbytes)
