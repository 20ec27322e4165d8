"""`RaySettings`: how many actors score, and what each takes of its node."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from avbench.errors import UsageError

_OWN_OPTIONS = {"CPU": "num_cpus", "GPU": "num_gpus", "memory": "memory"}
_LEAST = 0.0001  # what Ray counts resources in


@dataclass(frozen=True)
class RaySettings:
    """How many actors score, and what each takes of its node.

    Attributes:
        workers: actors at most; None for as many as the nodes have room for.
        gpus_per_worker: GPUs of each, as a fraction below 1 where several share one; 0 scores on CPUs.
        resources: of each actor, by Ray's names: CPU (1 unless given), memory in bytes, and those of the cluster's own.

    Raises:
        UsageError: no number that Ray takes.
    """

    workers: int | None = None
    gpus_per_worker: float = 0.0
    resources: Mapping[str, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.workers is not None and self.workers < 1:
            raise UsageError(f"the number of workers must be at least 1, got {self.workers}")
        gpus = self.gpus_per_worker
        if not 0 <= gpus < math.inf or (gpus > 1 and gpus != int(gpus)):
            raise UsageError(f"GPUs per worker: expected a fraction from 0 to 1, or a whole number, got {gpus:g}")
        if "GPU" in self.resources:
            raise UsageError("resource GPU: give the GPUs of a worker instead (--gpus-per-worker)")
        if "object_store_memory" in self.resources:
            raise UsageError("resource object_store_memory: it belongs to a node, and no worker can take of it")
        for name, amount in self.needs.items():
            if amount < _LEAST:
                raise UsageError(f"{name}={amount:g}: the least amount of a resource that Ray takes is {_LEAST:g}")

    @property
    def needs(self) -> dict[str, float]:
        """What one actor takes, by Ray's names; nothing that it takes none of."""
        needs = {"CPU": 1.0, **self.resources, "GPU": self.gpus_per_worker}
        return {name: amount for name, amount in needs.items() if amount}

    @property
    def device(self) -> str:
        """Torch device in an actor, which sees its own GPUs only."""
        return "cuda:0" if self.gpus_per_worker else "cpu"

    @property
    def threads(self) -> int:
        """Threads that decode a clip."""
        return max(1, int(self.needs.get("CPU", 1)))

    def actor_options(self) -> dict[str, Any]:
        """The needs as options of an actor."""
        needs, own = self.needs, _OWN_OPTIONS
        options: dict[str, Any] = {own[name]: amount for name, amount in needs.items() if name in own}
        return {"num_cpus": 0, **options, "resources": {n: a for n, a in needs.items() if n not in own}}

    def slots(self, resources: Mapping[str, float]) -> int:
        """How many actors a node of these resources has room for; 1 for actors that need nothing."""
        room = [resources.get(name, 0.0) / amount for name, amount in self.needs.items()]
        return int(min(room) + 1e-6) if room else 1


def parse_resources(texts: Sequence[str]) -> dict[str, float]:
    """Resources from texts such as "CPU=4".

    Raises:
        UsageError: no name, or no number from 0.
    """
    resources = {}
    for text in texts:
        name, _, number = text.partition("=")
        try:
            amount = float(number)
        except ValueError:
            amount = math.nan
        if not name.strip() or not 0 <= amount < math.inf:
            raise UsageError(f"resource {text!r}: expected NAME=NUMBER, such as CPU=4")
        resources[name.strip()] = amount
    return resources
