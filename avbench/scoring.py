"""One clip against many scorers: decode once, score, one row each. The only place that catches scorers."""

from __future__ import annotations

import hashlib
import json
import logging
import time
from collections.abc import Sequence
from dataclasses import dataclass, field

from avbench.clips import Clip
from avbench.encoders import EncoderStore
from avbench.errors import EnvironmentProblem, MediaError
from avbench.media import Media, View, decode_clip
from avbench.metrics.base import Score, Scorer, get_scorers
from avbench.results import SCHEMA_VERSION, UNAVAILABLE, ClipRow, ScoreRow

log = logging.getLogger(__name__)

_TRACK_NAMES = {"video": "picture", "audio": "sound"}


@dataclass(frozen=True)
class RunContext:
    """What every row of a run repeats."""

    run_id: str
    suite: str
    suite_version: str


@dataclass(frozen=True)
class ClipJob:
    """One unit of work: a clip and the metrics that it still lacks."""

    clip: Clip
    sha256: str
    metrics: tuple[str, ...]
    context: RunContext
    threads: int | None = None


@dataclass(frozen=True)
class ClipResult:
    """What a job gave. `stopped` names metrics that cannot run at all here, with the reason."""

    clip_row: ClipRow
    rows: list[ScoreRow]
    stopped: dict[str, str] = field(default_factory=dict)


def hash_clip(clip: Clip) -> str:
    """sha256 over the bytes of the clip's file(s); of its paths when a file cannot be read."""
    digest = hashlib.sha256()
    try:
        for path in [clip.video, *([clip.audio] if clip.audio else [])]:
            with path.open("rb") as file:
                digest.update(hashlib.file_digest(file, "sha256").digest())
    except OSError:
        digest.update(f"unreadable:{clip.video}:{clip.audio}".encode("utf-8", "surrogateescape"))
    return digest.hexdigest()


def score_clip(job: ClipJob, store: EncoderStore) -> ClipResult:
    """Decode the clip of a job once and score it with each of its metrics. Raises nothing for a bad clip."""
    scorers = get_scorers(job.metrics)
    views: list[View] = [view for scorer in scorers if not _no_prompt(scorer, job) for view in scorer.all_views]
    try:
        media = decode_clip(job.clip, job.sha256, views, threads=job.threads)
    except MediaError as error:
        rows = [make_row(job, scorer, Score.error(str(error)), 0.0) for scorer in scorers]
        return ClipResult(clip_facts(job, None, str(error)), rows)
    rows, stopped = [], {}
    for scorer in scorers:
        start = time.perf_counter()
        score = _unmet_need(scorer, job, media)
        if score is None:
            score, stop = _call(scorer, job, media, store)
            if stop:
                stopped[scorer.name] = stop
        rows.append(make_row(job, scorer, score, time.perf_counter() - start, stopped.get(scorer.name)))
    store.forget(media.key)
    return ClipResult(clip_facts(job, media, "; ".join(media.problems.values()) or None), rows, stopped)


def _call(scorer: Scorer, job: ClipJob, media: Media, store: EncoderStore) -> tuple[Score, str | None]:
    try:
        return scorer(media, job.clip.prompt, store), None
    except (MemoryError, EnvironmentProblem) as error:
        # Not this clip's fault: the next clip would meet the same.
        reason = f"stopped: {type(error).__name__}: {error}"
        return Score.error(reason), reason
    except Exception as error:
        log.debug("%s failed on %s", scorer.name, job.clip.clip_id, exc_info=True)
        return Score.error(f"{type(error).__name__}: {error}"), None


def _no_prompt(scorer: Scorer, job: ClipJob) -> bool:
    return "prompt" in scorer.needs and scorer.prompt_text(job.clip.prompt) is None


def _unmet_need(scorer: Scorer, job: ClipJob, media: Media) -> Score | None:
    for need in ("video", "audio"):
        if need in scorer.needs and getattr(media, need) is None:
            if need in media.problems:
                return Score.error(media.problems[need])
            return Score.skipped(f"no {_TRACK_NAMES[need]} track")
    if _no_prompt(scorer, job):
        return Score.skipped("no prompt; give one with a manifest or --prompts")
    return None


def make_row(job: ClipJob, scorer: Scorer, score: Score, seconds: float, stopped: str | None = None) -> ScoreRow:
    """The table row of one score."""
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
        reason=score.reason,
        metric_version=scorer.version,
        params_digest=scorer.params_digest(clip.prompt),
        weights_digest=UNAVAILABLE if stopped else scorer.weights_digest(),
        seconds=round(seconds, 6),
        detail=json.dumps(dict(score.detail), sort_keys=True, allow_nan=False),
    )


def unavailable_rows(job: ClipJob, reasons: dict[str, str]) -> list[ScoreRow]:
    """Rows for metrics that this machine cannot run. Their digest makes a later, abler run redo them."""
    scorers: Sequence[Scorer] = get_scorers(reasons)
    return [make_row(job, s, Score.skipped(reasons[s.name]), 0.0, stopped=reasons[s.name]) for s in scorers]


def clip_facts(job: ClipJob, media: Media | None, problem: str | None) -> ClipRow:
    """The row of the clip table."""
    clip, prompt = job.clip, job.clip.prompt
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
        video_path=str(clip.video),
        audio_path=str(clip.audio) if clip.audio else None,
        clip_sha256=job.sha256,
        audio_source=audio.source if audio else None,
        duration=video.duration if video else None,
        audio_duration=audio.duration if audio else None,
        fps=video.fps if video else None,
        frames=len(video.times) if video else None,
        width=video.width if video else None,
        height=video.height if video else None,
        sample_rate=audio.sample_rate if audio else None,
        channels=audio.channels if audio else None,
        problem=problem,
    )
