"""`ClipJob`, a clip with the metrics that it still lacks; `ClipResult`, what one step gives; `Stopped` metrics."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from avbench.clips import Category, Clip
from avbench.media import Limits
from avbench.metrics.base import get_scorers
from avbench.results import ClipRow, ScoreRow
from avbench.run.content import Content
from avbench.run.protocol import Protocol
from avbench.run.remote_clips import FileDigest
from avbench.weights.config import WeightsConfig


@dataclass(frozen=True)
class RunContext:
    """Values that all rows of a run have in common: ids, suite, weights, protocol.

    `root` is the folder of the source: the clip table names files relative to it. `only` is that of the suite.
    """

    run_id: str
    suite: str
    suite_version: str
    setup: WeightsConfig = field(default_factory=WeightsConfig)
    protocol: Protocol = field(default_factory=Protocol)
    root: Path = Path()
    only: Mapping[str, Category] = field(default_factory=dict)


@dataclass(frozen=True)
class ClipJob:
    """A clip, the metrics that it still lacks, and what it may cost. It is sent to worker processes as it is."""

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
        """Identity of what is embedded."""
        return self.context.protocol.media_key(self.sha256)

    def without(self, stopped: Stopped) -> ClipJob:
        """The job without metrics that have stopped."""
        return replace(self, metrics=tuple(name for name in self.metrics if stopped.reason(name) is None))


def steps_of(job: ClipJob) -> int:
    """How many results a job gives at most: one after decoding, and one for each large network."""
    return 1 + len({b for scorer in get_scorers(job.metrics) for b in scorer.backbones if b.deferred})


def wait_for_network(jobs: Iterable[ClipJob]) -> bool:
    """Whether a large network has to be brought in for any of these jobs."""
    names = dict.fromkeys(name for job in jobs for name in job.metrics)
    return any(scorer.deferred for scorer in get_scorers(names))


@dataclass(frozen=True)
class ClipResult:
    """Result of one step of a job.

    Attributes:
        clip_row: the clip as it was understood.
        rows: scores that are ready.
        stopped: metrics that are known to have stopped, with the reason.
        features: what set metrics need of this clip, by metric.
        first, last: whether this is the first or the last result of the job.
        learnt: digests of remote files that were fetched.
    """

    clip_row: ClipRow
    rows: list[ScoreRow]
    stopped: dict[str, str] = field(default_factory=dict)
    features: dict[str, NDArray[Any]] = field(default_factory=dict)
    first: bool = True
    last: bool = True
    learnt: tuple[FileDigest, ...] = ()


class Stopped:
    """Metrics that cannot go on in this run, with the reason: no memory, no network. The next clip would meet the same.

    A metric that stopped stays so until the run ends. Each process has an object of its own: a worker starts with what
    its parent knows and adds what it meets; the parent learns that from the worker's results.
    """

    def __init__(self, reasons: Mapping[str, str] | None = None) -> None:
        self._reasons = dict(reasons or {})

    def reason(self, name: str) -> str | None:
        """Why the metric stopped; None while it goes on."""
        return self._reasons.get(name)

    def add(self, reasons: Mapping[str, str]) -> None:
        """These metrics have stopped."""
        self._reasons.update(reasons)

    def among(self, names: Iterable[str]) -> dict[str, str]:
        """Those of these metrics that have stopped, with the reason."""
        return {name: self._reasons[name] for name in names if name in self._reasons}

    def reasons(self) -> dict[str, str]:
        """A copy of all reasons by metric, to be sent to another process or shown."""
        return dict(self._reasons)
