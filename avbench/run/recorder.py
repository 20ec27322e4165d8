"""Write results into the run folder as they come, so that no clip is left without a row."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from typing import Protocol as TypingProtocol

from avbench.metrics.base import Scorer, get_scorers
from avbench.results import RunFolder, ScoreRow
from avbench.run.content import Content
from avbench.run.earlier import EarlierRows
from avbench.run.jobs import ClipJob, ClipResult, Stopped, steps_of
from avbench.run.plan import Plan
from avbench.run.rows import error_rows, not_asked_row, unavailable_rows


class Progress(TypingProtocol):
    """Follows a run; the command line draws a bar from it."""

    def start(self, total: int, reused: int, clips: int) -> None:
        """`total` steps of `clips` to go (each takes one, and one per large network); `reused` are complete already."""

    def advance(self, clip_id: str, failed: bool, steps: int) -> None:
        """Steps of one clip are done and their rows are on disk."""

    def note(self, text: str) -> None:
        """A line on the workers, in place of the one before."""


@dataclass
class _OpenJob:
    """A job without its last result: metrics that have a row by now, and steps to go."""

    job: ClipJob
    scored: set[str] = field(default_factory=set)
    steps: int = 0


class Recorder:
    """Writes the results of jobs into a run folder as they come. Only the process that owns the folder has one.

    Args:
        folder: the run folder.
        plan: its digests are corrected for clips that changed meanwhile.
        scorers: all metrics of the run.
        earlier: rows of earlier invocations; what they say already is not written again.
        stopped: metrics that have stopped.
        progress: advanced after the rows of a result are on disk.

    Attributes:
        computed: scores of this run, also those that say what the record says already.
        written: rows that were written, also those of metrics that stopped.
        features: features of set metrics that are new.
    """

    def __init__(
        self,
        folder: RunFolder,
        plan: Plan,
        scorers: Sequence[Scorer],
        earlier: EarlierRows,
        stopped: Stopped,
        progress: Progress | None = None,
    ) -> None:
        self.computed = 0
        self.written = 0
        self.features = 0
        self._folder = folder
        self._plan = plan
        self._scorers = scorers
        self._earlier = earlier
        self._stopped = stopped
        self._progress = progress
        self._open = {job.clip.clip_id: _OpenJob(job, steps=steps_of(job)) for job in plan.jobs}
        if progress:
            progress.start(sum(each.steps for each in self._open.values()), plan.complete, len(self._open))

    def write(self, result: ClipResult) -> None:
        """Write one result. A kill in here may cost rows of this result, which the next run computes again.

        Raises:
            EnvironmentProblem: the folder cannot be written.
        """
        clip_id = result.clip_row.clip_id
        open_job, rows = self._open[clip_id], result.rows
        if not result.first:
            # Of a remote clip whose process died it may be called by its name again.
            rows = [replace(row, clip_sha256=open_job.job.sha256) for row in rows]
        elif result.clip_row.clip_sha256 != open_job.job.sha256 or not open_job.job.content.known:
            rows = rows + self._relabel(open_job, result)
        if self._plan.digests is not None:
            self._plan.digests.add(result.learnt)
        if result.first:
            self._folder.append_clip(result.clip_row)  # before its scores, so that a scored clip always has it
        self._append(rows)
        for name, value in result.features.items():
            (scorer,) = get_scorers([name])
            space = scorer.encoders[0].feature_space(open_job.job.context.setup)
            self._folder.put_feature(space, open_job.job.media_key, value)
        self.features += len(result.features)
        metrics = {row.metric for row in rows}
        self.computed += len(metrics - open_job.scored)  # a process that died may have sent some already
        open_job.scored |= metrics
        if result.last:
            self._close(open_job)
        if self._progress:
            steps = open_job.steps if result.last else 1
            open_job.steps -= steps
            self._progress.advance(clip_id, any(row.status == "error" for row in rows), steps)

    def _close(self, open_job: _OpenJob) -> None:
        # A metric that stopped still has a row for every clip: no clip leaves a denominator.
        job = open_job.job
        lacking = [name for name in job.metrics if name not in open_job.scored]
        self._append(unavailable_rows(job, self._stopped.among(lacking)))
        del self._open[job.clip.clip_id]

    def _append(self, rows: Iterable[ScoreRow]) -> None:
        """Write the rows that say something new.

        What fails in the same way in every run, such as a remote clip that cannot be fetched, leaves its rows once.
        """
        new = [row for row in rows if not self._earlier.repeats(row)]
        self._folder.append(new)
        self.written += len(new)

    def _relabel(self, open_job: _OpenJob, result: ClipResult) -> list[ScoreRow]:
        """Put a clip under the digest of its result: a remote one that was read, or one that changed meanwhile.

        The latter is taken for another clip from then on. The rows are those of metrics that the job was not asked for:
        what is known of the old content is not of this clip.
        """
        job = replace(open_job.job, content=Content(result.clip_row.clip_sha256))
        open_job.job = job
        self._plan.shas[job.clip.clip_id] = job.sha256
        others = [scorer for scorer in self._scorers if scorer.level == "clip" and scorer.name not in job.metrics]
        rows = [row for scorer in others if (row := not_asked_row(job, scorer)) is not None]
        others = [scorer for scorer in others if scorer.name not in {row.metric for row in rows}]
        missing = {s.name: self._plan.missing[s.name] for s in others if s.name in self._plan.missing}
        rows += error_rows(job, [s for s in others if s.name not in missing], result.clip_row.problem or "changed")
        return rows + unavailable_rows(job, missing)
