"""Match the clips of several runs by prompt and sample index."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from avbench.errors import UsageError
from avbench.results import Run, load_run
from avbench.sources.spelling import composed

if TYPE_CHECKING:
    import pandas as pd

_TEXTS = ("text", "video_text", "audio_text")
_WORDS = "speech_text"  # a column that runs of before words were scored do not have
MatchedBy = Literal["prompt id", "prompt text", "clip name"]


@dataclass(frozen=True)
class Matched:
    """Clips of several runs that were generated for the same prompt as the same sample.

    Attributes:
        runs: the runs.
        by: how prompts were identified.
        clips: a row for each clip: `prompt`, `sample_index`, and `clip_0`, `clip_1`, ...: its name in each run.
    """

    runs: tuple[Run, ...]
    by: MatchedBy
    clips: pd.DataFrame

    @property
    def prompts(self) -> int:
        """How many prompts there are."""
        return int(self.clips["prompt"].nunique())

    @property
    def digest(self) -> str:
        """Identity of the prompts and sample indexes."""
        lines = sorted(json.dumps([str(p), int(i)]) for p, i in zip(*self._keys(), strict=True))
        return hashlib.sha256("\n".join(lines).encode()).hexdigest()[:16]

    def _keys(self) -> tuple[list[str], list[int]]:
        return list(self.clips["prompt"]), list(self.clips["sample_index"])

    def rows(self, metric: str) -> list[pd.DataFrame]:
        """The score rows of a metric, one frame for each run, in the order of `clips`; a missing row is all null."""
        frames = []
        for number, run in enumerate(self.runs):
            rows = run.scores[(run.scores["scope"] == "clip") & (run.scores["metric"] == metric)]
            by_name = rows.drop(columns="clip_id").set_index(rows["clip_id"].astype(object))
            frames.append(by_name.reindex(self.clips[f"clip_{number}"]))
        return frames

    def same_files(self) -> bool:
        """Whether two of the runs judged the same files."""
        digests = [run.clips.set_index("clip_id")["clip_sha256"] for run in self.runs]
        columns = [tuple(shas.reindex(self.clips[f"clip_{number}"])) for number, shas in enumerate(digests)]
        return len(set(columns)) < len(columns)


def read_run(path: Path | str) -> Run:
    """Read a run folder that was scored before; texts of scores are categories, and clips have no details.

    Raises:
        UsageError: no run folder, an unfinished or damaged one, or one without scores.
    """
    run = load_run(path, slim=True)
    if run.scores.empty:
        raise UsageError(f"{run.name} holds no scores. Score the clips first: avbench score SOURCE")
    return run


def match_clips(runs: Sequence[Run]) -> Matched:
    """Match the clips of all runs, each to exactly one of every other run.

    Prompts are identified by their ids where all clips of all runs have one, else by their texts, else by the names
    of the clips. Where several clips of a run share prompt and sample index, as with several models, names decide.
    Accents may be composed in one run and decomposed in another, as file systems write them.

    Raises:
        UsageError: a run has clips that another lacks; says which.
    """
    texts = [*_TEXTS, _WORDS] if all(run.clips[_WORDS].notna().any() for run in runs) else list(_TEXTS)
    by = _matched_by(runs, texts)
    tables = [_keyed(run, by, texts) for run in runs]
    keys = ["prompt", "sample_index"]
    if any(table.duplicated(keys).any() for table in tables):
        keys.append("name")
    joined = tables[0][["prompt", "sample_index", "name"]].assign(clip_0=tables[0]["clip_id"])
    for number, (run, table) in enumerate(zip(runs[1:], tables[1:], strict=True), 1):
        _refuse_other_clips(runs[0].name, run.name, tables[0], table, keys)
        other = table[keys].assign(**{f"clip_{number}": table["clip_id"]})
        joined = joined.merge(other, on=keys, how="left", validate="one_to_one")
    return Matched(tuple(runs), by, joined.drop(columns="name").reset_index(drop=True))


def _matched_by(runs: Sequence[Run], texts: list[str]) -> MatchedBy:
    if all(run.clips["prompt_id"].notna().all() for run in runs):
        return "prompt id"
    if all(run.clips[texts].notna().any(axis=1).all() for run in runs):
        return "prompt text"
    return "clip name"


def _keyed(run: Run, by: MatchedBy, texts: list[str]) -> pd.DataFrame:
    """`prompt`, `sample_index`, `name` and `clip_id` of each clip; prompts and names in one Unicode form."""
    clips = run.clips
    if by == "prompt id":
        prompt = clips["prompt_id"].astype(str)
    elif by == "prompt text":
        prompt = clips[texts].fillna("").agg(" | ".join, axis=1)
    else:
        prompt = clips["clip_id"]
    names = clips["clip_id"].map(composed)
    if names.duplicated().any():  # a case-sensitive file system can hold both forms of one name
        names = clips["clip_id"]
    frame = clips[["sample_index", "clip_id"]].assign(prompt=prompt.map(composed), name=names)
    return frame.reset_index(drop=True)


def _refuse_other_clips(first: str, second: str, one: pd.DataFrame, other: pd.DataFrame, keys: list[str]) -> None:
    sides = one[keys].merge(other[keys], on=keys, how="outer", indicator="side")
    only = {name: sides[sides["side"] == side] for name, side in ((first, "left_only"), (second, "right_only"))}
    parts = [f"{len(rows)} only in {name} ({_named(rows)})" for name, rows in only.items() if len(rows)]
    if parts:
        raise UsageError(
            f"{second} and {first} hold clips of different prompts or samples: {', '.join(parts)}. "
            "Generate and score the same prompts, as many samples of each, in both."
        )


def _named(rows: pd.DataFrame, most: int = 2) -> str:
    texts = []
    for row in rows.head(most).to_dict("records"):
        prompt = " ".join(str(row["prompt"]).split())
        short = prompt if len(prompt) <= 40 else prompt[:39] + "…"
        texts.append(f"{short!r} sample {row['sample_index']}")
    return "; ".join(texts) + (" …" if len(rows) > most else "")
