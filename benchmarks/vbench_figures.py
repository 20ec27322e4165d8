"""Figures of VBench's seven quality dimensions: against the floor, against the reference's schedule, and memory.

The floor is the forward passes alone and one decode. By the reference's schedule each dimension opens and decodes for
itself, keeps all frames as floats, and runs its network in the batches that VBench takes. Networks have keyed-random
weights, equal on both sides; loading is in no time.
"""

from __future__ import annotations

import itertools
import statistics
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import av
import cv2
import numpy as np
import torch
from figures import Figure
from material import drawn_clip
from network_runs import WEIGHTS, Scored, rounded, run_values, score
from observed import Ledger, Log, ObservedStore, Pass, passes_alone
from stopwatch import QUIET_CORES, Stopwatch, take_turns
from torch import Tensor

from avbench.clips import Clip
from avbench.encoders import WeightsConfig
from avbench.encoders.images import bicubic_crop_224, bilinear_224
from avbench.encoders.networks.aesthetic import LAION_AESTHETIC
from avbench.encoders.networks.amt.encoders import AMT_S
from avbench.encoders.networks.clip import CLIP
from avbench.encoders.networks.clip import network_input as clip_input
from avbench.encoders.networks.dino.encoders import DINO
from avbench.encoders.networks.dino.encoders import network_input as dino_input
from avbench.encoders.networks.musiq.encoders import MUSIQ_SPAQ
from avbench.encoders.networks.musiq.encoders import network_input as musiq_input
from avbench.encoders.networks.musiq.sizes import shrink
from avbench.encoders.networks.raft import network as raft
from avbench.encoders.networks.raft.encoders import RAFT, STRIDE
from avbench.encoders.pixels import cropped, replicate_padded
from avbench.media import decode_clip
from avbench.metrics.base import get_scorers
from avbench.metrics.vbench_consistency import similarities
from avbench.metrics.vbench_dynamic_degree import DynamicRule
from avbench.suites import get_suite

SUITE = "vbench-quality"
SECONDS, SIZE = 5.0, (512, 768)
LONG_SECONDS, LONG_SIZE = 20.0, (704, 1280)
SHARED_CLIP = (4.0, (256, 384))
"""Seconds, height and width of the clip that both benchmarks judge; shorter ones have no `desync`."""
SHARED_ROUNDS = 5
RESIDENT = 3
SAME = 1e-4
"""Largest difference of a dimension between both schedules."""

Frames = np.ndarray[Any, np.dtype[np.uint8]]


@dataclass
class VBenchRuns:
    """What the figures share.

    Attributes:
        folder: temporary folder.
        networks: "full" or "reduced".
        log: progress.
        passes: forward passes of `avbench`, which fills it.
    """

    folder: Path
    networks: str
    log: Log
    passes: list[Pass] = field(default_factory=list)

    @cached_property
    def clip(self) -> Clip:
        """The clip that is timed."""
        return drawn_clip(self.folder, SECONDS, SIZE)

    @cached_property
    def store(self) -> ObservedStore:
        """All networks, loaded and run once."""
        store = ObservedStore(WeightsConfig(WEIGHTS[self.networks]), "cpu")
        for backbone in dict.fromkeys(b for scorer in get_scorers(get_suite(SUITE).metrics) for b in scorer.backbones):
            store.network(backbone)
        small = ObservedStore(WeightsConfig(WEIGHTS["reduced"]), "cpu")
        score([drawn_clip(self.folder, 1.0, (128, 160))], small, self.folder, SUITE)
        return store

    @cached_property
    def avbench(self) -> Scored:
        """The suite on the clip, as in a run."""
        ledger = self.store.ledger
        ledger.passes.clear()
        ledger.repeating = True
        with _observed_flows(ledger):
            run = score([self.clip], self.store, self.folder, SUITE)
        ledger.repeating = False
        self.passes += ledger.passes.values()
        self.log("avbench", **run_values(run))
        return run


