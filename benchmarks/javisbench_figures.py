"""Figures of the ten per-clip metrics of the OmniNFT tables: shared work counted, and timed against two yardsticks.

One yardstick is the floor: the forward passes alone and one decode. The other is the reference's schedule, re-enacted.
"""

from __future__ import annotations

import statistics
from collections import Counter
from collections.abc import Sequence
from typing import Any

import av
import numpy as np
import reenactment
import soundfile
from figures import Figure
from material import drawn_clip, small_clips
from network_runs import SUITE, WEIGHTS, Reenacted, Scored, SharedRuns, rounded, score
from observed import ObservedStore, passes_alone
from run_figures import peak_ratio
from stopwatch import QUIET_CORES, Stopwatch

from avbench.clips import Clip
from avbench.encoders import WeightsConfig
from avbench.media import decode_clip
from avbench.metrics.base import get_scorers
from avbench.metrics.desync import OFFSETS
from avbench.run.options import RunOptions
from avbench.run.runner import run_source
from avbench.sources import Source
from avbench.suites import get_suite

COSINES = ("tv_ib", "ta_ib", "av_ib", "avh_score", "javis_score", "clip_score", "clap_score")
CACHED_CLIPS = 20
SAME = 1e-4
"""Largest difference of a cosine between two schedules at fp32; other metrics may differ by ten times as much."""


def counts_figures(bench: SharedRuns) -> list[Figure]:
    """Opens and ImageBind passes of a drawn clip of 4 s; small networks, since counts do not depend on their size."""
    figures = []
    for name, size, pictures in (("96x128", (96, 128), 111), ("square", (96, 96), 101)):
        store = ObservedStore(WeightsConfig(WEIGHTS["reduced"]), "cpu")
        run = score([drawn_clip(bench.folder, 4.0, size)], store, bench.folder)
        rows = store.ledger.rows("imagebind")
        detail = {"opens": dict(run.opens), "loads": dict(store.ledger.loads), "imagebind": rows}
        most = max(run.opens.values())
        figures += [
            Figure(f"opens of each file, {name} clip of 4 s", most, "", "<=", 1, detail=detail),
            Figure(f"imagebind: pictures, {name} clip of 4 s", rows["embed_images"], "", "<=", pictures),
            Figure(f"imagebind: sounds, {name} clip of 4 s", rows["embed_mels"], "", "<=", 8),
            Figure(f"imagebind: texts, {name} clip of 4 s", rows["embed_tokens"], "", "<=", 2),
            Figure(f"loads of each network, {name} clip of 4 s", max(store.ledger.loads.values()), "", "<=", 1),
        ]
    bench.log("counts", **{figure.name: figure.value for figure in figures})
    return figures


def floor_figures(bench: SharedRuns) -> list[Figure]:
    """Wall time of the ten metrics by that of the forward passes alone and one decode."""
    runs = bench.avbench
    alone = passes_alone(bench.avbench_passes)
    decoded = []
    for _ in range(3):
        with Stopwatch() as watch:
            plain_read(bench.clips[0])
        decoded.append(watch.seconds)
    decode = statistics.median(decoded)
    seconds = runs[-1].seconds  # the run that `alone` is of
    detail = {
        "seconds": round(seconds, 3),
        "forward_passes_s": {name: round(value, 3) for name, value in alone.items()},
        "decode_s": round(decode, 3),
        "encoders_s": {name: round(value, 3) for name, value in runs[-1].encoder_seconds.items()},
        "cores_used_by_others": rounded(runs[-1].others),
    }
    bench.log("forward passes alone", **detail)
    value = seconds / (sum(alone.values()) + decode)
    name = "ten metrics: time / their forward passes alone and one decode"
    return [Figure(name, value, "x", "<=", 1.1 if bench.full else None, disturbed_by_others(runs[-1:]), detail)]


def plain_read(clip: Clip) -> None:
    """All frames as RGB and all sound, the shortest way."""
    with av.open(str(clip.video)) as container:
        container.streams.video[0].thread_type = "AUTO"
        for frame in container.decode(video=0):
            frame.to_ndarray(format="rgb24", threads=1)
    soundfile.read(clip.audio, dtype="float32")


