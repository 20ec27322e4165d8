"""Parquet tables of a run as data frames: bounded before they unfold, and of the types that the schema names."""

from __future__ import annotations

import math
import os
from collections.abc import Collection, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from avbench.results.damage import DamagedRunError, open_entry, why
from avbench.results.rules import Column, RowType, columns_of
from avbench.results.schema import ClipRow, ScoreRow

if TYPE_CHECKING:
    import pandas as pd

# A few kilobytes can claim billions of equal rows, or one long text for each of many rows. Honest tables unfold to
# about 50 times their file: half of their columns repeat themselves, digests and times do not.
MOST_FILE_BYTES = 16 * 2**30
_FREE_ROWS, _ROWS_PER_BYTE = 1_000_000, 100
_FREE_BYTES, _BYTES_PER_BYTE = 256 * 2**20, 200
_BATCH = 16_384
_METADATA_BYTES = 64 * 2**20
_DETAIL = "detail"

Row = TypeVar("Row", ScoreRow, ClipRow)


def read_table(folder: Path, name: str, row: RowType, *, slim: bool = False) -> pd.DataFrame:
    """A table of a run folder with the columns of `row`; other columns are not read.

    Args:
        folder: the run folder.
        name: of the table.
        row: its columns.
        slim: texts as categories, which take memory once for each distinct one and sort as texts do; details of
            single clips are null. For a score table of millions of rows.

    Raises:
        DamagedRunError: no Parquet file, or one with other types, nulls where none may be, numbers out of bounds,
            texts that are not UTF-8, or more data than its size allows.
    """
    with _opened(folder, name) as file:
        return _frame(_batches(file, columns_of(row)), columns_of(row), slim)


def read_rows(folder: Path, name: str, row: type[Row]) -> Iterator[Row]:
    """The rows of a table, as many in memory as a batch has.

    Raises:
        DamagedRunError: as `read_table`, when the rows before have been given.
    """
    columns = columns_of(row)
    names = [column.name for column in columns]
    with _opened(folder, name) as file:
        for batch in _batches(file, columns):
            for values in zip(*(column.to_pylist() for column in batch.columns), strict=True):
                yield row(**dict(zip(names, values, strict=True)))


@contextmanager
def _opened(folder: Path, name: str) -> Iterator[Any]:
    """A table to read; what is wrong with it is damage of the run."""
    import pyarrow as pa

    with open_entry(folder, name, most=MOST_FILE_BYTES) as file:
        try:
            yield file
        except (OSError, ValueError, TypeError, KeyError, OverflowError, MemoryError, pa.ArrowException) as error:
            raise DamagedRunError(folder, name, why(error)) from error


def _batches(file: Any, columns: tuple[Column, ...]) -> Iterator[Any]:
    """The parts of a table, with all columns and of the types of the schema."""
    import pyarrow.parquet as pq

    size = os.fstat(file.fileno()).st_size
    limits = {"thrift_string_size_limit": _METADATA_BYTES, "thrift_container_size_limit": 1_000_000}
    wanted = _present(pq.ParquetFile(file, **limits).schema_arrow, columns)
    # As dictionaries, texts take memory once for each distinct one, however often a file repeats them.
    texts = [column.name for column in wanted if column.kind == "text"]
    with pq.ParquetFile(file, read_dictionary=texts, **limits) as parquet:
        rows, allowed = parquet.metadata.num_rows, _FREE_BYTES + _BYTES_PER_BYTE * size
        if rows > _FREE_ROWS + _ROWS_PER_BYTE * size:
            raise ValueError(f"it claims {rows:,} rows in {size:,} bytes")
        used = 0
        for batch in parquet.iter_batches(_BATCH, columns=[column.name for column in wanted], use_threads=False):
            used += sum(_unfolded(batch.column(i)) for i in range(batch.num_columns))
            if used > allowed:
                raise ValueError(f"it unfolds to more than {allowed:,} bytes, from a file of {size:,}")
            yield _conform(batch, columns)


def _frame(batches: Iterable[Any], columns: tuple[Column, ...], slim: bool) -> pd.DataFrame:
    import pyarrow as pa

    parts = [_slimmed(batch) if slim else batch for batch in batches]
    table = pa.Table.from_batches(parts, _slim_schema(_schema(columns)) if slim else _schema(columns))
    del parts
    frame: pd.DataFrame = table.to_pandas(split_blocks=slim, self_destruct=slim)
    if not slim:
        return frame
    frame = _with_sorted_categories(frame)
    del table
    pa.default_memory_pool().release_unused()  # of many small batches, which would stay with the process
    return frame


def _slimmed(batch: Any) -> Any:
    """The batch with texts as dictionaries, and without details of clips."""
    import pyarrow as pa
    import pyarrow.compute as pc

    schema, arrays = _slim_schema(batch.schema), []
    for field, array in zip(schema, batch.columns, strict=True):
        if pa.types.is_dictionary(field.type):
            arrays.append(array.dictionary_encode())
        elif field.name == _DETAIL:
            arrays.append(pc.if_else(pc.equal(batch.column("scope"), "clip"), pa.scalar(None, array.type), array))
        else:
            arrays.append(array)
    return pa.record_batch(arrays, schema)


def _slim_schema(schema: Any) -> Any:
    import pyarrow as pa

    # Details are all different: a dictionary of them would be no smaller.
    repeated = pa.dictionary(pa.int32(), pa.string())
    texts = {field.name for field in schema if pa.types.is_string(field.type)} - {_DETAIL}
    return pa.schema([field.with_type(repeated) if field.name in texts else field for field in schema])


def _with_sorted_categories(frame: pd.DataFrame) -> pd.DataFrame:
    """Categories in the order of texts, so that sorting and grouping give what texts would give."""
    for name in frame.columns:
        if frame[name].dtype == "category":
            frame[name] = frame[name].cat.reorder_categories(sorted(frame[name].cat.categories))
    return frame


