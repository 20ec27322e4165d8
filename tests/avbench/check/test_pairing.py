"""Clips belong together by prompt and sample index, whatever their names and order."""

from __future__ import annotations

import unicodedata

import numpy as np
import pytest

from avbench.check.pairing import match_clips, read_run
from avbench.errors import UsageError

VALUES = {"av_align": np.arange(6.0)}


def matched(*paths):
    return match_clips([read_run(path) for path in paths])


def test_order_and_names_do_not_matter(make_run, tmp_path):
    one = make_run(tmp_path / "one", VALUES, samples=2, prompts=["a", "b", "c"])
    two = make_run(tmp_path / "two", VALUES, samples=2, prompts=["c", "b", "a"])
    found = matched(one, two)
    first, second = (rows["value"].tolist() for rows in found.rows("av_align"))
    assert first == [0, 1, 2, 3, 4, 5]
    assert second == [4, 5, 2, 3, 0, 1]
    assert (found.by, found.prompts, len(found.clips)) == ("prompt id", 3, 6)
    assert found.digest == matched(two, one).digest


def test_without_ids_texts_decide_and_without_texts_names(make_run, tmp_path):
    texts = {"prompt_id": None, "text": lambda prompt: f"a cat, {prompt}"}
    one, two = (make_run(tmp_path / name, VALUES, clips=texts) for name in ("one", "two"))
    assert matched(one, two).by == "prompt text"
    nothing = {"prompt_id": None, "text": None}
    three, four = (make_run(tmp_path / name, VALUES, clips=nothing) for name in ("three", "four"))
    assert matched(three, four).by == "clip name"
    assert matched(one, make_run(tmp_path / "ids", VALUES, clips={"text": texts["text"]})).by == "prompt text"


def test_spoken_words_are_a_prompt_where_all_runs_have_them(make_run, tmp_path):
    spoken = {"prompt_id": None, "text": None, "speech_text": lambda prompt: f"I say {prompt}"}
    one, two = (make_run(tmp_path / name, VALUES, clips=spoken) for name in ("one", "two"))
    assert matched(one, two).by == "prompt text"
    silent = make_run(tmp_path / "silent", VALUES, clips={"prompt_id": None, "text": None})
    assert matched(one, silent).by == "clip name"


def test_clips_that_share_prompt_and_sample_are_told_apart_by_name(make_run, tmp_path):
    one, two = (make_run(tmp_path / name, VALUES, clips={"text": "the same", "prompt_id": None}) for name in "ab")
    found = matched(one, two)
    assert found.prompts == 1
    assert (found.clips["clip_0"] == found.clips["clip_1"]).all()


def test_accents_match_in_either_unicode_form(make_run, tmp_path):
    """Clips copied from macOS have decomposed names."""
    names = [f"café {number}" for number in range(6)]
    one, two = (
        make_run(
            tmp_path / form, VALUES,
            prompts=[unicodedata.normalize(form, name) for name in names], clips={"prompt_id": None, "text": None},
        )
        for form in ("NFC", "NFD")
    )  # fmt: skip
    found = matched(one, two)
    assert found.by == "clip name"
    assert (found.clips["clip_0"] != found.clips["clip_1"]).all()
    first, second = (rows["value"].tolist() for rows in found.rows("av_align"))
    assert first == second == [0, 1, 2, 3, 4, 5]


@pytest.mark.parametrize(
    ("prompts", "words"),
    [
        (["p0", "p1", "p2", "p3", "p4", "px"], ["1 only in", "'px' sample 0", "'p5' sample 0"]),
        (["p0", "p1", "p2", "p3", "p4"], ["1 only in", "'p5' sample 0"]),
    ],
)
def test_other_prompts_are_refused_and_named(make_run, tmp_path, prompts, words):
    one = make_run(tmp_path / "one", VALUES)
    two = make_run(tmp_path / "two", {"av_align": np.zeros(len(prompts))}, prompts=prompts)
    with pytest.raises(UsageError, match="different prompts or samples") as caught:
        matched(one, two)
    assert all(word in str(caught.value) for word in words)
    assert "\n" not in str(caught.value)


def test_other_sample_counts_are_refused(make_run, tmp_path):
    one = make_run(tmp_path / "one", VALUES, samples=2)
    two = make_run(tmp_path / "two", {"av_align": np.zeros(3)})
    with pytest.raises(UsageError, match=r"3 only in .*one .'p0' sample 1"):
        matched(two, one)


def test_a_long_prompt_is_shortened_in_the_message(make_run, tmp_path):
    one = make_run(tmp_path / "one", VALUES)
    two = make_run(tmp_path / "two", {"av_align": np.zeros(1)}, prompts=["word\n" * 400])
    with pytest.raises(UsageError) as caught:
        matched(one, two)
    # The prompt has 2,000 characters; the folders' names are not counted.
    assert len(str(caught.value).replace(str(tmp_path), "")) < 300


def test_damaged_folders_are_refused_in_one_line(make_run, tmp_path):
    one = make_run(tmp_path / "one", VALUES)
    (one / "scores.parquet").write_bytes((one / "scores.parquet").read_bytes()[:200])
    with pytest.raises(UsageError, match="damaged run folder"):
        read_run(one)
    two = make_run(tmp_path / "two", VALUES)
    (two / "run.json").write_text('{"run_id": ')
    with pytest.raises(UsageError, match="damaged run folder"):
        read_run(two)
    three = make_run(tmp_path / "three", VALUES)
    (three / "categories.parquet").unlink()
    with pytest.raises(UsageError, match="unfinished"):
        read_run(three)
    four = make_run(tmp_path / "four", VALUES)
    (four / "clips.parquet").write_bytes((four / "categories.parquet").read_bytes())
    with pytest.raises(UsageError, match="lacks the columns"):
        read_run(four)
    with pytest.raises(UsageError, match="no scores"):
        read_run(make_run(tmp_path / "five", {"av_align": []}))
