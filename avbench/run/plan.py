"""Plan a run: the metrics that each clip still lacks, and the earlier rows that can be reused."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from avbench.clips import Clip
from avbench.media import Limits
from avbench.metrics.base import Scorer
from avbench.results import UNAVAILABLE, RunFolder, ScoreRow
from avbench.run.content import Content
from avbench.run.digests import DigestStore
from avbench.run.earlier import EarlierRow, EarlierRows
from avbench.run.jobs import ClipJob, RunContext
from avbench.run.remote_clips import RemoteDigests
from avbench.run.rows import not_asked_row, unavailable_rows


@dataclass
class Plan:
    """Jobs to run, and rows that exist already or need no computation.

    Attributes:
        jobs: clips that lack a metric which can run here.
        ready: rows to be written before any job runs.
        shas: content digest of each clip, in the order of the source.
        complete: number of clips without a job.
        missing: metrics that cannot run on this machine, with the reason.
        digests: those of remote files, where clips are remote.
    """

    jobs: list[ClipJob] = field(default_factory=list)
    ready: list[ScoreRow] = field(default_factory=list)
    shas: dict[str, str] = field(default_factory=dict)
    complete: int = 0
    missing: dict[str, str] = field(default_factory=dict)
    digests: RemoteDigests | None = None


def make_plan(
    clips: Sequence[Clip],
    scorers: Sequence[Scorer],
    earlier: EarlierRows,
    context: RunContext,
    *,
    folder: RunFolder,
    workers: int,
    retry_errors: bool,
    limits: Limits,
    digests: DigestStore | None = None,
) -> Plan:
    """Plan these clips and metrics: jobs for what is missing, rows that exist or need no computation.

    Reads the bytes of every local clip for its digest, unless that is remembered. A remote clip that nobody has read
    yet gets a job for all that the suite asks of it; `Recorder` completes it when its digest is known. A clip that was
    refused for a limit which is higher now counts as missing.

    Args:
        clips: all clips of the source.
        scorers: all metrics of the suite.
        earlier: rows of earlier invocations.
        context: what every row repeats.
        folder: the run folder; it is only read.
        workers: number of processes, which divide the cores.
        retry_errors: whether clips with an error are scored again.
        limits: what one clip may cost.
        digests: where digests of clips are remembered.
    """
    plan = Plan(missing={s.name: reason for s in scorers if (reason := s.unavailable(context.setup))})
    known = _Known(scorers, earlier, folder, plan.missing, context, retry_errors, limits)
    threads = max(1, (os.cpu_count() or 1) // workers) if workers > 1 else None
    plan.digests = _remote_digests(clips, folder)
    for clip, content in _contents(clips, digests or DigestStore(), plan.digests, context.root):
        job = ClipJob(clip, content, (), context, threads, limits)
        plan.shas[clip.clip_id] = job.sha256
        if not content.known:
            plan.jobs.append(replace(job, metrics=_asked(job, scorers, plan.missing)))
            continue
        lacking, ready = known.of(job)
        # Also where nothing can run: a metric has a row for every clip, so that no clip leaves a denominator.
        rows = unavailable_rows(job, {name: plan.missing[name] for name in lacking if name in plan.missing})
        plan.ready += ready + [row for row in rows if not earlier.repeats(row)]
        possible = tuple(name for name in lacking if name not in plan.missing)
        if possible:
            plan.jobs.append(replace(job, metrics=possible))
        else:
            plan.complete += 1
    return plan


class _Known:
    """What earlier rows say of each clip."""

    def __init__(
        self,
        scorers: Sequence[Scorer],
        earlier: EarlierRows,
        folder: RunFolder,
        missing: Mapping[str, str],
        context: RunContext,
        retry_errors: bool,
        limits: Limits,
    ) -> None:
        self._scorers = [scorer for scorer in scorers if scorer.level != "derived"]
        self._earlier, self._folder, self._missing = earlier, folder, missing
        self._retry_errors, self._limits = retry_errors, limits
        self._weights = {s.name: UNAVAILABLE if s.name in missing else s.weights_digest(context.setup) for s in scorers}
        # Most are the same for all clips, or for those of one prompt.
        self._params: dict[tuple[str, str | None], str] = {}

    def of(self, job: ClipJob) -> tuple[list[str], list[ScoreRow]]:
        """Names of the metrics that a clip lacks, and rows of the others that its own name does not have yet."""
        lacking: list[str] = []
        ready: list[ScoreRow] = []
        for scorer in self._scorers:
            if scorer.level == "set":
                # Its row is computed at the end; of a clip it needs the features.
                if scorer.name not in self._missing and not has_features(self._folder, scorer, job):
                    lacking.append(scorer.name)
            elif (skipped := not_asked_row(job, scorer)) is not None:
                ready += [] if self._earlier.holds(job.clip.clip_id, skipped.key) else [skipped]
            elif (row := self._usable(job, scorer)) is None:
                lacking.append(scorer.name)
            elif not self._earlier.holds(job.clip.clip_id, row.key):
                ready.append(_adopt(self._earlier.read(row), job))
        return lacking, ready

    def _usable(self, job: ClipJob, scorer: Scorer) -> EarlierRow | None:
        """The row of this computation, unless it is an error that is to be tried again."""
        digest = self._params_digest(job, scorer)
        row = self._earlier.find((job.sha256, scorer.name, scorer.version, digest, self._weights[scorer.name]))
        # Where the metric cannot run, an abler machine's error says more than "unavailable".
        if row is None or row.error is None or scorer.name in self._missing:
            return row
        return None if self._retry_errors or self._limits.allow_now(row.error) else row

    def _params_digest(self, job: ClipJob, scorer: Scorer) -> str:
        text = scorer.prompt_text(job.clip.prompt)
        if (digest := self._params.get((scorer.name, text))) is None:
            digest = scorer.params_digest(job.clip.prompt, job.context.protocol.name)
            self._params[scorer.name, text] = digest
        return digest


def _remote_digests(clips: Sequence[Clip], folder: RunFolder) -> RemoteDigests | None:
    return RemoteDigests(folder.path) if any(clip.is_remote for clip in clips) else None


def _contents(
    clips: Sequence[Clip], digests: DigestStore, remote: RemoteDigests | None, root: Path
) -> Iterator[tuple[Clip, Content]]:
    """Each clip with what is known of its bytes."""
    local = digests.read([clip for clip in clips if not clip.is_remote], root)
    distant = remote.contents([clip for clip in clips if clip.is_remote]) if remote else iter(())
    for clip in clips:
        yield clip, next(distant if clip.is_remote else local)


def _asked(job: ClipJob, scorers: Sequence[Scorer], missing: Mapping[str, str]) -> tuple[str, ...]:
    """All that the suite asks of a clip and that can run here."""
    able = (scorer for scorer in scorers if scorer.level != "derived" and scorer.name not in missing)
    return tuple(s.name for s in able if s.level == "set" or not_asked_row(job, s) is None)


def has_features(folder: RunFolder, scorer: Scorer, job: ClipJob) -> bool:
    """Whether an earlier invocation left what a set metric needs of this clip."""
    return folder.feature(scorer.encoders[0].feature_space(job.context.setup), job.media_key) is not None


def _adopt(row: ScoreRow, job: ClipJob) -> ScoreRow:
    """The same content under another name: the score holds, the labels change."""
    clip = job.clip
    return replace(
        row,
        run_id=job.context.run_id,
        clip_id=clip.clip_id,
        model=clip.model,
        prompt_id=clip.prompt.prompt_id,
        sample_index=clip.sample_index,
    )
