"""Score one clip: decode it once, score what needs no large network, then the rest as each large network has run.

The only place that catches exceptions of scorers: a scorer that fails costs one row, and one that cannot go on here
costs its own rows of later clips.
"""

from __future__ import annotations

import logging
import shutil
import time
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from avbench.clips import Clip
from avbench.encoders import Backbone, Encoder, EncoderStore
from avbench.errors import EnvironmentProblem, MediaError
from avbench.files import new_folder
from avbench.media import Media, decode_clip
from avbench.media.options import DecodeOptions
from avbench.media.spool import Spooled
from avbench.metrics.base import Score, Scorer, get_scorers, no_prompt
from avbench.results import ClipRow, ScoreRow
from avbench.run.cached_media import cached_media, keep_media
from avbench.run.content import ChangedError, Content, unchanged
from avbench.run.jobs import ClipJob, ClipResult, Stopped
from avbench.run.remote_clips import FileDigest, local_copy
from avbench.run.rows import checked_score, clip_row, detail_text, error_rows, failure, score_row

log = logging.getLogger(__name__)

_TRACK_NAMES = {"video": "video", "audio": "sound"}

Watch = Callable[[ClipJob | None], None]
"""Called with the job whose clip is about to be decoded, and with None when it is."""


@dataclass
class ClipScores:
    """Scores of one clip as they come in.

    Attributes:
        rows, features: see `ClipResult`.
        stopped: metrics that could not go on, with the reason.
    """

    job: ClipJob
    rows: list[ScoreRow] = field(default_factory=list)
    features: dict[str, NDArray[Any]] = field(default_factory=dict)
    stopped: dict[str, str] = field(default_factory=dict)

    def score(self, scorer: Scorer, media: Media, store: EncoderStore) -> None:
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
        self.rows.append(score_row(self.job, scorer, score, time.perf_counter() - start, stop))

    def _take_features(self, scorer: Scorer, media: Media, store: EncoderStore) -> None:
        try:
            value = np.asarray(store.embed(scorer.encoders[0], media, self.job.clip.prompt), dtype=np.float32)
            if value.ndim != 1:
                raise EnvironmentProblem(
                    f"encoder {scorer.encoders[0].name} gives an array of shape {value.shape}; a set metric compares "
                    "one vector per clip"
                )
            self.features[scorer.name] = value
        except (MemoryError, EnvironmentProblem) as error:
            self.stopped[scorer.name] = stop_reason(error)
        except (Exception, SystemExit):
            # A clip without features is counted in the row of the set.
            log.debug("no %s features of %s", scorer.name, self.job.clip.clip_id, exc_info=True)


@dataclass
class OpenClip:
    """A decoded clip that waits for large networks.

    Attributes:
        row: the clip as it was understood.
        pending: metrics that have no score yet.
        folder: where the inputs of their networks wait; removed by whoever opened the clip.
        nbytes: size of those inputs.
        done: large networks that have run.
    """

    job: ClipJob
    media: Media
    row: ClipRow
    pending: list[Scorer]
    folder: Path
    nbytes: int
    done: set[Backbone] = field(default_factory=set)

    @property
    def networks(self) -> list[Backbone]:
        """Large networks of the pending metrics, in their order."""
        return list(dict.fromkeys(network for scorer in self.pending for network in _large(scorer)))


def open_clip(job: ClipJob, store: EncoderStore, spool: Path, watch: Watch) -> tuple[OpenClip | None, ClipResult]:
    """Decode a clip and score it with every metric that waits for no large network.

    Returns:
        The clip, None where nothing waits for a large network; and the first result of the job.
    """
    scorers = get_scorers(job.metrics)
    folder = new_folder(spool) if any(scorer.deferred for scorer in scorers) else None
    learnt: tuple[FileDigest, ...] = ()
    try:
        with local_copy(job.clip, job.content, job.limits, spool) as local:
            job, learnt = replace(job, content=local.content), local.learnt
            media = _media(job, local.clip, scorers, store, folder, watch)
    except (MediaError, MemoryError) as error:
        if folder is not None:
            shutil.rmtree(folder, ignore_errors=True)
        # What a changed file holds now is not what its digest says: its rows get a digest that nothing else has.
        job = replace(job, content=Content(error.sha256)) if isinstance(error, ChangedError) else job
        failed = failed_result(job, str(error) or "out of memory while the clip was decoded")
        return None, replace(failed, learnt=learnt)
    scores, pending = ClipScores(job), list[Scorer]()
    for scorer in scorers:
        if scorer.deferred and unmet_need(scorer, job, media) is None:
            pending.append(scorer)
        else:
            scores.score(scorer, media, store)
    row = clip_row(job.clip, job.sha256, job.context.root, media=media, problem=_problem(media))
    store.forget(job.media_key)  # small networks are done with this clip
    media.keep_only(view for encoder in needed_encoders(pending, job) for view in encoder.views)
    size = sum(view.nbytes for view in media.views.values() if isinstance(view, Spooled))
    opened = OpenClip(job, media, row, pending, folder, size) if pending and folder is not None else None
    result = ClipResult(row, scores.rows, scores.stopped, scores.features, last=opened is None, learnt=learnt)
    return opened, result


