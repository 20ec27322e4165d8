"""The crowd from pretraining to evaluation, as a user runs it."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

SMALL = ("run.steps=2", "prompts.groups=1", "prompts.group_size=2", "sampling.steps=4", "run.probe_every=1")


def command(*arguments: object, code: int = 0) -> subprocess.CompletedProcess[str]:
    done = subprocess.run(
        [sys.executable, "-m", "omninft_train", *map(str, arguments)], capture_output=True, text=True, timeout=300
    )
    assert done.returncode == code, done.stderr[-2000:]
    return done


@pytest.mark.slow
def test_pretrain_train_and_evaluate(tmp_path: Path):
    sizes = ("--out", tmp_path / "base", "--world", "crowd", "--steps", 2)
    weights = command("pretrain", *sizes).stdout.strip()
    assert Path(weights).name.startswith("crowd-")
    settings = [part for text in (*SMALL, f"backbone.path={weights}") for part in ("--set", text)]
    run = tmp_path / "run"
    command("train", "--backbone", "crowd", "--recipe", "omninft", "--out", run, *settings)
    rows = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    assert len(rows) == 2
    assert {f"reward_{name}_mean" for name in ("picture", "motion", "sound", "sync")} <= rows[1].keys()
    assert len(rows[1]["gradient_by_depth"]["audio"]) == 4
    command("evaluate", run, "--out", tmp_path / "e.json", "--samples", 1, "--steps", 2)
    found = json.loads((tmp_path / "e.json").read_text())
    assert len(found["prompts"]) == 8
    assert {"picture", "motion", "sound", "sync", "av_align", "speed", "silent_sync"} <= found["metrics"].keys()
    assert 0 < found["sets"]["video_gradient_in_audio_with_surgery"] < found["sets"]["video_gradient_in_audio"]
    assert {"weight_on_sounding", "attention_on_sounding", "attention_on_silent"} <= found["sets"].keys()

    other = command("train", "--recipe", "omninft", "--out", tmp_path / "other", *settings, code=2)
    assert "pretrained in the world 'crowd', and the backbone is 'miniature'" in other.stderr
    assert "unknown world 'crowed' (--world). Did you mean crowd?" in command(
        "pretrain", "--out", tmp_path, "--world", "crowed", code=2
    ).stderr  # fmt: skip
