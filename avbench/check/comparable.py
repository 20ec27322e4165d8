"""Refuse to compare runs whose numbers come about in different ways, and say what differs."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

from avbench.check.pairing import Matched
from avbench.errors import SettingError, UsageError
from avbench.results import UNAVAILABLE, Run
from avbench.sources.spelling import composed

if TYPE_CHECKING:
    import pandas as pd

ALL_CLIPS = "all"
_SHOWN = 4
_COMPAT = "_compat"


def shared_metrics(runs: Sequence[Run], wanted: Sequence[str] | None) -> tuple[list[str], list[str]]:
    """Metrics to compare, in the order of the first run, and notes about those left out.

    Args:
        runs: the first one says what is expected of the others.
        wanted: names, or None for all of the first run.

    Raises:
        UsageError: a run lacks a metric that it should have.
    """
    scored = [_scored(run) for run in runs]
    notes: list[str] = []
    if wanted is None:
        names = [name for name, possible in scored[0].items() if possible]
        nowhere = [n for n, possible in scored[0].items() if not possible and not any(s.get(n) for s in scored[1:])]
        extra = [n for s in scored[1:] for n, possible in s.items() if possible and n not in names]
        if nowhere:
            notes.append(f"without scores in any run, not compared: {', '.join(nowhere)}")
        if extra:
            notes.append(f"not in {runs[0].name}, not compared: {', '.join(dict.fromkeys(extra))}")
    else:
        names = list(wanted)
    for run, available in zip(runs, scored, strict=True):
        if missing := [name for name in names if not available.get(name)]:
            reason = _missing(run, missing, available)
            raise UsageError(reason) if wanted is None else SettingError(reason, "metrics")
    if not names:
        raise UsageError(f"{runs[0].name} has no scores to compare. 'avbench report {runs[0].name}' shows why.")
    return names, notes


def _scored(run: Run) -> dict[str, bool]:
    """Each metric of a run, and whether it could run on any clip."""
    scores = run.scores[run.scores["scope"].isin(["clip", ALL_CLIPS])]
    possible = (scores["weights_digest"] != UNAVAILABLE).groupby(scores["metric"], sort=False, observed=True).any()
    return {str(name): bool(value) for name, value in possible.items()}


def _missing(run: Run, missing: Sequence[str], available: dict[str, bool]) -> str:
    name = missing[0]
    more = f" (and {len(missing) - 1} more)" if len(missing) > 1 else ""
    other = name.removesuffix(_COMPAT) if name.endswith(_COMPAT) else name + _COMPAT
    if name in available:
        rows = run.scores[run.scores["metric"] == name]
        why = f"could not run: {' '.join(str(rows['reason'].iloc[0]).split())}"
    else:
        why = f"is not there; {other}, the other mode, is" if other in available else "is not there"
    return f"{run.name}: metric {name}{more} {why}. Score it there too, or name others in the policy's 'metrics'."


def refuse_differences(matched: Matched, names: Sequence[str]) -> None:
    """Refuse runs whose numbers come about in different ways.

    Raises:
        UsageError: other prompt texts, protocol, weights, precision, version, parameters or networks; or a metric
            that covers only a part of a run's clips.
    """
    first = matched.runs[0]
    for number, run in enumerate(matched.runs[1:], 1):
        differences = [*_run_differences(first, run, names), *_text_differences(matched, number)]
        if not differences:  # else the digests say the same once more, for each metric
            differences = [text for name in names for text in _row_differences(matched, number, name)]
        if differences:
            more = f"; and {len(differences) - _SHOWN} more" if len(differences) > _SHOWN else ""
            raise UsageError(
                f"{run.name} cannot be compared with {first.name}: {'; '.join(differences[:_SHOWN])}{more}. "
                "Score both with the same avbench, options and weights."
            )
    _refuse_test_weights(matched.runs, names)


def _run_differences(first: Run, run: Run, names: Iterable[str]) -> list[str]:
    learned = any(_metadata(first, name).get("checkpoint") for name in names)
    differences = []
    for key in ("protocol", *(("weights", "precision") if learned else ())):
        candidate, baseline = (info.get(key) or "none" for info in (run.info, first.info))
        if candidate != baseline:
            differences.append(f"{key} {candidate}, and {baseline} there")
    return differences


def _text_differences(matched: Matched, number: int) -> list[str]:
    """Prompts that have one id and different texts."""
    columns = ["text", "video_text", "audio_text"]
    texts = []
    for index in (0, number):
        rows = matched.runs[index].clips.set_index("clip_id").reindex(matched.clips[f"clip_{index}"])
        texts.append(rows[columns].fillna("").map(composed))
    differ = (texts[0].to_numpy() != texts[1].to_numpy()).any(axis=1)
    if not differ.any():
        return []
    prompts = matched.clips["prompt"][differ].unique()
    return [f"{matched.by} {prompts[0]!r} has another text" + (f" (and {len(prompts) - 1} more)" * (len(prompts) > 1))]


def _row_differences(matched: Matched, number: int, name: str) -> list[str]:
    runs = (matched.runs[0], matched.runs[number])
    if set_row(runs[0], name) is not None or set_row(runs[1], name) is not None:
        pair = [set_rows(run, name) for run in runs]
    else:
        rows = matched.rows(name)
        pair = [rows[0], rows[number]]
    for run, frame in zip(runs, pair, strict=True):
        if problem := _incomplete(run, name, frame):
            return [problem]
    if difference := _difference(name, pair, runs):
        return [difference]
    return []


def _incomplete(run: Run, name: str, rows: pd.DataFrame) -> str | None:
    """A metric that was not asked of all clips, or could not run on all."""
    absent = int(rows["metric"].isna().sum()) if len(rows) else 1
    if absent:
        return f"{name} is missing for {absent} of {max(len(rows), 1)} clips of {run.name}"
    stopped = rows[rows["weights_digest"] == UNAVAILABLE]
    if len(stopped):
        reason = " ".join(str(stopped["reason"].iloc[0]).split())
        return f"{name} could not run on {len(stopped)} of {len(rows)} clips of {run.name} ({reason})"
    return None


def _difference(name: str, pair: Sequence[pd.DataFrame], runs: tuple[Run, Run]) -> str | None:
    baseline, candidate = pair
    for column, say in (("metric_version", _versions), ("weights_digest", _weights), ("params_digest", _parameters)):
        differ = candidate[column].to_numpy() != baseline[column].to_numpy()
        if differ.any():
            values = (candidate[column].to_numpy()[differ][0], baseline[column].to_numpy()[differ][0])
            return f"{name} has {say(name, values, runs)}"
    return None


def _versions(_: str, values: tuple[Any, Any], runs: tuple[Run, Run]) -> str:
    return f"version {int(values[0])}, and {int(values[1])} there"


def _weights(_: str, values: tuple[Any, Any], runs: tuple[Run, Run]) -> str:
    return f"other weights or another version of its network ({str(values[0])[:8]}, and {str(values[1])[:8]} there)"


def _parameters(name: str, values: tuple[Any, Any], runs: tuple[Run, Run]) -> str:
    baseline, candidate = (dict(_metadata(run, name).get("params") or {}) for run in runs)
    for key in {**baseline, **candidate}:
        if candidate.get(key) != baseline.get(key):
            return f"parameter {key} = {json.dumps(candidate.get(key))}, and {json.dumps(baseline.get(key))} there"
    if set_row(runs[0], name) is not None:
        return "another reference set"
    return f"other parameters or prompt texts ({str(values[0])[:8]}, and {str(values[1])[:8]} there)"


def _refuse_test_weights(runs: Sequence[Run], names: Iterable[str]) -> None:
    for run in runs:
        mode = run.info.get("weights", "checkpoints")
        learned = [name for name in names if _metadata(run, name).get("checkpoint")]
        if mode != "checkpoints" and learned:
            raise UsageError(
                f"{run.name} has {mode} weights, so its {learned[0]} means nothing. Score with checkpoints, or name "
                "metrics without networks in the policy's 'metrics'."
            )


def environment_differences(runs: Sequence[Run]) -> list[str]:
    """Packages and platforms that differ between runs, as one text each."""
    first, differences = dict(runs[0].info.get("environment") or {}), []
    for run in runs[1:]:
        versions = dict(run.info.get("environment") or {})
        for name in sorted({*first, *versions}):
            if versions.get(name) != first.get(name):
                elsewhere = f"{first.get(name, 'absent')} in {runs[0].name}"
                differences.append(f"{name} {versions.get(name, 'absent')} in {run.name}, {elsewhere}")
    return differences


def set_rows(run: Run, name: str) -> pd.DataFrame:
    """The row of a metric over sets, for all clips."""
    return run.scores[(run.scores["metric"] == name) & (run.scores["scope"] == ALL_CLIPS)]


def set_row(run: Run, name: str) -> dict[str, Any] | None:
    """The same as a mapping, or None for a metric of single clips."""
    rows = set_rows(run, name).to_dict("records")
    return {str(key): value for key, value in rows[0].items()} if rows else None


def _metadata(run: Run, name: str) -> dict[str, Any]:
    return dict(run.info.get("metrics", {}).get(name) or {})
