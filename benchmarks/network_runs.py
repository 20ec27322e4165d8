"""The long runs that several figures share: the ten per-clip metrics of the OmniNFT tables, and their re-enactment.

Networks have keyed-random weights; loading them is never part of a time.
"""

from __future__ import annotations

import gc
import resource
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import av
import numpy as np
import reenactment
import torch
from material import SHORT_CLIP, TIMED_CLIP, cut_clip, drawn_clip
from observed import Log, ObservedStore, Pass
from stopwatch import Stopwatch

from avbench.clips import Clip
from avbench.encoders import EmbeddingCache, WeightsConfig
from avbench.metrics.base import get_scorers
from avbench.run.content import read_content
from avbench.run.jobs import ClipJob, RunContext, Stopped
from avbench.run.schedule import SpoolLimit, score_jobs
from avbench.suites import get_suite

SUITE = "omninft-tables"
WEIGHTS = {"full": "keyed-random", "reduced": "keyed-random-reduced"}


@dataclass
class Scored:
    """Clips scored: values by metric of each clip in order, seconds, what was done meanwhile.

    Without the seconds of loading, and of passes that were done once more.
    """

    values: list[dict[str, float]]
    seconds: float
    others: float | None
    encoder_seconds: Counter[str]
    arrays: dict[str, np.ndarray]
    opens: Counter[str]


@dataclass
class Reenacted:
    """A group of metrics by the reference's schedule: values, seconds, opens, and items that entered ImageBind."""

    values: dict[str, float]
    seconds: float
    others: float | None
    opens: Counter[str]
    rows: Counter[str]


@dataclass
class SharedRuns:
    """What the figures share, so that each long step is done once.

    Attributes:
        folder: temporary folder.
        networks: "full" or "reduced".
        rounds: how often short steps are repeated.
        max_resident: networks kept loaded; all six take about 16 GB in fp32.
        log: progress.
        device: where networks run.
        avbench_passes: forward passes of `avbench`, which fills it.
    """

    folder: Path
    networks: str
    rounds: int
    max_resident: int
    log: Log
    device: str = "cpu"
    avbench_passes: list[Pass] = field(default_factory=list)
    cache: Path = field(init=False)

    def __post_init__(self) -> None:
        self.cache = self.folder / "cache"

    @property
    def full(self) -> bool:
        """Whether targets hold: with reduced networks, preprocessing outweighs them."""
        return self.networks == "full"

    @cached_property
    def clips(self) -> tuple[Clip, Clip]:
        """A real clip of 4 s, and a shorter one that only precision is checked on."""
        return cut_clip(self.folder, *TIMED_CLIP), cut_clip(self.folder, *SHORT_CLIP)

    def store(self, precision: str, networks: str | None = None) -> ObservedStore:
        """A store without networks."""
        setup = WeightsConfig(WEIGHTS[networks or self.networks], precision=precision)
        return ObservedStore(setup, self.device, max_resident=self.max_resident)

    @cached_property
    def fp32(self) -> ObservedStore:
        """The store of the fp32 figures; its networks stay until `bf16` is asked for."""
        return self.store("fp32")

    @cached_property
    def avbench(self) -> list[Scored]:
        """The timed clip at fp32, `rounds` times. The first one leaves its embeddings in the cache."""
        runs = []
        for number in range(self.rounds):
            store = ObservedStore(
                self.fp32.setup,
                self.device,
                max_resident=self.max_resident,
                cache=EmbeddingCache(self.cache, 2**30) if number == 0 else None,
                like=self.fp32,
            )
            if number == 0:
                warm_up(self.folder, store)
            store.ledger.passes.clear()
            store.ledger.repeating = True
            runs.append(score([self.clips[0]], store, self.folder))
            store.ledger.repeating = False
            self.log("avbench fp32", **run_values(runs[-1]), load_s=round(store.ledger.load_seconds, 1))
        self.avbench_passes += store.ledger.passes.values()
        store.ledger.passes.clear()
        return runs

    @cached_property
    def short_fp32(self) -> Scored:
        """The short clip at fp32."""
        run = score([self.clips[1]], self.fp32, self.folder)
        self.log("avbench fp32, short clip", **run_values(run))
        return run

    @cached_property
    def reenacted(self) -> list[dict[reenactment.Group, Reenacted]]:
        """The reference's schedule on the timed clip at fp32, `rounds` times."""
        return [{group: self._reenact(group) for group in reenactment.GROUPS} for _ in range(self.rounds)]

    def _reenact(self, group: reenactment.Group) -> Reenacted:
        for backbone in {b for scorer in get_scorers(group.metrics) for b in scorer.backbones}:
            self.fp32.network(backbone)
        reader = reenactment.Reader(self.clips[0])
        before = self.fp32.ledger.rows("imagebind")
        with Stopwatch() as watch, torch.inference_mode(), reenactment.every_token():
            values = group.compute(self.fp32, reader)
        rows = Counter(self.fp32.ledger.rows("imagebind")) - Counter(before)
        self.log(
            f"reference schedule, {group.name}",
            seconds=round(watch.seconds, 2),
            cores_used_by_others=rounded(watch.others),
        )
        return Reenacted(values, watch.seconds, watch.others, reader.opens, rows)

    @cached_property
    def bf16(self) -> tuple[Scored, Scored]:
        """Both clips at bf16, after the fp32 networks have gone."""
        self.fp32.drop_networks()
        self.avbench_passes.clear()
        gc.collect()
        store = self.store("bf16")
        warm_up(self.folder, store)
        runs = []
        for clip in self.clips:
            runs.append(score([clip], store, self.folder))
            self.log(f"avbench bf16, {clip.clip_id}", **run_values(runs[-1]))
        return runs[0], runs[1]