@contextmanager
def _observed_flows(ledger: Ledger) -> Iterator[None]:
    # RAFT is driven by a function, not by its module's forward.
    original = raft.flow

    def observed(*arguments: Any) -> Any:
        return ledger.run(RAFT.name, "flow", original, arguments, {})

    raft.flow = observed
    try:
        yield
    finally:
        raft.flow = original


def floor_figures(runs: VBenchRuns) -> list[Figure]:
    """Wall time of the suite by that of its forward passes alone and one decode."""
    run = runs.avbench
    alone = passes_alone(runs.passes)
    decoded = []
    for _ in range(3):
        with Stopwatch() as watch:
            _decoded(runs.clip)
        decoded.append(watch.seconds)
    detail = {
        "seconds": round(run.seconds, 2),
        "forward_passes_s": {name: round(value, 2) for name, value in alone.items()},
        "decode_s": round(statistics.median(decoded), 3),
        "encoders_s": {name: round(value, 2) for name, value in run.encoder_seconds.items()},
        "cores_used_by_others": rounded(run.others),
    }
    runs.log("forward passes alone", **detail)
    value = run.seconds / (sum(alone.values()) + statistics.median(decoded))
    bound = 1.15 if runs.networks == "full" else None
    busy = (run.others or 0.0) >= QUIET_CORES
    name = f"{SUITE}: time / its forward passes alone and one decode"
    return [Figure(name, value, "x", "<=", bound, busy, detail)]


def schedule_figures(runs: VBenchRuns) -> list[Figure]:
    """Each dimension by the reference's schedule, by what avbench takes where it alone is asked for."""
    run, figures = runs.avbench, []
    total = 0.0
    for name, dimension in DIMENSIONS.items():
        with Stopwatch() as watch, torch.inference_mode():
            value = dimension(runs)
        total += watch.seconds
        difference = abs(value - run.values[0][name])
        assert difference <= SAME, f"{name}: reference {value}, avbench {run.values[0][name]}"
        (scorer,) = get_scorers([name])
        with Stopwatch() as decode:
            decode_clip(runs.clip, "key", scorer.all_views)
        alone = decode.seconds + sum(run.encoder_seconds[encoder.name] for encoder in scorer.encoders)
        detail = {"reference_s": round(watch.seconds, 2), "avbench_s": round(alone, 2), "difference": difference}
        runs.log(f"reference schedule, {name}", **detail, cores_used_by_others=rounded(watch.others))
        busy = (watch.others or 0.0) >= QUIET_CORES
        figures.append(Figure(f"{name}: reference / avbench", watch.seconds / alone, disturbed=busy, detail=detail))
    detail = {"reference_s": round(total, 2), "avbench_s": round(run.seconds, 2)}
    figures.append(Figure(f"{SUITE}: reference / avbench", total / run.seconds, detail=detail))
    return figures