def score_ready(clip: OpenClip, store: EncoderStore, stopped: Stopped) -> ClipResult:
    """Score a clip with those pending metrics whose large networks have all run."""
    scores = ClipScores(clip.job)
    going_on = [scorer for scorer in clip.pending if stopped.reason(scorer.name) is None]
    ready = [scorer for scorer in going_on if clip.done.issuperset(_large(scorer))]
    for scorer in ready:
        scores.score(scorer, clip.media, store)
    stopped.add(scores.stopped)
    clip.pending = [s for s in going_on if s not in ready and stopped.reason(s.name) is None]
    pending = {encoder.name for scorer in clip.pending for encoder in scorer.encoders}
    store.forget(clip.media.key, keep=pending)
    return ClipResult(
        clip.row, scores.rows, stopped.reasons(), scores.features, first=False, last=not clip.pending
    )  # fmt: skip


def failed_result(job: ClipJob, reason: str, have: Collection[str] = ()) -> ClipResult:
    """The last result of a clip that cannot be scored.

    Args:
        job: the clip.
        reason: why.
        have: metrics with a row already.
    """
    scorers = [scorer for scorer in get_scorers(job.metrics) if scorer.name not in have]
    row = clip_row(job.clip, job.sha256, job.context.root, problem=reason)
    return ClipResult(row, error_rows(job, scorers, reason))


def needed_encoders(scorers: Sequence[Scorer], job: ClipJob) -> list[Encoder]:
    """Encoders of these scorers, each once, without those of scorers that will be skipped for want of a prompt."""
    return list(dict.fromkeys(e for scorer in scorers if not _lacks_prompt(scorer, job) for e in scorer.encoders))


def unmet_need(scorer: Scorer, job: ClipJob, media: Media) -> Score | None:
    """The score of a clip that lacks what the metric needs; None when it lacks nothing."""
    for need in ("video", "audio"):
        if need in scorer.needs and getattr(media, need) is None:
            if need in media.problems:
                return Score.error(media.problems[need])
            return Score.skipped(f"no {_TRACK_NAMES[need]} track")
    if _lacks_prompt(scorer, job):
        return Score.skipped(no_prompt(scorer.prompt_role))
    return None


def stop_reason(error: BaseException) -> str:
    """The reason for a metric that cannot go on."""
    return f"stopped: {type(error).__name__}: {error}"


def _lacks_prompt(scorer: Scorer, job: ClipJob) -> bool:
    return "prompt" in scorer.needs and not (scorer.prompt_text(job.clip.prompt) or "").strip()


def _large(scorer: Scorer) -> list[Backbone]:
    return [backbone for backbone in scorer.backbones if backbone.deferred]


def _call(scorer: Scorer, job: ClipJob, media: Media, store: EncoderStore) -> tuple[Score, str | None]:
    """The score of a clip, and why the metric cannot go on, if so."""
    try:
        score = checked_score(scorer(media, job.clip.prompt, store))
        detail_text(score.detail)
        return score, None
    except (MemoryError, EnvironmentProblem) as error:
        # Not this clip's fault: the next clip would meet the same.
        return Score.error(stop_reason(error)), stop_reason(error)
    except (Exception, SystemExit) as error:  # also where a metric's own code wants to end the process
        log.debug("%s failed on %s", scorer.name, job.clip.clip_id, exc_info=True)
        return Score.error(failure(error)), None


def _media(
    job: ClipJob, clip: Clip, scorers: Sequence[Scorer], store: EncoderStore, folder: Path | None, watch: Watch
) -> Media:
    """The decoded clip; only what is known of its tracks, from the cache, where every embedding is at hand."""
    encoders = [e for e in needed_encoders(scorers, job) if not store.has(e, job.media_key, job.clip.prompt)]
    views = [view for scorer in scorers for view in scorer.views]
    views += [view for encoder in encoders for view in encoder.views]
    known = None if views or not scorers else cached_media(store.cache, job.media_key)
    if known is not None:
        return known
    protocol = job.context.protocol
    options = DecodeOptions(job.threads, protocol.seconds, folder, job.limits, progress=lambda: watch(job))
    with unchanged(clip, job.content):  # before anything is kept under the digest
        watch(job)
        try:
            media = decode_clip(clip, job.media_key, views, options)
        finally:
            watch(None)
    keep_media(store.cache, media)
    return media


def _problem(media: Media) -> str | None:
    """What the clip table says is wrong with a clip: broken tracks, and gaps in a sound that is used."""
    gaps = media.audio.gap_note if media.audio is not None else None
    return "; ".join([*media.problems.values(), *([gaps] if gaps else [])]) or None
