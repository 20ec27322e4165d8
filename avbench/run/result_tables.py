"""The end of a run: the newest rows become tables, tables a summary, and what a caller wants to know is counted."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from avbench.errors import UsageError
from avbench.results import UNAVAILABLE, ClipRow, Run, RunFolder, ScoreRow, load_run, read_clips
from avbench.results.compact import compact
from avbench.results.damage import DamagedRunError
from avbench.results.info import read_info, read_summary
from avbench.results.parquet import read_table, to_rows
from avbench.results.read import read_labels, summary_of
from avbench.results.repair import made_again
from avbench.run.rows import clip_row
from avbench.run.set_metrics import set_digests
from avbench.sources import Source
from avbench.statistics.summary import NOT_ASKED

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True)
class Tables:
    """Contents of the tables of a finished run.

    Attributes:
        summary: content of summary.json.
        failed: ids of clips with an error row, in the order of the source.
        rows: rows of metrics that can run here.
        unavailable: rows of metrics that cannot.
        not_asked: rows of metrics that the suite does not ask of their clip.
        notes: files that were damaged and were made again.
    """

    summary: dict[str, Any]
    failed: tuple[str, ...]
    rows: int
    unavailable: int
    not_asked: int
    notes: tuple[str, ...]


def finish_run(folder: RunFolder, source: Source, shas: Mapping[str, str], *, unchanged: int | None = None) -> Tables:
    """Write the tables and the summary from the record; leave them as they are where nothing changed.

    Args:
        folder: the run folder with its record, scores.jsonl and clips.jsonl.
        source: clips and categories.
        shas: content digest of each clip.
        unchanged: rows of the score table where none was written since the tables were.
    """
    scores: pd.DataFrame | None = None
    note = ""
    if unchanged is not None:
        scores, note = _read_tables(folder.path, source, shas, unchanged)
    if scores is None:
        # The record is read twice, as offsets and then row by row: memory does not grow with what a row holds.
        rows = folder.read_at(compact(folder.scan(), shas, set_digests(source.clips, shas)))
        folder.write_tables(rows, _clip_table(folder, source, shas), source.clips)
        scores = read_table(folder.path, "scores.parquet", ScoreRow, slim=True)
        folder.write_json("summary.json", _summarize(folder.path, scores))
    failed = set(scores.loc[scores["status"] == "error", "clip_id"].dropna())
    unavailable = int((scores["weights_digest"] == UNAVAILABLE).sum())
    not_asked = int((scores["weights_digest"] == NOT_ASKED).sum())
    return Tables(
        summary=read_summary(folder.path),
        failed=tuple(clip.clip_id for clip in source.clips if clip.clip_id in failed),
        rows=len(scores) - unavailable - not_asked,
        unavailable=unavailable,
        not_asked=not_asked,
        notes=(note,) if note else (),
    )


def _read_tables(path: Path, source: Source, shas: Mapping[str, str], rows: int) -> tuple[pd.DataFrame | None, str]:
    """The score table without details.

    Args:
        path: the run folder.
        source: clips and categories.
        shas: content digest of each clip.
        rows: of the score table.

    Returns:
        None where tables or summary are missing or not what they should be, with a note where they are damaged.
    """
    try:
        run = load_run(path, slim=True)
        read_summary(path)
    except DamagedRunError as error:
        return None, made_again(error)
    except UsageError:  # unfinished
        return None, ""
    current = len(run.scores) == rows and len(run.clips) == len(shas) and _is_current(run, source, shas)
    return (run.scores if current else None), ""


def _is_current(run: Run, source: Source, shas: Mapping[str, str]) -> bool:
    """Whether the tables of a run are of these clips as they are now.

    No row need be new where that is not so: of a clip that is again what it was before the record has all, and new
    labels, models and most prompts move no score.
    """
    labels = [(clip.clip_id, label.aspect, label.name) for clip in source.clips for label in clip.categories]
    if labels != list(run.categories.itertuples(index=False, name=None)):
        return False
    rows = zip(source.clips, to_rows(run.clips, ClipRow), strict=True)
    return all(clip_row(clip, shas[clip.clip_id], source.root).with_media_of(row) == row for clip, row in rows)


def _summarize(path: Path, scores: pd.DataFrame) -> dict[str, Any]:
    clips = read_clips(path)
    return summary_of(Run(path, read_info(path), scores, clips, read_labels(path, clips)))


def _clip_table(folder: RunFolder, source: Source, shas: Mapping[str, str]) -> Iterator[ClipRow]:
    """Names and prompts as the source gives them now, media metadata as it was decoded."""
    decoded = {row.clip_sha256: row for row in folder.clip_rows()}
    for clip in source.clips:
        row = clip_row(clip, shas[clip.clip_id], source.root)
        yield row.with_media_of(decoded.get(row.clip_sha256, row))
