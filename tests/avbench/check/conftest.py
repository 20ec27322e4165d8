"""Run folders with drawn scores: what `avbench score` writes, without clips."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from avbench.clips import Clip
from avbench.results import SCHEMA_VERSION, ClipRow, RunFolder, ScoreRow

METADATA = {
    "av_align": {"unit": "1", "higher_is_better": True, "version": 1, "params": {"window": 2}, "checkpoint": ""},
    "desync": {"unit": "s", "higher_is_better": False, "version": 1, "params": {}, "checkpoint": "synchformer"},
    "loudness": {"unit": "LUFS", "higher_is_better": None, "version": 1, "params": {}, "checkpoint": ""},
    "fvd": {"unit": "1", "higher_is_better": False, "version": 1, "params": {}, "checkpoint": "i3d"},
}


def write_run(
    path: Path,
    scores: Mapping[str, Any],
    *,
    samples: int = 1,
    prompts: list[str] | None = None,
    sets: Mapping[str, float | None] | None = None,
    info: Mapping[str, Any] | None = None,
    rows: Mapping[str, Mapping[str, Any]] | None = None,
    clips: Mapping[str, Any] | None = None,
) -> Path:
    """A finished run folder.

    Args:
        path: folder to make; its name makes the contents of the clips differ from other runs.
        scores: by metric, one value for each clip; NaN for a clip that was skipped.
        samples: clips for each prompt.
        prompts: ids; p0, p1, ... unless given.
        sets: values of metrics over sets.
        info: fields of run.json to set.
        rows: fields of all score rows to set, by metric.
        clips: fields of all clip rows to set; a function gets the prompt's id.
    """
    n = len(next(iter(scores.values())))
    names = prompts or [f"p{number}" for number in range(n // samples)]
    keys = [(name, index) for name in names for index in range(samples)]
    assert len(keys) == n
    sha = {key: f"{path.name}-{key[0]}-{key[1]}" for key in keys}
    table = [
        _row(path.name, metric, value, clip_id=f"{key[0]}_{key[1]}.mp4", clip_sha256=sha[key], prompt_id=key[0],
             sample_index=key[1], scope="clip", **(rows or {}).get(metric, {}))
        for metric, values in scores.items() for key, value in zip(keys, values, strict=True)
    ] + [
        _row(path.name, metric, value, clip_id=None, clip_sha256="set", prompt_id=None, sample_index=0, scope="all",
             **(rows or {}).get(metric, {}))
        for metric, value in (sets or {}).items()
    ]  # fmt: skip
    clip_rows = [
        ClipRow(
            **{
                "clip_id": f"{key[0]}_{key[1]}.mp4", "model": None, "sample_index": key[1], "prompt_id": key[0],
                "text": f"text of {key[0]}", "video_text": None, "audio_text": None, "video_path": "v",
                "audio_path": None, "clip_sha256": sha[key],
            } | {name: value(key[0]) if callable(value) else value for name, value in (clips or {}).items()}
        )
        for key in keys
    ]  # fmt: skip
    with RunFolder(path) as folder:
        content = {
            "schema_version": SCHEMA_VERSION, "run_id": path.name, "weights": "checkpoints", "precision": "fp32",
            "protocol": None, "environment": {"avbench": "0.1.0", "numpy": "2.0"},
            "metrics": {name: METADATA[name] for name in {**scores, **(sets or {})} if name in METADATA},
        }  # fmt: skip
        folder.write_json("run.json", content | dict(info or {}))
        source = [Clip(row.clip_id, Path("v")) for row in clip_rows]
        folder.write_tables(table, clip_rows, source)
    return path


def _row(run_id: str, metric: str, value: float | None, **fields: Any) -> ScoreRow:
    ok = value is not None and np.isfinite(value) and fields.get("status", "ok") == "ok"
    content: dict[str, Any] = {
        "schema_version": SCHEMA_VERSION, "run_id": run_id, "model": None, "suite": "custom", "suite_version": "s",
        "metric": metric, "value": float(value) if ok else None, "status": "ok" if ok else "skipped",
        "reason": "" if ok else "no sound track", "metric_version": 1, "params_digest": "params",
        "weights_digest": "none", "seconds": 0.1,
    }  # fmt: skip
    return ScoreRow(**(content | fields))


@pytest.fixture(scope="session")
def make_run() -> Callable[..., Path]:
    """See `write_run`."""
    return write_run


@pytest.fixture
def pair(tmp_path: Path) -> Callable[..., tuple[Path, Path]]:
    """A candidate and a baseline of 40 prompts: `av_align` of the candidate moved by `effect` standard deviations."""

    def make(effect: float = 0.0, n: int = 40, **candidate: Any) -> tuple[Path, Path]:
        rng = np.random.default_rng(7)
        prompt, one, two = rng.normal(size=(3, n)) / np.array([[1.5], [6], [6]])
        baseline = write_run(tmp_path / "baseline", {"av_align": prompt + one, "loudness": prompt - 20})
        scores = {"av_align": prompt + two + effect, "loudness": prompt - 25}
        return write_run(tmp_path / "candidate", candidate.pop("scores", scores), **candidate), baseline

    return make
