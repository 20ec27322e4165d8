"""The four pages, small."""

from __future__ import annotations

import hashlib
import json
import wave
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from avbench.clips import Category, Clip, clip_digest
from avbench.leaderboard import render_all
from avbench.report.html import write_report
from avbench.results import ClipRow, RunFolder, ScoreRow, load_run

REPOSITORY = Path(__file__).parent.parent.parent
EVIL = "</script><script>window.__pwned=1</script><img src=x onerror='window.__pwned=1'> 🎬 مرحبا"


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
    lips = {
        "faces": [
            {"begin_s": 0.0, "end_s": 2.0, "boxes": [[120, 10, 150, 40]], "boxes_every_s": 2.0, "size_px": EVIL},
            {
                "begin_s": 0.4,
                "end_s": 1.8,
                "boxes": [[10 * i, 20, 10 * i + 40, 68] for i in range(1, 8)],
                "boxes_every_s": 0.2,
            },
        ],
        "chosen": 1,
        "framewise": [1.0, 4.0, 2.5, -0.5],
        "framewise_begin_s": 0.4,
        "framewise_every_s": 0.3,
    }
    words = {
        "reference": "go on",
        "hypothesis": f"go {EVIL.split()[0]}",
        "operations": [["equal", 0, 1, 0, 1], ["substitute", 1, 2, 1, 2]],
        "words": [{"text": "Go", "start": 0.2, "end": 0.4}, {"text": EVIL, "start": 1.1, "end": 1.5}],
    }
    names = ["alpha", "beta", EVIL, "delta"]
    content = [hashlib.sha256((folder / name).read_bytes()).digest() for name in ("clip.mp4", "clip.wav")]
    models = dict(zip(names, ("one", "one", EVIL, EVIL), strict=True))
    clips = [
        ClipRow(
            name, models[name], 0, None, EVIL if i else "a ball bounces", None, None, str(folder / "clip.mp4"),
            str(folder / "clip.wav") if name == "beta" else None,
            clip_digest(content if name == "beta" else content[:1]),
            width=160, height=96,
        )
        for i, name in enumerate(names)
    ]  # fmt: skip
    aligned = zip(names, (0.5, 0.1, None, 0.9), strict=True)
    rows = [score(name, "av_align", value, models[name]) for name, value in aligned]
    rows += [
        score("beta", "av_offset", 0.48, "one", detail=json.dumps(curves)),
        score("beta", "lse_c", 4.5, "one", detail=json.dumps(lips)),
        score("beta", "wer", 0.5, "one", detail=json.dumps(words)),
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
    """An ablation of drawn scores, whose trainings are logs of the repository."""
    import pandas as pd

    from omninft_train.ablation.collect import CLIP_COLUMNS, SET_COLUMNS, Results, Training
    from omninft_train.ablation.outcome import PAGE, write_outcome
    from omninft_train.ablation.reading import load_grid

    from ..omninft_train.ablation.conftest import GRID

    folder.mkdir()
    text = GRID.replace("seeds = [0, 1, 2]", "seeds = [0, 1]").replace("Tiny", EVIL).replace("+ vanilla", EVIL)
    (folder / "grid.toml").write_text(text, encoding="utf-8")
    grid = load_grid(folder / "grid.toml")
    rng = np.random.default_rng(0)
    gains = {"base": 0.0, "vanilla": 0.2, "routing": 0.5}
    pairs = [(variant, seed) for variant in gains for seed in grid.seeds]
    clips = [
        (variant, seed, metric, prompt, sample, rng.normal(gains[variant], 0.2))
        for variant, seed in pairs
        for metric in ("picture", "sound", "av_align")
        for prompt in range(8)
        for sample in range(2)
    ]
    sets = [(variant, seed, "distance", 1 - gains[variant] + 0.01 * seed) for variant, seed in pairs]
    logs = {"vanilla": "vanilla", "routing": "omninft-routing"}
    trainings = [
        Training(variant, seed, tuple(read_log(f"{logs[variant]}-{seed}.jsonl")), 300.0 + seed, 1.5)
        for variant, seed in pairs
        if variant in logs
    ]
    metrics = tuple(grid.metrics.values())
    results = Results(
        pd.DataFrame(clips, columns=list(CLIP_COLUMNS)), pd.DataFrame(sets, columns=list(SET_COLUMNS)), metrics,
        frozenset({"picture", "sound"}), tuple(trainings), (f"judged {EVIL}",), {}, {},
    )  # fmt: skip
    write_outcome(grid, folder / "out", results, f"avbench ablate --grid {EVIL}", folder)
    return folder / "out" / PAGE


def read_log(name: str) -> list[dict[str, Any]]:
    """The committed log of a training of the miniature."""
    path = REPOSITORY / "benchmarks" / "results" / "miniature" / name
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def training_page(folder: Path) -> Path:
    """The page of a training whose log is in the repository."""
    from avbench.statistics import Interval
    from omninft_train.report import ClipPair, Overlay, Report, ScoreRow, write_report

    rng = np.random.default_rng(0)
    clip = folder / "clip.mp4"
    scores = [("picture", 0.25, 0.75), (EVIL, 0.4321, None)]
    frames = [rng.integers(0, 255, (24, 32, 3)).astype(np.uint8) for _ in range(6)]
    report = Report(
        title=f"Training {EVIL}",
        recipe="omninft-routing-surgery",
        seed=0,
        config_toml=f"# {EVIL}\n[run]\nsteps = 60\n",
        log=read_log("omninft-routing-surgery-0.jsonl"),
        pairs=[ClipPair(EVIL, clip, clip, scores), ClipPair("a ball", clip, folder / "gone.mp4", scores)],
        scores=[
            ScoreRow("picture", True, 0.5125, 0.6375, Interval(0.125, 0.1, 0.15, 16), 48, True),
            ScoreRow("impact_distance", False, 1.25, 1.75, Interval(0.5, None, None, 3, "too few prompts"), 47, False),
            ScoreRow("speed", False, None, 3.5, None, 46, None),
        ],
        overlays=[Overlay(EVIL, frames, [1 + 0.5 * rng.random((4, 4)) for _ in frames], 1.5)],
        notes=[EVIL],
    )
    return write_report(report, folder / "training.html")
