"""The study end to end: every pair scored once, statuses kept, shared work shared, refusals."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from synthetic import draw_frames, draw_sound, write_clip

from avbench.clips import Clip, Expected, Prompt
from avbench.encoders import Backbone, Encoder, WeightsConfig
from avbench.errors import EnvironmentProblem, UsageError
from avbench.media import Frames, Limits, Linspace, Waveform
from avbench.metrics.base import Score, Scorer, get_scorers
from avbench.sources import Source
from avbench.suites import Suite, get_suite
from avbench.validity import Settings, run_study
from avbench.validity.corruptions import USUAL

SUITE = Suite("custom", "", ())


@pytest.fixture(scope="module")
def clips(tmp_path_factory: pytest.TempPathFactory) -> tuple[Clip, ...]:
    folder = tmp_path_factory.mktemp("clips")
    made = []
    for seed in range(2):
        frames = draw_frames(seed, seconds=1.5, size=(48, 64))
        path = write_clip(folder / f"{seed}.mp4", frames, draw_sound(seed, seconds=1.5))
        made.append(Clip(f"c{seed}", path, prompt=Prompt(f"prompt {seed}")))
    return tuple(made)


def source(*clips: Clip) -> Source:
    return Source(Path("clips"), "folder", clips, "as given")


def judge(name, function, *, needs=("video",), encoders=(), **facts) -> Scorer:
    return Scorer(function, name, "", "1", True, (0, 1), "", frozenset(needs), "family", encoders=encoders, **facts)


def study(clips, scorers, **settings):
    return run_study(source(*clips), SUITE, scorers, Settings(**settings))


def test_a_clip_beyond_a_limit_is_an_error_of_its_own(clips):
    found = study(clips, get_scorers(["sharpness"]), seconds=1.0, limits=Limits(frames=1))
    assert {row.status for row in found.rows} == {"error"}
    assert "frames" in found.rows[0].reason


def test_one_row_for_each_clip_and_level_of_what_the_metric_reads(clips):
    found = study(clips, get_scorers(["sharpness", "loudness"]), seconds=1.0)
    levels = Counter((row.metric, row.corruption) for row in found.rows)
    assert levels == {
        ("sharpness", "blur"): 10, ("sharpness", "picture_noise"): 10, ("sharpness", "frame_drops"): 10,
        ("loudness", "sound_shift"): 12, ("loudness", "low_pass"): 10, ("loudness", "clipping"): 8,
        ("loudness", "sound_noise"): 10,
    }  # fmt: skip
    blurred = [row.value for row in found.rows if (row.clip_id, row.corruption) == ("c0", "blur")]
    assert blurred == sorted(blurred, reverse=True)
    late = [row for row in found.rows if row.corruption == "sound_shift" and row.severity == "2"]
    assert {row.status for row in late} == {"skipped"}
    assert "too short to be shifted" in late[0].reason


def test_clips_meet_the_corruptions_that_are_named(clips):
    every = study(clips, get_scorers(["loudness"]), seconds=1.0)
    some = study(clips, get_scorers(["loudness"]), seconds=1.0, corruptions=("sound_noise", "clipping"))
    assert {row.corruption for row in some.rows} == {"sound_noise", "clipping"}
    assert set(some.rows) < set(every.rows)


def test_level_0_is_the_score_of_the_clip_itself(clips, tmp_path):
    from avbench import score_clips

    scores = score_clips(source(*clips), tmp_path, metrics=["sharpness", "loudness"]).scores
    found = study(clips, get_scorers(["sharpness", "loudness"]), seconds=60.0, size=0)
    for row in found.rows:
        if row.level == 0:
            own = scores[(scores["clip_id"] == row.clip_id) & (scores["metric"] == row.metric)]
            assert row.value == own["value"].iloc[0]


def test_the_same_inputs_give_the_same_rows(clips):
    scorers = get_scorers(["temporal_flickering", "bandwidth"])
    assert study(clips, scorers, seconds=0.5).rows == study(clips, scorers, seconds=0.5).rows


def test_pictures_are_made_smaller_on_the_long_side_only_where_they_are_larger(clips):
    sizes = []

    def size(media, prompt, store):
        sizes.append((media.video.width, media.video.height, media.frames.shape[1:3]))
        return Score.ok(0)

    for asked in (32, 0, 500):
        study(clips[:1], [judge("size", size)], size=asked, seconds=0.2)
    assert set(sizes) == {(32, 24, (24, 32)), (64, 48, (48, 64))}


class Counting:
    """A network that says how often it embedded what."""

    def __init__(self) -> None:
        self.loads = 0
        self.runs: Counter[str] = Counter()
        self.backbone = Backbone("counting", self.load, packaged_digest=lambda: "1", packages=())

    def load(self, context) -> Counting:
        self.loads += 1
        return self

    def encoder(self, name: str, *views) -> Encoder:
        def run(network, inputs):
            self.runs[name] += len(inputs)
            return [
                np.array([float(np.mean([v.mean() for v in clip.views])) if clip.views else 0.0]) for clip in inputs
            ]

        return Encoder(name, 1, self.backbone, run, views, None if views else "text")


def test_a_track_that_stays_is_embedded_once_for_all_doses(clips):
    network = Counting()
    picture = network.encoder("picture", Frames(Linspace(2)))
    sound = network.encoder("sound", Waveform())
    text = network.encoder("text")

    def meet(media, prompt, store):
        return Score.ok(
            float((store.embed(picture, media) - store.embed(sound, media) - store.embed(text, media, prompt))[0])
        )

    def only_sound(media, prompt, store):
        return Score.ok(float(store.embed(sound, media)[0]))

    scorers = [
        judge("meet", meet, needs=("video", "audio", "prompt"), encoders=(picture, sound, text), prompt_role="text"),
        judge("only_sound", only_sound, needs=("audio",), encoders=(sound,)),
    ]
    found = study(clips, scorers, seconds=1.0)
    assert {row.status for row in found.rows if row.severity not in ("1", "2") or row.corruption != "sound_shift"} == {
        "ok"
    }
    assert network.loads == 1
    pictures = 1 + 4 + 4 + 4
    sounds = 1 + 3 + 1 + 4 + 3 + 4  # a shift of 1 s and 2 s does not exist for 1 s of sound
    assert network.runs == {"picture": 2 * pictures, "sound": 2 * sounds, "text": 2}


def test_a_wrong_prompt_is_that_of_another_clip(clips):
    seen = []

    def prompt_of(media, prompt, store):
        seen.append(prompt.text)
        return Score.ok(float(prompt.text == "prompt 0"))

    scorer = judge("prompt_of", prompt_of, needs=("video", "prompt"), prompt_role="text")
    rows = [row for row in study(clips, [scorer], seconds=0.2).rows if row.corruption == "wrong_prompt"]
    assert [(row.clip_id, row.level, row.value) for row in rows] == [
        ("c0", 0, 1.0), ("c0", 1, 0.0), ("c1", 0, 0.0), ("c1", 1, 1.0),
    ]  # fmt: skip
    alone = [row for row in study(clips[:1], [scorer], seconds=0.2).rows if row.corruption == "wrong_prompt"]
    assert [(row.status, row.reason) for row in alone] == [
        ("ok", ""), ("skipped", "no other clip of this source has another prompt"),
    ]  # fmt: skip


def test_words_to_speak_and_what_must_be_seen_alone_are_prompts_that_can_be_wrong(clips):
    def words_of(media, prompt, store):
        return Score.ok(float(prompt in (Prompt(speech_text="Go on."), Prompt(expected=Expected(scene="alley")))))

    def values(role, *prompts):
        lent = [replace(clip, prompt=prompt) for clip, prompt in zip(clips, prompts, strict=True)]
        scorer = judge("words_of", words_of, needs=("video", "prompt"), prompt_role=role)
        rows = study(lent, [scorer], seconds=0.2).rows
        return [row.value for row in rows if row.corruption == "wrong_prompt"]

    assert values("speech", Prompt(speech_text="Go on."), Prompt(speech_text="Stop.")) == [1.0, 0.0, 0.0, 1.0]
    places = (Prompt(expected=Expected(scene=place)) for place in ("alley", "park"))
    assert values("scene", *places) == [1.0, 0.0, 0.0, 1.0]


def test_the_dimensions_of_vbench_meet_damage_of_the_picture_and_a_wrong_prompt():
    for scorer in get_scorers(get_suite("vbench").metrics):
        if scorer.level == "clip":
            met = {corruption.name for corruption in USUAL if corruption.concerns(scorer.needs)}
            prompt = {"wrong_prompt"} if "prompt" in scorer.needs else set()
            assert met == {"blur", "picture_noise", "frame_drops"} | prompt


def test_another_take_of_the_same_picture_lends_nothing(clips):
    same = Clip("again", clips[0].video, prompt=Prompt("other words"))
    scorer = judge("flat", lambda *_: Score.ok(0), needs=("video", "audio", "prompt"), prompt_role="text")
    rows = study((clips[0], same), [scorer], seconds=0.2).rows
    lent = [row for row in rows if row.level and row.corruption in ("sound_of_another_clip", "wrong_prompt")]
    assert {row.status for row in lent} == {"skipped"}


def test_a_broken_clip_costs_only_its_own_rows(clips, tmp_path):
    bad = tmp_path / "bad.mp4"
    bad.write_text("no media")
    found = study((clips[0], Clip("bad", bad)), get_scorers(["sharpness"]), seconds=0.5)
    assert {row.status for row in found.rows if row.clip_id == "c0"} == {"ok"}
    broken = [row for row in found.rows if row.clip_id == "bad"]
    assert {row.status for row in broken} == {"error"}
    assert all(row.value is None and "not a readable media file" in row.reason for row in broken)


def test_a_clip_without_sound_is_skipped_where_sound_is_needed(tmp_path):
    path = write_clip(tmp_path / "silent.mp4", draw_frames(seconds=0.5, size=(48, 64)), None)
    found = study((Clip("silent", path),), get_scorers(["sharpness", "loudness"]))
    assert {(row.metric, row.status) for row in found.rows} == {("sharpness", "ok"), ("loudness", "skipped")}


def test_a_metric_that_cannot_go_on_stops_and_the_others_go_on(clips):
    calls = []

    def no_memory(media, prompt, store):
        calls.append(media.key)
        raise MemoryError("too large")

    found = study(clips, [judge("no_memory", no_memory), *get_scorers(["sharpness"])], seconds=0.2)
    assert len(calls) == 1
    assert list(found.stopped) == ["no_memory"]
    assert {row.status for row in found.rows if row.metric == "no_memory"} == {"error"}
    assert {row.status for row in found.rows if row.metric == "sharpness"} == {"ok"}


def test_metrics_that_cannot_take_part_are_named_with_the_reason(clips):
    absent = judge("absent", lambda *_: Score.ok(0), packages=("no_such_package",))
    of_sets = judge("of_sets", lambda *_: Score.ok(0), level="set")
    found = study(clips[:1], [absent, of_sets, *get_scorers(["sharpness"])], seconds=0.2)
    assert found.passed_over == {
        "absent": "not installed: no_such_package",
        "of_sets": "judges sets of clips; corruptions are applied to single ones",
    }
    assert {row.metric for row in found.rows} == {"sharpness"}
    with pytest.raises(EnvironmentProblem, match="no_such_package"):
        study(clips, [absent])


@pytest.mark.parametrize("weights", ["keyed-random", "keyed-random-reduced"])
def test_random_weights_are_refused(clips, weights):
    with pytest.raises(UsageError, match="mean nothing"):
        study(clips, get_scorers(["sharpness"]), setup=WeightsConfig(weights))
