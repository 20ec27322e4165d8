"""What the suites with networks make of bad input: a status with a reason or a number in range, never a stand-in."""

from __future__ import annotations

import json

import numpy as np
import pytest
from synthetic import draw_frames, draw_sound, write_clip

from avbench import Clip, Prompt, score_clips
from avbench.encoders import WeightsConfig
from avbench.metrics.base import get_scorers
from avbench.run.options import RunOptions
from avbench.suites import get_suite

pytestmark = pytest.mark.long

pytest.importorskip("torch")

LONG = "a striped lantern sways above the harbour while gulls call " * 12
SUITES = ("javisbench", "javisbench-compat", "omninft-rewards")
METRICS = list(dict.fromkeys([*(m for suite in SUITES for m in get_suite(suite).metrics), "hpsv3", "desync_margin"]))
OPTIONS = RunOptions(setup=WeightsConfig("keyed-random-reduced"), max_resident=20)


def drawn(path, seconds, prompt="a ball bounces", sound=None):
    picture = draw_frames(1, seconds=seconds, size=(48, 64))
    write_clip(path, picture, draw_sound(1, seconds=seconds) if sound is None else sound)
    return Clip(path.stem, path, prompt=Prompt(prompt))


@pytest.fixture(scope="module")
def scores(tmp_path_factory):
    """Scores of ten odd clips, by clip and metric."""
    root = tmp_path_factory.mktemp("odd")
    silent = np.zeros_like(draw_sound(1, seconds=2.5))
    clips = [
        drawn(root / "plain.mp4", 2.5),
        drawn(root / "long_prompt.mp4", 2.5, LONG),
        # The same bytes again, so that only the text differs: the encoder's threads give other pixels each time.
        Clip("longer_prompt", root / "long_prompt.mp4", prompt=Prompt("two engines idle beside a canal at dusk " * 70)),
        drawn(root / "empty_prompt.mp4", 2.5, ""),
        drawn(root / "blank_prompt.mp4", 2.5, "   "),
        drawn(root / "silent.mp4", 2.5, sound=silent),
        drawn(root / "third_of_a_second.mp4", 0.3),
        drawn(root / "one_frame.mp4", 1 / 24),
    ]
    clips.append(Clip("no_sound", write_clip(root / "no_sound.mp4", draw_frames(2, seconds=2.5, size=(48, 64)), None)))
    (root / "broken.mp4").write_bytes(b"not a film")
    clips.append(Clip("broken", root / "broken.mp4", prompt=Prompt("a ball")))
    run = score_clips(clips, root / "run", metrics=METRICS, options=OPTIONS)
    assert len(run.scores[run.scores["scope"] == "clip"]) == len(clips) * sum(
        scorer.level == "clip" for scorer in get_scorers(METRICS)
    )
    return run.scores[run.scores["scope"] == "clip"].set_index(["clip_id", "metric"])


def rows(scores, clip):
    return scores.loc[clip]


def test_an_ordinary_clip_has_every_score_in_its_range(scores):
    plain = rows(scores, "plain")
    assert set(plain["status"]) == {"ok"}, plain[plain["status"] != "ok"]["reason"].to_dict()
    for scorer in get_scorers(METRICS):
        if scorer.level == "clip":
            assert scorer.range[0] <= plain.loc[scorer.name, "value"] <= scorer.range[1]


def test_every_missing_number_has_a_reason_and_no_value(scores):
    bad = scores[scores["status"] != "ok"]
    assert bad["value"].isna().all()
    assert (bad["reason"].str.len() > 0).all()
    assert scores[scores["status"] == "ok"]["value"].notna().all()


def test_long_captions_keep_their_end_in_fixed_mode_and_collapse_in_compat(scores):
    one, other = rows(scores, "long_prompt"), rows(scores, "longer_prompt")
    # More than 512 tokens: the reference fails there, so compat has no number either, and says so.
    assert {metric for metric, status in one["status"].items() if status != "ok"} <= {"clap_score_compat"}
    assert one.loc["tv_ib", "value"] != pytest.approx(other.loc["tv_ib", "value"], abs=1e-4)
    assert one.loc["tv_ib_compat", "value"] == pytest.approx(other.loc["tv_ib_compat", "value"], abs=1e-6)
    for metric in ("tv_ib", "ta_ib", "clip_score"):
        detail = json.loads(one.loc[metric, "detail"])
        assert detail["note"] == f"text cut from {detail['tokens']} to 77 tokens"
        assert "note" not in json.loads(rows(scores, "plain").loc[metric, "detail"])


@pytest.mark.parametrize("clip", ["empty_prompt", "blank_prompt", "no_sound"])
def test_no_prompt_no_text_score(scores, clip):
    found = rows(scores, clip)
    for scorer in get_scorers(METRICS):
        if "prompt" in scorer.needs and scorer.level == "clip":
            row = found.loc[scorer.name]
            assert row["status"] == "skipped"
            assert "prompt" in row["reason"] or "sound" in row["reason"]
    assert found.loc["hpsv3", "status"] == "skipped"


def test_silence_gets_finite_scores(scores):
    silent = rows(scores, "silent")
    assert set(silent["status"]) == {"ok"}, silent[silent["status"] != "ok"]["reason"].to_dict()


@pytest.mark.parametrize("clip", ["third_of_a_second", "one_frame"])
def test_very_short_clips_are_scored_or_skipped_never_failed(scores, clip):
    assert set(rows(scores, clip)["status"]) <= {"ok", "skipped"}, rows(scores, clip)["reason"].to_dict()


def test_a_clip_without_sound_is_skipped_where_sound_is_needed(scores):
    found = rows(scores, "no_sound")
    for scorer in get_scorers(METRICS):
        if "audio" in scorer.needs and scorer.level == "clip":
            assert found.loc[scorer.name, "reason"] == "no sound track"


def test_a_broken_file_is_an_error_everywhere(scores):
    found = rows(scores, "broken")
    assert set(found["status"]) == {"error"}
    assert found["reason"].str.contains("not a readable media file").all()


@pytest.mark.slow
def test_a_minute_and_six_channels(tmp_path):
    """Mono, 5.1 and a clip of 60 s, which must not need more memory than the others allow."""
    minute = drawn(tmp_path / "minute.mp4", 60.0)
    generator = np.random.default_rng(0)
    surround = drawn(tmp_path / "surround.mp4", 2.5, sound=generator.uniform(-0.2, 0.2, (6, 40_000)).astype(np.float32))
    run = score_clips([minute, surround], tmp_path / "run", metrics=METRICS, options=OPTIONS)
    found = run.scores[run.scores["scope"] == "clip"]
    assert set(found["status"]) == {"ok"}, found[found["status"] != "ok"][["clip_id", "metric", "reason"]]
