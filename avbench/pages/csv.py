"""Tables as CSV: unknown cells are empty, and every line says where its numbers come from."""

from __future__ import annotations

from avbench.pages.table import Row, Table
from avbench.terminal.text import to_csv


def table_csv(table: Table) -> str:
    """A header and one line per row: group, texts, provenance, numbers, and marks as "column:mark,mark"."""
    texts = [index for index, column in enumerate(table.columns) if column.kind != "number"]
    numbers = [index for index, column in enumerate(table.columns) if column.kind == "number"]
    provenance = list(dict.fromkeys(name for row in table.rows for name, _ in row.provenance))

    def line(row: Row) -> list[str]:
        known = dict(row.provenance)
        named = zip(table.columns, row.cells, strict=True)
        marks = [f"{column.key}:{','.join(cell.marks)}" for column, cell in named if cell.marks]
        return [
            row.group,
            *(row.cells[index].text for index in texts),
            *(known.get(name, "") for name in provenance),
            *(row.cells[index].text for index in numbers),
            " ".join(marks),
        ]

    keys = [column.key for column in table.columns]
    head = ["group", *(keys[i] for i in texts), *provenance, *(keys[i] for i in numbers), "marks"]
    return to_csv(head, map(line, (row for row in table.rows if not row.summary)))
