"""Read a run folder back, as a checked `Run` or a one-line error."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from avbench.errors import UsageError
from avbench.remote.addresses import as_path, is_address, shown, was_address
from avbench.remote.run_folders import local_run
from avbench.results.damage import RECORDS, TABLES, DamagedRunError
from avbench.results.info import read_info
from avbench.results.parquet import read_table
from avbench.results.rules import clip_table_problem, label_table_problem, score_table_problem
from avbench.results.schema import SCHEMA_VERSION, ClipRow, LabelRow, ScoreRow
from avbench.statistics.summary import clusters_of, ranges_of, summarize_parts

if TYPE_CHECKING:
    import pandas as pd

_SUMMARISED = ("clip_id", "model", "scope", "metric", "value", "status", "reason", "weights_digest", "detail")


@dataclass(frozen=True)
class Run:
    """A run that was read back: `info` from run.json, the tables as data frames.

    `path` is its folder; of a run in object storage it only names it, and `address` says where that is.

    `scores` has the columns of `ScoreRow`, `clips` those of `ClipRow`, `categories` clip_id, aspect, category. All
    values have the types of the schema; `value` is finite where `status` is "ok" and null elsewhere; a clip has one
    row in `clips`, and one in `scores` for each metric.
    """

    path: Path
    info: dict[str, Any]
    scores: pd.DataFrame
    clips: pd.DataFrame
    categories: pd.DataFrame
    address: str = ""

    @property
    def name(self) -> str:
        """Where it lies, for messages."""
        return self.address or str(self.path)


def load_run(path: Path | str, *, slim: bool = False) -> Run:
    """Read a run folder.

    Args:
        path: the run folder, also in object storage by its address: "s3://bucket/runs/x". What lies there is copied for
            the time of reading.
        slim: for runs of many clips: texts of `scores` are categories, and details of single clips are null. It
            takes about a tenth of the memory.

    Raises:
        UsageError: the folder holds no finished run, one written by a newer avbench, or a damaged one.
        EnvironmentProblem: a package for the address is missing, or its store refuses.
    """
    address = str(path)
    if not is_address(address):
        return _load(Path(path), slim)
    with local_run(address) as folder:
        return replace(_load(folder, slim), path=as_path(address), address=shown(address))


def _load(folder: Path, slim: bool) -> Run:
    info = require_finished(folder)
    clips = read_clips(folder)
    return Run(folder, info, read_scores(folder, clips, slim=slim), clips, read_labels(folder, clips))


def require_finished(folder: Path) -> dict[str, Any]:
    """The content of run.json of a run that was finished.

    Raises:
        UsageError: see `load_run`.
    """
    require_run(folder)
    info = read_info(folder)
    missing = [name for name in TABLES if not _is_there(folder / name)]
    if TABLES[-1] in missing:  # it is written last
        raise UsageError(
            f"{folder} is an unfinished run ({', '.join(missing)} missing). Run the same 'avbench score' command "
            "again: it goes on where it stopped."
        )
    return info


def require_run(folder: Path) -> None:
    """Refuse what is no run folder at all.

    Raises:
        UsageError: it is not there, or has none of the files of a run.
    """
    if not any(_is_there(folder / name) for name in ("run.json", *RECORDS, *TABLES)):
        if was_address(folder):
            raise UsageError(
                f"{folder} is an address that was made a path of this machine. Give it as text: load_run('s3://...')."
            )
        raise UsageError(
            f"{folder} is not a run folder (no run.json). Give the folder that 'avbench score --out' wrote."
        )


def read_clips(folder: Path) -> pd.DataFrame:
    """The clip table.

    Raises:
        DamagedRunError: see `read_table`; or a clip is there twice.
    """
    clips = read_table(folder, "clips.parquet", ClipRow)
    _refuse(folder, "clips.parquet", clip_table_problem(clips))
    return clips


def read_scores(folder: Path, clips: pd.DataFrame, *, slim: bool = False) -> pd.DataFrame:
    """The score table; `slim` as in `load_run`.

    Raises:
        DamagedRunError: see `read_table`; or its rows contradict themselves, each other or the clip table.
    """
    scores = read_table(folder, "scores.parquet", ScoreRow, slim=slim)
    _refuse(folder, "scores.parquet", score_table_problem(scores, clips))
    return scores


def read_labels(folder: Path, clips: pd.DataFrame) -> pd.DataFrame:
    """The category table.

    Raises:
        DamagedRunError: see `read_table`; or a label is there twice, or of no clip.
    """
    labels = read_table(folder, "categories.parquet", LabelRow)
    _refuse(folder, "categories.parquet", label_table_problem(labels, clips))
    return labels


def _refuse(folder: Path, name: str, problem: str | None) -> None:
    if problem is not None:
        raise DamagedRunError(folder, name, problem)


def _is_there(path: Path) -> bool:
    """Whether the name exists, whatever it is; `False` where the folder may not be looked into."""
    try:
        path.lstat()
    except (OSError, ValueError):
        return False
    return True


def summary_of(run: Run) -> dict[str, Any]:
    """The content of summary.json, computed one metric at a time; a slim run is enough."""
    summary = summarize_parts(by_metric(run.scores), clusters_of(run.clips), run.categories, ranges_of(run.info))
    return {"schema_version": SCHEMA_VERSION} | summary


def by_metric(scores: pd.DataFrame) -> Iterator[pd.DataFrame]:
    """What summaries read of a score table, one metric at a time, with texts in place of categories.

    A whole table of texts would take most of the memory that a long run needs.
    """
    for name in sorted(scores["metric"].unique()):
        rows = scores.loc[scores["metric"] == name, list(_SUMMARISED)]
        texts = {key: rows[key].cat.categories.dtype for key in rows.columns if rows[key].dtype == "category"}
        yield rows.astype(texts)
