"""What a run over many clips costs beside decoding and networks: prints a table of seconds and peak memory.

    python benchmarks/measure_scale.py 100 1000 10000

The clips are small files of random bytes and their scores are drawn, so that nothing is decoded: what is left is
planning, hashing, resuming, compaction, summary, `avbench check` and `avbench report`. Each stage is a process of its
own. 100,000 clips with 16 metrics need 4 GB of disk and some minutes of one core.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from peak_memory import peak_bytes

from avbench.check import compare_runs
from avbench.clips import Category, Clip, Prompt
from avbench.leaderboard import About, measured_rows
from avbench.metrics.base import Score, get_scorers
from avbench.report.html import write_report
from avbench.results import RunFolder, load_run
from avbench.run.content import read_content
from avbench.run.jobs import ClipJob, RunContext
from avbench.run.merge import merge_runs
from avbench.run.options import RunOptions
from avbench.run.rows import clip_row, score_row
from avbench.run.runner import run_source
from avbench.shards import Shard
from avbench.sources import Source
from avbench.suites import Suite

METRICS = (
    "duration_mismatch", "start_offset", "black_share", "blockiness", "colourfulness", "exposure", "frozen_share",
    "motion_energy", "sharpness", "shot_cuts", "temporal_flickering", "bandwidth", "clipped_share", "loudness",
    "silence_share", "true_peak",
)  # fmt: skip
SUITE = Suite("scale", "", METRICS)
SHARDS = 4
CLIP_BYTES = 4096
BATCH = 1000


def make_source(root: Path, count: int) -> Source:
    """Clips of four samples for each prompt, with two labels each; the files are there after `write_record`."""
    clips = [
        Clip(
            f"{index:06}",
            root / f"{index // 1000:03}" / f"{index:06}.mp4",
            prompt=Prompt(f"A drawn clip, number {index // 4}, that moves and sounds.", prompt_id=str(index // 4)),
            categories=(Category("Kind", str(index // 4 % 5)), Category("Sound", str(index // 4 % 3))),
            sample_index=index % 4,
        )
        for index in range(count)
    ]  # fmt: skip
    return Source(root, "manifest", tuple(clips), "drawn")


def write_record(source: Source, path: Path, seed: int) -> None:
    """The files of all clips, and a record as a run leaves it that was killed before its tables."""
    rng = np.random.default_rng(seed)
    context = RunContext("drawn", SUITE.name, SUITE.version, root=source.root)
    scorers = get_scorers(METRICS)
    with RunFolder(path) as folder:
        for start in range(0, len(source.clips), BATCH):
            rows = []
            for clip in source.clips[start : start + BATCH]:
                if not clip.video.exists():
                    clip.video.parent.mkdir(parents=True, exist_ok=True)
                    clip.video.write_bytes(rng.bytes(CLIP_BYTES))
                job = ClipJob(clip, read_content(clip), METRICS, context)
                folder.append_clip(replace(clip_row(clip, job.sha256, source.root), duration=5.0, frames=120))
                values = rng.random(len(scorers))
                rows += [score_row(job, s, Score.ok(v, frames=120), 0.01) for s, v in zip(scorers, values, strict=True)]
            folder.append(rows)


def tables(folder: Path, count: int) -> None:
    """A run whose scores are all there: planning, compaction and summary."""
    outcome = run_source(make_source(folder / "clips", count), SUITE, folder / "run", RunOptions())
    assert outcome.reused == count * len(METRICS), outcome


def make(folder: Path, count: int) -> None:
    """The record that the other stages read, and a second run to compare with."""
    source = make_source(folder / "clips", count)
    for seed, name in enumerate(("run", "base")):
        write_record(source, folder / name, seed)


def base(folder: Path, count: int) -> None:
    """The tables of the second run."""
    run_source(make_source(folder / "clips", count), SUITE, folder / "base", RunOptions())


def check(folder: Path, count: int) -> None:
    """`avbench check` of two runs."""
    compare_runs(folder / "run", folder / "base")


def report(folder: Path, count: int) -> None:
    """`avbench report`."""
    write_report(load_run(folder / "run", slim=True), embed="never")


def add(folder: Path, count: int) -> None:
    """What `avbench leaderboard add` reads of a run."""
    assert len(measured_rows(load_run(folder / "run", slim=True), About("drawn", "none"))) == len(METRICS)


def shards(folder: Path, count: int) -> None:
    """Shards of the run, each with its part of the record."""
    source = make_source(folder / "clips", count)
    for index in range(1, SHARDS + 1):
        part = source.take(Shard(index, SHARDS))
        write_record(part, folder / f"shard-{index}", index)
        run_source(part, SUITE, folder / f"shard-{index}", RunOptions())


def merge(folder: Path, count: int) -> None:
    """`avbench merge` of them."""
    merge_runs([folder / f"shard-{index}" for index in range(1, SHARDS + 1)], folder / "merged")


STAGES: dict[str, Callable[[Path, int], None]] = {
    "make": make, "tables": tables, "resume": tables, "base": base, "check": check, "report": report, "add": add,
    "shards": shards, "merge": merge,
}  # fmt: skip
SHOWN = ("tables", "resume", "check", "report", "add", "merge")


def measure(stage: str, folder: Path, count: int) -> dict[str, Any]:
    """Seconds and peak memory of one stage in a process of its own, imports included."""
    start = time.perf_counter()
    done = subprocess.run(
        [sys.executable, __file__, "--stage", stage, str(folder), str(count)], stdout=subprocess.PIPE, check=True
    )
    return {"seconds": time.perf_counter() - start, "bytes": int(done.stdout)}


def main(counts: list[int], names: list[str]) -> None:
    """Measure all stages for these numbers of clips."""
    print(f"| clips x {len(METRICS)} metrics | stage | s | ms per clip | peak MB |\n|---|---|---|---|---|")
    for count in counts:
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name)
            for stage in names:
                measured = measure(stage, folder, count)
                if stage in SHOWN:
                    seconds = measured["seconds"]
                    figures = f"{seconds:.1f} | {seconds / count * 1000:.2f} | {measured['bytes'] / 1e6:.0f}"
                    print(f"| {count:,} | {stage} | {figures} |", flush=True)
            page = folder / "run" / "report.html"
            if page.exists():
                print(f"| {count:,} | report.html | {page.stat().st_size / 1e6:.1f} MB | | |", flush=True)


if __name__ == "__main__":
    if sys.argv[1] == "--stage":
        STAGES[sys.argv[2]](Path(sys.argv[3]), int(sys.argv[4]))
        print(peak_bytes())
    else:
        wanted = [text for text in sys.argv[1:] if text in STAGES] or list(STAGES)
        main([int(text) for text in sys.argv[1:] if text.isdigit()], wanted)
