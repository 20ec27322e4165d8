"""Tables of other versions: unknown columns are passed over, one with a default may lack, types are strict."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import MISSING, fields
from pathlib import Path
from subprocess import CompletedProcess

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from avbench import load_run
from avbench.errors import UsageError
from avbench.results import ClipRow, ScoreRow

DATA = Path(__file__).parents[2] / "data" / "run_schema_1"
TABLES = {"scores": ScoreRow, "clips": ClipRow}
OPTIONAL = [
    (table, column.name) for table, row in TABLES.items() for column in fields(row) if column.default is not MISSING
]

Command = Callable[..., CompletedProcess[str]]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return Path(shutil.copytree(DATA, tmp_path / "study"))


def rewrite(run: Path, table: str, change: Callable[[pa.Table], pa.Table], line: Callable[[dict], dict]) -> None:
    """Change a table, and each line of the record behind it."""
    path = run / f"{table}.parquet"
    pq.write_table(change(pq.read_table(path)), path)
    record = run / f"{table}.jsonl"
    rows = [line(json.loads(text)) for text in record.read_text().splitlines()]
    record.write_text("".join(json.dumps(row) + "\n" for row in rows))


def resume(folder: Path, avbench: Command) -> None:
    """Report it, go on where nothing is left to do, then with one more metric: all of them read the tables."""
    reported = avbench("report", "run", cwd=folder)
    assert (reported.returncode, reported.stderr) == (0, "")
    metrics = sorted({*load_run(folder / "run").scores["metric"]} - {"fvd", "fad", "aq"})
    for names, computed in ((metrics, 0), ([*metrics, "true_peak"], 3)):
        options = ("--weights", "keyed-random-reduced", "--json", "--no-html")
        scored = avbench("score", "clips", "-o", "run", "-m", ",".join(names), *options, cwd=folder)
        assert scored.returncode == 3, scored.stderr  # for the damaged clip
        assert json.loads(scored.stdout)["computed"] == computed
        assert "made again" not in scored.stderr


@pytest.mark.long
def test_every_column_with_a_default_may_lack(folder: Path, avbench: Command) -> None:
    """As if all of them had been added since."""
    assert len(OPTIONAL) > 5
    for table in TABLES:
        names = [name for owner, name in OPTIONAL if owner == table]
        rewrite(
            folder / "run",
            table,
            lambda content, names=names: content.drop_columns([name for name in names if name in content.column_names]),
            lambda row, names=names: {key: value for key, value in row.items() if key not in names},
        )
    run = load_run(folder / "run")
    assert run.clips["duration"].isna().all()
    assert set(run.scores["detail"]) == {"{}"}
    resume(folder, avbench)


@pytest.mark.long
def test_columns_that_are_not_known_are_passed_over(folder: Path, avbench: Command) -> None:
    for table in TABLES:
        rewrite(
            folder / "run",
            table,
            lambda content: content.append_column("mood", pa.array(["good"] * len(content))),
            lambda row: row | {"mood": "good"},
        )
    run = load_run(folder / "run")
    assert "mood" not in run.scores and "mood" not in run.clips
    resume(folder, avbench)


@pytest.mark.parametrize(
    ("table", "name", "value"),
    [("scores", "value", "high"), ("scores", "detail", 3), ("clips", "fps", "many"), ("clips", "clip_id", 1)],
)
def test_types_are_strict(folder: Path, table: str, name: str, value: object) -> None:
    path = folder / "run" / f"{table}.parquet"
    content = pq.read_table(path)
    index = content.schema.get_field_index(name)
    pq.write_table(content.set_column(index, name, pa.array([value] * len(content))), path)
    with pytest.raises(UsageError, match=rf"{table}\.parquet: column {name} is "):
        load_run(folder / "run")
