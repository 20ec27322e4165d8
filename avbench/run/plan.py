"""What a run has to do: which clip lacks which metric, and which rows exist already."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from avbench.clips import Clip
from avbench.media import Limits
from avbench.metrics.base import Score, Scorer
from avbench.results import UNAVAILABLE, RunFolder, ScoreRow
from avbench.run.content import Content, read_content
from avbench.run.score_clip import ClipJob, ClipResult, RunContext, make_row, unavailable_rows

RowKey = tuple[str, str, int, str, str]


@dataclass
class Plan:
    """Jobs to run, and rows that exist already or need no computation.

    `shas` is the content digest of each clip, `missing` why a metric cannot run on this machine.
    """

    jobs: list[ClipJob] = field(default_factory=list)
    ready: list[ScoreRow] = field(default_factory=list)
    shas: dict[str, str] = field(default_factory=dict)
    complete: int = 0
    missing: dict[str, str] = field(default_factory=dict)


class Known:
    """Rows of earlier invocations, by what they were computed from."""

    def __init__(self, rows: Sequence[ScoreRow]) -> None:
        self._rows = {row.key: row for row in rows}
        self._held = {(row.clip_id, row.key) for row in rows}
        self._scored = {row.key[:4]: row for row in rows if row.weights_digest != UNAVAILABLE}

    def find(self, key: RowKey) -> ScoreRow | None:
        """The row of this computation. Where the metric cannot run here, one made where it could serves as well."""
        if key[4] == UNAVAILABLE and key[:4] in self._scored:
            return self._scored[key[:4]]
        return self._rows.get(key)

    def holds(self, clip_id: str, row: ScoreRow) -> bool:
        """Whether this clip has the row under its own name already."""
        return (clip_id, row.key) in self._held


def make_plan(
    clips: Sequence[Clip],
    scorers: Sequence[Scorer],
    known: Known,
    context: RunContext,
    *,
    folder: RunFolder,
    workers: int,
    retry_errors: bool,
    limits: Limits,
) -> Plan:
    """What is missing for these clips and metrics, and what an earlier invocation or no computation gives.

    A clip that was refused for a limit which is higher now counts as missing.
    """
    plan = Plan()
    plan.missing = missing = {s.name: reason for s in scorers if (reason := s.unavailable(context.setup))}
    digests = {s.name: UNAVAILABLE if s.name in missing else s.weights_digest(context.setup) for s in scorers}
    threads = max(1, (os.cpu_count() or 1) // workers) if workers > 1 else None
    for clip in clips:
        job = ClipJob(clip, read_content(clip), (), context, threads, limits)
        plan.shas[clip.clip_id] = job.sha256
        todo = []
        for scorer in scorers:
            if scorer.level == "set":
                if scorer.name not in missing and not has_features(folder, scorer, job):
                    todo.append(scorer.name)
                continue
            digest = scorer.params_digest(clip.prompt, context.protocol.name)
            row = known.find((job.sha256, scorer.name, scorer.version, digest, digests[scorer.name]))
            if row is None or (row.status == "error" and (retry_errors or limits.allow_now(row.reason))):
                todo.append(scorer.name)
            elif not known.holds(clip.clip_id, row):
                plan.ready.append(_adopt(row, job))
        plan.ready += unavailable_rows(job, {name: missing[name] for name in todo if name in missing})
        possible = tuple(name for name in todo if name not in missing)
        if possible:
            plan.jobs.append(replace(job, metrics=possible))
        else:
            plan.complete += 1
    return plan


def disown(plan: Plan, job: ClipJob, result: ClipResult, scorers: Sequence[Scorer]) -> tuple[ClipJob, list[ScoreRow]]:
    """The job of a clip that changed after its digest was taken, under a digest of its own.

    The rows are those of metrics that the job was not asked for: what is known of the old content is not of this clip.
    """
    job = replace(job, content=Content(result.clip_row.clip_sha256))
    plan.shas[job.clip.clip_id] = job.sha256
    others = [scorer for scorer in scorers if scorer.level == "clip" and scorer.name not in job.metrics]
    failed = Score.error(result.clip_row.problem or "changed")
    rows = [make_row(job, scorer, failed, 0.0) for scorer in others if scorer.name not in plan.missing]
    absent = {scorer.name: plan.missing[scorer.name] for scorer in others if scorer.name in plan.missing}
    return job, rows + unavailable_rows(job, absent)


def feature_space(scorer: Scorer, context: RunContext) -> str:
    """Name of the folder of a set metric's features: one for each way of computing them."""
    encoder = scorer.encoders[0]
    digest = hashlib.sha256(f"{encoder.version}:{encoder.backbone.digest(context.setup)}".encode()).hexdigest()[:12]
    return f"{encoder.name}-{digest}"


def has_features(folder: RunFolder, scorer: Scorer, job: ClipJob) -> bool:
    """Whether an earlier invocation left what a set metric needs of this clip."""
    return folder.feature(feature_space(scorer, job.context), job.media_key) is not None


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
