"""How often `avbench check` is wrong, and what it finds: writes its tables into docs/ci.md.

    python benchmarks/measure_check.py

Scores are drawn, so that the truth is known; the same functions judge them that judge runs. About ten minutes of one
core. `tests/avbench/check/test_honesty.py` repeats a part of it.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from avbench.check.measure import measure_clips
from avbench.check.policy import Policy
from avbench.check.verdict import Finding, judge
from avbench.statistics.tests import Floats

PAGE = Path(__file__).parent.parent / "docs" / "ci.md"
MEASURED = re.compile(r"(<!-- measured -->\n).*?(<!-- measured end -->)", re.DOTALL)
METRICS = 10
SIZES = (50, 200, 1000)
EFFECTS = (0.1, 0.3, 0.5)
PAIRS = 1000
POWER_PAIRS = 400

Draw = Callable[[np.random.Generator, tuple[int, ...]], Floats]


def normal(rng: np.random.Generator, size: tuple[int, ...]) -> Floats:
    """Bell-shaped."""
    return rng.normal(size=size)


def skewed(rng: np.random.Generator, size: tuple[int, ...]) -> Floats:
    """A long tail to one side, as with sharpness: exponential, standard deviation 1."""
    return rng.exponential(size=size) - 1


@dataclass(frozen=True)
class Pair:
    """Two drawn runs: the prompt of each clip, and the scores of both by metric."""

    prompts: list[str]
    scores: dict[str, tuple[Floats, Floats]]


def draw_pair(rng: np.random.Generator, n: int, effect: float, draw: Draw = normal) -> Pair:
    """Two runs over n prompts in ten metrics; the first metric of the candidate is worse by `effect`.

    Half of the variance belongs to the prompt and is the same in both runs, the other half is new in each run. The
    standard deviation of a run's scores is 1. Metrics share half of what they see: they judge the same clip.
    """

    def part() -> Floats:
        return (draw(rng, (n, 1)) + draw(rng, (n, METRICS))) / np.sqrt(2)

    prompt = part()
    before, after = ((prompt + part()) / np.sqrt(2) for _ in range(2))
    after[:, 0] -= effect
    return Pair([str(prompt) for prompt in range(n)], by_metric(before, after))


def draw_mostly_zero(rng: np.random.Generator, n: int) -> Pair:
    """Two equal runs of shares that are 0 for nearly all clips, as with black frames."""
    pair = draw_pair(rng, n, 0.0)
    return replace(
        pair, scores={k: (np.maximum(0, a - 1.5), np.maximum(0, b - 1.5)) for k, (a, b) in pair.scores.items()}
    )


def draw_four_each(rng: np.random.Generator, n: int) -> Pair:
    """Two equal runs of n clips, four for each prompt, which resemble each other within a run."""
    prompts = np.arange(n) // 4
    shared = rng.normal(size=(n, METRICS))
    before, after = (
        shared[prompts] + rng.normal(size=(n, METRICS))[prompts] + rng.normal(size=(n, METRICS)) for _ in range(2)
    )
    return Pair([str(prompt) for prompt in prompts], by_metric(before, after))


def by_metric(before: Floats, after: Floats) -> dict[str, tuple[Floats, Floats]]:
    """Columns of two tables (clips, metrics) as pairs."""
    return {f"metric_{number}": (before[:, number], after[:, number]) for number in range(METRICS)}


NULLS: dict[str, Callable[[np.random.Generator, int], Pair]] = {
    "bell-shaped": lambda rng, n: draw_pair(rng, n, 0.0),
    "long tail": lambda rng, n: draw_pair(rng, n, 0.0, skewed),
    "mostly zero": draw_mostly_zero,
    "four clips per prompt": draw_four_each,
}


def verdicts(pair: Pair) -> list[Finding]:
    """What the check says, without a policy file."""
    policy = Policy()
    findings = measure_clips(pair.prompts, pair.scores, policy)
    return judge([replace(finding, direction="higher") for finding in findings.values()], policy)


def false_alarms(n: int, scores: str, pairs: int, seed: int = 0) -> tuple[float, float, float]:
    """Shares of pairs of equal checkpoints in which a metric is called worse; worse or better; has a p below 5 %."""
    rng = np.random.default_rng([seed, n, len(scores)])
    worse = moved = low = 0
    for _ in range(pairs):
        findings = verdicts(NULLS[scores](rng, n))
        judged = {finding.verdict for finding in findings}
        worse += "worse" in judged
        moved += bool(judged & {"worse", "better"})
        low += any(finding.p_holm is not None and finding.p_holm <= 0.05 for finding in findings)
    return worse / pairs, moved / pairs, low / pairs


def power(n: int, effect: float, pairs: int, seed: int = 1) -> dict[str, float]:
    """Share of each verdict on a metric that is worse by `effect` standard deviations, among nine that are not."""
    rng = np.random.default_rng([seed, n, int(effect * 100)])
    counts = Counter(verdicts(draw_pair(rng, n, effect))[0].verdict for _ in range(pairs))
    return {verdict: counts[verdict] / pairs for verdict in ("worse", "undecided", "same", "better")}


def table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A Markdown table."""
    lines = [header, ["--:"] * len(header), *rows]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def percent(fraction: float) -> str:
    """A fraction in per cent, one decimal."""
    return f"{100 * fraction:.1f} %"


def main() -> None:
    """Draw, judge and renew the page."""
    alarms = [(str(n), name, *map(percent, false_alarms(n, name, PAIRS))) for name in NULLS for n in SIZES]
    rows = [
        (str(n), f"{effect:g} sd", *map(percent, power(n, effect, POWER_PAIRS).values()))
        for effect in EFFECTS
        for n in SIZES
    ]
    text = (
        f"Equal checkpoints, ten metrics, {PAIRS:,} pairs for each line:\n\n"
        + table(("clips", "scores", "any metric worse", "any worse or better", "any corrected p ≤ 5 %"), alarms)
        + f"\nOne of ten metrics worse, {POWER_PAIRS} pairs for each line; its verdict:\n\n"
        + table(("prompts", "worse by", "worse", "undecided", "same", "better"), rows)
    )
    page = PAGE.read_text(encoding="utf-8")
    PAGE.write_text(MEASURED.sub(lambda match: match[1] + "\n" + text + "\n" + match[2], page), encoding="utf-8")


if __name__ == "__main__":
    main()
