"""Tables from CSV, TSV, JSON lines, JSON and Parquet files."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from avbench.errors import EnvironmentProblem, UsageError
from avbench.sources.json_tables import read_json, read_json_lines
from avbench.sources.parquet_tables import read_parquet
from avbench.sources.rows import Rows, Table
from avbench.sources.separated import read_separated
from avbench.sources.text_files import require_file


def read_table(path: Path) -> Table:
    """Read a table by its suffix.

    Raises:
        UsageError: unknown suffix, unreadable, too large or malformed file, or no rows; with the line where known.
        EnvironmentProblem: not enough memory.
    """
    reader = _READERS.get(path.suffix.lower())
    if reader is None:
        raise UsageError(
            f"{path}: unknown kind of table {path.suffix!r}; expected {', '.join(TABLE_SUFFIXES)}. Convert the file."
        )
    require_file(path, TABLE_SUFFIXES)
    try:
        columns, rows = reader(path)
    except MemoryError as exc:
        raise EnvironmentProblem(f"{path}: not enough memory to read it. Split the file.") from exc
    if not rows:
        raise UsageError(f"{path} has no rows. Add a header line (CSV) and one row for each clip or prompt.")
    return Table(path, columns, tuple(rows))


_READERS: dict[str, Callable[[Path], Rows]] = {
    ".csv": read_separated,
    ".tsv": read_separated,
    ".jsonl": read_json_lines,
    ".ndjson": read_json_lines,
    ".json": read_json,
    ".parquet": read_parquet,
}
TABLE_SUFFIXES = tuple(_READERS)