def schedule_figures(bench: SharedRuns) -> list[Figure]:
    """The reference's schedule at fp32 against avbench at fp32: each group of metrics, and all ten."""
    runs, reference = bench.avbench, bench.reenacted
    check_same(runs[0].values[0], reference[0])
    figures, total = [], 0.0
    rows: Counter[str] = sum((group.rows for group in reference[0].values()), Counter())
    opens: Counter[str] = sum((group.opens for group in reference[0].values()), Counter())
    for group in reenactment.GROUPS:
        reference_s = statistics.median(round_[group].seconds for round_ in reference)
        alone = statistics.median(seconds_alone(bench, run, group) for run in runs)
        total += reference_s
        detail = {"reference_s": round(reference_s, 3), "avbench_s": round(alone, 3)}
        busy = disturbed_by_others([*runs, *(round_[group] for round_ in reference)])
        name = f"{group.name} asked alone: reference / avbench, fp32"
        figures.append(Figure(name, reference_s / alone, disturbed=busy, detail=detail))
    seconds = statistics.median(run.seconds for run in runs)
    detail = {
        "reference_s": round(total, 3),
        "avbench_s": round(seconds, 3),
        "reference_opens": dict(opens),
        "reference_imagebind": dict(rows),
        "reference_builds_of_imagebind": 2,
    }
    disturbed = any(figure.disturbed for figure in figures)
    figures.append(
        Figure("ten metrics: reference / avbench, fp32", total / seconds, disturbed=disturbed, detail=detail)
    )
    return figures


def check_same(values: dict[str, float], reference: dict[reenactment.Group, Any]) -> None:
    """Both schedules must come to the same values, or their times compare nothing."""
    for scored in reference.values():
        for name, value in scored.values.items():
            allowed = SAME if name in COSINES else 10 * SAME
            assert abs(value - values[name]) <= allowed, f"{name}: reference {value}, avbench {values[name]}"


def seconds_alone(bench: SharedRuns, run: Scored, group: reenactment.Group) -> float:
    """What avbench takes when only this group is asked for: its encoders in the full run, and a decode for them."""
    encoders = list(dict.fromkeys(e for scorer in get_scorers(group.metrics) for e in scorer.encoders))
    with Stopwatch() as watch:
        decode_clip(bench.clips[0], "key", [view for encoder in encoders for view in encoder.views])
    return watch.seconds + sum(run.encoder_seconds[encoder.name] for encoder in encoders)


def precision_figures(bench: SharedRuns) -> list[Figure]:
    """Avbench at bf16: speed against the reference's schedule at fp32, and how far each metric moves."""
    fp32 = (bench.avbench[0], bench.short_fp32)
    total = statistics.median(sum(group.seconds for group in round_.values()) for round_ in bench.reenacted)
    seconds_fp32 = statistics.median(run.seconds for run in bench.avbench)
    bf16 = bench.bf16
    moved = {
        name: [round(b.values[0][name] - a.values[0][name], 6) for a, b in zip(fp32, bf16, strict=True)]
        for name in fp32[0].values[0]
    }
    moves = {name: max(map(abs, values)) for name, values in moved.items()}
    logits = [(a.arrays["synchformer"], b.arrays["synchformer"]) for a, b in zip(fp32, bf16, strict=True)]
    desync = [desync_change(a, b) for a, b in logits]
    clips = [clip.clip_id for clip in bench.clips]
    detail: dict[str, Any] = {"clips": clips, "change_by_metric": moved, "desync": desync}
    bench.log("bf16 against fp32", **{name: f"{value:.2g}" for name, value in moves.items()})
    seconds = {"reference_fp32_s": total, "avbench_fp32_s": seconds_fp32, "avbench_bf16_s": bf16[0].seconds}
    detail_of_speed = {name: round(value, 3) for name, value in seconds.items()}
    bound = 2.5 if bench.full else None
    disturbed = disturbed_by_others([bf16[0], *(group for round_ in bench.reenacted for group in round_.values())])
    name = "ten metrics: reference at fp32 / avbench at bf16"
    figures = [Figure(name, total / bf16[0].seconds, "x", ">=", bound, disturbed, detail_of_speed)]
    worst = max(moves[name] for name in COSINES)
    figures.append(Figure("bf16: largest change of a cosine metric", worst, "", "<=", 0.005, detail=detail))
    flips = sum(entry["classes_changed_despite_margin"] for entry in desync)
    figures.append(Figure("bf16: desync classes changed though the margin exceeds the deviation", flips, "", "<=", 0))
    others = [name for name in moves if name not in COSINES]
    return figures + [Figure(f"bf16: change of {name}", moves[name], get_scorers([name])[0].unit) for name in others]


