"""How to run: processes, weights, protocol, caches and bounds."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from avbench.media import Limits
from avbench.run.cluster.settings import RaySettings
from avbench.run.digests import DigestStore
from avbench.run.protocol import Protocol
from avbench.run.schedule import SpoolLimit
from avbench.run.worker_process import Workers
from avbench.weights.config import WeightsConfig


@dataclass(frozen=True)
class RunOptions:
    """How to run.

    Attributes:
        workers: processes; 1 stays in this process.
        devices: where networks run; with several, one process for each.
        max_resident: networks kept loaded per process.
        setup: weights and precision.
        protocol: what is done to every clip first.
        reference: features of real clips that set metrics compare with, or None.
        cache: folder of embeddings on disk, or None.
        cache_bytes: its bound.
        spool_bytes: decoded inputs that may wait on disk for their networks.
        limits: what one clip may cost.
        digests: where digests of clips are remembered between runs; by default nowhere.
        retry_errors: score clips again whose earlier row is an error.
        command: what the user typed, for the record.
        ray: score on the actors of a Ray cluster; `workers` and `devices` then count for nothing.
    """

    workers: int = 1
    devices: tuple[str, ...] = ("cpu",)
    max_resident: int = 2
    setup: WeightsConfig = field(default_factory=WeightsConfig)
    protocol: Protocol = field(default_factory=Protocol)
    reference: Path | None = None
    cache: Path | None = None
    cache_bytes: int = 10 * 2**30
    spool_bytes: int = 8 * 2**30
    limits: Limits = field(default_factory=Limits)
    digests: DigestStore = field(default_factory=DigestStore)
    retry_errors: bool = False
    command: str = ""
    ray: RaySettings | None = None

    def processes(self, run: Path) -> Workers:
        """The processes that score into the folder `run`."""
        return Workers(
            count=max(self.workers, len(self.devices)),
            devices=self.devices,
            max_resident=self.max_resident,
            setup=self.setup,
            cache=self.cache,
            cache_bytes=self.cache_bytes,
            spool=SpoolLimit(run, self.spool_bytes),
            seconds_per_clip=self.limits.seconds_per_clip,
        )
