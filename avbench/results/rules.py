"""Check rows of a run's tables, one at a time and in whole tables."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import MISSING, dataclass, fields
from types import NoneType
from typing import TYPE_CHECKING, Any, Literal, get_args, get_type_hints

from avbench.clips import Expected
from avbench.results.schema import ClipRow, LabelRow, ScoreRow

if TYPE_CHECKING:
    import pandas as pd

Kind = Literal["text", "integer", "number"]
RowType = type[ScoreRow] | type[ClipRow] | type[LabelRow]

LARGEST = 1e100
"""Networks give float32, below 1e39; squares and sums of numbers up to here are finite."""
_LARGEST_INTEGER = 2**53
_LARGEST_VERSION = 2**31 - 1
_STATUSES = ("ok", "skipped", "error")
_SHOWN = 3


@dataclass(frozen=True)
class Column:
    """One column: what it may hold. `default` stands for a column that an older avbench did not write."""

    name: str
    kind: Kind
    nullable: bool
    low: float
    high: float
    required: bool
    default: Any

    @property
    def types(self) -> tuple[type, ...]:
        """Python types of its values; bool is none of them, though it is an int."""
        known: dict[Kind, tuple[type, ...]] = {"text": (str,), "integer": (int,), "number": (float, int)}
        return (*known[self.kind], NoneType) if self.nullable else known[self.kind]


def columns_of(row: RowType) -> tuple[Column, ...]:
    """The columns of a table, from the annotations of its row."""
    return _COLUMNS[row]


def _column(name: str, hint: Any, default: Any) -> Column:
    parts = set(get_args(hint)) or {hint}
    kind: Kind = "integer" if int in parts else "number" if float in parts else "text"
    high = _LARGEST_VERSION if name.endswith("_version") else _LARGEST_INTEGER if kind == "integer" else LARGEST
    required = default is MISSING
    return Column(name, kind, NoneType in parts, -LARGEST if name == "value" else 0, high, required, default)


_COLUMNS: dict[RowType, tuple[Column, ...]] = {
    row: tuple(_column(field.name, get_type_hints(row)[field.name], field.default) for field in fields(row))
    for row in (ScoreRow, ClipRow, LabelRow)
}
# At hand, because this is asked of each cell of millions of rows.
_CHECKS = {
    row: [(c.name, c.default, frozenset(c.types), c.kind == "text", c.low, c.high) for c in columns]
    for row, columns in _COLUMNS.items()
}


def row_problem(content: Mapping[str, Any], row: RowType) -> str | None:
    """What is wrong with one row as JSON gives it; None where nothing is."""
    for name, default, types, is_text, low, high in _CHECKS[row]:
        value = content.get(name, default)
        if type(value) not in types:
            return f"{name} is {_kind_of(value)}, expected {_expected_kind(row, name)}"
        if value is None:
            continue
        if is_text:
            if not value.isascii() and not _encodable(value):
                return f"{name} is not valid Unicode"
        elif not low <= value <= high:  # false for NaN as well
            return f"{name} is {value!r}, out of bounds"
    if row is ClipRow:
        return _expected_problem(content.get("expected"))
    return _score_problem(content) if row is ScoreRow else None


def _expected_problem(text: str | None) -> str | None:
    try:
        Expected.from_json(text)
    except (ValueError, RecursionError):
        return "expected is not a JSON object of texts"
    return None


def _expected_kind(row: RowType, name: str) -> str:
    column = next(column for column in columns_of(row) if column.name == name)
    return f"{column.kind} or null" if column.nullable else column.kind


def _kind_of(value: object) -> str:
    return "missing" if value is MISSING else "null" if value is None else type(value).__name__


def _encodable(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _score_problem(content: Mapping[str, Any]) -> str | None:
    status, value, clip_id = content["status"], content["value"], content["clip_id"]
    if status not in _STATUSES:
        return f"status is {status!r}, expected {', '.join(_STATUSES)}"
    if (status == "ok") != (value is not None):
        return f"status is {status!r} and value is {value!r}"
    if (content["scope"] == "clip") != (clip_id is not None):
        return f"scope is {content['scope']!r} and clip_id is {clip_id!r}"
    return _set_problem(content.get("detail", "{}")) if clip_id is None else None


def _set_problem(detail: str) -> str | None:
    """A row over a set of clips counts them in its detail, and summaries take the counts from there."""
    try:
        content = json.loads(detail)
    except (ValueError, RecursionError):
        return "detail of a metric over sets is not JSON"
    if not isinstance(content, dict):
        return "detail of a metric over sets is not an object"
    counts = [content.get(name, 0) for name in ("clips", "without_features")]
    if any(type(count) is not int or not 0 <= count <= _LARGEST_INTEGER for count in counts) or counts[0] < counts[1]:
        return f"detail counts {counts[0]!r} clips, {counts[1]!r} of them without features"
    return None


def score_table_problem(scores: pd.DataFrame, clips: pd.DataFrame) -> str | None:
    """What is wrong with a score table whose columns have the right types; `clips` is the clip table."""
    value, ok, of_clip = scores["value"], scores["status"] == "ok", scores["scope"] == "clip"
    checks = (
        (~scores["status"].isin(_STATUSES), "status", f"expected {', '.join(_STATUSES)}"),
        (ok & value.isna(), "metric", "status ok without a finite value"),
        (~ok & value.notna(), "metric", "a value, and status is not ok"),
        (of_clip & scores["clip_id"].isna(), "metric", "scope clip without a clip_id"),
        (~of_clip & scores["clip_id"].notna(), "scope", "a clip_id, and scope is not clip"),
        (of_clip & scores.duplicated(["clip_id", "metric"]), "clip_id", "several rows of one metric for one clip"),
        (~of_clip & scores.duplicated(["scope", "metric"]), "scope", "several rows of one metric for one set"),
        (of_clip & ~scores["clip_id"].isin(clips["clip_id"]), "clip_id", "clips that clips.parquet lacks"),
    )
    for wrong, column, message in checks:
        if wrong.any():
            return f"{message}: {_some(scores.loc[wrong, column])}"
    return next((problem for d in scores.loc[~of_clip, "detail"] if (problem := _set_problem(str(d)))), None)


def clip_table_problem(clips: pd.DataFrame) -> str | None:
    """What is wrong with a clip table whose columns have the right types."""
    repeated = clips["clip_id"].duplicated()
    if repeated.any():
        return f"clips that are there twice: {_some(clips.loc[repeated, 'clip_id'])}"
    return next((problem for text in clips["expected"].dropna() if (problem := _expected_problem(text))), None)


def label_table_problem(labels: pd.DataFrame, clips: pd.DataFrame) -> str | None:
    """What is wrong with a category table whose columns have the right types."""
    for wrong, message in (
        (labels.duplicated(), "labels that are there twice"),
        (~labels["clip_id"].isin(clips["clip_id"]), "clips that clips.parquet lacks"),
    ):
        if wrong.any():
            return f"{message}: {_some(labels.loc[wrong, 'clip_id'])}"
    return None


def _some(values: pd.Series[Any]) -> str:
    names = [repr(value) for value in values.drop_duplicates().head(_SHOWN + 1)]
    return ", ".join(names[:_SHOWN]) + (" …" if len(names) > _SHOWN else "")
