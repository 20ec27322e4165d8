"""What VBench's suites for own videos make of bad input: a reason or a number in range, and neighbours untouched."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from synthetic import draw_frames, write_clip

from avbench import Clip, Prompt, score_clips
from avbench.clips import Expected
from avbench.encoders import WeightsConfig
from avbench.metrics.base import get_scorers
from avbench.run.options import RunOptions
from avbench.suites import get_suite
from avbench.weights.checkpoints import CHECKPOINTS

pytestmark = pytest.mark.long

torch = pytest.importorskip("torch")
pytest.importorskip("torchvision")

CUSTOM = tuple(dict.fromkeys([*get_suite("vbench-custom").metrics, *get_suite("vbench-custom-compat").metrics]))
OBJECTS = ("object_class", "color_compat", "spatial_relationship", "scene", "appearance_style")
"""Dimensions of the official prompts, which ask these clips for nothing that they know: no network runs."""
RIDING = Prompt("A person is riding a bike")
ODD = Prompt("A person is riding a bike", expected=Expected(action="riding a byke", objects="unicorn"))
FEW = "needs at least 2 frames"
FLOW = "a side below 128 pixels: {} finds no flow"
SMALL = {"motion_smoothness": FLOW.format("AMT"), "dynamic_degree": FLOW.format("RAFT")}
ONE = {
    **dict.fromkeys(("subject_consistency", "background_consistency", "temporal_flickering"), FEW),
    **dict.fromkeys(("motion_smoothness", "motion_smoothness_compat"), "1 frames; at least 3 needed"),
    "dynamic_degree": "1 frames an eighth of a second apart; at least 3 needed",
}
REASONS: dict[str, dict[str, str]] = {
    "plain": {},
    "one_frame": ONE,
    "small": SMALL,
    "portrait": {},
    "four_to_one": {},
    "no_prompt": {
        **dict.fromkeys(("overall_consistency", "temporal_style"), "no prompt; give one in a manifest"),
        "human_action": "the prompt names no action; manifest column prompt_action",
    },
    "odd_prompt": {"human_action": "'riding a byke' is no action of Kinetics-400. Did you mean riding a bike"},
}
"""Why clips have no number, by metric; all others have one."""


@pytest.fixture(scope="module")
def scores(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """Rows by clip and metric."""
    root = tmp_path_factory.mktemp("odd")

    def drawn(name: str, size: tuple[int, int] = (144, 160), frames: int = 8, prompt: Prompt = RIDING) -> Clip:
        path = write_clip(root / f"{name}.mp4", draw_frames(1, seconds=frames / 24, fps=24, size=size), None)
        return Clip(name, path, prompt=prompt)

    broken = Clip("broken", root / "broken.mp4", prompt=RIDING)
    broken.video.write_bytes(b"not a film")
    clips = [
        drawn("plain"),
        drawn("one_frame", frames=1),
        broken,
        drawn("small", (96, 128)),
        drawn("portrait", (256, 144)),
        drawn("four_to_one", (128, 512)),
        drawn("no_prompt", prompt=Prompt()),
        drawn("odd_prompt", prompt=ODD),
    ]
    options = RunOptions(setup=WeightsConfig("keyed-random-reduced"), max_resident=20)
    run = score_clips(clips, root / "run", metrics=[*CUSTOM, *OBJECTS], options=options)
    return run.scores[run.scores["scope"] == "clip"].set_index(["clip_id", "metric"])


@pytest.mark.parametrize("clip", REASONS)
def test_a_clip_has_every_number_but_those_that_cannot_be(scores: Any, clip: str) -> None:
    found = scores.loc[clip].loc[list(CUSTOM)]
    missing = found[found["status"] != "ok"]
    assert set(missing["status"]) <= {"skipped"}
    assert set(missing.index) == set(REASONS[clip]), missing["reason"].to_dict()
    for metric, reason in missing["reason"].items():
        assert reason.startswith(REASONS[clip][metric])
    assert missing["value"].isna().all()
    for scorer in get_scorers(set(CUSTOM) - set(missing.index)):
        assert scorer.range[0] <= found.loc[scorer.name, "value"] <= scorer.range[1], scorer.name


def test_a_broken_file_is_an_error_everywhere(scores: Any) -> None:
    assert set(scores.loc["broken", "status"]) == {"error"}


def test_dimensions_of_official_prompts_are_skipped_with_the_column_that_is_missing(scores: Any) -> None:
    reasons = scores.loc["plain"].loc[list(OBJECTS), "reason"]
    columns = ("objects", "color", "relation", "scene", "style")
    for reason, column in zip(reasons, columns, strict=True):
        assert reason.endswith(f"manifest column prompt_{column}")
    assert scores.loc[("odd_prompt", "object_class"), "reason"].startswith("'unicorn' is no class of COCO")


def test_a_checkpoint_with_other_entries_stops_its_metric_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Checksums are left out here: with them the file is refused even earlier."""
    rows = {"motion_smoothness": "amt_s", "dynamic_degree": "raft_things", "imaging_quality": "musiq_spaq"}
    for name in rows.values():
        (file,) = CHECKPOINTS[name].files
        monkeypatch.setitem(CHECKPOINTS, name, replace(CHECKPOINTS[name], files=(replace(file, sha256=None),)))
        torch.save({"other.weight": torch.zeros(1)}, tmp_path / file.name)
    path = write_clip(tmp_path / "a.mp4", draw_frames(1, seconds=0.5, size=(128, 144)), None)
    setup = WeightsConfig(weights_dir=tmp_path, accepted=frozenset(rows.values()))
    metrics = [*rows, "temporal_flickering", "subject_consistency"]
    found = score_clips([Clip("a", path)], tmp_path / "run", metrics=metrics, options=RunOptions(setup=setup))
    scores = found.scores[found.scores["scope"] == "clip"].set_index("metric")
    assert scores.loc["temporal_flickering", "status"] == "ok"
    assert scores.loc["subject_consistency", "reason"].startswith("weights missing: dino_vitb16")
    for metric in rows:
        score = scores.loc[metric]
        assert score["status"] == "skipped" and score["reason"].startswith("stopped: EnvironmentProblem")
        assert "1 unknown keys (other.weight)" in score["reason"]
