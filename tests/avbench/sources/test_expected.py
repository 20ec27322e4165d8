"""What a prompt expects to be shown: read from manifests and VBench's lists, kept in the run folder, in the digest."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from avbench.clips import Expected, Prompt
from avbench.errors import UsageError
from avbench.prompts.export import render
from avbench.sources.prompts import read_prompts

VBENCH = [
    ({"object_class": {"object": "person"}}, Expected(objects="person")),
    ({"multiple_objects": {"object": "bird and cat"}}, Expected(objects="bird and cat")),
    ({"color": {"color": "red"}}, Expected(color="red")),
    ({"appearance_style": {"appearance_style": "Van Gogh style"}}, Expected(style="Van Gogh style")),
    ({"scene": {"scene": {"scene": "alley"}}}, Expected(scene="alley")),
    (
        {
            "spatial_relationship": {
                "spatial_relationship": {"object_a": "bicycle", "object_b": "car", "relationship": "on the left of"}
            }
        },
        Expected(relation="bicycle | on the left of | car"),
    ),
]
TEXTS = st.none() | st.text(min_size=1)


def prompt_list(folder: Path, *rows: dict[str, object]) -> Path:
    path = folder / "prompts.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


@pytest.mark.parametrize(("info", "expected"), VBENCH)
def test_auxiliary_information_of_vbench_is_understood(tmp_path: Path, info: object, expected: Expected) -> None:
    rows = read_prompts(prompt_list(tmp_path, {"prompt_en": "a clip", "auxiliary_info": info})).rows
    assert rows[0].prompt.expected == expected


@pytest.mark.parametrize("info", ["zoom_in", ["a", "b"], {"material": "wood"}, None, ""])
def test_auxiliary_information_of_other_benchmarks_says_nothing(tmp_path: Path, info: object) -> None:
    rows = read_prompts(prompt_list(tmp_path, {"prompt_en": "a clip", "auxiliary_info": info})).rows
    assert rows[0].prompt.expected == Expected()


@pytest.mark.parametrize("info", [{"color": "red"}, {"color": {"colour": "red"}}, {"scene": {"scene": ["a"]}}])
def test_malformed_auxiliary_information_names_the_place(tmp_path: Path, info: object) -> None:
    with pytest.raises(UsageError, match=r"prompts\.jsonl, line 1: auxiliary_info is .*expected VBench's form"):
        read_prompts(prompt_list(tmp_path, {"prompt_en": "a clip", "auxiliary_info": info}))


def test_columns_of_a_list_survive_an_export(tmp_path: Path) -> None:
    expected = Expected("dog and cat", "red", "dog | on top of | cat", "alley", "oil painting", "riding a bike")
    row = {"prompt": "a clip", **{f"prompt_{name}": getattr(expected, name) for name in expected.__dataclass_fields__}}
    first = read_prompts(prompt_list(tmp_path, row, {"prompt": "another"}))
    assert [prompt.prompt.expected for prompt in first.rows] == [expected, Expected()]
    (tmp_path / "again.csv").write_text(render(first.rows, "csv"))
    again = read_prompts(tmp_path / "again.csv")
    assert [prompt.prompt.expected for prompt in again.rows] == [expected, Expected()]


@given(st.builds(Expected, TEXTS, TEXTS, TEXTS, TEXTS, TEXTS, TEXTS))
def test_json_keeps_every_text(expected: Expected) -> None:
    assert Expected.from_json(expected.as_json()) == expected


def test_a_key_of_a_later_version_is_left_out() -> None:
    assert Expected.from_json('{"color": "red", "sound": "bark"}') == Expected(color="red")


@pytest.mark.parametrize("field", ["objects", "relation", "scene", "style", "action"])
def test_what_is_expected_can_be_read_by_name(field: Any) -> None:
    assert Prompt("x", expected=Expected(**{field: "dog"})).for_role(field) == "dog"
    assert Prompt("a dog").for_role(field) is None


def test_a_colour_comes_with_all_that_may_name_its_object() -> None:
    stated = Prompt("a red dog", expected=Expected(color="red", objects="dog"))
    assert stated.for_role("color") == "red | dog | a red dog"
    assert Prompt("a red dog", expected=Expected(color="red")).for_role("color") == "red |  | a red dog"
    assert Prompt("a red dog", expected=Expected(objects="dog")).for_role("color") is None
