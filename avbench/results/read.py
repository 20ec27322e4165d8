"""Read a run folder back."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from avbench.errors import UsageError
from avbench.results.schema import SCHEMA_VERSION

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True)
class Run:
    """A run that was read back: `info` from run.json, the tables as data frames.

    `scores` has the columns of `ScoreRow`, `clips` those of `ClipRow`, `categories` clip_id, aspect, category.
    """

    path: Path
    info: dict[str, Any]
    scores: pd.DataFrame
    clips: pd.DataFrame
    categories: pd.DataFrame


def load_run(path: Path | str) -> Run:
    """Read a run folder.

    Raises:
        UsageError: the folder holds no finished run, or one written by a newer avbench.
    """
    import pandas as pd

    folder = Path(path)
    info_file = folder / "run.json"
    if not info_file.is_file():
        raise UsageError(
            f"{folder} is not a run folder (no run.json). Give the folder that 'avbench score --out' wrote."
        )
    info: dict[str, Any] = json.loads(info_file.read_text(encoding="utf-8"))
    if info.get("schema_version", 0) > SCHEMA_VERSION:
        raise UsageError(
            f"{folder} was written with result schema {info['schema_version']}, this avbench reads up to "
            f"{SCHEMA_VERSION}. Upgrade avbench."
        )
    names = ("scores.parquet", "clips.parquet", "categories.parquet")
    missing = [name for name in names if not (folder / name).is_file()]
    if missing:
        raise UsageError(
            f"{folder} is an unfinished run ({', '.join(missing)} missing). Run the same 'avbench score' command "
            "again: it goes on where it stopped."
        )
    return Run(folder, info, *(pd.read_parquet(folder / name) for name in names))


def read_by_metric(path: Path) -> Iterator[pd.DataFrame]:
    """The score table without details, one metric at a time: summaries of long runs need little memory."""
    import pandas as pd
    import pyarrow.parquet as pq

    table = path / "scores.parquet"
    columns = ["clip_id", "model", "scope", "metric", "value", "status", "reason", "weights_digest", "detail"]
    names: set[str] = set()
    for batch in pq.ParquetFile(table).iter_batches(columns=["metric"], use_threads=False):
        names.update(batch.column(0).unique().to_pylist())
    for name in sorted(names):
        yield pd.read_parquet(table, columns=columns, filters=[("metric", "==", name)], use_threads=False)
