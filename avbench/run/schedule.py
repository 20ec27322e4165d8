"""Score clips: decode each once, judge what needs no large network at once, then embed network by network.

Clips that wait for a network keep its inputs on disk. When the waiting inputs fill the room they are given, each
network is brought in turn, run over all waiting clips, and its scores are written. So a network is loaded once for as
many clips as there is room for, and memory depends neither on the number of clips nor on their length.
"""

from __future__ import annotations

import contextlib
import logging
import shutil
import tempfile
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from avbench.encoders import Backbone, Encoder, EncoderStore
from avbench.encoders.store import GROUP
from avbench.errors import EnvironmentProblem, MediaError
from avbench.media import AudioInfo, Media, VideoInfo, decode_clip
from avbench.media.options import DecodeOptions
from avbench.media.spool import Spooled
from avbench.metrics.base import Score, Scorer, get_scorers
from avbench.results import SPOOL_PREFIX, ClipRow
from avbench.run.content import ChangedError, Content, unchanged
from avbench.run.score_clip import (
    ClipJob,
    ClipResult,
    Judgement,
    clip_facts,
    make_row,
    needed_encoders,
    stop_reason,
    unmet_need,
)

log = logging.getLogger(__name__)

Watch = Callable[[ClipJob | None], None]
"""Told of the job whose clip is about to be decoded, and None when it is."""


@dataclass(frozen=True)
class Room:
    """Where inputs of networks wait, and how much of them.

    Attributes:
        folder: parent of the temporary folder; None for the system's.
        max_bytes: networks are brought in when more than this waits.
    """

    folder: Path | None = None
    max_bytes: int = 8 * 2**30


@dataclass
class _Waiting:
    """A decoded clip whose networks have not been run."""

    job: ClipJob
    media: Media
    row: ClipRow
    scorers: list[Scorer]
    folder: Path
    nbytes: int
    done: set[Backbone] = field(default_factory=set)

    @property
    def networks(self) -> list[Backbone]:
        """Large networks that it waits for, in the order of its metrics."""
        return list(dict.fromkeys(b for scorer in self.scorers for b in scorer.backbones if b.deferred))


def steps_of(job: ClipJob) -> int:
    """How many results a job gives: one after decoding, and one for each large network."""
    return 1 + len({b for scorer in get_scorers(job.metrics) for b in scorer.backbones if b.deferred})


def _nobody(_job: ClipJob | None) -> None: ...


def score_jobs(
    jobs: Iterable[ClipJob], store: EncoderStore, room: Room, stopped: Mapping[str, str], watch: Watch = _nobody
) -> Iterator[ClipResult]:
    """Results of all jobs; several per job where large networks are involved. Raises nothing for a bad clip.

    Args:
        jobs: the work.
        store: networks and embeddings.
        room: where decoded inputs wait.
        stopped: metrics that the caller found unable to run; read before each job, so it may grow meanwhile.
        watch: told of what is being decoded.
    """
    waiting: list[_Waiting] = []
    with spool_folder(room.folder) as spool:
        for job in jobs:
            job = replace(job, metrics=tuple(name for name in job.metrics if name not in stopped))
            opened, result = _open(job, store, spool, watch)
            yield result
            if opened is not None:
                waiting.append(opened)
            if sum(clip.nbytes for clip in waiting) > room.max_bytes:
                yield from _embed(waiting, store)
                for clip in waiting:
                    shutil.rmtree(clip.folder, ignore_errors=True)
                waiting.clear()
        yield from _embed(waiting, store)


def _open(job: ClipJob, store: EncoderStore, spool: Path, watch: Watch) -> tuple[_Waiting | None, ClipResult]:
    """Decode a clip and judge it with every scorer that waits for no network."""
    scorers = get_scorers(job.metrics)
    later = [scorer for scorer in scorers if scorer.deferred]
    folder = Path(tempfile.mkdtemp(dir=spool)) if later else None
    try:
        media = _media(job, scorers, store, folder, watch)
    except (MediaError, MemoryError) as error:
        if folder is not None:
            shutil.rmtree(folder, ignore_errors=True)
        job = replace(job, content=Content(error.sha256)) if isinstance(error, ChangedError) else job
        return None, failed_result(job, str(error) or "out of memory while the clip was decoded")
    judgement = Judgement(job)
    for scorer in scorers:
        if not scorer.deferred or unmet_need(scorer, job, media) is not None:
            judgement.judge(scorer, media, store)
    row = clip_facts(job, media, _problem(media))
    later = [scorer for scorer in later if unmet_need(scorer, job, media) is None]
    # Small networks are done with this clip.
    store.forget(job.media_key)
    media.keep_only(view for encoder in needed_encoders(later, job) for view in encoder.views)
    size = sum(view.nbytes for view in media.views.values() if isinstance(view, Spooled))
    opened = _Waiting(job, media, row, later, folder, size) if later and folder is not None else None
    result = ClipResult(row, judgement.rows, judgement.stopped, judgement.features, last=opened is None)
    return opened, result


def _problem(media: Media) -> str | None:
    """What the clip table says is wrong with a clip: broken tracks, and gaps in a sound that is used."""
    gaps = media.audio.gap_note if media.audio is not None else None
    return "; ".join([*media.problems.values(), *([gaps] if gaps else [])]) or None


