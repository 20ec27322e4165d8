"""Thousands of damaged media files through `avbench clips` and `avbench score`.

    python tests/fuzz/fuzz_media.py --files 4000 --seed 1 --out runs/fuzz

Every folder of files runs in child processes that may take 6 GB of address space. What must hold: the exit code is 0
or 3, nothing prints a traceback, each clip has a row for each metric, no reason is an internal error, and no clip
takes longer than 15 s. Exit code 1 when something does not; the files concerned are kept.
"""

from __future__ import annotations

import argparse
import csv
import json
import random
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from fuzz.results_file import add_option, endings, save
from mutate import base_sounds, base_videos, damaged

METRICS = ("sharpness", "loudness", "av_offset", "duration_mismatch")
ADDRESS_SPACE = 6 * 10**9
SECONDS_PER_CLIP = 15
START_S = 60  # of a process, on a busy machine
SIDECARS = 0.25


@dataclass
class Result:
    """What came of all files: rows by status, and findings with the folder and clip concerned."""

    files: int = 0
    clips: int = 0
    rows: Counter[str] = field(default_factory=Counter)
    findings: list[str] = field(default_factory=list)
    slowest_s: float = 0.0


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--files", type=int, default=4000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--per-folder", type=int, default=100)
    parser.add_argument("--workers", type=int, default=1, help="of `avbench score`")
    parser.add_argument("--out", type=Path, default=Path("runs/fuzz"))
    add_option(parser)
    options = parser.parse_args()
    result, start = Result(), time.monotonic()
    shutil.rmtree(options.out, ignore_errors=True)
    (options.out / "bases").mkdir(parents=True)
    videos, sounds = base_videos(options.out / "bases"), base_sounds(options.out / "bases")
    for number, first in enumerate(range(0, options.files, options.per_folder)):
        folder = options.out / f"{number:03}"
        count = min(options.per_folder, options.files - first)
        clips = write_folder(folder, videos, sounds, count, random.Random(f"{options.seed}:{number}"))
        found = len(result.findings)
        check_folder(folder, clips, options.workers, result)
        result.files += count
        print(f"{result.files} files, {time.monotonic() - start:.0f} s, {len(result.findings)} findings", flush=True)
        if len(result.findings) == found:
            shutil.rmtree(folder)
    report = {
        "files": result.files,
        "clips": result.clips,
        "seconds": round(time.monotonic() - start, 1),
        "slowest_folder_s_per_clip": round(result.slowest_s, 3),
        "rows": dict(result.rows),
        "findings": result.findings,
    }
    (options.out / "fuzz.json").write_text(json.dumps(report, indent=2) + "\n")
    print(json.dumps(report, indent=2))
    save(options.results, "media", {"seed": options.seed, **report, **endings(result.findings)})
    sys.exit(bool(result.findings))


def write_folder(
    folder: Path, videos: dict[str, bytes], sounds: dict[str, bytes], files: int, rng: random.Random
) -> list[str]:
    """Damaged files and a manifest; some clips are a good video with a damaged sound file. Returns the clip ids."""
    folder.mkdir()
    bases, others, rows = videos | sounds, [*videos.values(), *sounds.values()], []
    for index in range(files):
        if rng.random() < SIDECARS:
            name = rng.choice(list(sounds))
            video, audio = f"{index:03}.h264.mp4", f"{index:03}.{name}"
            (folder / video).write_bytes(videos["h264.mp4"])
            (folder / audio).write_bytes(damaged(sounds[name], others, rng))
        else:
            name = rng.choice(list(bases))
            video, audio = f"{index:03}.{name}", ""
            (folder / video).write_bytes(damaged(bases[name], others, rng))
        rows.append((video, video, audio))
    write_manifest(folder, rows)
    return [row[0] for row in rows]


def write_manifest(folder: Path, rows: list[tuple[str, str, str]]) -> None:
    with (folder / "manifest.csv").open("w", newline="") as file:
        csv.writer(file).writerows([("clip_id", "video", "audio"), *rows])


def check_folder(folder: Path, clips: list[str], workers: int, result: Result) -> None:
    """Both commands on a folder; a clip that ends or hangs a process is noted and left out of the next try."""
    manifest = folder / "manifest.csv"
    result.clips += len(clips)
    start = time.monotonic()
    problem, _ = run_command(["clips", str(manifest), "--json"], len(clips), (0,))
    if problem:
        result.findings.append(f"clips {folder}: {problem}")
    left = list(clips)
    while left:
        limit = f"seconds_per_clip={SECONDS_PER_CLIP}"
        arguments = ["score", str(manifest), "-m", ",".join(METRICS), "-o", str(folder / "run"), "--limit", limit]
        problem, ended = run_command([*arguments, "--workers", str(workers), "--no-html", "-q"], len(left), (0, 3))
        rows = read_rows(folder / "run")
        if not ended:
            if problem:
                result.findings.append(f"score {folder}: {problem}")
            break
        culprit = next((clip for clip in left if (clip, METRICS[0]) not in rows), "?")
        result.findings.append(f"score {folder / culprit}: {problem}")
        left = leave_out(folder, culprit) if culprit != "?" else []
    result.slowest_s = max(result.slowest_s, (time.monotonic() - start) / len(clips))
    check_rows(folder, left, rows, result)


def run_command(arguments: list[str], clips: int, codes: tuple[int, ...]) -> tuple[str | None, bool]:
    """What was wrong with the command, and whether a signal or the clock ended it."""
    command = [sys.executable, "-m", "avbench", *arguments]
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, timeout=START_S + SECONDS_PER_CLIP + 2 * clips, preexec_fn=_confine
        )
    except subprocess.TimeoutExpired:
        return "a clip hangs", True
    if done.returncode < 0:
        return f"ended by {signal.Signals(-done.returncode).name}", True
    printed = done.stdout + done.stderr
    if "Traceback" in printed or done.returncode not in codes:
        return f"exit code {done.returncode}: {printed[-2000:]}", False
    return None, False


def _confine() -> None:
    import resource

    resource.setrlimit(resource.RLIMIT_AS, (ADDRESS_SPACE, ADDRESS_SPACE))


def leave_out(folder: Path, clip: str) -> list[str]:
    with (folder / "manifest.csv").open(newline="") as file:
        rows = [row for row in csv.reader(file) if row[0] != clip]
    write_manifest(folder, [(row[0], row[1], row[2]) for row in rows[1:]])
    return [row[0] for row in rows[1:]]


def read_rows(run: Path) -> dict[tuple[str, str], dict[str, str]]:
    path = run / "scores.jsonl"
    lines = path.read_text(encoding="utf-8").splitlines() if path.exists() else []
    rows = [json.loads(line) for line in lines if line.endswith("}")]
    return {(row["clip_id"], row["metric"]): row for row in rows}


def check_rows(folder: Path, clips: list[str], rows: dict[tuple[str, str], dict[str, str]], result: Result) -> None:
    for clip in clips:
        for metric in METRICS:
            row = rows.get((clip, metric))
            result.rows[row["status"] if row else "missing"] += 1
            reason = row["reason"] if row else "no row"
            wrong = row is None or "internal error" in reason or "seconds_per_clip" in reason or str(folder) in reason
            if wrong or (row and row["status"] == "error" and not reason):
                result.findings.append(f"score {folder / clip} {metric}: {reason}")


if __name__ == "__main__":
    main()
