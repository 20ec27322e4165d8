"""Rows of the result tables: made here and nowhere else, so that all rows of a run are labelled in one way."""

from __future__ import annotations

import hashlib
import json
import logging
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from avbench.clips import Clip
from avbench.errors import AvbenchError
from avbench.files import below_or_name
from avbench.media import Media
from avbench.metrics.base import Score, Scorer, get_scorers
from avbench.results import SCHEMA_VERSION, UNAVAILABLE, ClipRow, ScoreRow
from avbench.results.schema import set_digest
from avbench.run.jobs import ClipJob, RunContext
from avbench.statistics.summary import NOT_ASKED

log = logging.getLogger(__name__)

ALL = "all"
"""Scope of a row about all clips of a run."""


def score_row(job: ClipJob, scorer: Scorer, score: Score, seconds: float, stopped: str | None = None) -> ScoreRow:
    """The table row of one score.

    Args:
        job: the clip.
        scorer: the metric.
        score: what it gave.
        seconds: time that it took.
        stopped: why the metric cannot run here; its row is then computed again where it can.
    """
    clip, context = job.clip, job.context
    return ScoreRow(
        schema_version=SCHEMA_VERSION,
        run_id=context.run_id,
        model=clip.model,
        suite=context.suite,
        suite_version=context.suite_version,
        scope="clip",
        clip_id=clip.clip_id,
        clip_sha256=job.sha256,
        prompt_id=clip.prompt.prompt_id,
        sample_index=clip.sample_index,
        metric=scorer.name,
        value=score.value,
        status=score.status,
        reason=_without_folders(score.reason, clip),
        metric_version=scorer.version,
        params_digest=scorer.params_digest(clip.prompt, context.protocol.name),
        weights_digest=UNAVAILABLE if stopped else scorer.weights_digest(context.setup),
        seconds=round(seconds, 6),
        detail=detail_text(score.detail),
    )


def detail_text(detail: Mapping[str, object]) -> str:
    """The detail of a score as the table holds it.

    Raises:
        TypeError, ValueError: it is not JSON, or holds NaN or infinity.
    """
    return json.dumps(dict(detail), sort_keys=True, allow_nan=False)


def checked_score(score: object) -> Score:
    """The return value of a metric, checked to be a score.

    Raises:
        TypeError: it is something else.
    """
    if not isinstance(score, Score):
        raise TypeError(f"it returned {type(score).__name__}, expected a Score")
    return score


def failure(error: Exception | SystemExit) -> str:
    """An exception of a metric as the reason of its row: our own are sentences, others need their type."""
    return str(error) if isinstance(error, AvbenchError) else f"{type(error).__name__}: {error}"


def unavailable_rows(job: ClipJob, reasons: Mapping[str, str]) -> list[ScoreRow]:
    """Rows for metrics that this machine cannot run. Their digest makes a later, abler run redo them."""
    if not reasons:
        return []
    scorers = (scorer for scorer in get_scorers(reasons) if scorer.level == "clip")
    return [score_row(job, s, Score.skipped(reasons[s.name]), 0.0, stopped=reasons[s.name]) for s in scorers]


def not_asked_row(job: ClipJob, scorer: Scorer) -> ScoreRow | None:
    """The row of a metric that the suite does not ask of this clip; None where it is asked.

    Its digests are those of no computation, so that it never stands for a score that another suite asks for, and no
    summary counts it.
    """
    category = job.context.only.get(scorer.name)
    if category is None or category in job.clip.categories:
        return None
    reason = f"{category.aspect} is not {category.name}"
    row = score_row(job, scorer, Score.skipped(reason), 0.0, stopped=reason)
    return replace(row, params_digest=hashlib.sha256(reason.encode()).hexdigest()[:16], weights_digest=NOT_ASKED)


def error_rows(job: ClipJob, scorers: Iterable[Scorer], reason: str) -> list[ScoreRow]:
    """Rows for metrics of a clip that cannot be read."""
    return [score_row(job, scorer, Score.error(reason), 0.0) for scorer in scorers if scorer.level == "clip"]