def failed_result(job: ClipJob, reason: str, have: Collection[str] = ()) -> ClipResult:
    """The last result of a clip that cannot be scored.

    Args:
        job: the clip.
        reason: why.
        have: metrics with a row already.
    """
    scorers = [s for s in get_scorers(job.metrics) if s.level == "clip" and s.name not in have]
    return ClipResult(clip_facts(job, None, reason), [make_row(job, s, Score.error(reason), 0.0) for s in scorers])


@contextlib.contextmanager
def spool_folder(parent: Path | None) -> Iterator[Path]:
    """A folder below `parent` that is removed at the end.

    Raises:
        EnvironmentProblem: it cannot be made.
    """
    try:
        folder = tempfile.mkdtemp(prefix=SPOOL_PREFIX, dir=parent)
    except OSError as error:
        raise EnvironmentProblem(f"no temporary folder can be made in {parent}: {error.strerror}") from error
    try:
        yield Path(folder)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _media(job: ClipJob, scorers: Sequence[Scorer], store: EncoderStore, folder: Path | None, watch: Watch) -> Media:
    """The decoded clip; only its facts, from the cache, where every embedding is at hand."""
    encoders = [e for e in needed_encoders(scorers, job) if not store.has(e, job.media_key, job.clip.prompt)]
    own = [view for scorer in scorers for view in scorer.views]
    views = [*own, *(view for encoder in encoders for view in encoder.views)]
    facts_key = ("facts", 1, job.media_key)
    facts = store.cache.facts(facts_key) if store.cache is not None and not views and scorers else None
    if facts is not None:
        return _from_facts(job.media_key, facts)
    protocol = job.context.protocol
    options = DecodeOptions(job.threads, protocol.seconds, folder, job.limits, progress=lambda: watch(job))
    with unchanged(job.clip, job.content):  # before anything is kept under the digest
        watch(job)
        try:
            media = decode_clip(job.clip, job.media_key, views, options)
        finally:
            watch(None)
    # A problem may be gone next time: limits can be raised, and memory or packages can be added.
    if store.cache is not None and not media.problems:
        store.cache.put_facts(facts_key, _to_facts(media))
    return media


def _to_facts(media: Media) -> dict[str, Any]:
    video = None if media.video is None else asdict(media.video) | {"times": media.video.times.tolist()}
    return {"video": video, "audio": media.audio and asdict(media.audio), "problems": media.problems}


def _from_facts(key: str, facts: dict[str, Any]) -> Media:
    video = facts["video"] and VideoInfo(**facts["video"] | {"times": np.array(facts["video"]["times"])})
    audio = facts["audio"] and AudioInfo(**facts["audio"] | {"gaps": tuple(map(tuple, facts["audio"]["gaps"]))})
    return Media(key, video, audio, dict(facts["problems"]))


def _embed(waiting: Sequence[_Waiting], store: EncoderStore) -> Iterator[ClipResult]:
    """Bring in each network once for all waiting clips, and judge what it completes."""
    stopped: dict[str, str] = {}
    networks = list(dict.fromkeys(network for clip in waiting for network in clip.networks))
    for network in networks:
        concerned = [clip for clip in waiting if network in clip.networks]
        for start in range(0, len(concerned), GROUP):
            group = concerned[start : start + GROUP]
            _prefetch(group, network, store, stopped)
            for clip in group:
                clip.done.add(network)
                yield _judge(clip, store, stopped)


def _prefetch(group: Sequence[_Waiting], network: Backbone, store: EncoderStore, stopped: dict[str, str]) -> None:
    scorers = list(dict.fromkeys(s for clip in group for s in clip.scorers if s.name not in stopped))
    for encoder in dict.fromkeys(e for s in scorers for e in s.encoders if e.backbone is network):
        users = [scorer for scorer in scorers if encoder in scorer.encoders and scorer.name not in stopped]
        clips = [(c.media, c.job.clip.prompt) for c in group if any(user in c.scorers for user in users)]
        try:
            if users:
                store.prefetch(encoder, clips)
        except (MemoryError, EnvironmentProblem) as error:
            log.debug("%s cannot go on", encoder.name, exc_info=True)
            stopped.update({user.name: stop_reason(error) for user in users})


def _judge(clip: _Waiting, store: EncoderStore, stopped: dict[str, str]) -> ClipResult:
    """Scores for which all networks have been run."""
    judgement = Judgement(clip.job)
    ready = [s for s in clip.scorers if s.name not in stopped and clip.done.issuperset(_large(s))]
    for scorer in ready:
        judgement.judge(scorer, clip.media, store)
    stopped.update(judgement.stopped)
    clip.scorers = [scorer for scorer in clip.scorers if scorer not in ready and scorer.name not in stopped]
    last = not clip.scorers
    pending: set[Encoder] = {encoder for scorer in clip.scorers for encoder in scorer.encoders}
    store.forget(clip.media.key, keep={encoder.name for encoder in pending})
    return ClipResult(clip.row, judgement.rows, dict(stopped), judgement.features, first=False, last=last)


def _large(scorer: Scorer) -> list[Backbone]:
    return [backbone for backbone in scorer.backbones if backbone.deferred]
