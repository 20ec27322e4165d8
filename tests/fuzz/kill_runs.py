"""Kill and interrupt runs at random moments, go on, and compare with an undisturbed run.

    python tests/fuzz/kill_runs.py --kills 20 --signals 10

Each run scores 40 drawn clips (`--clips` takes a folder) with one worker and with two by turns, is ended at a random
moment, and is started again. After every end: no process of it is left after five seconds, no temporary folder after a
signal, and a signal gives its line and its exit code. At the end the table equals the undisturbed one in every column
but run_id and seconds. Prints one line for each run; exit code 1 with what went wrong at the first that differs.
"""

from __future__ import annotations

import argparse
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pandas as pd
from pandas.testing import assert_frame_equal

sys.path.insert(0, str(Path(__file__).parents[1]))

from fuzz.results_file import add_option, save
from synthetic import draw_frames, draw_sound, write_clip

LINE = "avbench: interrupted. Scores so far are kept; the same command goes on from here.\n"
SIGNALS = (signal.SIGTERM, signal.SIGHUP, signal.SIGINT)


def command(clips: Path, out: Path, metrics: str, workers: int) -> list[str]:
    """The run."""
    words = ["-m", "avbench", "score", clips, "-o", out, "-m", metrics, "-w", workers, "--quiet", "--no-html"]
    return [sys.executable, *map(str, words)]


def draw_clips(folder: Path, count: int = 40) -> Path:
    """Clips of 1 s that take long enough to be ended in the middle of one; the folder."""
    folder.mkdir()
    for seed in range(count):
        frames, sound = draw_frames(seed, seconds=1.0, size=(192, 256)), draw_sound(seed, seconds=1.0)
        write_clip(folder / f"drawn_{seed}.mp4", frames, sound)
    return folder


def members(group: int) -> list[str]:
    """Processes of a group that have not ended."""
    listed = subprocess.run(["ps", "-eo", "pgid=,stat=,args="], capture_output=True, text=True, check=True).stdout
    rows = [line.split(None, 2) for line in listed.splitlines()]
    return [" ".join(row) for row in rows if row[0] == str(group) and not row[1].startswith("Z")]


def count_rows(out: Path) -> int:
    """Rows that a run has written so far."""
    log = out / "scores.jsonl"
    return log.read_bytes().count(b"\n") if log.exists() else 0


def end(words: list[str], out: Path, rows: int, delay: float, number: int) -> str:
    """Start a run and end it so long after it has written so many rows; what became of it."""
    process = subprocess.Popen(
        words, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, start_new_session=True
    )
    while count_rows(out) < rows and process.poll() is None:
        time.sleep(0.01)
    time.sleep(delay)
    # A key and a hangup reach all processes of the terminal; a kill and a scheduler's signal the first one.
    if process.poll() is None:  # else its id may be another's by now
        (os.killpg if number in (signal.SIGINT, signal.SIGHUP) else os.kill)(process.pid, number)
    ended = time.monotonic()
    try:
        _, stderr = process.communicate(timeout=60)
        while (left := members(process.pid)) and time.monotonic() < ended + 5:
            time.sleep(0.1)
        assert not left, f"left after five seconds: {left}"
        if process.returncode == 0:
            return "complete before the signal"
        if number != signal.SIGKILL:
            # Before the first line of avbench, the signal does what it does to Python.
            early = not out.exists() and process.returncode == -number
            assert early or process.returncode == 128 + number, f"exit code {process.returncode}: {stderr}"
            assert early or stderr == LINE, stderr
            assert not list(out.glob(".spool-*")), "a temporary folder is left"
        return f"{count_rows(out)} rows, ended {time.monotonic() - ended:.2f} s later"
    finally:
        for _ in members(process.pid)[:1]:
            os.killpg(process.pid, signal.SIGKILL)


def table(run: Path) -> pd.DataFrame:
    """All columns that must not depend on how a run went."""
    return pd.read_parquet(run / "scores.parquet").drop(columns=["run_id", "seconds"])


def main() -> int:
    """Run as a script."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--signals", type=int, default=10)
    parser.add_argument("--clips", type=Path)
    parser.add_argument("--metrics", default="loudness,sharpness,av_align")
    parser.add_argument("--seed", type=int, default=0)
    add_option(parser)
    chosen = parser.parse_args()
    begin = time.monotonic()
    generator = random.Random(chosen.seed)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        clips = chosen.clips or draw_clips(folder / "clips")
        subprocess.run(command(clips, folder / "whole", chosen.metrics, 2), check=True)
        expected = table(folder / "whole")
        numbers = [signal.SIGKILL] * chosen.kills + [SIGNALS[i % len(SIGNALS)] for i in range(chosen.signals)]
        for index, number in enumerate(numbers):
            out, workers = folder / f"run{index}", 1 + index % 2
            words = command(clips, out, chosen.metrics, workers)
            # Some while Python starts, before the first row.
            rows, delay = max(0, generator.randrange(-3, len(expected))), generator.uniform(0.0, 2.0)
            report = end(words, out, rows, delay, number)
            subprocess.run(words, check=True)
            assert_frame_equal(table(out), expected, check_exact=True)
            print(
                f"{signal.Signals(number).name}, {workers} workers, {delay:.2f} s after {rows} rows: {report}",
                flush=True,
            )
            assert not list(out.glob(".spool-*"))
            shutil.rmtree(out)
    figures = {"seed": chosen.seed, "kills": chosen.kills, "signals_sent": chosen.signals, "rows": len(expected)}
    seconds = {"seconds": round(time.monotonic() - begin, 1)}
    save(chosen.results, "kills", figures | seconds | {"orphans": 0, "tables_that_differ": 0})
    print(f"{chosen.kills} kills and {chosen.signals} signals: same tables of {len(expected)} rows, nothing left")
    return 0


if __name__ == "__main__":
    sys.exit(main())