def desync_change(fp32: np.ndarray, bf16: np.ndarray) -> dict[str, Any]:
    """Offsets, margins and deviation of the logits (blocks, 21) of one clip."""
    ordered = np.sort(fp32, axis=1)
    margins, deviations = ordered[:, -1] - ordered[:, -2], np.abs(bf16 - fp32).max(axis=1)
    classes = fp32.argmax(axis=1), bf16.argmax(axis=1)
    changed = (classes[0] != classes[1]) & (margins > deviations)
    return {
        "offsets_fp32": [round(float(offset), 1) for offset in OFFSETS[classes[0]]],
        "offsets_bf16": [round(float(offset), 1) for offset in OFFSETS[classes[1]]],
        "margins": [round(float(margin), 4) for margin in margins],
        "largest_deviations_of_a_logit": [round(float(deviation), 4) for deviation in deviations],
        "classes_changed_despite_margin": int(changed.sum()),
    }


def cache_figures(bench: SharedRuns) -> list[Figure]:
    """Clips scored again into a new run folder with their embeddings on disk, against the first time."""
    clips = tuple(drawn_clip(bench.folder, 4.0, (96, 128), seed) for seed in range(CACHED_CLIPS))
    first, again = (
        whole_run(bench, clips, WeightsConfig(WEIGHTS["reduced"]), "small_cache", n) for n in ("first", "again")
    )
    detail = {"clips": len(clips), "first_s": round(first, 3), "again_s": round(again, 3)}
    bench.log("warm cache, reduced networks", **detail)
    name = "warm cache, {} networks: first time / again in a new run folder"
    figures = [Figure(name.format("reduced"), first / again, bound=50, detail=detail)]
    if bench.full:
        seconds = bench.avbench[0].seconds
        again = whole_run(bench, bench.clips[:1], bench.fp32.setup, bench.cache.name, "full")
        detail = {"clips": 1, "first_s_without_loading": round(seconds, 3), "again_s": round(again, 3)}
        bench.log("warm cache, full networks", **detail)
        figures.append(Figure(name.format("full"), seconds / again, bound=50, detail=detail))
    return figures


def whole_run(bench: SharedRuns, clips: Sequence[Clip], setup: WeightsConfig, cache: str, out: str) -> float:
    """Seconds of a run into a new folder, from the list of clips to the tables."""
    options = RunOptions(setup=setup, cache=bench.folder / cache)
    source = Source(bench.folder, "clips", tuple(clips), "as given")
    with Stopwatch() as watch:
        run_source(source, get_suite(SUITE), bench.folder / f"run_{out}", options)
    return watch.seconds


def memory_figures(bench: SharedRuns) -> list[Figure]:
    """Peak memory of a run over 200 clips against one over 20, reduced networks, in processes of their own."""
    manifests = {count: small_clips(bench.folder / f"network_{count}", count) for count in (20, 200)}
    # Three times each: peaks of one run scatter by some percent.
    figure = peak_ratio("memory with reduced networks", manifests, bench.folder, 3, (SUITE, WEIGHTS["reduced"]))
    bench.log("memory", **figure.detail)
    return [figure]


def disturbed_by_others(runs: Sequence[Scored | Reenacted]) -> bool:
    """Whether other processes were busy during one of the runs."""
    return any(run.others is not None and run.others >= QUIET_CORES for run in runs)
