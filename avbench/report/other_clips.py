"""Clips beyond those with details: what the page's script makes their rows of, in as few bytes as it takes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from avbench.report.clip_data import MetricColumn, prompt_line, records
from avbench.report.findings import Group

if TYPE_CHECKING:
    import pandas as pd

    from avbench.results import Run

MOST_OTHERS = 200_000
"""Beyond it the page would be too large to be opened: it shows the clips with details alone."""
_MARKS = {"error": "e", "skipped": "s"}


def other_clips(
    run: Run, shown: Sequence[str], metrics: Sequence[MetricColumn], groups: Sequence[Group]
) -> dict[str, Any] | None:
    """Columns over the clips that have no details, in the run's order; None without any, or with too many.

    Args:
        run: the run.
        shown: ids of the clips with details.
        metrics: columns of the clip table.
        groups: what stands out.

    Returns:
        `ids`; `models` and `texts`, each distinct one once, and `model` and `text`, their indices for each clip;
        `scores` for each metric: a rounded number, "e" for an error, "s" for a skipped row, None for no row; `flags`:
        indices of clips by the title of their group.
    """
    clips = run.clips[~run.clips["clip_id"].isin(shown)]
    if not 0 < len(clips) <= MOST_OTHERS:
        return None
    ids = [str(name) for name in clips["clip_id"]]
    models, model = _numbered("" if not isinstance(name, str) else name for name in clips["model"])
    texts, text = _numbered(map(prompt_line, records(clips[["text", "video_text", "audio_text"]])))
    position = {name: index for index, name in enumerate(ids)}
    flags = {
        group.title: [position[each.clip_id] for each in group.findings if each.clip_id in position] for group in groups
    }  # fmt: skip
    scores = run.scores[run.scores["scope"] == "clip"]
    return {
        "ids": ids,
        "models": models,
        "model": model,
        "texts": texts,
        "text": text,
        "scores": [_column(scores[scores["metric"] == metric.name], position, metric.decimals) for metric in metrics],
        "flags": {title: indices for title, indices in flags.items() if indices},
    }


def _numbered(texts: Any) -> tuple[list[str], list[int]]:
    """Each distinct text once, and for each text its index among these."""
    known: dict[str, int] = {}
    indices = [known.setdefault(text, len(known)) for text in texts]
    return list(known), indices


def _column(rows: pd.DataFrame, position: dict[str, int], decimals: int) -> list[float | str | None]:
    column: list[float | str | None] = [None] * len(position)
    for clip, status, value in zip(rows["clip_id"], rows["status"], rows["value"], strict=True):
        if (index := position.get(clip)) is not None:
            # 0.0 takes the sign off a zero.
            column[index] = round(value, decimals) + 0.0 if status == "ok" else _MARKS[status]
    return column
