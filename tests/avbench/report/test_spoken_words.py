"""Words of a clip for the report: differences marked, times kept, and nothing from details that fit no form."""

from __future__ import annotations

import json

import pytest

from avbench.report.spoken_words import MOST_WORDS, spoken_characters, spoken_words

DETAIL = {
    "reference": "humans fight for freedom",
    "hypothesis": "human is fight freedom",
    "operations": [
        ["insert", 0, 0, 0, 1], ["substitute", 0, 1, 1, 2], ["equal", 1, 2, 2, 3], ["delete", 2, 3, 3, 3],
        ["equal", 3, 4, 3, 4],
    ],
    "words": [{"text": "Human's", "start": 0.4, "end": 0.9}, {"text": "fight", "start": 0.9, "end": 1.2}],
    "speech": True,
}  # fmt: skip


def test_differences_and_times() -> None:
    assert spoken_words(json.dumps(DETAIL)) == {
        "edits": [
            ["insert", "", "human"], ["substitute", "humans", "is"], ["equal", "fight", "fight"], ["delete", "for", ""],
            ["equal", "freedom", "freedom"],
        ],
        "words": [["Human's", 0.4], ["fight", 0.9]],
        "speech": True,
    }  # fmt: skip


def test_a_silent_clip_says_so() -> None:
    silent = DETAIL | {"hypothesis": "", "operations": [["delete", 0, 4, 0, 0]], "words": [], "speech": False}
    words = spoken_words(json.dumps(silent))
    assert words == {"edits": [["delete", "humans fight for freedom", ""]], "words": [], "speech": False}


def test_a_long_clip_stays_small() -> None:
    long = DETAIL | {"words": DETAIL["words"] * 1000}
    words = spoken_words(json.dumps(long))
    assert words is not None and len(words["words"]) == MOST_WORDS


@pytest.mark.parametrize(
    "detail",
    ["", "[]", "{}", '{"operations": 3}', '{"operations": [["equal", 0]]}', '{"operations": [["shift", 0, 1, 0, 1]]}',
     '{"operations": [["equal", -1, 1, 0, 1]]}', '{"operations": [["equal", "0", 1, 0, 1]]}'],
)  # fmt: skip
def test_other_details_give_nothing(detail: str) -> None:
    assert spoken_words(detail) is None


def test_words_without_a_time_are_left_out() -> None:
    odd = DETAIL | {"words": [{"text": "a"}, {"text": 3, "start": 1}, {"text": "b", "start": None}, "c"]}
    words = spoken_words(json.dumps(odd))
    assert words is not None and words["words"] == []


def test_characters_of_a_language_without_blanks() -> None:
    detail = {
        "form": "split", "reference": "你 好 世 界", "hypothesis": "你 好 世 间", "speech": True,
        "operations": [["equal", 0, 3, 0, 3], ["substitute", 3, 4, 3, 4]], "words": [{"text": "你好", "start": 0.1}],
    }  # fmt: skip
    words = spoken_characters(json.dumps(detail))
    assert words is not None
    assert words["edits"] == [["equal", "你好世", "你好世"], ["substitute", "界", "间"]]
    assert words["words"] == [["你好", 0.1]]


@pytest.mark.parametrize("form", ["english", "basic", None])
def test_positions_of_characters_are_not_taken_for_words(form: str | None) -> None:
    assert spoken_characters(json.dumps(DETAIL | {"form": form})) is None
