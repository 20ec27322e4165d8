"""Suite: a named set of metrics."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field

from avbench.clips import Category
from avbench.metrics.base import get_scorers


@dataclass(frozen=True)
class Suite:
    """A named set of metrics. `version` follows from the metrics, their versions and what they are asked of.

    Attributes:
        only: metrics that are asked only of clips with this category; of the others they are skipped.
    """

    name: str
    summary: str
    metrics: tuple[str, ...]
    only: Mapping[str, Category] = field(default_factory=dict)

    @property
    def version(self) -> str:
        """Digest over metric names, versions and parameters: two tables of one suite version are comparable."""
        parts = sorted(f"{s.name}:{s.version}:{s.params}" for s in get_scorers(self.metrics))
        parts += sorted(f"{metric} of {category.aspect}:{category.name}" for metric, category in self.only.items())
        return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:12]
