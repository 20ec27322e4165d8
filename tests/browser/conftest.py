"""The four pages, small, and a browser that opens them."""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
import wave
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from chromium import chromium

from avbench.clips import Category, Clip, clip_digest
from avbench.leaderboard import render_all
from avbench.report.html import write_report
from avbench.results import ClipRow, RunFolder, ScoreRow, load_run

REPOSITORY = Path(__file__).parent.parent.parent
EVIL = "</script><script>window.__pwned=1</script><img src=x onerror='window.__pwned=1'> 🎬 مرحبا"
LOG = REPOSITORY / "benchmarks" / "results" / "miniature" / "omninft-routing-surgery-0.jsonl"


@pytest.fixture(scope="session")
def browser() -> Iterator[Any]:
    """One Chromium for all tests."""
    with chromium() as program:
        yield program


@pytest.fixture(scope="session")
def pages(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """The pages by name; texts of strangers in all of them try to run."""
    folder = tmp_path_factory.mktemp("pages")
    report = write_report(load_run(synthetic_run(folder)), folder / "report.html")
    leaderboard = folder / "leaderboards.html"
    leaderboard.write_bytes(render_all(REPOSITORY / "leaderboards")[leaderboard.name])
    return {
        "report": report,
        "leaderboard": leaderboard,
        "ablation": ablation_page(folder / "ablation"),
        "training": training_page(folder),
    }


def write_video(path: Path, seconds: float = 2.0) -> None:
    import av

    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=24)
        stream.width, stream.height, stream.pix_fmt = 160, 96, "yuv420p"
        for i in range(int(24 * seconds)):
            picture = np.full((96, 160, 3), 40, np.uint8)
            picture[20:60, (i * 3) % 120 : (i * 3) % 120 + 30] = 220
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        container.mux(stream.encode(None))


def write_sound(path: Path, seconds: float = 2.0) -> None:
    tone = np.sin(np.arange(int(16000 * seconds)) * 2 * np.pi * 440 / 16000)
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(16000)
        file.writeframes((tone * 8000).astype("<i2").tobytes())


def score(clip: str, metric: str, value: float | None, model: str, **other: Any) -> ScoreRow:
    status: Any = "ok" if value is not None else "error"
    reason = "" if value is not None else f"cannot decode {EVIL}"
    return ScoreRow(
        1, "r1", model, "none", "1", "clip", clip, f"sha-{clip}", None, 0, metric, value, status, reason, 1, "p",
        "none", 0.1, **other,
    )  # fmt: skip


def synthetic_run(folder: Path) -> Path:
    write_video(folder / "clip.mp4")
    write_sound(folder / "clip.wav")
    curves = {
        "rate_wave": 50.0,
        "wave": [0.2, 0.9] * 50,
        "onset_rate": 50.0,
        "onset": [0.0, 0.7] * 50,
        "motion_rate": 24.0,
        "motion": [0.1, 0.6] * 24,
        "audio_start": 0.0,
        "video_start": 0.0,
        "onset_times": [0.6, 1.2, 1.7],
        "offset": 0.48,
        "confidence": 0.7,
    }
    names = ["alpha", "beta", EVIL, "delta"]
    content = [hashlib.sha256((folder / name).read_bytes()).digest() for name in ("clip.mp4", "clip.wav")]
    models = dict(zip(names, ("one", "one", EVIL, EVIL), strict=True))
    clips = [
        ClipRow(
            name, models[name], 0, None, EVIL if i else "a ball bounces", None, None, str(folder / "clip.mp4"),
            str(folder / "clip.wav") if name == "beta" else None,
            clip_digest(content if name == "beta" else content[:1]),
        )
        for i, name in enumerate(names)
    ]  # fmt: skip
    aligned = zip(names, (0.5, 0.1, None, 0.9), strict=True)
    rows = [score(name, "av_align", value, models[name]) for name, value in aligned]
    rows += [
        score("beta", "av_offset", 0.48, "one", detail=json.dumps(curves)),
        score("alpha", "av_offset", 0.02, "one"),
    ]
    rows += [score(name, f"metric_{k}", 0.1 * k + i, models[name]) for k in range(9) for i, name in enumerate(names)]
    facts = {"av_align": {"unit": "1", "higher_is_better": True, "range": [0, 1], "family": "sync", "summary": EVIL}}
    labels = [Category("Sound", EVIL), Category("Sound", "Music")]
    sources = [Clip(name, folder / "clip.mp4", categories=(labels[i % 2],)) for i, name in enumerate(names)]
    info = {
        "schema_version": 1, "source": f"synthetic {EVIL}", "metrics": facts, "notes": [EVIL],
        "command": f"avbench score {EVIL} --out {'long ' * 40}", "environment": {"python": EVIL},
    }  # fmt: skip
    with RunFolder(folder / "run") as run:
        run.write_json("run.json", info)
        run.write_tables(rows, clips, sources)
    return folder / "run"


def ablation_page(folder: Path) -> Path:
    """An ablation whose trainer answers in milliseconds."""
    from ..omninft_train.ablation.conftest import FAKE, GRID

    folder.mkdir()
    text = GRID.replace("FAKE", str(FAKE)).replace("seeds = [0, 1, 2]", "seeds = [0, 1]").replace("Tiny", EVIL)
    (folder / "grid.toml").write_text(text.replace("run.steps = 4", "run.steps = 24"), encoding="utf-8")
    command = [sys.executable, "-m", "avbench", "ablate", "--grid", "grid.toml", "--out", "out", "-q"]
    subprocess.run(command, cwd=folder, check=True, timeout=300)
    return folder / "out" / "report.html"


def training_page(folder: Path) -> Path:
    """The page of a training whose log is in the repository."""
    from omninft_train.report import ClipPair, Overlay, Report, ScoreRow, write_report

    rng = np.random.default_rng(0)
    log = [json.loads(line) for line in LOG.read_text(encoding="utf-8").splitlines()]
    clip = folder / "clip.mp4"
    scores = [("picture", 0.25, 0.75), (EVIL, 0.4321, None)]
    frames = [rng.integers(0, 255, (24, 32, 3)).astype(np.uint8) for _ in range(6)]
    report = Report(
        title=f"Training {EVIL}",
        recipe="omninft-routing-surgery",
        seed=0,
        config_toml=f"# {EVIL}\n[run]\nsteps = 60\n",
        log=log,
        pairs=[ClipPair(EVIL, clip, clip, scores), ClipPair("a ball", clip, folder / "gone.mp4", scores)],
        scores=[
            ScoreRow("picture", True, 0.5125, 0.6375, 0.01, 0.02, 48, True),
            ScoreRow("impact_distance", False, 1.25, 1.75, 0.05, 0.05, 47, False),
            ScoreRow("speed", False, None, 3.5, None, 0.25, 46, None),
        ],
        overlays=[Overlay(EVIL, frames, [1 + 0.5 * rng.random((4, 4)) for _ in frames], 1.5)],
        notes=[EVIL],
    )
    return write_report(report, folder / "training.html")