def together_figures(runs: VBenchRuns) -> list[Figure]:
    """JavisBench's clip metrics and VBench's quality in one run, by both in runs of their own.

    What is shared is the decoding, a few hundredths of the time even of reduced networks, while the same forward passes
    differ by a tenth from run to run. So it is checked that one run makes no pass that the two do not make; encoders
    count with the median of all their runs on both sides, all else with the median of its kind of run. The ratio of the
    seconds as they were is in the details. Full networks are timed once: few of them stay loaded, as all of both weigh
    20 GB; loading is in no time.
    """
    javisbench, vbench = get_suite("omninft-tables").metrics, get_suite(SUITE).metrics
    kinds = {"javisbench": javisbench, "vbench": vbench, "together": (*javisbench, *vbench)}
    clip, full = drawn_clip(runs.folder, *SHARED_CLIP), runs.networks == "full"
    resident = RESIDENT if full else len(kinds["together"])
    store = ObservedStore(WeightsConfig(WEIGHTS[runs.networks]), "cpu", max_resident=resident)
    done: dict[str, list[Scored]] = {name: [] for name in kinds}
    passes: dict[str, Counter[Any]] = {}

    def measure(*names: str) -> None:
        for name in names:
            again = ObservedStore(store.setup, "cpu", max_resident=resident, like=store)
            again.ledger.passes.clear()
            with _observed_flows(again.ledger):
                done[name].append(score([clip], again, runs.folder, SUITE, kinds[name]))
            passes[name] = Counter({key: one.count for key, one in again.ledger.passes.items()})

    if not full:
        measure("together")  # loads the networks
        done["together"].clear()
    candidates = {"apart": lambda: measure("javisbench", "vbench"), "together": lambda: measure("together")}
    rounds = take_turns(candidates, 1 if full else SHARED_ROUNDS)
    done = {name: [found[index] for index in rounds.chosen] for name, found in done.items()}
    assert passes["together"] <= passes["javisbench"] + passes["vbench"], (
        "one run makes passes that the two do not make"
    )
    every = [run for found in done.values() for run in found]
    encoders = {name: _median(run.encoder_seconds.get(name) for run in every) for name in every[-1].encoder_seconds}
    rest = {name: _median(run.seconds - run.encoder_seconds.total() for run in found) for name, found in done.items()}
    seconds = {name: rest[name] + sum(encoders[e] for e in found[0].encoder_seconds) for name, found in done.items()}
    as_timed = _median(
        together.seconds / (one.seconds + other.seconds) for one, other, together in zip(*done.values(), strict=True)
    )
    detail = {
        "seconds": {name: round(value, 3) for name, value in seconds.items()},
        "seconds_without_encoders": {name: round(value, 3) for name, value in rest.items()},
        "seconds_as_timed": {name: [round(run.seconds, 2) for run in found] for name, found in done.items()},
        "ratio_as_timed": round(as_timed, 4),
        "passes": {name: count.total() for name, count in passes.items()},
        "opens": {name: found[0].opens.total() for name, found in done.items()},
    }
    runs.log("together", **detail)
    value = seconds["together"] / (seconds["javisbench"] + seconds["vbench"])
    name = f"omninft-tables and {SUITE} together / both alone, 4 s of 384x256, {runs.networks} networks"
    return [Figure(name, value, "x", "<=", None if full else 1.0, rounds.disturbed, detail)]


def _median(values: Iterable[float | None]) -> float:
    return statistics.median(value for value in values if value is not None)


def memory_figures(runs: VBenchRuns) -> list[Figure]:
    """Peak memory of a clip of 20 s, 1280x704, less what RAFT alone takes, and how much it grows from 1 s on.

    Reduced networks weigh next to nothing, but the correlations of a pair of frames are as large as those of the true
    RAFT: each position of an eighth of the frame with each other one, at four scales.
    """
    peaks = {}
    for seconds in (1.0, LONG_SECONDS):
        clip = drawn_clip(runs.folder, seconds, LONG_SIZE)
        manifest = runs.folder / f"{clip.clip_id}.csv"
        manifest.write_text(f"video,audio\n{clip.video.name},{clip.audio and clip.audio.name}\n", encoding="utf-8")
        command = [sys.executable, str(Path(__file__).with_name("peak_memory.py")), str(manifest),
                   str(runs.folder / f"memory_{seconds:g}"), SUITE, WEIGHTS["reduced"]]  # fmt: skip
        done = subprocess.run(command, capture_output=True, text=True, check=True)
        peaks[seconds] = int(done.stdout.split()[-1]) / 2**30
        runs.log("memory", seconds=seconds, peak_GiB=round(peaks[seconds], 3))
    positions = LONG_SIZE[0] // 8 * LONG_SIZE[1] // 8
    correlations = 4 * positions**2 * sum(4.0**-scale for scale in range(raft.LEVELS)) / 2**30
    detail = {f"peak_{seconds:g}_s_GiB": round(peak, 3) for seconds, peak in peaks.items()}
    detail["correlations_GiB"] = round(correlations, 3)
    name, beside = f"{SUITE}: peak memory, 20 s of 1280x704", peaks[LONG_SECONDS] - correlations
    return [
        Figure(f"{name}, beside RAFT's correlations", beside, "GiB", "<=", 2.0, False, detail),
        Figure(f"{name} / 1 s", peaks[LONG_SECONDS] / peaks[1.0], "x", "<=", 1.2, False, detail),
    ]


