"""The run folder: its records while a run goes on, its tables and summary at the end.

A run folder:

    run.json         what was asked, with which versions, on what machine
    scores.jsonl     one row per clip x metric, appended while running
    clips.jsonl      one row per decoded clip, appended while running
    scores.parquet   the same, compacted: one row per clip x metric, sorted
    clips.parquet    one row per clip: paths, prompt, media metadata, sha256
    categories.parquet   one row per clip x label
    summary.json     means with intervals and counts
    shard.json       which clips of the source these are, where they are one shard of it
    features/        what metrics over sets of clips need of each clip
    report.html      written by `avbench report`
"""

from __future__ import annotations

import io
import json
import os
import shutil
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from avbench.clips import Clip
from avbench.errors import EnvironmentProblem
from avbench.files import make_folder, read_regular, write_atomically
from avbench.results.damage import refuse_foreign_entries
from avbench.results.lines import cut_torn_line, read_at, read_lines
from avbench.results.rules import Column, RowType, columns_of
from avbench.results.schema import ClipRow, LabelRow, ScoreRow

if TYPE_CHECKING:
    from filelock import BaseFileLock

# Arrow's own allocator keeps what it frees, and the peak of a long run grows with it. Read at Arrow's first import.
os.environ.setdefault("ARROW_DEFAULT_MEMORY_POOL", "system")

SPOOL_PREFIX = ".spool-"
"""Start of the names of temporary folders inside a run folder."""
_BATCH = 4096
_LOGS = ("scores.jsonl", "clips.jsonl")
_MOST_FEATURE_BYTES = 64 * 2**20


class RunFolder:
    """A run folder that this process owns while the object is open. Use as a context manager.

    Raises:
        EnvironmentProblem: the folder cannot be written, or another process is writing to it, or its drive has no
            locks.
        DamagedRunError: a link, folder or pipe lies in place of one of its files.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._lock: BaseFileLock | None = None
        self._logs: dict[str, IO[bytes]] = {}
        self._clips: dict[tuple[str, str], int] | None = None  # hash of the newest row by clip and content

    def __enter__(self) -> RunFolder:
        from filelock import Timeout

        from avbench.files import take_lock

        try:
            self.path.mkdir(parents=True, exist_ok=True)
            refuse_foreign_entries(self.path)
            self._lock = take_lock(self.path / ".lock", "--out")
            for left in self.path.glob(f"{SPOOL_PREFIX}*"):  # of a run that was killed
                shutil.rmtree(left, ignore_errors=True)
            for name in _LOGS:
                cut_torn_line(self.path / name)
                self._logs[name] = (self.path / name).open("ab", buffering=0)
        except Timeout as error:
            raise EnvironmentProblem(
                f"{self.path} is in use by another avbench run. Wait for it, or choose another run folder (--out)."
            ) from error
        except OSError as error:
            self.close()
            raise EnvironmentProblem(
                f"cannot write to {self.path}: {error.strerror or error}. Choose another run folder (--out)."
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
        """Write what was learnt about a clip, unless the record says the same already.

        It goes before the scores of the clip, so that a scored clip always has it.
        """
        if self._clips is None:
            self._clips = {(known.clip_id, known.clip_sha256): hash(known) for known in self.clip_rows()}
        key = (row.clip_id, row.clip_sha256)
        if self._clips.get(key) != hash(row):
            self._append("clips.jsonl", [row])
            self._clips[key] = hash(row)

    def rows(self) -> list[ScoreRow]:
        """All score rows written so far, in order of writing."""
        return [row for _, row in self.scan()]

    def scan(self) -> Iterator[tuple[int, ScoreRow]]:
        """All score rows with their offsets in the file, in order of writing, one at a time."""
        return read_lines(self.path, "scores.jsonl", ScoreRow)

    def read_at(self, offsets: Iterable[int]) -> Iterator[ScoreRow]:
        """The score rows at offsets that `scan` gave, in the order given."""
        return read_at(self.path, "scores.jsonl", offsets, ScoreRow)

    def clip_rows(self) -> Iterator[ClipRow]:
        """All clip rows written so far, in order of writing, one at a time."""
        return (row for _, row in read_lines(self.path, "clips.jsonl", ClipRow))

    def feature_path(self, space: str, media_key: str) -> Path:
        """Where the features of a clip are; `space` names the way of computing them."""
        return self.path / "features" / space / f"{media_key.replace(':', '-')}.npy"

    def put_feature(self, space: str, media_key: str, value: NDArray[Any]) -> None:
        """Write the features of a clip, float32 (D,)."""
        path = self.feature_path(space, media_key)
        buffer = io.BytesIO()
        np.save(buffer, value, allow_pickle=False)
        make_folder(path.parent)
        write_atomically(path, buffer.getvalue())

    def feature(self, space: str, media_key: str) -> NDArray[Any] | None:
        """The features of a clip, finite float32 (D,).

        None where it has none, or a file that holds something else: it is computed again.
        """
        try:
            return _parse_feature(read_regular(self.feature_path(space, media_key), most=_MOST_FEATURE_BYTES))
        except (OSError, ValueError, SyntaxError, MemoryError):
            return None

    def _append(self, name: str, rows: Iterable[ScoreRow | ClipRow]) -> None:
        source = iter(rows)
        try:
            while batch := list(islice(source, _BATCH)):
                # `vars` in place of `asdict`, which copies each cell: rows are flat.
                data = b"".join(json.dumps(vars(row), allow_nan=False).encode() + b"\n" for row in batch)
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
        labels = (LabelRow(clip.clip_id, c.aspect, c.name) for clip in source for c in clip.categories)
        self.write_table("scores.parquet", ScoreRow, rows)
        self.write_table("clips.parquet", ClipRow, clips)
        self.write_table("categories.parquet", LabelRow, labels)

    def write_table(self, name: str, kind: RowType, rows: Iterable[Any]) -> None:
        """Write one table batch by batch, so that memory does not grow with the number of rows."""
        import pyarrow as pa
        import pyarrow.parquet as pq

        schema = pa.schema([(column.name, _arrow_type(pa, column)) for column in columns_of(kind)])
        buffer, source = io.BytesIO(), iter(rows)
        with pq.ParquetWriter(buffer, schema) as writer:
            while batch := list(islice(source, _BATCH)):
                columns = [pa.array([getattr(row, each.name) for row in batch], type=each.type) for each in schema]
                writer.write_table(pa.table(columns, schema=schema))
        write_atomically(self.path / name, buffer.getvalue())


def _arrow_type(pa: Any, column: Column) -> Any:
    # Fixed types: a column of nulls only must not change type between runs.
    integer = pa.int32() if column.name.endswith("_version") else pa.int64()
    return {"text": pa.string(), "integer": integer, "number": pa.float64()}[column.kind]


def _parse_feature(content: bytes) -> NDArray[Any]:
    """Like `np.load`, without room for a size that the header only claims."""
    file = io.BytesIO(content)
    if np.lib.format.read_magic(file) != (1, 0):
        raise ValueError("not an array of version 1.0")
    shape, _, dtype = np.lib.format.read_array_header_1_0(file)
    values = np.frombuffer(content, np.float32, offset=file.tell())
    if dtype != np.float32 or shape != values.shape or not len(values) or not np.isfinite(values).all():
        raise ValueError("not finite float32 (D,)")
    return values
