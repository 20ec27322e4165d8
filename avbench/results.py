"""The result schema, and the run folder that holds it. This is the only place that knows both.

A run folder:

    run.json         what was asked, with which versions, on what machine
    scores.jsonl     one row per clip x metric, appended while running
    clips.jsonl      one row per decoded clip, appended while running
    scores.parquet   the same, compacted: one row per clip x metric, sorted
    clips.parquet    one row per clip: paths, prompt, media facts, sha256
    categories.parquet   one row per clip x label
    summary.json     means with intervals and counts
    features/        what metrics over sets of clips need of each clip
    report.html      written by `avbench report`
"""

from __future__ import annotations

import io
import json
import os
import shutil
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, fields
from itertools import islice
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, Literal, TypeVar

import numpy as np
from numpy.typing import NDArray

from avbench.clips import Clip
from avbench.errors import EnvironmentProblem, UsageError

if TYPE_CHECKING:
    import pandas as pd
    from filelock import BaseFileLock

# Arrow's own allocator keeps what it frees, and the peak of a long run grows with it. Read at Arrow's first import.
os.environ.setdefault("ARROW_DEFAULT_MEMORY_POOL", "system")

SCHEMA_VERSION = 1
SPOOL_PREFIX = ".spool-"
"""Start of the names of temporary folders inside a run folder."""
UNAVAILABLE = "unavailable"
"""`weights_digest` of rows that were skipped because this machine lacks a package or weights."""


@dataclass(frozen=True)
class ScoreRow:
    """One line of the long table. `value` is null unless `status` is "ok"; never NaN, never a stand-in 0.

    `scope` is "clip" for per-clip metrics; set metrics use "all" or "aspect/category" and no clip_id.
    `detail` is a JSON object for reports. `seconds` is the time that this metric took for this clip.
    """

    schema_version: int
    run_id: str
    model: str | None
    suite: str
    suite_version: str
    scope: str
    clip_id: str | None
    clip_sha256: str
    prompt_id: str | None
    sample_index: int
    metric: str
    value: float | None
    status: Literal["ok", "skipped", "error"]
    reason: str
    metric_version: int
    params_digest: str
    weights_digest: str
    seconds: float
    detail: str = "{}"

    @property
    def key(self) -> tuple[str, str, int, str, str]:
        """Resume key: content and computation; not name, order, rank or machine."""
        return (self.clip_sha256, self.metric, self.metric_version, self.params_digest, self.weights_digest)


_BATCH = 4096
_LOGS = ("scores.jsonl", "clips.jsonl")


@dataclass(frozen=True)
class ClipRow:
    """One clip as it was understood and decoded; media facts are null where unknown."""

    clip_id: str
    model: str | None
    sample_index: int
    prompt_id: str | None
    text: str | None
    video_text: str | None
    audio_text: str | None
    video_path: str
    audio_path: str | None
    clip_sha256: str
    audio_source: str | None = None
    duration: float | None = None
    audio_duration: float | None = None
    fps: float | None = None
    frames: int | None = None
    width: int | None = None
    height: int | None = None
    sample_rate: int | None = None
    channels: int | None = None
    problem: str | None = None