def _decoded(clip: Clip) -> Frames:
    with av.open(str(clip.video)) as container:
        container.streams.video[0].thread_type = "AUTO"
        return np.stack([frame.to_ndarray(format="rgb24", threads=1) for frame in container.decode(video=0)])


def _floats(frames: Frames, transform: Callable[[Any], Any]) -> Tensor:
    return torch.from_numpy(np.stack([transform(frame) for frame in frames]))


def _subject(runs: VBenchRuns) -> float:
    network = runs.store.network(DINO)
    frames = _floats(_decoded(runs.clip), bilinear_224)
    return float(similarities(torch.cat([network(dino_input(frame[None])) for frame in frames]).numpy()).mean())


def _background(runs: VBenchRuns) -> float:
    network = runs.store.network(CLIP)
    frames = _floats(_decoded(runs.clip), bicubic_crop_224)
    return float(similarities(network.encode_image(clip_input(frames, clip_bgr=False)).numpy()).mean())


def _flickering(runs: VBenchRuns) -> float:
    frames = _decoded(runs.clip)
    means = [cv2.absdiff(a, b).mean() for a, b in itertools.pairwise(frames)]
    return (255.0 - float(np.mean(means))) / 255.0


def _motion(runs: VBenchRuns) -> float:
    network = runs.store.network(AMT_S)
    frames = torch.from_numpy(_decoded(runs.clip)).permute(0, 3, 1, 2).float()
    height, width = frames.shape[2:]
    sides = [replicate_padded(frame[None] / 255, 16) for frame in frames[::2]]
    guesses = [network(a, b) for a, b in itertools.pairwise(sides)]
    levels = [(cropped(guess, height, width, 16) * 255).byte().float()[0] for guess in guesses]
    differences = [(guess - frames[2 * index + 1]).abs().mean() for index, guess in enumerate(levels)]
    return (255.0 - float(torch.stack(differences).mean())) / 255.0


def _dynamic(runs: VBenchRuns) -> float:
    network = runs.store.network(RAFT)
    frames = _decoded(runs.clip)[::STRIDE_STEP]
    rule, moving = DynamicRule.of(*frames.shape[1:3], len(frames)), 0
    tensors = [2 * (torch.from_numpy(frame).permute(2, 0, 1)[None].float() / 255) - 1 for frame in frames]
    for first, second in itertools.pairwise(tensors):
        # torchvision's forward upsamples each of its 20 predictions, as the reference does.
        lengths = torch.linalg.vector_norm(network(first, second, num_flow_updates=20)[-1], dim=1).flatten()
        moving += bool(lengths.topk(int(0.05 * len(lengths))).values.mean() > rule.threshold)
        if moving >= rule.needed:
            return 1.0
    return 0.0


def _aesthetic(runs: VBenchRuns) -> float:
    network = runs.store.network(LAION_AESTHETIC)
    frames = _floats(_decoded(runs.clip), bicubic_crop_224)
    return float(torch.cat([network.rate(batch) for batch in frames.split(32)]).mean()) / 10


def _imaging(runs: VBenchRuns) -> float:
    network = runs.store.network(MUSIQ_SPAQ)
    frames = _floats(_decoded(runs.clip), shrink)
    return float(torch.cat([network(musiq_input(frame[None])) for frame in frames]).mean()) / 100


STRIDE_STEP = int(np.diff(STRIDE.indices(np.arange(9) / 24.0, 24.0))[0])
DIMENSIONS: dict[str, Callable[[VBenchRuns], float]] = {
    "subject_consistency": _subject,
    "background_consistency": _background,
    "temporal_flickering": _flickering,
    "motion_smoothness": _motion,
    "dynamic_degree": _dynamic,
    "aesthetic_quality": _aesthetic,
    "imaging_quality": _imaging,
}
FIGURES = {
    "floor": floor_figures,
    "schedule": schedule_figures,
    "together": together_figures,
    "memory": memory_figures,
}