def read_details(folder: Path, clip_ids: Collection[str]) -> dict[tuple[str, str], str]:
    """Details of the score rows of a few clips, by clip and metric; `folder` has a score table that was checked.

    Raises:
        DamagedRunError: it is no Parquet file with these columns any more.
    """
    import pyarrow as pa
    import pyarrow.compute as pc
    import pyarrow.parquet as pq

    details: dict[tuple[str, str], str] = {}
    wanted = pa.array(sorted(clip_ids), pa.string())
    with _opened(folder, "scores.parquet") as file, pq.ParquetFile(file) as parquet:
        columns = ["clip_id", "metric", _DETAIL] if _DETAIL in parquet.schema_arrow.names else []
        for batch in parquet.iter_batches(_BATCH, columns=columns, use_threads=False) if columns else ():
            rows = batch.filter(pc.is_in(batch.column("clip_id").cast(pa.string()), wanted))
            clips, metrics, texts = (rows.column(name).to_pylist() for name in columns)
            details.update(zip(zip(clips, metrics, strict=True), texts, strict=True))
    return details


def to_frame(rows: Sequence[ScoreRow | ClipRow], row: RowType) -> pd.DataFrame:
    """Rows that satisfy the rules as `read_table` would give them."""
    import pyarrow as pa

    frame: pd.DataFrame = pa.Table.from_pylist([asdict(each) for each in rows], _schema(columns_of(row))).to_pandas()
    return frame


def to_rows(frame: pd.DataFrame, row: type[Row]) -> Iterable[Row]:
    """The rows of a table that `read_table` gave."""
    columns = columns_of(row)
    names = [column.name for column in columns]
    for values in zip(*(_cells(frame[column.name].tolist(), column) for column in columns), strict=True):
        yield row(**dict(zip(names, values, strict=True)))


def _cells(values: Iterable[Any], column: Column) -> list[Any]:
    plain = [_plain(value, column) for value in values]
    if column.kind != "text":
        return plain
    known: dict[Any, Any] = {}  # equal texts are one object: most columns repeat a few of them
    return [known.setdefault(text, text) for text in plain]


def _plain(value: Any, column: Column) -> Any:
    """A cell of a data frame as JSON has it: null is None, integers beside nulls are integers again."""
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return None
    return int(value) if column.kind == "integer" else value


def _schema(columns: Iterable[Column]) -> Any:
    import pyarrow as pa

    return pa.schema([(column.name, _arrow_type(column)) for column in columns])


def _present(schema: Any, columns: tuple[Column, ...]) -> list[Column]:
    """The columns that the file has, all of the right type."""
    import pyarrow as pa

    present = [column for column in columns if column.name in schema.names]
    missing = [column.name for column in columns if column.required and column not in present]
    if missing:
        raise ValueError(f"it lacks the columns {', '.join(missing)}")
    for column in present:
        if schema.names.count(column.name) > 1:
            raise ValueError(f"column {column.name} is there twice")
        actual = schema.field(column.name).type
        if not _fits(pa.types, actual, column):
            raise ValueError(f"column {column.name} is {actual}, expected {column.kind}")
    return present


def _fits(types: Any, actual: Any, column: Column) -> bool:
    if types.is_null(actual):
        return column.nullable
    if types.is_dictionary(actual):
        actual = actual.value_type
    if column.kind == "text":
        return bool(types.is_string(actual) or types.is_large_string(actual))
    # pandas writes integers with gaps as floats; `_conform` refuses fractions.
    return bool(
        types.is_integer(actual) or (types.is_floating(actual) and (column.kind == "number" or column.nullable))
    )


def _unfolded(array: Any) -> int:
    """Bytes of the values once they are no dictionary any more."""
    import pyarrow.compute as pc
    import pyarrow.types as types

    if not types.is_dictionary(array.type):
        return int(array.nbytes)
    lengths = pc.binary_length(array.dictionary).cast("int64").take(array.indices)
    return int(pc.sum(lengths).as_py() or 0) + 8 * len(array)


def _conform(batch: Any, columns: tuple[Column, ...]) -> Any:
    """The batch with all columns, of exactly the types of the schema."""
    import pyarrow as pa

    arrays = []
    for column in columns:
        if column.name in batch.schema.names:
            arrays.append(_checked(batch.column(column.name), column))
        else:
            arrays.append(pa.array([column.default] * len(batch), _arrow_type(column)))
    return pa.record_batch(arrays, _schema(columns))


def _checked(array: Any, column: Column) -> Any:
    import pyarrow as pa
    import pyarrow.compute as pc

    if pa.types.is_dictionary(array.type):
        array.dictionary.validate(full=True)  # texts are UTF-8
    array = array.cast(_arrow_type(column))
    array.validate(full=True)
    if array.null_count and not column.nullable:
        raise ValueError(f"column {column.name} has empty cells")
    if column.kind == "text":
        return array
    if column.kind == "number":
        # NaN stands for null where pandas wrote the file; the rules refuse it where a number has to be.
        array = pc.if_else(pc.is_nan(array), pa.scalar(None, array.type), array)
        if array.null_count and not column.nullable:
            raise ValueError(f"column {column.name} has NaN in it")
    ends = pc.min_max(array).as_py()
    if ends["min"] is not None and not (column.low <= ends["min"] and ends["max"] <= column.high):
        raise ValueError(f"column {column.name} has values from {ends['min']:g} to {ends['max']:g}, out of bounds")
    return array


def _arrow_type(column: Column) -> Any:
    import pyarrow as pa

    return {"text": pa.string(), "integer": pa.int64(), "number": pa.float64()}[column.kind]
