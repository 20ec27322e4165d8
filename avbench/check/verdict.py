"""Verdict for each metric: better, same, worse or undecided, and how many prompts would decide."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

from avbench.check.policy import Goal, Policy
from avbench.direction import Direction
from avbench.statistics.tests import MIN_PROMPTS, PairedSummary, holm, prompts_needed

Verdict = Literal["better", "same", "worse", "undecided", "not judged"]
_SMALL = "a real difference, but perhaps below the minimal relevant one"


@dataclass(frozen=True)
class Finding:
    """One metric of a comparison. Means are over prompts, and over clips that have a score in both runs.

    Attributes:
        metric, unit: which.
        kind: "clip", or "set" for a distance of all clips from a reference set.
        direction: which way is better; "keep": a change is worse; None: neither, so it is not judged.
        baseline, candidate: means, or values of the sets; None without any.
        difference: candidate minus baseline.
        low, high: 95 % interval of the difference.
        min_difference: minimal relevant difference; None where none is known (sets without a policy).
        floor: difference that runs of one checkpoint stay within; None without a calibration.
        sd: standard deviation of the differences over prompts.
        prompts, clips: prompts and clips with a score in both runs.
        asked: clips in each run.
        lost, gained: clips with a score only in the baseline, only in the candidate.
        lost_reason: the most frequent reason of the lost.
        p, p_lost: that nothing changed in the scores, in who has one; None where not tested.
        p_holm, p_lost_holm: the same, corrected for the number of tests.
        verdict, reason: what it comes to; the reason is empty where the numbers say it.
        clips_needed: about how many clips would bring a verdict; None where unknown or decided.
    """

    metric: str
    unit: str
    kind: Literal["clip", "set"]
    direction: Goal | None
    baseline: float | None
    candidate: float | None
    difference: float | None
    low: float | None
    high: float | None
    min_difference: float | None
    floor: float | None
    sd: float | None
    prompts: int
    clips: int
    asked: int
    lost: int = 0
    gained: int = 0
    lost_reason: str = ""
    p: float | None = None
    p_lost: float | None = None
    p_holm: float | None = None
    p_lost_holm: float | None = None
    verdict: Verdict = "not judged"
    reason: str = ""
    clips_needed: int | None = None


@dataclass(frozen=True)
class _Ruling:
    verdict: Verdict
    reason: str = ""
    clips_needed: int | None = None


def judge(findings: Sequence[Finding], policy: Policy) -> list[Finding]:
    """Correct the p values of all metrics that have a direction together, and give each metric its verdict."""
    judged = [n for n, finding in enumerate(findings) if finding.direction is not None]
    tests = [(n, key) for n in judged for key in ("p", "p_lost") if getattr(findings[n], key) is not None]
    corrected = holm([getattr(findings[n], key) for n, key in tests])
    done = list(findings)
    for (n, key), value in zip(tests, corrected, strict=True):
        done[n] = replace(done[n], p_holm=value) if key == "p" else replace(done[n], p_lost_holm=value)
    for n in judged:
        ruling = _rule(done[n], policy, len(tests))
        done[n] = replace(done[n], verdict=ruling.verdict, reason=ruling.reason, clips_needed=ruling.clips_needed)
    return [
        f if f.direction else replace(f, reason="neither direction is better; the policy can set one") for f in done
    ]


def _rule(finding: Finding, policy: Policy, tests: int) -> _Ruling:
    if ruling := _rule_on_lost(finding, policy):
        return ruling
    if finding.difference is None:
        return _Ruling("undecided", finding.reason or "no clip has a score in both runs")
    if finding.kind == "set":
        return _rule_on_set(finding, policy)
    if finding.prompts < MIN_PROMPTS:
        return _Ruling("undecided", f"{finding.prompts} prompts have scores in both runs, {MIN_PROMPTS} are the least")
    return _rule_on_clips(finding, policy, tests)


def _rule_on_lost(finding: Finding, policy: Policy) -> _Ruling | None:
    """A checkpoint that lost its sound has no bad scores: it has none."""
    counts = f"{finding.lost} of {finding.asked} clips lost their score and {finding.gained} gained one"
    why = f", mostly: {finding.lost_reason}" if finding.lost_reason else ""
    if finding.p_lost_holm is not None and finding.p_lost_holm <= policy.alpha and finding.lost > finding.gained:
        return _Ruling("worse", counts + why)
    if finding.kind == "clip" and finding.lost + finding.gained > policy.max_unpaired * finding.asked:
        return _Ruling("undecided", f"{counts}{why}; more than max_unpaired = {policy.max_unpaired:g}")
    return None


def _rule_on_set(finding: Finding, policy: Policy) -> _Ruling:
    if finding.floor is None:
        return _Ruling("undecided", finding.reason or "no per-clip scores, and no noise floor; calibrate it")
    if ruling := _moved(finding, policy) or _equal(finding):
        return ruling
    if finding.p_holm is not None and finding.p_holm <= policy.alpha:
        return _Ruling("undecided", _SMALL)
    hint = "" if finding.min_difference else "; only a min_difference in the policy allows the verdict 'same'"
    return _Ruling("undecided", f"no per-clip scores; not beyond the noise floor of repeated runs{hint}")


def _rule_on_clips(finding: Finding, policy: Policy, tests: int) -> _Ruling:
    if ruling := _moved(finding, policy) or _equal(finding):
        return ruling
    margin, difference = finding.min_difference or 0.0, abs(finding.difference or 0.0)
    real = finding.p_holm is not None and finding.p_holm <= policy.alpha
    if real and difference >= margin:
        return _Ruling("undecided", "within the noise floor of repeated runs")
    seen = PairedSummary(finding.prompts, difference, finding.sd or 0.0)
    needed = prompts_needed(seen, margin, tests, policy.alpha)
    clips = None if needed is None else math.ceil(needed * finding.clips / finding.prompts)
    if real:
        what = _SMALL
    elif margin == 0:
        what = "no difference seen, and min_difference = 0 leaves no room for 'same'"
    else:
        what = "too few clips"
    return _Ruling("undecided", what + (f"; about {clips} clips would decide" if clips else ""), clips)


def _moved(finding: Finding, policy: Policy) -> _Ruling | None:
    """Better or worse: real after correction, relevant, and more than repeated runs differ."""
    difference = finding.difference or 0.0
    least = max(finding.min_difference or 0.0, finding.floor or 0.0)
    if finding.p_holm is None or finding.p_holm > policy.alpha or abs(difference) < least or difference == 0:
        return None
    if finding.direction == "keep":
        return _Ruling("worse", "it should keep its value")
    return _Ruling("better" if Direction.named(finding.direction or "").better(difference) else "worse")


def _equal(finding: Finding) -> _Ruling | None:
    """Same: a relevant difference is excluded, which is more than that none was found."""
    if finding.difference == 0 and finding.sd == 0:
        return _Ruling("same")  # each prompt has the same score twice, which gives no interval
    margin, low, high = finding.min_difference, finding.low, finding.high
    if margin is None or low is None or high is None or low < -margin or high > margin:
        return None
    return _Ruling("same")
