"""Runs on Ray beside local ones: small clips, the command, and what has to be equal of two run folders."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pandas as pd
from synthetic import draw_frames, draw_sound, write_clip

from avbench import load_run

TESTS = Path(__file__).parent
COLUMNS = ["clip_id", "metric", "value", "status", "reason", "detail", "clip_sha256", "params_digest", "weights_digest"]
NAMES = "sharpness,loudness,av_offset"


def write_clips(folder: Path, count: int) -> Path:
    """Clips of half a second, and one file that is no clip."""
    folder.mkdir(parents=True)
    for seed in range(count):
        write_clip(
            folder / f"c{seed:02}.mp4", draw_frames(seed, seconds=0.5, size=(48, 64)), draw_sound(seed, seconds=0.5)
        )
    (folder / "broken.mp4").write_bytes(b"no clip")
    return folder


def command(clips: Path | str, out: Path, *options: object, metrics: str = NAMES) -> list[str]:
    """The run."""
    words = ["score", clips, "-o", out, "-m", metrics, "--quiet", "--no-html", "--max-failed", 99, *options]
    return [sys.executable, "-m", "avbench", *map(str, words)]


def environment(address: str = "") -> dict[str, str]:
    """Of a run on the cluster at `address`, or on one of its own; metrics of tests can be imported."""
    own = {name: value for name, value in os.environ.items() if name != "RAY_ADDRESS"}
    return own | {"PYTHONPATH": str(TESTS), "OMP_NUM_THREADS": "1"} | ({"RAY_ADDRESS": address} if address else {})


def run(words: list[str], address: str = "") -> subprocess.CompletedProcess[str]:
    """The command, ended."""
    return subprocess.run(words, env=environment(address), capture_output=True, text=True, timeout=300, check=False)


def table(out: Path) -> pd.DataFrame:
    """What does not depend on who scored, and when."""
    return load_run(out).scores[COLUMNS].sort_values(["clip_id", "metric"]).reset_index(drop=True)
