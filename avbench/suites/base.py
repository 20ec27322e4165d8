"""Suite and the list of suites."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from difflib import get_close_matches

from avbench.errors import UsageError
from avbench.metrics.base import get_scorers, registry


@dataclass(frozen=True)
class Suite:
    """A named set of metrics. `version` follows from the metrics and their versions."""

    name: str
    summary: str
    metrics: tuple[str, ...]

    @property
    def version(self) -> str:
        """Digest over metric names and versions: two tables of one suite version are comparable."""
        parts = sorted(f"{s.name}:{s.version}:{s.params}" for s in get_scorers(self.metrics))
        return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:12]


def list_suites() -> list[Suite]:
    """All suites.

    `quick` is every metric whose networks, if any, come inside an installable package: nothing to download.
    """
    quick = tuple(name for name, entry in registry().items() if entry.function.__module__.startswith("avbench."))
    return [Suite("quick", "Everything that needs no checkpoint: sync, sound, picture, integrity, speech.", quick)]


def get_suite(name: str) -> Suite:
    """The suite of this name.

    Raises:
        UsageError: unknown name, with near matches.
    """
    suites = {suite.name: suite for suite in list_suites()}
    if name not in suites:
        near = get_close_matches(name, suites, n=3) or list(suites)
        raise UsageError(f"unknown suite {name!r}. Did you mean {', '.join(near)}? See 'avbench ls'.")
    return suites[name]
