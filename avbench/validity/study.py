"""Run a validity study: every clip under every corruption and severity, with the scorers that judge real runs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Protocol as TypingProtocol

from avbench.encoders import WeightsConfig
from avbench.errors import EnvironmentProblem, UsageError
from avbench.files import temporary_folder
from avbench.media import Limits
from avbench.metrics.base import Scorer
from avbench.run.content import read_content
from avbench.run.jobs import ClipJob, RunContext, Stopped
from avbench.sources import Source
from avbench.suites import Suite
from avbench.validity.corruption_scorer import CorruptionScorer, Row
from avbench.validity.corruptions import CORRUPTIONS, USUAL
from avbench.validity.decoding import decode_cases


class Progress(TypingProtocol):
    """Follows a study; the command line draws a bar from it."""

    def start(self, total: int, reused: int, clips: int) -> None:
        """`total` steps of `clips` to go; nothing is ever reused."""

    def advance(self, clip_id: str, failed: bool, steps: int) -> None:
        """Steps of one clip are done."""


@dataclass(frozen=True)
class Settings:
    """How a study is made; everything here but the device can change its numbers.

    Attributes:
        seconds: how much of each clip, from the start of each track.
        size: frames are made smaller so that their long side has this many pixels; 0 keeps them.
        seed: of noise and of the choice of dropped frames.
        device: where networks run.
        setup: weights and precision.
        limits: what decoding one clip may cost.
        corruptions: names of those that clips meet; without any, all but those that are done on request.
    """

    seconds: float = 4.0
    size: int = 256
    seed: int = 0
    device: str = "cpu"
    setup: WeightsConfig = field(default_factory=WeightsConfig)
    limits: Limits = field(default_factory=Limits)
    corruptions: tuple[str, ...] = ()


@dataclass(frozen=True)
class Study:
    """Result of a study.

    Attributes:
        scorers: metrics that were scored.
        passed_over: the other metrics, with the reason.
        stopped: metrics that could not go on, with the reason; their remaining rows are errors.
        shas: content digest of each clip.
        rows: in the order of metrics, corruptions, clips and levels.
    """

    source: Source
    suite: Suite
    settings: Settings
    scorers: tuple[Scorer, ...]
    passed_over: dict[str, str]
    stopped: dict[str, str]
    shas: dict[str, str]
    rows: tuple[Row, ...]


def run_study(
    source: Source,
    suite: Suite,
    scorers: Sequence[Scorer],
    settings: Settings | None = None,
    progress: Progress | None = None,
) -> Study:
    """Score every clip under every corruption that a metric can notice.

    Each clip is decoded once. Metrics are taken network by network, so each network is loaded once.

    Raises:
        UsageError: the weights are random.
        EnvironmentProblem: none of the metrics can run here.
    """
    settings = settings or Settings()
    able, passed_over = _who_takes_part(scorers, settings.setup)
    context = RunContext("validate", suite.name, suite.version, settings.setup)
    jobs = [ClipJob(clip, read_content(clip), (), context) for clip in source.clips]
    groups = _by_network(able)
    named = settings.corruptions
    chosen = [each for each in CORRUPTIONS if each.name in named] if named else USUAL
    rows: list[Row] = []
    stopped = Stopped()
    with temporary_folder(None, prefix="avbench-validate-") as spool:
        cases = decode_cases(jobs, settings.seconds, settings.size, spool, settings.limits)
        if progress:
            progress.start(len(cases) * len(groups), 0, len(cases))
        for group in groups:
            corruption_scorer = CorruptionScorer(group, settings.device, settings.setup, settings.seed, stopped, chosen)
            for case in cases:
                clip_rows = list(corruption_scorer.score(case))
                rows += clip_rows
                if progress:
                    progress.advance(case.job.clip.clip_id, any(row.status == "error" for row in clip_rows), 1)
    shas = {job.clip.clip_id: job.sha256 for job in jobs}
    return Study(
        source, suite, settings, able, passed_over, stopped.reasons(), shas, _in_order(rows, able, tuple(shas))
    )


def _who_takes_part(scorers: Sequence[Scorer], setup: WeightsConfig) -> tuple[tuple[Scorer, ...], dict[str, str]]:
    if setup.is_test:
        raise UsageError(
            f"a study of validity with {setup.weights} weights would mean nothing: such networks know nothing about "
            "the clips themselves. Use real weights (--weights checkpoints)."
        )
    passed_over = {s.name: why for s in scorers if (why := _cannot_take_part(s, setup))}
    able = tuple(scorer for scorer in scorers if scorer.name not in passed_over)
    if not able:
        reasons = "; ".join(dict.fromkeys(passed_over.values()))
        raise EnvironmentProblem(f"none of the metrics can take part: {reasons}")
    return able, passed_over


def _cannot_take_part(scorer: Scorer, setup: WeightsConfig) -> str | None:
    if scorer.level != "clip":
        return "judges sets of clips; corruptions are applied to single ones"
    return scorer.unavailable(setup)


def _by_network(scorers: Sequence[Scorer]) -> list[list[Scorer]]:
    """Scorers that share their large networks, together; those without any first."""
    groups: dict[tuple[str, ...], list[Scorer]] = {(): []}
    for scorer in scorers:
        groups.setdefault(tuple(sorted(b.name for b in scorer.backbones if b.deferred)), []).append(scorer)
    return [group for group in groups.values() if group]


def _in_order(rows: Sequence[Row], scorers: Sequence[Scorer], clip_ids: Sequence[str]) -> tuple[Row, ...]:
    metrics = {scorer.name: index for index, scorer in enumerate(scorers)}
    corruptions = {corruption.name: index for index, corruption in enumerate(CORRUPTIONS)}
    clips = {clip_id: index for index, clip_id in enumerate(clip_ids)}
    return tuple(sorted(rows, key=lambda r: (metrics[r.metric], corruptions[r.corruption], clips[r.clip_id], r.level)))
