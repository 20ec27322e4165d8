"""The shipped prompt lists: complete, balanced, without repetitions, and read by the scorer and the trainer."""

from __future__ import annotations

import json
import re
from collections import Counter
from itertools import combinations
from pathlib import Path

import pytest

from avbench.errors import EnvironmentProblem, UsageError
from avbench.prompts import (
    find_prompts,
    get_prompt_suite,
    list_prompt_suites,
    load_prompt_suite,
    prompt_file,
    shipped_folder,
    taxonomy,
)
from avbench.sources import shipped
from avbench.sources.categories import JAVISBENCH
from avbench.sources.prompts import PromptRow

SHIPPED = [suite for suite in list_prompt_suites() if suite.shipped]
TEXTS = ("prompt_av", "prompt_v", "prompt_a")
EIGHT = ("animal", "architecture", "food", "human", "lifestyle", "plant", "scenery", "vehicles")
STOP = frozenset(
    (
        "a",
        "an",
        "the",
        "of",
        "in",
        "on",
        "at",
        "to",
        "and",
        "with",
        "while",
        "then",
        "its",
        "it",
        "is",
        "as",
        "by",
        "no",
    )
)


def own() -> list[dict[str, str]]:
    lines = prompt_file("avbench-175").read_text(encoding="utf-8").splitlines()
    return [json.loads(line) for line in lines]


def stems(text: str) -> set[str]:
    """Words that carry meaning, without endings."""
    words = re.findall(r"[^\W\d_]+", text.lower())
    return {re.sub(r"(ing|ed|es|s)$", "", word) for word in words if word not in STOP}


def overlap(a: set[str], b: set[str]) -> float:
    return len(a & b) / len(a | b)


@pytest.mark.parametrize("suite", SHIPPED, ids=lambda suite: suite.name)
def test_a_shipped_list_is_what_the_table_says(suite):
    found = load_prompt_suite(suite.name)
    assert len(found.rows) == suite.count
    ids = [row.prompt.prompt_id or "" for row in found.rows]
    # The number at the end of a name is the row: that is how clips find their prompt.
    assert [(name.rpartition("-")[0], int(name.rpartition("-")[2])) for name in ids] == [
        (suite.name, number) for number in range(suite.count)
    ]
    assert all(row.prompt.text and row.prompt.text == row.prompt.text.strip() for row in found.rows)
    assert all(row.categories for row in found.rows)
    three = {(row.prompt.video_text is None, row.prompt.audio_text is None) for row in found.rows}
    assert three == ({(False, False)} if suite.texts == "joint, video, audio" else {(True, True)})


def test_nothing_else_is_shipped():
    names = {path.name for path in shipped_folder().iterdir()}
    assert names == {suite.file for suite in SHIPPED} | {"README.md", "javisbench-taxonomy.json"}
    page = (shipped_folder() / "README.md").read_text(encoding="utf-8")
    for suite in SHIPPED:
        assert f"| `{suite.file}` | {suite.count:,} |" in page
        assert suite.licence in page


def test_vbench_has_its_dimensions_and_categories():
    """Counts as published; VBench's 16 dimensions, VBench-2.0's 18, eight categories of a hundred."""

    def counts(name: str) -> Counter[str]:
        return Counter(category.name for row in load_prompt_suite(name).rows for category in row.categories)

    dimensions = counts("vbench")
    assert len(dimensions) == 16
    assert dimensions["human_action"] == dimensions["temporal_style"] == 100
    assert dimensions["subject_consistency"] == dimensions["dynamic_degree"] == 72
    assert len(counts("vbench-2")) == 18 and counts("vbench-2")["Human_Anatomy"] == 120
    assert set(counts("vbench-categories").values()) == {100}
    assert set(counts("vbench-categories")) == set(EIGHT)


def test_the_taxonomy_is_the_one_that_clip_tables_use():
    found = tuple((aspect.name, tuple(kind.name for kind in aspect.categories)) for aspect in taxonomy())
    assert found == JAVISBENCH
    assert sum(len(names) for _, names in found) == 19
    assert all(kind.description for aspect in taxonomy() for kind in aspect.categories)
    caves = [part.name for part in taxonomy()[0].categories[0].parts]
    assert "Caves and Underground Landscapes" in caves and len(caves) == 9


def test_the_nineteen_categories_are_balanced():
    rows = load_prompt_suite("avbench-175").rows
    counts = Counter(category for row in rows for category in row.categories)
    assert {(c.aspect, c.name) for c in counts} == {(aspect, name) for aspect, names in JAVISBENCH for name in names}
    for category, count in counts.items():
        assert count == 35 if category.aspect == "Event Scenario" else count in (58, 59), category

    def of(row: PromptRow, aspect: str) -> list[str]:
        return [category.name for category in row.categories if category.aspect == aspect]

    pairs = Counter((*of(row, "Event Scenario"), *of(row, "Visual Style")) for row in rows)
    assert len(pairs) == 15 and set(pairs.values()) == {11, 12}
    for row in rows:
        single = of(row, "Temporal Composition") == ["Single event"]
        assert len(of(row, "Sound Type")) == (1 if single else 2), row.prompt
        assert len(row.categories) == 4 + len(of(row, "Sound Type"))


