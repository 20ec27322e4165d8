"""A damaged run folder made whole again from its record, scores.jsonl and clips.jsonl, as far as the record goes."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from itertools import product
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args

from avbench.aggregate import summarize_parts
from avbench.clips import Prompt
from avbench.encoders import WeightsConfig
from avbench.errors import AvbenchError
from avbench.metrics.base import registry
from avbench.results import SCHEMA_VERSION, UNAVAILABLE, ClipRow, Run, RunFolder, ScoreRow, load_run
from avbench.results.compact import compact
from avbench.results.damage import RECORDS, DamagedRunError
from avbench.results.info import read_info, read_summary
from avbench.results.lines import read_lines
from avbench.results.parquet import to_frame, to_rows
from avbench.results.read import read_clips, read_labels, read_scores
from avbench.results.rules import score_table_problem
from avbench.run.score_clip import PROTOCOLS
from avbench.run.set_metrics import set_digest
from avbench.weights.config import Precision, Weights

if TYPE_CHECKING:
    import pandas as pd

UNKNOWN = "unknown"
"""`weights`, `precision` or `protocol` of a run whose run.json is lost and whose rows do not tell."""
_NOTE = "run.json was damaged and was made again from the score rows; source, command and environment are lost"


def open_run(path: Path) -> tuple[Run, list[str]]:
    """Read a run folder; make what is damaged again from its record, and write it into the folder.

    Returns:
        The run, and a note for each file that was made again.

    Raises:
        UsageError: it is no finished run, or something is damaged that the record does not hold.
    """
    remade: dict[str, DamagedRunError] = {}
    try:
        run = load_run(path)
    except DamagedRunError as error:
        run = _remake(path, error, remade)
    if (path / "summary.json").exists():
        _note_damage(remade, lambda: read_summary(path))
    notes = [made_again(error) for error in remade.values()]
    if remade and (problem := _write(run, list(remade))):
        notes.append(f"it was not written back: {problem}")
    return run, notes


def _note_damage(remade: dict[str, DamagedRunError], read: Any) -> Any:
    try:
        return read()
    except DamagedRunError as error:
        remade[error.name] = error
        return None


def _remake(path: Path, damage: DamagedRunError, remade: dict[str, DamagedRunError]) -> Run:
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
    scores = _note_damage(remade, lambda: read_scores(path, clips))
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
    scores = to_frame([rows[place] for place in compact(enumerate(rows), shas, sets)], ScoreRow)
    if scores.empty:
        raise damage
    if problem := score_table_problem(scores, clips):
        raise DamagedRunError(path, "scores.jsonl", problem)
    return scores


def _prompts(clips: pd.DataFrame) -> dict[str, Prompt]:
    rows: Iterable[ClipRow] = to_rows(clips, ClipRow)
    return {row.clip_id: Prompt(row.text, row.video_text, row.audio_text, row.prompt_id) for row in rows}


def _write(run: Run, names: Sequence[str]) -> str | None:
    """Write the files that were made again; the reason where that cannot be."""
    try:
        with RunFolder(run.path) as folder:
            for name in names:
                if name == "run.json":
                    folder.write_json(name, run.info)
                elif name == "summary.json":
                    folder.write_json(name, _summary(run))
                elif name == "clips.parquet":
                    folder.write_table(name, ClipRow, to_rows(run.clips, ClipRow))
                else:
                    folder.write_table(name, ScoreRow, to_rows(run.scores, ScoreRow))
    except AvbenchError as error:
        return str(error)
    return None


def _summary(run: Run) -> dict[str, Any]:
    names = sorted(run.scores["metric"].unique())
    return summarize_parts((run.scores[run.scores["metric"] == name] for name in names), run.categories)


def restore_record(folder: RunFolder) -> list[str]:
    """Where the record is lost and the tables are not, write it again from them; a note for each file."""
    empty = [name for name in RECORDS if not (folder.path / name).stat().st_size]
    if not empty or not (folder.path / "scores.parquet").exists():
        return []
    try:
        clips = read_clips(folder.path)
        scores = read_scores(folder.path, clips)
    except DamagedRunError:
        return []
    decoded = [row for row in to_rows(clips, ClipRow) if (row.duration, row.audio_duration, row.problem) != (None,) * 3]
    notes = []
    if "scores.jsonl" in empty and len(scores):
        folder.append(to_rows(scores, ScoreRow))
        notes.append("scores.jsonl was missing or empty and was made again from scores.parquet")
    if "clips.jsonl" in empty and decoded:
        for row in decoded:
            folder.append_clip(row)
        notes.append("clips.jsonl was missing or empty and was made again from clips.parquet")
    return notes


def made_again(error: DamagedRunError) -> str:
    """The note on a file that was made again."""
    found = "was missing" if error.missing else f"was damaged ({error.reason})"
    return f"{error.name} {found} and was made again"


def earlier_info(
    folder: RunFolder, prompts: Mapping[str, Prompt], setup: WeightsConfig
) -> tuple[dict[str, Any], list[str]]:
    """What run.json holds, or the score rows tell where it is damaged; empty for a new folder. With notes.

    Args:
        folder: the run.
        prompts: of the clips, by id.
        setup: how networks are loaded now; the first guess at how they were.

    Raises:
        UsageError: it is of a newer avbench, or damaged without a row to make it from.
    """
    present = (folder.path / "run.json").exists()
    try:
        return (read_info(folder.path), []) if present or next(folder.scan(), None) else ({}, [])
    except DamagedRunError as error:
        rows = folder.rows()
        if not rows:
            raise
        return recover_info(rows, prompts, [setup]), [made_again(error)]


def recover_info(
    rows: Sequence[ScoreRow], prompts: Mapping[str, Prompt], setups: Sequence[WeightsConfig] = ()
) -> dict[str, Any]:
    """run.json as far as score rows tell it.

    Weights, precision and protocol are those that give the digests in the rows; `UNKNOWN` where none does.

    Args:
        rows: at least one.
        prompts: of the clips, by id.
        setups: ways of loading networks to try first, such as one with a folder of weights of its own.
    """
    known = registry()
    versions = {row.metric: row.metric_version for row in rows}
    weights, precision = _find_setup(rows, setups)
    return {
        "schema_version": SCHEMA_VERSION,
        "run_id": rows[-1].run_id,
        "suite": rows[-1].suite,
        "suite_version": rows[-1].suite_version,
        "metrics": {n: known[n].metadata() for n, v in versions.items() if n in known and known[n].version == v},
        "weights": weights,
        "precision": precision,
        "protocol": _find_protocol(rows, prompts),
        "notes": [_NOTE],
    }


def _find_setup(rows: Sequence[ScoreRow], setups: Sequence[WeightsConfig]) -> tuple[str, str]:
    """Weights and precision under which all networks have the digests of the rows."""
    wanted = {(r.metric, r.weights_digest) for r in rows if r.weights_digest not in ("none", UNAVAILABLE)}
    known = registry()
    if not all(name in known for name, _ in wanted):
        return UNKNOWN, UNKNOWN
    for setup in (*setups, *(WeightsConfig(w, None, p) for w, p in product(get_args(Weights), get_args(Precision)))):
        try:
            if all(known[name].weights_digest(setup) == digest for name, digest in wanted):
                return setup.weights, setup.precision
        except AvbenchError:
            continue
    return UNKNOWN, UNKNOWN


def _find_protocol(rows: Sequence[ScoreRow], prompts: Mapping[str, Prompt]) -> str | None:
    """The protocol that gives the parameter digest of a row; None for none."""
    known = registry()
    told = [
        row for row in rows
        if row.clip_id in prompts and row.metric in known and known[row.metric].version == row.metric_version
    ]  # fmt: skip
    for name in ("", *PROTOCOLS):
        # One row is enough: digests of other rows differ where their prompt was another one.
        if any(known[r.metric].params_digest(prompts[str(r.clip_id)], name) == r.params_digest for r in told):
            return name or None
    return UNKNOWN
