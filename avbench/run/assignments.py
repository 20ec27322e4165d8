"""`Assignment`, the work of one worker as the run sees it, and `Pool`, what a run asks of its workers.

Worker processes of this machine and actors of a Ray cluster are pools alike: what a dead worker costs is decided once.
"""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Generic, TypeVar

from avbench.run.jobs import ClipJob, ClipResult, Stopped
from avbench.run.worker_process import Message, Opening

TICK_S = 0.5
"""How long a pool waits for a message before it looks after its workers."""

# The limit on a clip is checked inside the worker as well, between packets. What is still decoding so much later hangs.
_GRACE_S = 5.0


@dataclass
class Assignment(ABC):
    """A worker and its work.

    Attributes:
        ready: whether it has started; busy: whether it has a shard.
        left: jobs of its shard without a last result, by clip.
        opened: the clip it decodes or judges for the first time, empty between clips.
        decoding: whether it decodes that clip now, and for how many seconds.
    """

    ready: bool = False
    busy: bool = False
    left: dict[str, ClipJob] = field(default_factory=dict)
    opened: str = ""
    decoding: bool = False
    seconds: float = 0.0

    @property
    def blameless(self) -> bool:
        """Whether something else than its clips ended it, as when a whole node is lost."""
        return False

    @abstractmethod
    def give(self, shard: Sequence[ClipJob], stopped: Stopped) -> None:
        """Send it work."""

    def take(self, shard: Sequence[ClipJob]) -> None:
        """It has this work now."""
        self.left, self.busy = {job.clip.clip_id: job for job in shard}, True

    def note(self, message: Message) -> None:
        """Follow what it reports."""
        self.ready = True
        if isinstance(message, Opening):
            self.opened, self.decoding, self.seconds = message.clip_id, True, 0.0
        elif message == "decoded":
            self.decoding = False
        elif message == "done":
            self.busy = False
        elif isinstance(message, ClipResult):
            self.opened = ""
            if message.last:
                self.left.pop(message.clip_row.clip_id, None)


Member = TypeVar("Member", bound=Assignment)


class Watchdog:
    """Finds workers that decode one clip for too long.

    Args:
        limit: seconds that a clip may take.
    """

    def __init__(self, limit: float) -> None:
        self._limit = limit
        self._last_look = time.monotonic()

    def overdue(self, members: Sequence[Member]) -> list[Member]:
        """Those over the limit now."""
        # Time while this process was stopped, or busy elsewhere, is not held against a clip.
        now = time.monotonic()
        step, self._last_look = min(now - self._last_look, 2 * TICK_S), now
        decoding = [worker for worker in members if worker.decoding]
        for worker in decoding:
            worker.seconds += step
        return [worker for worker in decoding if worker.seconds > self._limit + min(self._limit, _GRACE_S)]


class Pool(ABC, Generic[Member]):
    """Workers of a run: as many as there is work for.

    Args:
        seconds_per_clip: a worker that decodes one clip for longer is ended.
    """

    def __init__(self, seconds_per_clip: float) -> None:
        self._members: list[Member] = []
        self._watchdog = Watchdog(seconds_per_clip)

    @property
    def busy(self) -> int:
        """Workers that have work."""
        return sum(worker.busy for worker in self._members)

    @property
    def idle(self) -> list[Member]:
        """Workers that wait for work."""
        return [worker for worker in self._members if worker.ready and not worker.busy]

    def end_hanging(self) -> Iterator[tuple[Member, ClipJob]]:
        """End workers that decode one clip for too long; they and that clip, which they have not left any more."""
        for worker in self._watchdog.overdue(self._members):
            self._dismiss(worker)
            yield worker, worker.left.pop(worker.opened)

    @abstractmethod
    def grow(self, shards: int) -> None:
        """Start workers for so many shards, up to the number allowed."""

    @abstractmethod
    def listen(self) -> Iterator[tuple[Member, Message | None]]:
        """Messages of workers; None, after which it is gone, from one that died.

        Raises:
            Exception: what ended a worker's work and ends the run.
        """

    @abstractmethod
    def end(self) -> None:
        """End all workers, and remove what they left."""

    @abstractmethod
    def _dismiss(self, worker: Member) -> None:
        """End one worker."""
