"""`omninft-train miniature` from nothing to the page, as a user runs it."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

SMALL = ("run.steps=2", "prompts.groups=1", "prompts.group_size=2", "sampling.steps=3", "run.probe_every=1")


def command(out: Path, *more: str) -> list[str]:
    settings = [part for text in SMALL for part in ("--set", text)]
    sizes = ["--pretraining-steps", "2", "--samples", "1"]
    return [sys.executable, "-m", "omninft_train", "miniature", "--out", str(out), *sizes, *settings, *more]


@pytest.mark.slow
def test_everything_in_one_command_and_again_from_what_is_there(tmp_path: Path) -> None:
    done = subprocess.run(command(tmp_path), capture_output=True, text=True, check=False, timeout=600)
    assert done.returncode == 0, done.stderr[-2000:]
    assert done.stdout.strip() == str(tmp_path / "report.html")
    assert "step 1  loss" in done.stderr
    page = (tmp_path / "report.html").read_text(encoding="utf-8")
    for text in ("av_align", "impact_distance", "sync", "conflict", "data:video/mp4"):
        assert text in page
    before = json.loads((tmp_path / "before.json").read_text())
    assert before["role"] == "reference" and len(before["metrics"]["sync"]["values"]) == 16
    assert before["metrics"]["sync"]["rewarded"] and not before["metrics"]["speed"]["rewarded"]
    assert len(list((tmp_path / "clips").glob("*.mp4"))) >= 10

    weights = next((tmp_path / "pretraining").rglob("*.safetensors"))
    stamp = weights.stat().st_mtime_ns
    again = subprocess.run(command(tmp_path), capture_output=True, text=True, check=False, timeout=600)
    assert again.returncode == 0, again.stderr[-2000:]
    assert weights.stat().st_mtime_ns == stamp and "loss" not in again.stderr
    assert (tmp_path / "report.html").read_text(encoding="utf-8") == page
