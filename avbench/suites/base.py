"""Suite: a named set of metrics."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

from avbench.metrics.base import get_scorers


@dataclass(frozen=True)
class Suite:
    """A named set of metrics. `version` follows from the metrics and their versions."""

    name: str
    summary: str
    metrics: tuple[str, ...]

    @property
    def version(self) -> str:
        """Digest over metric names, versions and parameters: two tables of one suite version are comparable."""
        parts = sorted(f"{s.name}:{s.version}:{s.params}" for s in get_scorers(self.metrics))
        return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:12]
