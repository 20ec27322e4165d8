"""The order of clips and networks in one process: clips are decoded one by one, then embedded network by network.

Clips that wait for a large network keep its inputs on disk. When these inputs exceed their limit, each network is
brought in turn, run over all waiting clips, and its scores are passed on. So a network is loaded once for as many clips
as the limit has room for, and memory depends neither on the number of clips nor on their length.
"""

from __future__ import annotations

import logging
import shutil
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from avbench.encoders import Backbone, EncoderStore
from avbench.encoders.store import GROUP
from avbench.errors import EnvironmentProblem
from avbench.files import temporary_folder
from avbench.results import SPOOL_PREFIX
from avbench.run.jobs import ClipJob, ClipResult, Stopped
from avbench.run.score_clip import OpenClip, Watch, open_clip, score_ready, stop_reason

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class SpoolLimit:
    """Where inputs of networks wait, and how much of them.

    Attributes:
        folder: parent of the temporary folder; None for the system's.
        max_bytes: networks are brought in when more than this waits.
    """

    folder: Path | None = None
    max_bytes: int = 8 * 2**30


def _unwatched(_job: ClipJob | None) -> None: ...


def score_jobs(
    jobs: Iterable[ClipJob], store: EncoderStore, spool: SpoolLimit, stopped: Stopped, watch: Watch = _unwatched
) -> Iterator[ClipResult]:
    """Results of all jobs; several per job where large networks are involved. Raises nothing for a bad clip.

    Order: clips are decoded in the order of the jobs, and the results of one clip come in order, its first one before
    any of the next clip. Later results of different clips are interleaved.

    Args:
        jobs: the work.
        store: networks and embeddings.
        spool: where decoded inputs wait.
        stopped: metrics that cannot run; read before each job and written here as metrics stop.
        watch: called around the decoding of each clip.
    """
    waiting: list[OpenClip] = []
    with temporary_folder(spool.folder, prefix=SPOOL_PREFIX) as folder:
        for job in jobs:
            clip, result = open_clip(job.without(stopped), store, folder, watch)
            stopped.add(result.stopped)
            # Passed on before the next clip is touched: what a kill may cost is the clip at hand, and no score.
            yield result
            if clip is not None:
                waiting.append(clip)
            if sum(each.nbytes for each in waiting) > spool.max_bytes:
                yield from _run_networks(waiting, store, stopped)
                for each in waiting:
                    shutil.rmtree(each.folder, ignore_errors=True)
                waiting.clear()
        yield from _run_networks(waiting, store, stopped)


def _run_networks(waiting: Sequence[OpenClip], store: EncoderStore, stopped: Stopped) -> Iterator[ClipResult]:
    """Bring in each network once for all waiting clips, and score what it completes."""
    for network in dict.fromkeys(network for clip in waiting for network in clip.networks):
        concerned = [clip for clip in waiting if network in clip.networks]
        # In groups, so that scores are on disk while the network still runs, and embeddings of few clips are in memory.
        for start in range(0, len(concerned), GROUP):
            group = concerned[start : start + GROUP]
            _embed(group, network, store, stopped)
            for clip in group:
                clip.done.add(network)
                yield score_ready(clip, store, stopped)


def _embed(group: Sequence[OpenClip], network: Backbone, store: EncoderStore, stopped: Stopped) -> None:
    """Run a network over a group of clips for all metrics that use it; embeddings wait in the store."""
    scorers = list(dict.fromkeys(scorer for clip in group for scorer in clip.pending))
    for encoder in dict.fromkeys(e for scorer in scorers for e in scorer.encoders if e.backbone is network):
        users = [s for s in scorers if encoder in s.encoders and stopped.reason(s.name) is None]
        clips = [(c.media, c.job.clip.prompt) for c in group if any(user in c.pending for user in users)]
        try:
            if users:
                store.prefetch(encoder, clips)
        except (MemoryError, EnvironmentProblem) as error:
            # The network cannot be loaded or run at all: its metrics stop, those of other networks go on.
            log.debug("%s cannot go on", encoder.name, exc_info=True)
            stopped.add({user.name: stop_reason(error) for user in users})
