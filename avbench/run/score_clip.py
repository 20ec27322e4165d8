"""One clip and one scorer: what is asked, and the row that comes of it. The only place that catches scorers."""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from avbench.clips import Clip
from avbench.encoders import Encoder, EncoderStore, WeightsConfig
from avbench.errors import AvbenchError, EnvironmentProblem
from avbench.files import below_or_name
from avbench.media import Limits, Media
from avbench.metrics.base import Score, Scorer, get_scorers
from avbench.results import SCHEMA_VERSION, UNAVAILABLE, ClipRow, ScoreRow
from avbench.run.content import Content

log = logging.getLogger(__name__)

_TRACK_NAMES = {"video": "picture", "audio": "sound"}


@dataclass(frozen=True)
class Protocol:
    """What is done to every clip before it is judged.

    Attributes:
        name: name of the protocol; empty for none.
        seconds: only this much from the start of each track; None for everything.
    """

    name: str = ""
    seconds: float | None = None


PROTOCOLS = {protocol.name: protocol for protocol in (Protocol("javisbench-4s", 4.0),)}


@dataclass(frozen=True)
class RunContext:
    """What every row of a run repeats, and what every number of it depends on.

    `root` is the folder of the source: the clip table names files relative to it.
    """

    run_id: str
    suite: str
    suite_version: str
    setup: WeightsConfig = field(default_factory=WeightsConfig)
    protocol: Protocol = field(default_factory=Protocol)
    root: Path = Path()


@dataclass(frozen=True)
class ClipJob:
    """One unit of work: a clip, the metrics that it still lacks, and what it may cost."""

    clip: Clip
    content: Content
    metrics: tuple[str, ...]
    context: RunContext
    threads: int | None = None
    limits: Limits = field(default_factory=Limits)

    @property
    def sha256(self) -> str:
        """Digest of the content."""
        return self.content.sha256

    @property
    def media_key(self) -> str:
        """Identity of what is embedded: the content, and what the protocol leaves of it."""
        name = self.context.protocol.name
        return f"{self.sha256}:{name}" if name else self.sha256


@dataclass(frozen=True)
class ClipResult:
    """What one step of a job gave.

    Attributes:
        clip_row: the clip as it was understood.
        rows: scores that are ready.
        stopped: metrics that cannot run at all here, with the reason.
        features: what set metrics need of this clip, by metric.
        first, last: whether this is the first or the last result of the job.
    """

    clip_row: ClipRow
    rows: list[ScoreRow]
    stopped: dict[str, str] = field(default_factory=dict)
    features: dict[str, NDArray[Any]] = field(default_factory=dict)
    first: bool = True
    last: bool = True


@dataclass
class Judgement:
    """Scores of one clip as they come in.

    Attributes:
        rows, features: see `ClipResult`.
        stopped: metrics that could not go on, with the reason.
    """

    job: ClipJob
    rows: list[ScoreRow] = field(default_factory=list)
    features: dict[str, NDArray[Any]] = field(default_factory=dict)
    stopped: dict[str, str] = field(default_factory=dict)

    def judge(self, scorer: Scorer, media: Media, store: EncoderStore) -> None:
        """Score the clip, or take its features for a set metric."""
        start = time.perf_counter()
        score = unmet_need(scorer, self.job, media)
        if scorer.level == "set":
            if score is None:
                self._take_features(scorer, media, store)
            return
        stop = None
        if score is None:
            score, stop = _call(scorer, self.job, media, store)
            if stop:
                self.stopped[scorer.name] = stop
        self.rows.append(make_row(self.job, scorer, score, time.perf_counter() - start, stop))

    def _take_features(self, scorer: Scorer, media: Media, store: EncoderStore) -> None:
        try:
            self.features[scorer.name] = store.embed(scorer.encoders[0], media, self.job.clip.prompt)
        except (MemoryError, EnvironmentProblem) as error:
            self.stopped[scorer.name] = stop_reason(error)
        except Exception:
            # A clip without features is counted in the row of the set.
            log.debug("no %s features of %s", scorer.name, self.job.clip.clip_id, exc_info=True)


def _call(scorer: Scorer, job: ClipJob, media: Media, store: EncoderStore) -> tuple[Score, str | None]:
    try:
        return scorer(media, job.clip.prompt, store), None
    except (MemoryError, EnvironmentProblem) as error:
        # Not this clip's fault: the next clip would meet the same.
        return Score.error(stop_reason(error)), stop_reason(error)
    except AvbenchError as error:
        return Score.error(str(error)), None
    except Exception as error:
        log.debug("%s failed on %s", scorer.name, job.clip.clip_id, exc_info=True)
        return Score.error(f"{type(error).__name__}: {error}"), None


def stop_reason(error: BaseException) -> str:
    """The reason for a metric that cannot go on."""
    return f"stopped: {type(error).__name__}: {error}"


def lacks_prompt(scorer: Scorer, job: ClipJob) -> bool:
    """Whether the metric needs a text that the clip does not have."""
    return "prompt" in scorer.needs and not (scorer.prompt_text(job.clip.prompt) or "").strip()


def needed_encoders(scorers: Sequence[Scorer], job: ClipJob) -> list[Encoder]:
    """Encoders of these scorers, each once, without those of scorers that will be skipped for want of a prompt."""
    return list(dict.fromkeys(e for scorer in scorers if not lacks_prompt(scorer, job) for e in scorer.encoders))


def unmet_need(scorer: Scorer, job: ClipJob, media: Media) -> Score | None:
    """The score of a clip that lacks what the metric needs; None when it lacks nothing."""
    for need in ("video", "audio"):
        if need in scorer.needs and getattr(media, need) is None:
            if need in media.problems:
                return Score.error(media.problems[need])
            return Score.skipped(f"no {_TRACK_NAMES[need]} track")
    if lacks_prompt(scorer, job):
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
        reason=_without_folders(score.reason, clip),
        metric_version=scorer.version,
        params_digest=scorer.params_digest(clip.prompt, context.protocol.name),
        weights_digest=UNAVAILABLE if stopped else scorer.weights_digest(context.setup),
        seconds=round(seconds, 6),
        detail=json.dumps(dict(score.detail), sort_keys=True, allow_nan=False),
    )


def unavailable_rows(job: ClipJob, reasons: dict[str, str]) -> list[ScoreRow]:
    """Rows for metrics that this machine cannot run. Their digest makes a later, abler run redo them."""
    scorers = [scorer for scorer in get_scorers(reasons) if scorer.level == "clip"]
    return [make_row(job, s, Score.skipped(reasons[s.name]), 0.0, stopped=reasons[s.name]) for s in scorers]


def _without_folders(text: str, clip: Clip) -> str:
    """A reason as it may be shared: exceptions of libraries can name whole paths."""
    for path in filter(None, (clip.video, clip.audio)):
        text = text.replace(str(path.absolute()), path.name).replace(str(path), path.name)
    return text


def _recorded(path: Path, root: Path) -> str:
    return below_or_name(path, root).encode("utf-8", "backslashreplace").decode()


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
        video_path=_recorded(clip.video, job.context.root),
        audio_path=_recorded(clip.audio, job.context.root) if clip.audio else None,
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
        problem=None if problem is None else _without_folders(problem, clip),
    )
