"""The end of a run: the newest rows become tables, tables a summary, and what a caller wants to know is counted."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from avbench.errors import UsageError
from avbench.results import SCHEMA_VERSION, UNAVAILABLE, ClipRow, RunFolder, load_run, read_by_metric, read_clips
from avbench.results.compact import compact
from avbench.results.damage import DamagedRunError
from avbench.results.info import read_info, read_summary
from avbench.results.repair import made_again
from avbench.run.rows import clip_row
from avbench.run.set_metrics import set_digests
from avbench.sources import Source
from avbench.statistics.summary import NOT_ASKED, clusters_of, ranges_of, summarize_parts


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


def finish_run(folder: RunFolder, source: Source, shas: Mapping[str, str], *, changed: bool) -> Tables:
    """Write the tables and the summary from the record; leave them as they are where nothing changed.

    Args:
        folder: the run folder with its record, scores.jsonl and clips.jsonl.
        source: clips and categories.
        shas: content digest of each clip.
        changed: whether a row was written since the tables were.
    """
    # The record is read twice, as offsets and then row by row: memory does not grow with what a row holds.
    offsets = compact(folder.scan(), shas, set_digests(source.clips, shas))
    damaged = None if changed else _damage(folder.path, len(offsets))
    if changed or damaged is not None:
        folder.write_tables(folder.read_at(offsets), _clip_table(folder, source, shas), source.clips)
        folder.write_json("summary.json", _summarize(folder.path, source))
    failed: set[str] = set()
    unavailable = not_asked = 0
    for scores in read_by_metric(folder.path):
        failed.update(scores.loc[scores["status"] == "error", "clip_id"].dropna())
        unavailable += int((scores["weights_digest"] == UNAVAILABLE).sum())
        not_asked += int((scores["weights_digest"] == NOT_ASKED).sum())
    return Tables(
        summary=read_summary(folder.path),
        failed=tuple(clip.clip_id for clip in source.clips if clip.clip_id in failed),
        rows=len(offsets) - unavailable - not_asked,
        unavailable=unavailable,
        not_asked=not_asked,
        notes=(damaged,) if damaged else (),
    )


def _damage(path: Path, rows: int) -> str | None:
    """A note where tables and summary do not say what they should; empty where they are only missing."""
    try:
        fits = len(load_run(path).scores) == rows
        read_summary(path)
    except DamagedRunError as error:
        return made_again(error)
    except UsageError:  # unfinished
        return ""
    return None if fits else ""


def _summarize(path: Path, source: Source) -> dict[str, Any]:
    import pandas as pd

    labels = [(clip.clip_id, label.aspect, label.name) for clip in source.clips for label in clip.categories]
    categories = pd.DataFrame(labels, columns=["clip_id", "aspect", "category"])
    clusters = clusters_of(read_clips(path))
    summary = summarize_parts(read_by_metric(path), clusters, categories, ranges_of(read_info(path)))
    return {"schema_version": SCHEMA_VERSION} | summary


def _clip_table(folder: RunFolder, source: Source, shas: Mapping[str, str]) -> Iterator[ClipRow]:
    """Names and prompts as the source gives them now, media metadata as it was decoded."""
    decoded = {row.clip_sha256: row for row in folder.clip_rows()}
    for clip in source.clips:
        row = clip_row(clip, shas[clip.clip_id], source.root)
        yield row.with_media_of(decoded.get(row.clip_sha256, row))
