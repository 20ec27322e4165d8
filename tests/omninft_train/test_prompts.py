"""Prompts: which lines are refused and how, and what a step draws."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import dataclass, field

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from omninft_train.errors import UsageError
from omninft_train.prompts import TrainPrompt, draw, load_prompts

GOOD = {"prompt_av": "a dog barks", "prompt_v": "a dog", "prompt_a": "barking"}


@dataclass(frozen=True)
class Options:
    groups: int
    class_key: str | None = None
    class_weights: dict[str, float] = field(default_factory=dict)


def numbered(count: int, **metadata) -> list[TrainPrompt]:
    return [TrainPrompt(str(i), "v", "a", {"number": i, **metadata}) for i in range(count)]


def of_classes(sizes: dict[str, int]) -> list[TrainPrompt]:
    return [TrainPrompt(f"{name} {i}", "v", "a", {"set": name}) for name, size in sizes.items() for i in range(size)]


def test_texts_and_metadata_are_read_in_order(tmp_path):
    path = tmp_path / "p.jsonl"
    rows = [GOOD | {"set": "animals", "sample_id": 7}, GOOD | {"prompt_av": "grüße \u2028 日本"}]
    lines = [json.dumps(row, ensure_ascii=False) for row in rows]
    path.write_bytes(b"\xef\xbb\xbf" + ("\r\n\n".join(lines) + "\n").encode())
    first, second = load_prompts(path)
    assert (first.prompt_av, first.prompt_v, first.prompt_a) == ("a dog barks", "a dog", "barking")
    assert first.metadata == {"set": "animals", "sample_id": 7}
    assert second.prompt_av == "grüße \u2028 日本"


@pytest.mark.parametrize(
    ("line", "told"),
    [
        (json.dumps({"prompt_av": "x", "prompt_v": "y"}), "missing field 'prompt_a'"),
        (json.dumps({"prompt_av": "x", "promptv": "y", "prompt_a": "z"}), "The line has: prompt_av, promptv, prompt_a"),
        (json.dumps(GOOD | {"prompt_v": "  \t"}), "'prompt_v' is blank"),
        (json.dumps(GOOD | {"prompt_a": None}), "'prompt_a' must be a text, got NoneType"),
        (json.dumps(["prompt_av"]), "expected a JSON object, got list"),
        ('{"prompt_av": "x",', "not a JSON object"),
        ("[" * 100_000, "not a JSON object"),
        ('{"x": ' + "9" * 5000 + "}", "not a JSON object"),
        ('{"prompt_av": "x", "prompt_av": "y"}', "the key 'prompt_av' appears twice"),
        (json.dumps(GOOD | {"prompt_a": ["x"]}), "'prompt_a' must be a text, got list"),
        (json.dumps(GOOD | {"prompt_v": "\ud800"}), "'prompt_v' has half of a surrogate pair"),
        (b"\xff\xfe{}", "not UTF-8"),
    ],
)
def test_a_bad_line_is_refused_with_its_number(tmp_path, line, told):
    path = tmp_path / "p.jsonl"
    bad = line if isinstance(line, bytes) else line.encode()
    path.write_bytes(json.dumps(GOOD).encode() + b"\n\n" + bad + b"\n")
    with pytest.raises(UsageError) as caught:
        load_prompts(path)
    assert str(caught.value).startswith(f"{path}:3: ")
    assert told in str(caught.value)


def test_a_file_that_is_missing_or_empty_is_named(tmp_path):
    with pytest.raises(UsageError, match=r"nowhere\.jsonl: cannot be read"):
        load_prompts(tmp_path / "nowhere.jsonl")
    empty = tmp_path / "empty.jsonl"
    empty.write_text("\n  \n")
    with pytest.raises(UsageError, match="holds no prompt"):
        load_prompts(empty)


@settings(deadline=None, max_examples=40)
@given(st.integers(1, 40), st.data(), st.integers(-3, 2**40))
def test_every_epoch_visits_all_and_no_step_repeats_a_prompt(count, data, seed):
    groups = data.draw(st.integers(1, count))
    prompts, options = numbered(count), Options(groups)
    steps = -(-count // groups)
    for epoch in range(2):
        seen = []
        for step in range(epoch * steps, (epoch + 1) * steps):
            chosen = [p.metadata["number"] for p in draw(prompts, seed, step, options)]
            assert len(chosen) == groups == len(set(chosen))
            seen += chosen
        assert set(seen) == set(range(count))


def test_a_draw_depends_on_seed_and_step_alone():
    prompts, options = numbered(50), Options(4)
    in_order = [draw(prompts, 3, step, options) for step in range(40)]
    assert [draw(prompts, 3, step, options) for step in reversed(range(40))] == in_order[::-1]
    assert [draw(prompts, 4, step, options) for step in range(40)] != in_order
    first, second = in_order[:13], in_order[13:26]
    assert first != second  # another order in the next epoch


def test_more_groups_than_prompts_is_refused():
    with pytest.raises(UsageError, match=r"prompts\.groups = 5, but there are 4 prompts"):
        draw(numbered(4), 0, 0, Options(5))


def test_classes_get_their_shares_and_each_prompt_its_turn():
    prompts = of_classes({"speech": 5, "baby": 30, "other": 40})
    options = Options(8, "set", {"speech": 20, "baby": 1, "other": 19})
    counts, of_prompt = Counter(), Counter()
    for step in range(400):
        chosen = draw(prompts, 1, step, options)
        assert len(set(chosen)) == 8
        in_step = Counter(p.metadata["set"] for p in chosen)
        assert in_step["speech"] == 4  # half of 8, exactly
        assert in_step["baby"] in (0, 1)
        counts += in_step
        of_prompt.update(p.prompt_av for p in chosen)
    assert counts["baby"] == pytest.approx(3200 / 40, abs=2)
    assert counts["other"] == pytest.approx(3200 * 19 / 40, abs=2)
    assert len(of_prompt) == 75
    for name in ("speech", "baby", "other"):
        visits = [n for text, n in of_prompt.items() if text.startswith(name)]
        assert max(visits) - min(visits) <= 1


def test_a_draw_by_class_needs_no_memory():
    prompts = of_classes({"a": 7, "b": 9})
    options = Options(3, "set", {"a": 1, "b": 2})
    in_order = [draw(prompts, 3, step, options) for step in range(20)]
    assert [draw(prompts, 3, step, options) for step in reversed(range(20))] == in_order[::-1]
    assert len({tuple(step) for step in in_order}) > 10


def test_weight_0_leaves_a_class_out_and_no_weights_mean_equal_ones():
    prompts = of_classes({"a": 9, "b": 9})
    for step in range(10):
        assert {p.metadata["set"] for p in draw(prompts, 0, step, Options(4, "set", {"a": 1, "b": 0}))} == {"a"}
        assert Counter(p.metadata["set"] for p in draw(prompts, 0, step, Options(4, "set"))) == {"a": 2, "b": 2}


@pytest.mark.parametrize(
    ("key", "weights", "told"),
    [
        ("kind", {}, "has no such key; it has: set"),
        ("set", {"animals": 1, "speach": 2}, "Did you mean speech"),
        ("set", {"animals": 1}, "no weight for speech"),
        ("set", {"animals": 5, "speech": 1}, "'animals' has 2 prompts"),
    ],
)
def test_classes_that_do_not_fit_are_refused(key, weights, told):
    prompts = of_classes({"animals": 2, "speech": 6})
    with pytest.raises(UsageError) as caught:
        draw(prompts, 0, 0, Options(4, key, weights))
    assert told in str(caught.value)
