"""Clips that need attention, rows without a value, and the choice of clips that fit on the page."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from avbench.terminal.text import shorten

if TYPE_CHECKING:
    import pandas as pd

    from avbench.results import Run

LATE_SECONDS = 0.2
"""Beyond both limits of acceptability in ITU-R BT.1359: sound 0.09 s early, 0.185 s late."""
LISTED = 100
"""Most clip ids and most reasons in one list; the rest is counted."""
_FRACTIONS = (
    ("silence_share", 0.95, "Silent", "more than 95 % of the sound is silence", "silent"),
    ("frozen_share", 0.5, "Frozen", "more than half of the video stands still", "frozen"),
    ("black_share", 0.5, "Black", "more than half of the video is black", "black"),
)


@dataclass(frozen=True)
class Finding:
    """One clip in a list, with what is remarkable about it."""

    clip_id: str
    text: str


@dataclass(frozen=True)
class Group:
    """Clips that stand out for one reason; `findings` is complete and sorted, worst first."""

    title: str
    rule: str
    level: Literal["bad", "warn"]
    findings: tuple[Finding, ...]

    @property
    def shown(self) -> tuple[Finding, ...]:
        """The findings that the page lists."""
        return self.findings[:LISTED]


@dataclass(frozen=True)
class Failure:
    """Rows without a value that share one reason."""

    reason: str
    metrics: tuple[str, ...]
    clip_ids: tuple[str, ...]
    rows: int

    @property
    def shown(self) -> tuple[str, ...]:
        """The clip ids that the page lists."""
        return self.clip_ids[:LISTED]


def attention(run: Run) -> list[Group]:
    """Clips out of sync, with errors, silent, frozen or black; only groups that have any."""
    groups = [_out_of_sync(run.scores), _with_errors(run)]
    groups += [_above(run.scores, *fraction) for fraction in _FRACTIONS]
    return [group for group in groups if group.findings]


def failures(run: Run, status: Literal["error", "skipped"]) -> list[Failure]:
    """Rows of `status` grouped by reason, the most frequent first."""
    rows = run.scores[(run.scores["status"] == status) & run.scores["scope"].isin(["clip", "all"])]
    collected = [
        Failure(
            str(reason),
            tuple(dict.fromkeys(map(str, group["metric"]))),
            tuple(dict.fromkeys(map(str, group["clip_id"].dropna()))),
            len(group),
        )
        for reason, group in rows.groupby("reason", sort=False, dropna=False, observed=True)
    ]
    return sorted(collected, key=lambda failure: (-failure.rows, failure.reason))


def select_clips(run: Run, groups: Sequence[Group], most: int) -> list[str]:
    """The clips that the page shows one by one.

    Args:
        run: the run.
        groups: what `attention` found; these clips come first.
        most: how many clips fit.

    Returns:
        All clip ids in the run's order where they fit; else findings, then the clips with the most extreme
        value (largest distance from its metric's mean, in standard deviations), in the run's order.
    """
    everything = [str(clip) for clip in run.clips["clip_id"]]
    if len(everything) <= most:
        return everything
    errors = [f.clip_id for g in groups if g.title == "Errors" for f in g.findings]
    flagged = [f.clip_id for g in groups for f in g.findings]
    chosen = set(list(dict.fromkeys([*errors, *flagged, *_by_extremity(run.scores), *everything]))[:most])
    return [clip for clip in everything if clip in chosen]


def _by_extremity(scores: pd.DataFrame) -> list[str]:
    good = scores[(scores["status"] == "ok") & scores["clip_id"].notna()]
    by_metric = good.groupby("metric", observed=True)["value"]
    std = by_metric.transform("std").replace(0.0, float("nan"))
    distance = ((good["value"] - by_metric.transform("mean")) / std).abs()
    order = distance.groupby(good["clip_id"], observed=True).max().sort_values(ascending=False, kind="stable")
    return [str(clip) for clip in order.index]


def _values(scores: pd.DataFrame, metric: str) -> list[tuple[str, float]]:
    rows = scores[(scores["metric"] == metric) & (scores["status"] == "ok") & scores["clip_id"].notna()]
    return [(str(clip), float(value)) for clip, value in zip(rows["clip_id"], rows["value"], strict=True)]


def _out_of_sync(scores: pd.DataFrame) -> Group:
    late = [(c, v) for c, v in _values(scores, "av_offset") if abs(v) >= LATE_SECONDS]
    late.sort(key=lambda item: -abs(item[1]))
    findings = tuple(Finding(clip, describe_offset(value)) for clip, value in late)
    return Group("Out of sync", f"audio and video differ by {LATE_SECONDS:g} s or more", "bad", findings)


def describe_offset(seconds: float) -> str:
    """An `av_offset` in words; positive means that the sound comes after the video."""
    if abs(seconds) < 0.005:
        return "sound on time"
    return f"sound {abs(seconds):.2f} s {'late' if seconds > 0 else 'early'}"


def _with_errors(run: Run) -> Group:
    rows = run.scores[(run.scores["status"] == "error") & run.scores["clip_id"].notna()]
    findings = []
    for clip, group in rows.groupby("clip_id", sort=False, observed=True):
        reasons = list(dict.fromkeys(map(str, group["reason"])))
        more = f" (+{len(reasons) - 1} more)" if len(reasons) > 1 else ""
        count = f"{len(group)} metric{'s' if len(group) > 1 else ''}"
        findings.append(Finding(str(clip), f"{count}: {shorten(reasons[0], 90)}{more}"))
    return Group("Errors", "at least one metric failed", "bad", tuple(findings))


def _above(scores: pd.DataFrame, metric: str, limit: float, title: str, rule: str, word: str) -> Group:
    high = sorted(((c, v) for c, v in _values(scores, metric) if v > limit), key=lambda item: -item[1])
    return Group(title, rule, "warn", tuple(Finding(clip, f"{100 * value:.0f} % {word}") for clip, value in high))