def test_words_fit_the_categories():
    """What a reader would notice at once: speech is quoted, styles are named, sequences say "then"."""
    cartoon = re.compile(
        r"2d|cartoon|animation|illustration|anime|pixel-art|comic|style|sketch|watercolour", re.IGNORECASE
    )
    follows = re.compile(r"\b(then|after|afterwards|later|when it)\b|, a pause,", re.IGNORECASE)
    for row in own():
        text = row["prompt_a"]
        speech = "Speech sounds" in row["cat:Sound Type"]
        assert bool(re.search(r'".+"', text)) == speech, row
        if row["cat:Visual Style"] == "2D-Animate":
            assert cartoon.search(row["prompt_v"]), row
        if row["cat:Visual Style"] == "3D-Animate":
            assert re.search(r"\b3D\b|CG|3D-", row["prompt_v"]), row
        if row["cat:Visual Style"] == "Camera Shooting":
            assert re.search(r"\b(shot|camera|walk|zoom)\b|close-up|time-lapse", row["prompt_v"], re.IGNORECASE), row
        if row["cat:Temporal Composition"] == "Sequential events":
            assert follows.search(text), row
        if row["cat:Temporal Composition"] == "Single event":
            assert not follows.search(re.sub(r'".*"', "", text)), row


def test_the_joint_text_is_both_others():
    for row in own():
        assert row["prompt_av"] == f"{row['prompt_v']} {row['prompt_a']}"
        assert row["prompt_v"][-1] == "." and row["prompt_a"][-1] in '."'
        assert 15 <= len(row["prompt_av"].split()) <= 60
        assert row["prompt_v"][0].isupper() or row["prompt_v"][0].isdigit()


def test_no_prompt_repeats_another():
    rows = own()
    for field in TEXTS:
        assert len({row[field] for row in rows}) == 175
    for field, limit in (("prompt_av", 0.25), ("prompt_v", 0.35), ("prompt_a", 0.35)):
        words = [stems(row[field]) for row in rows]
        worst = max(combinations(range(175), 2), key=lambda pair: overlap(words[pair[0]], words[pair[1]]))
        first, second = (rows[index][field] for index in worst)
        assert overlap(stems(first), stems(second)) < limit, (first, second)


def test_no_prompt_repeats_vbench():
    mine = [(row["prompt_v"], stems(row["prompt_v"])) for row in own()]
    for suite in SHIPPED[1:]:
        for row in load_prompt_suite(suite.name).rows:
            other = stems(row.prompt.text or "")
            for text, words in mine:
                assert overlap(words, other) < 0.5, (text, row.prompt.text)


def test_the_overlap_notices_a_reworded_prompt():
    """The limits above mean something: changing a few words is not enough to pass them."""
    text = "Handheld shot on a mossy riverbank: a woman plays the violin on a tree stump while a dog howls."
    reworded = "Handheld shot on the mossy riverbank: a man is playing a violin on the tree stump as two dogs howl."
    assert overlap(stems(text), stems(reworded)) > 0.5


def test_the_trainer_reads_the_own_suite_and_draws_by_scenario():
    training = pytest.importorskip("omninft_train.prompts")
    prompts = training.load_prompts(prompt_file("avbench-175"))
    assert len(prompts) == 175
    assert prompts[0].prompt_av == f"{prompts[0].prompt_v} {prompts[0].prompt_a}"

    class Draw:
        groups, class_key, class_weights = 10, "cat:Event Scenario", {}

    drawn = Counter(prompt.metadata["cat:Event Scenario"] for prompt in training.draw(prompts, 0, 3, Draw()))
    assert set(drawn.values()) == {2} and len(drawn) == 5


def test_an_unknown_suite_is_wrong_usage():
    with pytest.raises(UsageError, match="Did you mean avbench-175"):
        get_prompt_suite("avbench175")
    with pytest.raises(UsageError, match="Known: avbench-175, vbench"):
        get_prompt_suite("§")


def test_a_wheel_has_the_lists_inside_the_package(tmp_path, monkeypatch):
    """As in a wheel: the package is alone in its folder, and the lists lie where the build puts them."""
    package = tmp_path / "site-packages" / "avbench"
    package.mkdir(parents=True)
    monkeypatch.setattr(shipped, "files", lambda _: package)
    (tmp_path / "site-packages" / "prompts").mkdir()  # of another package
    with pytest.raises(EnvironmentProblem, match="Install avbench again"):
        shipped_folder()
    inside = package / "_data" / "prompts"
    inside.mkdir(parents=True)
    (inside / "avbench-175.jsonl").touch()
    assert shipped_folder() == inside


@pytest.mark.parametrize("below", ["JavisBench-mini.csv", "JavisBench/JavisBench-mini.csv"])
def test_a_pulled_list_is_found_in_the_users_folder(below, tmp_path, monkeypatch):
    monkeypatch.delenv("AVBENCH_PROMPTS", raising=False)
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "hub"))
    suite = get_prompt_suite("javisbench-mini")
    path = tmp_path / below
    path.parent.mkdir(exist_ok=True)
    path.write_text('id,text,video_text,audio_text,cat2_ind\nx1,both,seen,heard,"0,4"\n', encoding="utf-8")
    assert find_prompts(suite, tmp_path) == path
    monkeypatch.setenv("AVBENCH_PROMPTS", str(tmp_path))
    assert prompt_file("javisbench-mini") == path
    (row,) = load_prompt_suite("javisbench-mini").rows
    assert row.prompt.prompt_id == "x1" and row.prompt.for_video == "seen" and row.prompt.for_audio == "heard"
    assert [category.name for category in row.categories] == ["Ambient sounds", "Speech sounds"]
    assert find_prompts(suite, Path("nowhere")) == path
