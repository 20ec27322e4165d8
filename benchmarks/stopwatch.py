"""Timing on a machine that others use too: candidates take turns, and disturbed rounds are done again."""

from __future__ import annotations

import os
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

QUIET_CORES = 0.15
"""A round counts as quiet while other processes use less than this many cores during it."""


@dataclass
class Rounds:
    """Seconds per candidate and round, and how many cores other processes used meanwhile (None: unknown)."""

    seconds: dict[str, list[float]]
    others: list[float | None] = field(default_factory=list)

    @property
    def chosen(self) -> list[int]:
        """The quiet rounds; all of them where none was quiet."""
        quiet = [i for i, cores in enumerate(self.others) if cores is not None and cores < QUIET_CORES]
        return quiet or list(range(len(self.others)))

    @property
    def disturbed(self) -> bool:
        """Whether rounds had to be used in which other processes were busy."""
        return any((cores := self.others[i]) is not None and cores >= QUIET_CORES for i in self.chosen)

    def median(self, name: str) -> float:
        """Median seconds of a candidate."""
        return statistics.median(self.seconds[name][i] for i in self.chosen)

    def ratio(self, above: str, below: str) -> float:
        """Median over the rounds of one candidate's time by another's: load that lasts hits both."""
        pairs = [(self.seconds[above][i], self.seconds[below][i]) for i in self.chosen]
        return statistics.median(a / b for a, b in pairs)

    def as_dict(self) -> dict[str, object]:
        """For the JSON file."""
        known = [cores for i in self.chosen if (cores := self.others[i]) is not None]
        return {
            "seconds": {name: round(self.median(name), 4) for name in self.seconds},
            "rounds": len(self.chosen),
            "discarded_rounds": len(self.others) - len(self.chosen),
            "cores_used_by_others": round(statistics.median(known), 2) if known else None,
        }


class Stopwatch:
    """Times a block, and tells how many cores other processes used meanwhile (`others`; None: unknown)."""

    seconds: float
    others: float | None

    def __enter__(self) -> Stopwatch:
        self._busy, self._own, self._start = _busy_seconds(), _own_seconds(), time.perf_counter()
        return self

    def __exit__(self, *_: object) -> None:
        self.seconds, busy = time.perf_counter() - self._start, _busy_seconds()
        known = self._busy is not None and busy is not None
        self.others = max(0.0, (busy - self._busy - (_own_seconds() - self._own)) / self.seconds) if known else None


def take_turns(candidates: dict[str, Callable[[], object]], rounds: int) -> Rounds:
    """Time the candidates ABAB..., every second round in reverse order; no more than twice `rounds` in all."""
    result = Rounds({name: [] for name in candidates})
    for index in range(2 * rounds):
        order = list(candidates) if index % 2 == 0 else list(reversed(candidates))
        with Stopwatch() as watch:
            for name in order:
                before = time.perf_counter()
                candidates[name]()
                result.seconds[name].append(time.perf_counter() - before)
        result.others.append(watch.others)
        quiet = sum(cores is None or cores < QUIET_CORES for cores in result.others)
        if quiet >= rounds:
            break
    return result


def _busy_seconds() -> float | None:
    """Processor time that the machine has spent on anything but idling, over all cores."""
    stat = Path("/proc/stat")
    if not stat.exists():
        return None
    user, nice, system, _idle, _wait, irq, soft, steal = map(int, stat.read_text().split("\n")[0].split()[1:9])
    return (user + nice + system + irq + soft + steal) / os.sysconf("SC_CLK_TCK")


def _own_seconds() -> float:
    times = os.times()
    return times.user + times.system + times.children_user + times.children_system