class RunFolder:
    """A run folder that this process owns while the object is open. Use as a context manager.

    Raises:
        EnvironmentProblem: the folder cannot be written, or another process is writing to it.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._lock: BaseFileLock | None = None
        self._logs: dict[str, IO[bytes]] = {}

    def __enter__(self) -> RunFolder:
        from filelock import FileLock, Timeout

        try:
            self.path.mkdir(parents=True, exist_ok=True)
            self._lock = FileLock(self.path / ".lock")
            self._lock.acquire(timeout=0)
            for left in self.path.glob(f"{SPOOL_PREFIX}*"):  # of a run that was killed
                shutil.rmtree(left, ignore_errors=True)
            for name in _LOGS:
                _cut_torn_line(self.path / name)
                self._logs[name] = (self.path / name).open("ab", buffering=0)
        except Timeout as error:
            raise EnvironmentProblem(
                f"{self.path} is in use by another avbench run. Wait for it, or choose another --out."
            ) from error
        except OSError as error:
            self.close()
            raise EnvironmentProblem(
                f"cannot write to {self.path}: {error.strerror or error}. Choose another --out."
            ) from error
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Release the folder."""
        for log in self._logs.values():
            log.close()
        if self._lock is not None:
            self._lock.release()

    def append(self, rows: Iterable[ScoreRow]) -> None:
        """Write score rows. A kill leaves whole lines, or a torn last one that is cut at resume."""
        self._append("scores.jsonl", rows)

    def append_clip(self, row: ClipRow) -> None:
        """Write what was learnt about a clip; before its scores, so that a scored clip always has it."""
        self._append("clips.jsonl", [row])

    def rows(self) -> list[ScoreRow]:
        """All score rows written so far, in order of writing."""
        return [row for _, row in self.scan()]

    def scan(self) -> Iterator[tuple[int, ScoreRow]]:
        """All score rows with their place in the file, in order of writing, one at a time."""
        return _read_rows(self.path / "scores.jsonl", ScoreRow)

    def read_at(self, places: Iterable[int]) -> Iterator[ScoreRow]:
        """The score rows at places that `scan` gave, in the order given."""
        with (self.path / "scores.jsonl").open("rb") as file:
            for place in places:
                file.seek(place)
                yield ScoreRow(**json.loads(file.readline()))

    def clip_rows(self) -> list[ClipRow]:
        """All clip rows written so far, in order of writing."""
        return [row for _, row in _read_rows(self.path / "clips.jsonl", ClipRow)]

    def feature_path(self, space: str, media_key: str) -> Path:
        """Where the features of a clip are; `space` names the way of computing them."""
        return self.path / "features" / space / f"{media_key.replace(':', '-')}.npy"

    def put_feature(self, space: str, media_key: str, value: NDArray[Any]) -> None:
        """Write the features of a clip, float32 (D,)."""
        path = self.feature_path(space, media_key)
        buffer = io.BytesIO()
        np.save(buffer, value, allow_pickle=False)
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise EnvironmentProblem(f"cannot write {path.parent}: {error.strerror or error}") from error
        write_atomically(path, buffer.getvalue())

    def feature(self, space: str, media_key: str) -> NDArray[Any] | None:
        """The features of a clip, None where it has none."""
        path = self.feature_path(space, media_key)
        return np.load(path, allow_pickle=False) if path.exists() else None

    def _append(self, name: str, rows: Iterable[ScoreRow | ClipRow]) -> None:
        data = b"".join(json.dumps(asdict(row), allow_nan=False).encode() + b"\n" for row in rows)
        try:
            while data:
                data = data[self._logs[name].write(data) or 0 :]
        except OSError as error:
            raise EnvironmentProblem(
                f"cannot append to {self.path / name}: {error.strerror or error}. "
                "Scores so far are kept; free some space and run the same command again to go on."
            ) from error

    def write_json(self, name: str, content: Any) -> None:
        """Write a JSON file by temporary name and rename."""
        text = json.dumps(content, indent=2, ensure_ascii=False, allow_nan=False, default=str)
        write_atomically(self.path / name, (text + "\n").encode())

    def write_tables(self, rows: Iterable[ScoreRow], clips: Iterable[ClipRow], source: Sequence[Clip]) -> None:
        """Write the compacted score table, the clip table and the category table; rows may be a generator."""
        labels = (_Label(clip.clip_id, c.aspect, c.name) for clip in source for c in clip.categories)
        self._write_parquet("scores.parquet", ScoreRow, rows)
        self._write_parquet("clips.parquet", ClipRow, clips)
        self._write_parquet("categories.parquet", _Label, labels)

    def _write_parquet(self, name: str, kind: type, rows: Iterable[Any]) -> None:
        """Write batch by batch, so that memory does not grow with the number of rows."""
        import pyarrow as pa
        import pyarrow.parquet as pq

        names = [field.name for field in fields(kind)]
        schema = pa.schema([(column, _arrow_type(pa, column)) for column in names])
        buffer, source = io.BytesIO(), iter(rows)
        with pq.ParquetWriter(buffer, schema) as writer:
            while batch := list(islice(source, _BATCH)):
                columns = [pa.array([getattr(row, n) for row in batch], type=schema.field(n).type) for n in names]
                writer.write_table(pa.table(columns, schema=schema))
        write_atomically(self.path / name, buffer.getvalue())


@dataclass(frozen=True)
class _Label:
    """One line of the category table."""

    clip_id: str
    aspect: str
    category: str


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


def write_atomically(path: Path, data: bytes) -> None:
    """Write a whole file by temporary name and rename, so that no reader ever sees half of it.

    Raises:
        EnvironmentProblem: the folder is read-only or the disk is full; an older file stays as it was.
    """
    temporary: str | None = None
    try:
        handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
        with os.fdopen(handle, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        umask = os.umask(0)
        os.umask(umask)
        Path(temporary).chmod(0o666 & ~umask)
        Path(temporary).replace(path)
    except OSError as error:
        if temporary is not None:
            Path(temporary).unlink(missing_ok=True)
        raise EnvironmentProblem(f"cannot write {path}: {error.strerror or error}") from error


_TYPES = {
    "schema_version": "int32", "sample_index": "int64", "metric_version": "int32", "frames": "int64",
    "width": "int64", "height": "int64", "sample_rate": "int64", "channels": "int64",
    "value": "float64", "seconds": "float64", "duration": "float64", "audio_duration": "float64", "fps": "float64",
}  # fmt: skip


def _arrow_type(pa: Any, column: str) -> Any:
    # Fixed types: a column of nulls only must not change type between runs.
    return getattr(pa, _TYPES[column])() if column in _TYPES else pa.string()


Row = TypeVar("Row", ScoreRow, ClipRow)


def _read_rows(path: Path, kind: type[Row]) -> Iterator[tuple[int, Row]]:
    if not path.exists():
        return
    names = [field.name for field in fields(kind)]
    with path.open("rb") as file:
        place = 0
        for number, line in enumerate(file, 1):
            try:
                content = json.loads(line)
                yield place, kind(**{name: content[name] for name in names})
            except (ValueError, KeyError, TypeError) as error:
                raise UsageError(
                    f"{path} line {number} is not a {kind.__name__} ({error}). Move the file away to start anew."
                ) from error
            place += len(line)


def _cut_torn_line(path: Path) -> None:
    """Drop what follows the last newline: a kill may have interrupted the last write."""
    if not path.exists():
        return
    with path.open("r+b") as file:
        end = file.seek(0, os.SEEK_END)
        position = end
        while position > 0:
            start = max(0, position - 65536)
            file.seek(start)
            newline = file.read(position - start).rfind(b"\n")
            if newline >= 0:
                position = start + newline + 1
                break
            position = start
        if position < end:
            file.truncate(position)