def set_row(
    scorer: Scorer,
    scope: str,
    clips: Sequence[Clip],
    shas: Mapping[str, str],
    context: RunContext,
    *,
    weights_digest: str,
    params: Mapping[str, Any],
) -> ScoreRow:
    """The row of a metric over several clips, before it is computed.

    Args:
        scorer: the metric.
        scope: "all", or "aspect/category".
        clips: those of the scope.
        shas: content digest of each clip.
        context: what every row repeats.
        weights_digest: of all networks behind the number.
        params: what else the number depends on, besides the metric's parameters, the scope and the protocol.
    """
    models = {clip.model for clip in clips}
    content = {"params": dict(scorer.params), "scope": scope, "protocol": context.protocol.name, **params}
    return ScoreRow(
        schema_version=SCHEMA_VERSION,
        run_id=context.run_id,
        model=models.pop() if len(models) == 1 else None,
        suite=context.suite,
        suite_version=context.suite_version,
        scope=scope,
        clip_id=None,
        clip_sha256=set_digest(shas[clip.clip_id] for clip in clips),
        prompt_id=None,
        sample_index=0,
        metric=scorer.name,
        value=None,
        status="skipped",
        reason="not judged",
        metric_version=scorer.version,
        params_digest=hashlib.sha256(json.dumps(content, sort_keys=True, default=str).encode()).hexdigest()[:16],
        weights_digest=weights_digest,
        seconds=0.0,
    )


def computed_row(row: ScoreRow, compute: Callable[[], Score]) -> ScoreRow:
    """The row with its score; whatever is raised costs this row alone, never the scores of single clips."""
    start = time.perf_counter()
    try:
        score = checked_score(compute())
        detail = detail_text(score.detail)
    except (Exception, SystemExit) as error:  # also where a metric's own code wants to end the process
        log.debug("%s failed on %s", row.metric, row.scope, exc_info=True)
        score, detail = Score.error(failure(error)), "{}"
    seconds = round(time.perf_counter() - start, 6)
    return replace(
        row, value=score.value, status=score.status, reason=score.reason, seconds=seconds, detail=detail
    )  # fmt: skip


def clip_row(clip: Clip, sha256: str, root: Path, *, media: Media | None = None, problem: str | None = None) -> ClipRow:
    """The row of the clip table.

    Args:
        clip: names and prompts, as the source gives them.
        sha256: digest of the content.
        root: folder of the source, which paths are relative to.
        media: the decoded clip; None where it was not or could not be decoded.
        problem: what is wrong with it.
    """
    prompt = clip.prompt
    video = media.video if media else None
    audio = media.audio if media else None
    return ClipRow(
        clip_id=clip.clip_id,
        model=clip.model,
        sample_index=clip.sample_index,
        prompt_id=prompt.prompt_id,
        text=prompt.text,
        video_text=prompt.video_text,
        audio_text=prompt.audio_text,
        video_path=_recorded(clip.video, root),
        audio_path=_recorded(clip.audio, root) if clip.audio else None,
        clip_sha256=sha256,
        audio_source=audio.source if audio else None,
        duration=video.duration if video else None,
        audio_duration=audio.duration if audio else None,
        fps=video.fps if video else None,
        frames=len(video.times) if video else None,
        width=video.width if video else None,
        height=video.height if video else None,
        sample_rate=audio.sample_rate if audio else None,
        channels=audio.channels if audio else None,
        expected=prompt.expected.as_json(),
        speech_text=prompt.speech_text,
        speech_language=prompt.speech_language,
        problem=None if problem is None else _without_folders(problem, clip),
    )


def _without_folders(text: str, clip: Clip) -> str:
    """A reason as it may be shared: exceptions of libraries can name whole paths."""
    for path in filter(None, (clip.video, clip.audio)):
        text = text.replace(str(path.absolute()), path.name).replace(str(path), path.name)
    return text


def _recorded(path: Path, root: Path) -> str:
    # A file name need not be valid Unicode; a table has to be.
    return below_or_name(path, root).encode("utf-8", "backslashreplace").decode()
