"""human_action: its rule against the reference's, exact, and what labels it takes."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from vbench_goldens import arrays, golden

from avbench.clips import Expected, Prompt
from avbench.encoders import EncoderStore, WeightsConfig
from avbench.encoders.networks.umt.encoders import UMT, actions
from avbench.media import Media
from avbench.metrics.vbench_human_action import human_action, label_of, most_likely

PROMPTS = Path(__file__).parents[3] / "prompts" / "vbench.jsonl"
CASES = golden("human_action")["videos"]


class FixedStore(EncoderStore):
    """Gives the same logits for every clip."""

    def __init__(self, logits):
        super().__init__()
        self.logits = logits

    def embed(self, encoder, media, prompt=None):
        assert encoder is UMT
        return self.logits


def logits_of(top: list[list[float]]):
    logits = np.full(400, -9.0, np.float32)
    for index, value in top:
        logits[int(index)] = value
    return logits


def drawn(frames: int = 2) -> Media:
    pictures = np.random.default_rng(frames).integers(0, 256, (frames, 40, 60, 3)).astype(np.uint8)
    return Media.from_arrays(f"drawn {frames}", pictures, 24.0)


def expecting(action: str | None) -> Prompt:
    return Prompt("A person", expected=Expected(objects="dog", action=action))


@pytest.mark.parametrize("case", CASES, ids=[case["file"] for case in CASES])
def test_the_rule_equals_the_reference(case):
    logits = logits_of(case["logits_top8"])
    assert most_likely(logits) == [(name, chance) for name, chance in case["top5"]]
    score = human_action(drawn(), expecting(case["label"]), FixedStore(logits))
    assert score.value == case["result"]
    assert score.detail["action"] == case["label"]
    assert case["label_in_kinetics"]


def test_the_mean_and_the_rule_for_likely_actions_equal_the_reference():
    facts = golden("human_action")
    assert np.mean([case["result"] for case in CASES]) == facts["dataset"]
    (_, chance), *_ = most_likely(logits_of([[7, 1.23456]]))
    assert chance == round(1 / (1 + np.exp(-1.23456)), facts["rounding"])
    assert dict(human_action.params)["threshold"] == facts["threshold"]


@pytest.mark.parametrize("name", ["human_action_umt", "human_action_umt_depth4"])
def test_the_likely_actions_of_a_clip_are_the_references(name):
    likely = most_likely(arrays(name)["clip_e.logits"])
    assert [label for label, _ in likely] == [actions()[index] for index in golden(name)["clip_e"]["top5"]]


@pytest.mark.parametrize(("chance", "value"), [(0.84994, 0.0), (0.84996, 1.0), (0.86, 1.0)])
def test_the_threshold_holds_after_rounding(chance, value):
    logits = logits_of([[7, np.log(chance / (1 - chance))]])
    assert human_action(drawn(), expecting(actions()[7]), FixedStore(logits)).value == value


def test_the_sixth_does_not_count():
    logits = logits_of([[index, 9 - index] for index in range(6)])
    results = [human_action(drawn(), expecting(actions()[index]), FixedStore(logits)).value for index in range(6)]
    assert results == [1, 1, 1, 1, 1, 0]


@pytest.mark.parametrize("action", ["playing guitar", " Playing Guitar", "A person is playing guitar"])
def test_the_label_is_read_from_what_the_prompt_expects(action):
    assert label_of(action) == "playing guitar"


@pytest.mark.parametrize(
    ("prompt", "read_from"),
    [
        (Prompt("A person is riding a bike", expected=Expected(action="playing guitar")), "prompt_action"),
        (Prompt("A person is playing guitar."), "text"),
        (Prompt("Fog", video_text="In the fog a PERSON IS Playing Guitar"), "text"),
    ],
)
def test_a_text_names_the_action_where_no_column_does(prompt, read_from):
    score = human_action(drawn(), prompt, FixedStore(logits_of([[actions().index("playing guitar"), 9.0]])))
    assert (score.value, score.detail["action"], score.detail["read_from"]) == (1, "playing guitar", read_from)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("A man plays the guitar", "the prompt names no action; manifest column prompt_action"),
        ("A person is riding a byke", "'riding a byke' is no action of Kinetics-400. Did you mean riding a bike"),
    ],
)
def test_a_text_without_a_known_action_is_skipped(text, reason):
    score = human_action(drawn(), Prompt(text), FixedStore(logits_of([])))
    assert (score.status, score.reason.startswith(reason)) == ("skipped", True), score.reason


def test_the_digest_covers_what_is_read():
    texts = "A person is yoga", "A person is zumba"
    read, other = (human_action.params_digest(Prompt(text)) for text in texts)
    assert read != other
    stated, beside = (human_action.params_digest(Prompt(text, expected=Expected(action="yoga"))) for text in texts)
    assert stated == beside


def test_all_prompts_of_vbench_name_a_label():
    rows = [json.loads(line) for line in PROMPTS.read_text("utf-8").splitlines()]
    texts = [row["prompt_av"] for row in rows if row["cat:VBench dimension"] == "human_action"]
    assert len(texts) == 100
    assert {label_of(text) for text in texts} <= set(actions())


def test_unknown_and_missing_labels_are_skipped():
    store = FixedStore(logits_of([]))
    assert human_action(drawn(), expecting(None), store).reason.endswith("manifest column prompt_action")
    near = human_action(drawn(), expecting("playing gitar"), store)
    assert (near.status, "Did you mean playing guitar" in near.reason) == ("skipped", True)
    far = human_action(drawn(), expecting("zzzz"), store)
    assert far.reason == "'zzzz' is no action of Kinetics-400. None of 400 names is similar."


@pytest.mark.parametrize("frames", [1, 3, 40])
def test_short_clips_are_scored(frames):
    pytest.importorskip("torch")
    store = EncoderStore(setup=WeightsConfig("keyed-random-reduced"))
    score = human_action(drawn(frames), expecting("yoga"), store)
    assert score.value in (0, 1)
    assert len(score.detail["seen"]) == 5
