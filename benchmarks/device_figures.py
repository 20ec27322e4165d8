"""The ten metrics on the fastest device at hand: clips per second, where time goes, and how busy the device is."""

from __future__ import annotations

import time
from collections import Counter

import torch
from figures import Figure
from material import drawn_clip
from network_runs import Scored, SharedRuns, score
from observed import ObservedStore, finish, run_alone
from torch.utils.flop_counter import FlopCounterMode

from avbench.encoders.loading import DTYPES
from avbench.metrics.base import get_scorers

SIZE = (512, 768)  # height, width


def device_figures(bench: SharedRuns) -> list[Figure]:
    """Drawn clips of 4 s, 768x512, on a GPU; without one, on the CPU with reduced networks only."""
    if bench.device == "cpu" and bench.full:
        bench.log("device", skipped="no GPU; with --networks reduced this runs on the CPU")
        return []
    count = 16 if bench.device.startswith("cuda") else 2
    clips = [drawn_clip(bench.folder, 4.0, SIZE, seed) for seed in range(count)]
    figures: list[Figure] = []
    runs: dict[str, Scored] = {}
    for precision in ("fp32", "bf16"):
        store = bench.store(precision)
        score(clips[:1], store, bench.folder)  # loads, and pays for first calls
        store.ledger.passes.clear()
        timed = ObservedStore(store.setup, bench.device, max_resident=bench.max_resident, like=store)
        runs[precision] = score(clips, timed, bench.folder)
        figures += _figures_of(bench, runs[precision], timed, precision, count)
    moved = {
        name: max(abs(b[name] - a[name]) for a, b in zip(runs["fp32"].values, runs["bf16"].values, strict=True))
        for name in runs["fp32"].values[0]
    }
    bench.log("device, bf16 against fp32", **{name: f"{value:.2g}" for name, value in moved.items()})
    units = {name: get_scorers([name])[0].unit for name in moved}
    name = f"{bench.device}: largest change at bf16 of"
    return figures + [Figure(f"{name} {metric}", value, units[metric]) for metric, value in moved.items()]


def _figures_of(bench: SharedRuns, run: Scored, store: ObservedStore, precision: str, count: int) -> list[Figure]:
    passes = list(store.ledger.passes.values())
    alone = run_alone(store, passes, 3)
    work: Counter[str] = Counter()
    with torch.inference_mode():
        for done in passes:
            with FlopCounterMode(display=False) as counter:
                store.repeat(done)()
            work[done.network] += counter.get_total_flops() * done.count
    rate = matmul_rate(bench.device, DTYPES[precision])
    detail = {
        "clips": count,
        "seconds": round(run.seconds, 3),
        "share_of_time_by_network": {name: round(value / run.seconds, 4) for name, value in alone.items()},
        "share_of_matmul_rate_by_network": {name: round(work[name] / alone[name] / rate, 4) for name in alone},
        "matmul_tflop_per_s": round(rate / 1e12, 3),
        "tflop_per_clip": round(sum(work.values()) / count / 1e12, 4),
    }
    label = f"{bench.device}, {bench.networks} networks, {precision}"
    bench.log(label, **detail)
    fraction = sum(work.values()) / run.seconds / rate
    return [
        Figure(f"{label}: clips of 4 s 768x512 per second", count / run.seconds, "1/s", detail=detail),
        Figure(f"{label}: fraction of time in forward passes", sum(alone.values()) / run.seconds, ""),
        Figure(f"{label}: achieved fraction of the dense matmul rate", fraction, ""),
    ]


def matmul_rate(device: str, dtype: torch.dtype) -> float:
    """Floating-point operations per second of a large square matrix product: the best of five."""
    side = 8192 if device.startswith("cuda") else 2048
    a, b = (torch.randn(side, side, device=device).to(dtype) for _ in range(2))
    best = float("inf")
    for _ in range(6):
        finish(device)
        start = time.perf_counter()
        a @ b
        finish(device)
        best = min(best, time.perf_counter() - start)
    return 2 * side**3 / best
