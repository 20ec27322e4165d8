"""Whole runs: resuming, throughput, memory, and how fast the command line starts."""

from __future__ import annotations

import json
import shutil
import statistics
import subprocess
import sys
import time
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path

from figures import Figure
from material import MANIFEST, small_clips
from stopwatch import Rounds, take_turns

HEAVY = ("torch", "pandas", "scipy.stats", "cv2", "pyarrow", "av")


@lru_cache(maxsize=1)
def _runs(folder: Path, rounds: int) -> tuple[Rounds, Rounds, int, float]:
    """First and repeated runs over the shipped clips; number of clips and seconds of video."""
    from avbench import load_source, score_clips

    out = folder / "run"
    bounce = [clip for clip in load_source(MANIFEST).clips if clip.clip_id == "bounce"]
    score_clips(bounce, folder / "warm")  # imports and first calls are paid here
    score_clips(bounce, folder / "warm")

    def first_run() -> None:
        shutil.rmtree(out, ignore_errors=True)
        score_clips(MANIFEST, out)

    first = take_turns({"first": first_run}, rounds)
    clips = score_clips(MANIFEST, out).clips
    again = take_turns({"again": lambda: score_clips(MANIFEST, out)}, 5)
    return first, again, len(clips), float(clips["duration"].sum())


def resume_figures(folder: Path, rounds: int) -> list[Figure]:
    """A complete run scored again into the same folder, against the first run."""
    first, again, n_clips, _ = _runs(folder, rounds)
    value = first.median("first") / again.median("again")
    detail = {"clips": n_clips, "first": first.as_dict(), "again": again.as_dict()}
    disturbed = first.disturbed or again.disturbed
    return [Figure("resume: first run / same run again", value, bound=50.0, disturbed=disturbed, detail=detail)]


def throughput_figures(folder: Path, rounds: int) -> list[Figure]:
    """The quick suite on the shipped clips, one process; for information."""
    timed, _, n_clips, seconds = _runs(folder, rounds)
    first = timed.median("first")
    detail = {"clips": n_clips, "seconds_of_video": round(seconds, 2), "seconds": round(first, 3)}
    names = ("quick suite: clips per second", "quick suite: seconds of video per second")
    values = zip(names, (n_clips / first, seconds / first), strict=True)
    return [Figure(name, value, "1/s", disturbed=timed.disturbed, detail=detail) for name, value in values]


def memory_figures(folder: Path, rounds: int) -> list[Figure]:
    """Peak memory of a run over 1,000 small clips against one over 100."""
    manifests = {count: small_clips(folder / f"small_{count}", count) for count in (100, 1000)}
    return [peak_ratio("memory", manifests, folder, rounds)]


def peak_ratio(
    name: str, manifests: dict[int, Path], folder: Path, rounds: int, arguments: Sequence[str] = ()
) -> Figure:
    """Peak memory of a run over many clips by that of a run over few; one manifest for each count of clips.

    `arguments` go to `peak_memory.py`.
    """
    child = Path(__file__).with_name("peak_memory.py")
    peaks: dict[int, float] = {}
    for count, manifest in manifests.items():
        measured = []
        for repeat in range(rounds):
            out = folder / f"memory_{count}_{repeat}_{len(arguments)}"
            command = [sys.executable, str(child), str(manifest), str(out), *arguments]
            output = subprocess.run(command, capture_output=True, text=True, check=True).stdout
            measured.append(int(output.split()[-1]) / 2**20)
            _check_all_computed(out, count)
        peaks[count] = statistics.median(measured)
    few, many = sorted(peaks)
    detail = {f"MiB_{count}_clips": round(peak, 1) for count, peak in peaks.items()}
    label = f"{name}: peak of {many:,} clips / of {few}"
    return Figure(label, peaks[many] / peaks[few], "x", "<=", 1.05, detail=detail)


def _check_all_computed(out: Path, count: int) -> None:
    with (out / "clips.jsonl").open(encoding="utf-8") as file:
        shas = {json.loads(line)["clip_sha256"] for line in file}
    assert len(shas) == count, f"{len(shas)} of {count} clips were computed; the others were reused"


def cli_figures(folder: Path, rounds: int) -> list[Figure]:
    """`avbench --help`: wall time, and heavy packages that it imports."""
    command = [sys.executable, "-m", "avbench", "--help"]
    subprocess.run(command, capture_output=True, check=True)  # compiles and reads the files once
    seconds = []
    for _ in range(7):
        start = time.perf_counter()
        subprocess.run(command, capture_output=True, check=True)
        seconds.append(time.perf_counter() - start)
    code = (
        "import sys; from avbench.cli import app; app(['--help'], standalone_mode=False); "
        f"print(); print(','.join(n for n in {HEAVY!r} if n in sys.modules) or 'none')"
    )
    output = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    heavy = [name for name in output.splitlines()[-1].split(",") if name != "none"]
    return [
        Figure("avbench --help: wall time", statistics.median(seconds), "s", "<=", 0.5),
        Figure("avbench --help: heavy imports", len(heavy), "", "<=", 0, detail={"checked": HEAVY, "found": heavy}),
    ]
