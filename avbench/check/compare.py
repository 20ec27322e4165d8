"""A candidate against a baseline: pair the clips, measure every metric, give verdicts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from avbench.check.comparable import environment_differences, refuse_differences, set_row, shared_metrics
from avbench.check.measure import measure_clips, measure_set
from avbench.check.noise import Noise, load_noise
from avbench.check.pairing import Matched, MatchedBy, match_clips, read_run
from avbench.check.policy import Goal, Policy
from avbench.check.verdict import Finding, Verdict, judge
from avbench.config import located
from avbench.direction import Direction
from avbench.errors import UsageError, near
from avbench.statistics.tests import Floats
from avbench.toml import Origin

if TYPE_CHECKING:
    import pandas as pd

UNDECIDED_CODE = 5


@dataclass(frozen=True)
class Comparison:
    """Result of `compare_runs`.

    Attributes:
        candidate, baseline: the run folders, by path or address.
        run_ids: of the two.
        by: how prompts were identified.
        prompts, clips: in each run.
        policy: what counted as a regression.
        findings: one for each metric.
        notes: what to know about the comparison.
    """

    candidate: str
    baseline: str
    run_ids: tuple[str, str]
    by: MatchedBy
    prompts: int
    clips: int
    policy: Policy
    findings: tuple[Finding, ...]
    notes: tuple[str, ...]

    def names(self, verdict: Verdict) -> list[str]:
        """Metrics with this verdict."""
        return [finding.metric for finding in self.findings if finding.verdict == verdict]

    def exit_code(self, strict: bool) -> int:
        """0 without a regression, 1 with one; with `strict`, 5 where a metric is undecided."""
        if self.names("worse"):
            return 1
        return UNDECIDED_CODE if strict and self.names("undecided") else 0

    @property
    def headline(self) -> str:
        """The outcome in one line."""
        order: tuple[Verdict, ...] = ("worse", "undecided", "better", "same")
        counts = ", ".join(f"{len(names)} {verdict}" for verdict in order if (names := self.names(verdict)))
        worse = self.names("worse")
        return (f"regression in {', '.join(worse)}" if worse else "no regression found") + f" ({counts})"


def compare_runs(candidate: Path | str, baseline: Path | str, policy: Policy | None = None) -> Comparison:
    """Compare two run folders, clip by clip.

    Args:
        candidate: run of the new checkpoint; a folder, also by its address.
        baseline: run of the old one, over the same prompts and samples.
        policy: what counts as a regression.

    Raises:
        UsageError: one of the folders cannot be read, the two cannot be compared (the message says what differs), or
            the policy does not fit them.
    """
    policy = policy or Policy()
    noise = load_noise(policy.noise) if policy.noise else None
    runs = (read_run(baseline), read_run(candidate))
    matched = match_clips(runs)
    with located(policy.origin or Origin(policy.source)):
        names, notes = shared_metrics(runs, policy.metrics)
    _refuse_unknown_metrics(policy, names)
    refuse_differences(matched, names)
    notes += _environment_notes(matched, policy)
    if noise and noise.prompts_digest != matched.digest:
        notes.append(f"{noise.source} was calibrated on other prompts or samples: its floors are a guess here")
    if matched.same_files():
        notes.append("both runs judged the same files")
    findings = judge(_measure(matched, names, policy, noise), policy)
    if noise and (left := [f.metric for f in findings if f.direction and f.metric not in noise.metric]):
        notes.append(f"no noise floor in {noise.source}: {', '.join(left)}")
    if not any(finding.direction for finding in findings):
        raise UsageError(f"no metric of {runs[0].name} has a better direction; set one in the policy: [metric.NAME]")
    ids = (str(runs[1].info.get("run_id", "")), str(runs[0].info.get("run_id", "")))
    return Comparison(
        candidate=runs[1].name,
        baseline=runs[0].name,
        run_ids=ids,
        by=matched.by,
        prompts=matched.prompts,
        clips=len(matched.clips),
        policy=policy,
        findings=tuple(findings),
        notes=tuple(notes),
    )


def _refuse_unknown_metrics(policy: Policy, names: Sequence[str]) -> None:
    for name in policy.metric:
        if name not in names:
            raise policy.refuse(("metric", name), f"[metric.{name}]: no such metric is compared. {near(name, names)}")


def _environment_notes(matched: Matched, policy: Policy) -> list[str]:
    differences = [] if policy.environment == "ignore" else environment_differences(matched.runs)
    if differences and policy.environment == "refuse":
        raise UsageError(
            f"the two runs come from different environments: {'; '.join(differences)}. Score both in one, or say "
            f'environment = "note" in {policy.source}.'
        )
    return [f"environment: {text}" for text in differences]


def _measure(matched: Matched, names: Sequence[str], policy: Policy, noise: Noise | None) -> list[Finding]:
    """Findings without verdicts, in the order of `names`."""
    run = matched.runs[1]
    metadata = {name: dict(run.info.get("metrics", {}).get(name) or {}) for name in names}
    floors = {name: noise.of(name, run) if noise else None for name in names}
    scores = {name: _values(matched.rows(name)) for name in names if set_row(run, name) is None}
    clip_findings = measure_clips(list(matched.clips["prompt"]), scores, policy) if scores else {}
    findings = []
    for name in names:
        floor = floors[name]
        if name in clip_findings:
            finding = clip_findings[name]
            finding = replace(
                finding,
                floor=floor.floor_at(finding.prompts) if floor else None,
                lost_reason=_lost_reason(matched.rows(name)) if finding.lost else "",
            )
        else:
            fits = noise is not None and noise.prompts_digest == matched.digest
            finding = measure_set(name, _set_pair(matched, name), policy, floor if fits else None)
        direction = policy.of(name).direction or _goal(metadata[name])
        findings.append(replace(finding, unit=str(metadata[name].get("unit") or ""), direction=direction))
    return findings


def _values(pair: Sequence[pd.DataFrame]) -> tuple[Floats, Floats]:
    baseline, candidate = (rows["value"].where(rows["status"] == "ok").to_numpy(float) for rows in pair)
    return baseline, candidate


def _lost_reason(pair: Sequence[pd.DataFrame]) -> str:
    """The most frequent reason of clips that have a score in the baseline only."""
    baseline, candidate = pair
    lost = (baseline["status"] == "ok").to_numpy() & (candidate["status"] != "ok").to_numpy()
    return " ".join(str(candidate["reason"][lost].value_counts().index[0]).split())


def _set_pair(matched: Matched, name: str) -> tuple[dict[str, Any], dict[str, Any]]:
    baseline, candidate = (set_row(run, name) for run in matched.runs)
    assert baseline is not None and candidate is not None  # refuse_differences
    return baseline, candidate


def _goal(metadata: dict[str, Any]) -> Goal | None:
    goals: dict[Direction, Goal] = {Direction.HIGHER: "higher", Direction.LOWER: "lower"}
    return goals.get(Direction.of_metadata(metadata))
