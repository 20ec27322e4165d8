"""What runs on the nodes of a cluster: the description that they are compared by, and the actor that scores."""

from __future__ import annotations

import queue
import shutil
import tempfile
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from filelock import Timeout

from avbench.doctor.environment import describe_environment
from avbench.errors import AvbenchError
from avbench.files import new_folder, take_lock
from avbench.metrics.base import get_scorers
from avbench.results import SPOOL_PREFIX
from avbench.run.cluster.visibility import NeededFiles, refused_files, unseen_files
from avbench.run.jobs import ClipJob, Stopped
from avbench.run.schedule import SpoolLimit, score_jobs
from avbench.run.worker_process import Message, Opening, Workers, import_metrics, portable
from avbench.weights.config import WeightsConfig

_SPOOL = f"avbench{SPOOL_PREFIX}"
_LOCK = "in-use"
_MOST_UNSEEN = 3


@dataclass(frozen=True)
class Inquiry:
    """What every node is asked before it gets work.

    Attributes:
        metrics: of the run, with the modules that define them.
        setup: how networks are loaded.
        files: files of clips that it has to see.
    """

    metrics: Mapping[str, str]
    setup: WeightsConfig
    files: NeededFiles = field(default_factory=NeededFiles)


@dataclass(frozen=True)
class Description:
    """What a node answers.

    Attributes:
        identity: versions of packages, and of metrics with their weights, by name.
        problem: why it can give no identity; empty otherwise.
        unseen: the first files that it does not see, or sees with another size; `n_unseen` counts all.
        refused: the first address that it cannot read, with the reason; empty if there is none.
    """

    identity: Mapping[str, str] = field(default_factory=dict)
    problem: str = ""
    unseen: tuple[str, ...] = ()
    n_unseen: int = 0
    refused: str = ""


def describe(inquiry: Inquiry) -> Description:
    """This node's answer."""
    try:
        import_metrics(inquiry.metrics)
    except AvbenchError as error:
        return Description(problem=str(error))
    identity = {name: text for name, text in describe_environment().items() if name != "platform"}
    for scorer in get_scorers(inquiry.metrics):
        missing = scorer.unavailable(inquiry.setup)
        weights = f"not available here: {missing}" if missing else f"weights {scorer.weights_digest(inquiry.setup)}"
        identity[f"metric {scorer.name}"] = f"version {scorer.version}, {weights}"
    unseen, refused = unseen_files(inquiry.files), refused_files(inquiry.files)
    return Description(
        identity, unseen=tuple(unseen[:_MOST_UNSEEN]), n_unseen=len(unseen), refused=next(iter(refused), "")
    )


class NodeWorker:
    """Code of an actor: the networks, embeddings and spool of a worker process.

    Args:
        workers: what this actor has for itself; its spool lies in the node's folder for temporary files.
        metrics: all that will be asked for, with the modules that define them.
        threads: that decode a clip.
        pool: in the name of its spool.
    """

    def __init__(self, workers: Workers, metrics: Mapping[str, str], threads: int, pool: str) -> None:
        self._metrics, self._threads, self._pool = metrics, threads, pool
        self._store = workers.store(workers.devices[0])
        self._spool = SpoolLimit(None, workers.spool.max_bytes)

    def prepare(self) -> Exception | None:
        """Get ready for work; what is wrong, if anything is."""
        try:
            import_metrics(self._metrics)
            clear_spools()
            folder = new_folder(None, prefix=f"{_SPOOL}{self._pool}-")
            self._lock = take_lock(folder / _LOCK, "TMPDIR")
            self._spool = replace(self._spool, folder=folder)
        except Exception as error:  # noqa: BLE001 - the run raises it
            return portable(error)
        return None

    def score(self, jobs: Sequence[ClipJob], stopped: Mapping[str, str]) -> Iterator[Message]:
        """Results of a shard and what is told on the way."""
        handover = Handover()

        def work() -> None:
            try:
                own = [replace(job, threads=self._threads) for job in jobs]
                for result in score_jobs(own, self._store, self._spool, Stopped(stopped), handover.watch):
                    handover.put(result)
            except Exception as error:  # noqa: BLE001 - the run raises it
                handover.put(portable(error))
            handover.end()

        threading.Thread(target=work, daemon=True, name="scores").start()
        yield from handover


class Handover:
    """Messages of one thread to a consumer; a message counts as handed over when the next one is asked for.

    A clip is opened only when the run has heard so, because the decoder may take the process with it.
    """

    def __init__(self) -> None:
        self._messages: queue.Queue[Message | None] = queue.Queue()

    def put(self, message: Message) -> None:
        """Hand a message over, and wait until it is."""
        self._messages.put(message)
        self._messages.join()

    def watch(self, job: ClipJob | None) -> None:
        """Tell that a clip is about to be decoded, or is."""
        self.put("decoded" if job is None else Opening(job.clip.clip_id))

    def end(self) -> None:
        """No message follows."""
        self._messages.put(None)

    def __iter__(self) -> Iterator[Message]:
        while (message := self._messages.get()) is not None:
            yield message
            self._messages.task_done()


def clear_spools(pool: str = "", seconds: float = 0.0) -> None:
    """Remove what actors left on this node that have ended, waiting so long for those of `pool` that are about to."""
    until = time.monotonic() + seconds
    while _clear(pool) and time.monotonic() < until:
        time.sleep(0.1)


def _clear(pool: str) -> int:
    """The number of folders of running actors; those of others are removed."""
    used = 0
    for folder in Path(tempfile.gettempdir()).glob(f"{_SPOOL}{pool}*"):
        try:
            if not (folder / _LOCK).exists():  # about to be locked
                continue
            take_lock(folder / _LOCK, "TMPDIR").release()
        except Timeout:
            used += 1
        except (OSError, AvbenchError):  # another user's, or gone meanwhile
            continue
        else:
            shutil.rmtree(folder, ignore_errors=True)
    return used
