"""What a cluster would give, by simulation: prints hours, and speed over one worker, for a number of workers.

    python benchmarks/simulate_cluster.py --clips 100000 --speed 1 --speed 100 --workers 1 --workers 64

No cluster was measured. The costs below are measured on 2 cores of a CPU; the rest is assumed, and said here:

- A worker is `--speed` times as fast with networks as these 2 cores. How fast a GPU is, is not measured: the default
  speeds are round numbers that show where each bound lies. Decoding and loading networks gain nothing from a GPU.
- Each worker has 2 such cores of its own for decoding and preprocessing, which it does before and after its networks,
  not beside them.
- Workers differ: the speed of each is drawn from a log-normal distribution (`WORKER_SPREAD`), and so is the cost of
  each clip, which goes with its length (`CLIP_SPREAD`).
- Shards are handed out, large ones first, in the sizes that the Ray backend gives them. The driver alone writes the
  record, one clip after the other, before a worker gets its next shard. Before the first and after the last, it plans
  and writes tables alone.
- Every worker loads all networks once. No worker dies, and nobody waits for storage or network. Ray's own work, such as
  starting actors and carrying messages, costs nothing here.
"""

from __future__ import annotations

import argparse
import heapq
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from avbench.run.cluster.backend import shard_sizes

NETWORK_SECONDS = {
    "imagebind": 196.1,
    "videoalign": 49.0,
    "synchformer": 28.4,
    "clip_vit_b32": 2.4,
    "audiobox_aesthetics": 0.9,
    "clap_htsat_unfused": 0.2,
}
"""Forward passes for one clip of 4 s, fp32, 2 cores: `results/2026-11-25-javisbench-full.json`."""
AROUND_SECONDS = 10.8
"""The rest of that clip's 287.9 s: decoding, preprocessing and scoring."""
LOAD_SECONDS = 61.6
"""All six networks from a local drive, from the same file."""
RECORD_SECONDS = 0.0011
"""The driver's work for one clip while the run goes on: one clip row and 16 score rows are appended to the record."""
PLAN_SECONDS = 0.0006
TABLE_SECONDS = 0.0016
"""Per clip before the first and after the last result, of `measure_scale.py` at 100,000 clips."""
CLIP_SPREAD = 0.3
WORKER_SPREAD = 0.1
WORKERS = (1, 4, 16, 64, 256, 1024)
LINEAR = 0.9
"""A cluster counts as linear while it gives at least this fraction of its workers' speed."""

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Run:
    """A simulated run.

    Attributes:
        seconds: from the first to the last moment.
        busy: fraction of the workers' time in which they score.
        driver: fraction of the time in which the driver works.
    """

    seconds: float
    busy: float
    driver: float


def clip_costs(clips: int, speed: float, seed: int = 0) -> Floats:
    """Seconds of each clip on a worker of ordinary speed."""
    lengths = np.exp(np.random.default_rng(seed).normal(-(CLIP_SPREAD**2) / 2, CLIP_SPREAD, clips))
    costs: Floats = lengths * (sum(NETWORK_SECONDS.values()) / speed + AROUND_SECONDS)
    return costs


def worker_paces(workers: int, seed: int = 0) -> Floats:
    """Seconds that each worker takes for what takes an ordinary one a second; together they are as fast as those."""
    speeds = np.exp(np.random.default_rng(seed + 1).normal(0, WORKER_SPREAD, workers))
    paces: Floats = speeds.mean() / speeds
    return paces


def simulate(costs: Floats, paces: Floats, record: float = RECORD_SECONDS) -> Run:
    """Play a run through, event by event.

    Args:
        costs: seconds of each clip on an ordinary worker.
        paces: of the workers.
        record: seconds of the driver for each clip.
    """
    plan, tables = PLAN_SECONDS * len(costs), TABLE_SECONDS * len(costs)
    ends = np.concatenate([[0.0], np.cumsum(costs)])
    # When each worker comes back, with the number of clips that it brings: none at first.
    idle = [(plan + LOAD_SECONDS, worker, 0) for worker in range(len(paces))]
    heapq.heapify(idle)
    sizes, taken, free, scoring = shard_sizes(len(costs), len(paces)), 0, 0.0, 0.0
    while idle:
        now, worker, brought = heapq.heappop(idle)
        free = max(now, free) + record * brought
        if size := next(sizes, 0):
            seconds = float(ends[taken + size] - ends[taken]) * float(paces[worker])
            scoring += seconds
            taken += size
            heapq.heappush(idle, (free + seconds, worker, size))
    total = free + tables
    return Run(total, scoring / (total * len(paces)), (plan + tables + record * len(costs)) / total)


def table(clips: int, speed: float, workers: Sequence[int]) -> Iterator[str]:
    """Lines of a Markdown table."""
    costs = clip_costs(clips, speed)
    alone = simulate(costs, np.ones(1)).seconds
    yield f"{clips:,} clips, {speed:g} times as fast as 2 cores with networks\n"
    yield "| workers | hours | times one worker | of linear | workers score | driver works |\n|---|---|---|---|---|---|"
    for count in workers:
        run = simulate(costs, worker_paces(count))
        gain = alone / run.seconds
        mark = "" if gain / count >= LINEAR else " (no longer linear)"
        figures = (
            f"{run.seconds / 3600:.2f} | {gain:.1f} | {gain / count:.0%}{mark} | {run.busy:.0%} | {run.driver:.0%}"
        )
        yield f"| {count:,} | {figures} |"


def main() -> None:
    """Print one table for each speed."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--clips", type=int, default=10_140)
    parser.add_argument("--speed", type=float, action="append", help="default: 1, 10, 100")
    parser.add_argument("--workers", type=int, action="append", help="default: 1, 4, 16, 64, 256, 1024")
    given = parser.parse_args()
    for speed in given.speed or (1.0, 10.0, 100.0):
        print("\n".join(table(given.clips, speed, given.workers or WORKERS)), end="\n\n")


if __name__ == "__main__":
    main()
