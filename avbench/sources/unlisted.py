"""Short texts in columns without a meaning, which may name clips all the same."""

from __future__ import annotations

from avbench.sources.columns import KEYS, find_columns, normalize_name
from avbench.sources.numbering import NUMBERS, is_number
from avbench.sources.rows import Row, Table, cell_parts

# A path is shorter; a description is longer.
_LONGEST = 300


def unlisted_columns(table: Table) -> tuple[str, ...]:
    """Columns of a prompt list that are neither read as prompts nor known to name clips or number rows."""
    columns = find_columns(table)
    return tuple(
        column
        for column in (*columns.ignored, *filter(None, [columns.audio]))
        if normalize_name(column) not in (*KEYS, *NUMBERS)
    )


def unlisted_cells(row: Row, columns: tuple[str, ...]) -> dict[str, str]:
    """Texts that may be names, by column; those of a list or an object by "videos.0" and "meta.video"."""
    return {
        name: text.strip().replace("\\", "/").removeprefix("./")
        for column in columns
        for name, text in cell_parts(column, row.cells.get(column))
        if isinstance(text, str) and text.strip() and len(text) <= _LONGEST and not is_number(text)
    }
