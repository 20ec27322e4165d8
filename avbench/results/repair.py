"""A damaged run folder made whole again from its record, scores.jsonl and clips.jsonl, as far as the record goes."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from avbench.clips import Prompt
from avbench.errors import AvbenchError
from avbench.results.compact import compact
from avbench.results.damage import RECORDS, DamagedRunError
from avbench.results.folder import RunFolder
from avbench.results.info import read_info, read_summary
from avbench.results.lines import read_lines
from avbench.results.parquet import read_rows, to_frame, to_rows
from avbench.results.read import Run, load_run, read_clips, read_labels, read_scores, summary_of
from avbench.results.rules import score_table_problem
from avbench.results.schema import SCHEMA_VERSION, ClipRow, ScoreRow, set_digest

if TYPE_CHECKING:
    import pandas as pd

RecoverInfo = Callable[[Sequence[ScoreRow], Mapping[str, Prompt]], dict[str, Any]]
"""The content of run.json as far as score rows and the prompts of clips tell it: only the registry of metrics knows."""


def open_run(path: Path, recover_info: RecoverInfo) -> tuple[Run, list[str]]:
    """Read a run folder; make what is damaged again from its record, and write it into the folder.

    Args:
        path: the run folder.
        recover_info: makes a damaged run.json again, see `avbench.run.recovery`.

    Returns:
        The run, as `load_run` gives a slim one, and a note for each file that was made again.

    Raises:
        UsageError: it is no finished run, or something is damaged that the record does not hold.
    """
    remade: dict[str, DamagedRunError] = {}
    try:
        run = load_run(path, slim=True)
    except DamagedRunError as error:
        run = _remake(path, error, remade, recover_info)
    if (path / "summary.json").exists():
        _note_damage(remade, lambda: read_summary(path))
    notes = [made_again(error) for error in remade.values()]
    if "summary.json" not in remade and _is_old(path):
        _write(run, ["summary.json"])  # reports compute their own: that a folder cannot be written to costs nothing
    if remade and (problem := _write(run, list(remade))):
        notes.append(f"it was not written back: {problem}")
    return run, notes


def _is_old(path: Path) -> bool:
    """Whether the summary is of an earlier schema, with intervals that took clips of one prompt as independent."""
    try:
        return int(read_summary(path).get("schema_version", 1)) < SCHEMA_VERSION
    except (DamagedRunError, TypeError, ValueError):
        return False


def _note_damage(remade: dict[str, DamagedRunError], read: Any) -> Any:
    try:
        return read()
    except DamagedRunError as error:
        remade[error.name] = error
        return None


def _remake(path: Path, damage: DamagedRunError, remade: dict[str, DamagedRunError], recover_info: RecoverInfo) -> Run:
    """The run, with what is damaged taken from the record.

    Raises:
        DamagedRunError: the record does not hold it.
    """
    info = _note_damage(remade, lambda: read_info(path))
    clips = _note_damage(remade, lambda: read_clips(path))
    rows = [row for _, row in read_lines(path, "scores.jsonl", ScoreRow)]
    if not rows:
        raise damage
    if clips is None:
        clips = _remake_clips(path, rows, remade["clips.parquet"], info)
    labels = read_labels(path, clips)
    scores = _note_damage(remade, lambda: read_scores(path, clips, slim=True))
    if scores is None:
        scores = _remake_scores(path, rows, clips, labels, remade["scores.parquet"])
    if info is None:
        info = recover_info(rows, _prompts(clips)) | {"n_clips": len(clips)}
    return Run(path, info, scores, clips, labels)


def _remake_clips(path: Path, rows: Sequence[ScoreRow], damage: DamagedRunError, info: Any) -> pd.DataFrame:
    """Clips as they were when they were decoded, in the order of their scores."""
    content = {row.clip_id: row.clip_sha256 for row in rows if row.clip_id is not None}
    decoded = {(row.clip_id, row.clip_sha256): row for _, row in read_lines(path, "clips.jsonl", ClipRow)}
    if info is None or len(content) != info.get("n_clips") or not all(key in decoded for key in content.items()):
        raise damage  # clips that left the source, or came under a second name: only the source knows
    return to_frame([decoded[key] for key in content.items()], ClipRow)


def _remake_scores(
    path: Path, rows: Sequence[ScoreRow], clips: pd.DataFrame, labels: pd.DataFrame, damage: DamagedRunError
) -> pd.DataFrame:
    shas = dict(zip(clips["clip_id"], clips["clip_sha256"], strict=True))
    sets = {"all": set_digest(shas.values())}
    for (aspect, category), members in labels.groupby(["aspect", "category"])["clip_id"]:
        sets[f"{aspect}/{category}"] = set_digest(shas[clip] for clip in members)
    scores = to_frame([rows[offset] for offset in compact(enumerate(rows), shas, sets)], ScoreRow)
    if scores.empty:
        raise damage
    if problem := score_table_problem(scores, clips):
        raise DamagedRunError(path, "scores.jsonl", problem)
    return scores


def _prompts(clips: pd.DataFrame) -> dict[str, Prompt]:
    rows: Iterable[ClipRow] = to_rows(clips, ClipRow)
    return {row.clip_id: row.prompt for row in rows}


def _write(run: Run, names: Sequence[str]) -> str | None:
    """Write the files that were made again; the reason where that cannot be."""
    try:
        with RunFolder(run.path) as folder:
            for name in names:
                if name == "run.json":
                    folder.write_json(name, run.info)
                elif name == "summary.json":
                    folder.write_json(name, summary_of(run))
                elif name == "clips.parquet":
                    folder.write_table(name, ClipRow, to_rows(run.clips, ClipRow))
                else:
                    folder.write_table(name, ScoreRow, to_rows(run.scores, ScoreRow))
    except AvbenchError as error:
        return str(error)
    return None


def restore_record(folder: RunFolder) -> list[str]:
    """Where the record is lost and the tables are not, write it again from them; a note for each file."""
    empty = [name for name in RECORDS if not (folder.path / name).stat().st_size]
    if not empty or not (folder.path / "scores.parquet").exists():
        return []
    try:
        clips = read_clips(folder.path)
        scores = read_scores(folder.path, clips, slim=True)
    except DamagedRunError:
        return []
    decoded = [row for row in to_rows(clips, ClipRow) if row.is_decoded]
    notes = []
    if "scores.jsonl" in empty and len(scores):
        folder.append(read_rows(folder.path, "scores.parquet", ScoreRow))
        notes.append("scores.jsonl was missing or empty and was made again from scores.parquet")
    if "clips.jsonl" in empty and decoded:
        for row in decoded:
            folder.append_clip(row)
        notes.append("clips.jsonl was missing or empty and was made again from clips.parquet")
    return notes


def made_again(error: DamagedRunError) -> str:
    """The note on a file that was made again."""
    what = "was missing" if error.missing else f"was damaged ({error.reason})"
    return f"{error.name} {what} and was made again"