def warm_up(folder: Path, store: ObservedStore) -> None:
    """Load all networks, and pay for imports and first calls that belong to no clip."""
    backbones = {b.name: b for scorer in get_scorers(get_suite(SUITE).metrics) for b in scorer.backbones}
    small = ObservedStore(WeightsConfig(WEIGHTS["reduced"]), "cpu")
    score([drawn_clip(folder, 1.0, (48, 64))], small, folder)
    for backbone in list(backbones.values())[: store.max_resident]:
        store.network(backbone)


def score(
    clips: Sequence[Clip], store: ObservedStore, folder: Path, name: str = SUITE, metrics: Sequence[str] = ()
) -> Scored:
    """A suite, or metrics, of some clips, from hashing their files to the last score; without loading of networks."""
    suite = get_suite(name)
    wanted = tuple(metrics) or suite.metrics
    store.encoder_seconds.clear()
    aside = store.ledger.aside
    context = RunContext("bench", name, suite.version, store.setup)
    with counted_opens() as opens, Stopwatch() as watch:
        jobs = [ClipJob(clip, read_content(clip), wanted, context) for clip in clips]
        rows = [row for result in score_jobs(jobs, store, SpoolLimit(folder), Stopped()) for row in result.rows]
    bad = [f"{row.metric}: {row.reason}" for row in rows if row.status != "ok"]
    assert not bad, bad
    values: dict[str, dict[str, float]] = {clip.clip_id: {} for clip in clips}
    for row in rows:
        values[str(row.clip_id)][row.metric] = float(row.value or 0.0)
    seconds = watch.seconds - (store.ledger.aside - aside)
    encoders, arrays = Counter(store.encoder_seconds), dict(store.arrays)
    return Scored(list(values.values()), seconds, watch.others, encoders, arrays, opens)


@contextmanager
def counted_opens() -> Iterator[Counter[str]]:
    """Counts of containers opened meanwhile, by the ending of the file name."""
    counts: Counter[str] = Counter()
    original = av.open

    def counted(file: Any, *arguments: Any, **options: Any) -> Any:
        counts[Path(str(file)).suffix] += 1
        return original(file, *arguments, **options)

    av.open = counted
    try:
        yield counts
    finally:
        av.open = original


def run_values(run: Scored) -> dict[str, Any]:
    """For the log."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    return {
        "seconds": round(run.seconds, 2),
        "cores_used_by_others": rounded(run.others),
        "peak_GiB": round(peak, 1),
    }


def rounded(cores: float | None) -> float | None:
    """Two digits, None where it is unknown."""
    return None if cores is None else round(cores, 2)
