"""VBench's suites in whole runs: processes, order and room for waiting clips do not move a number."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from synthetic import draw_frames, draw_sound, write_clip

from avbench import Clip, Prompt, score_clips
from avbench.clips import Expected
from avbench.encoders import WeightsConfig
from avbench.run.options import RunOptions
from avbench.suites import get_suite

pytest.importorskip("torchvision")
BOTH = Expected(objects="dog and car", relation="dog | on the left of | car", scene="park", style="oil painting")
ONE = Expected(objects="dog", color="red", scene="street", style="black and white", action="riding a bike")
METRICS = [
    name
    for suite in ("vbench", "vbench-compat")
    for name in get_suite(suite).metrics
    if not name.startswith(("vbench_", "static_flickering"))  # these want the whole official list
]


@pytest.fixture(scope="module")
def clips(tmp_path_factory: pytest.TempPathFactory) -> list[Clip]:
    """Clips of three shapes, lengths and rates."""
    root = tmp_path_factory.mktemp("clips")
    found = []
    shapes = [((128, 160), 1.0, 10, BOTH), ((160, 128), 1.5, 8, ONE), ((144, 144), 0.6, 24, ONE)]
    for seed, (size, seconds, fps, expected) in enumerate(shapes):
        path = root / f"c{seed}.mp4"
        frames = draw_frames(seed, seconds=seconds, fps=fps, size=size)
        write_clip(path, frames, draw_sound(seed, seconds=seconds), fps=fps)
        prompt = Prompt(f"a red dog, take {seed}", prompt_id=str(seed), expected=expected)
        found.append(Clip(path.stem, path, prompt=prompt))
    return found


def values(clips: list[Clip], out: Path, **options: Any) -> pd.DataFrame:
    weights = WeightsConfig("keyed-random-reduced")
    run = score_clips(clips, out, metrics=METRICS, options=RunOptions(setup=weights, **options))
    table = run.scores.sort_values(["metric", "clip_id"]).set_index(["metric", "clip_id"])
    return table[["value", "status", "reason", "metric_version", "params_digest"]]


@pytest.mark.slow
def test_processes_order_and_room_do_not_move_a_number(clips: list[Clip], tmp_path: Path) -> None:
    alone = values(clips, tmp_path / "alone")
    ok = set(alone.index[alone["status"] == "ok"].get_level_values("metric"))
    assert set(METRICS) - ok <= {"color_compat"}  # random captions name no colour
    variants = {
        "four processes": values(clips, tmp_path / "four", workers=4),
        "another order, clip by clip": values(clips[::-1], tmp_path / "order", spool_bytes=1),
        "one at a time": pd.concat([values([clip], tmp_path / clip.clip_id) for clip in clips]).sort_index(),
    }
    for name, table in variants.items():
        others = ["status", "reason", "metric_version", "params_digest"]
        pd.testing.assert_frame_equal(table[others], alone[others], obj=name)
        pd.testing.assert_series_equal(table["value"], alone["value"], rtol=1e-6, atol=1e-9, obj=name)
