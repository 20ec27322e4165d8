"""Choosing prompts and writing them out."""

from __future__ import annotations

import csv
import io
import json
import shutil
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from avbench.clips import Category, Prompt
from avbench.errors import UsageError
from avbench.prompts import Template, as_records, load_prompt_suite, render, select_rows
from avbench.sources import load_source
from avbench.sources.prompts import PromptRow, read_prompts
from avbench.sources.rows import says_missing
from avbench.sources.spelled_values import spelled_value

TEXT = st.text(st.characters(exclude_categories=("Cs", "Cc")), min_size=1, max_size=30).filter(
    lambda text: text.strip() != "" and not says_missing(text) and spelled_value(text) is None
)
NAME = st.text("abcXYZ 0123-_'", min_size=1, max_size=12).filter(lambda text: text.strip() == text and text != "nan")


@st.composite
def prompt_rows(draw: st.DrawFn) -> list[PromptRow]:
    ids = draw(st.lists(NAME, min_size=1, max_size=5, unique=True))
    rows = []
    for number, name in enumerate(ids):
        prompt = Prompt(draw(TEXT), draw(st.none() | TEXT), draw(st.none() | TEXT), name)
        aspects = draw(st.dictionaries(NAME, st.lists(NAME, min_size=1, max_size=3, unique=True), max_size=2))
        categories = tuple(Category(aspect, kind) for aspect, kinds in aspects.items() for kind in kinds)
        rows.append(PromptRow(f"line {number + 1}", prompt, categories, {}))
    return rows


@given(prompt_rows())
@pytest.mark.parametrize("form", ["jsonl", "csv"])
def test_a_written_list_reads_back(tmp_path_factory, form, rows):
    path = tmp_path_factory.mktemp("list") / f"list.{form}"
    path.write_text(render(rows, form), encoding="utf-8", newline="")
    found = read_prompts(path).rows
    assert [row.prompt for row in found] == [row.prompt for row in rows]
    assert [set(row.categories) for row in found] == [set(row.categories) for row in rows]


def test_the_own_suite_is_written_as_it_is_shipped():
    suite = load_prompt_suite("avbench-175")
    shipped = [json.loads(line) for line in suite.path.read_text(encoding="utf-8").splitlines()]
    assert as_records(suite.rows) == [{"id": row["prompt_id"], **row} for row in shipped]


def test_clips_named_after_their_prompt_find_it_in_a_part_of_the_list(tmp_path, small_clip):
    """Also where the number at the end of the name is no longer the row."""
    rows = select_rows(load_prompt_suite("avbench-175").rows, ["Virtual Scenario"], 3)
    prompts = tmp_path / "part.jsonl"
    prompts.write_text(render(rows, "jsonl"), encoding="utf-8")
    clips = tmp_path / "clips"
    clips.mkdir()
    wanted = {row.prompt.prompt_id: row.prompt.text for row in rows}
    for name in wanted:
        shutil.copy(small_clip, clips / f"{name}.mp4")
    found = load_source(clips, prompts=prompts)
    assert {clip.prompt.prompt_id: clip.prompt.text for clip in found.clips} == wanted
    assert all(clip.clip_id == f"{clip.prompt.prompt_id}.mp4" for clip in found.clips)


def test_clips_named_after_their_prompt_find_it_in_the_whole_list(tmp_path, small_clip):
    suite = load_prompt_suite("avbench-175")
    for number in (0, 9, 174):
        shutil.copy(small_clip, tmp_path / f"avbench-175-{number:03d}.mp4")
    found = load_source(tmp_path, prompts=suite.path)
    assert [clip.prompt for clip in found.clips] == [suite.rows[number].prompt for number in (0, 9, 174)]


@pytest.mark.parametrize("form", ["jsonl", "csv"])
def test_with_clip_names_a_list_is_a_manifest(tmp_path, small_clip, form):
    rows = load_prompt_suite("avbench-175").rows[4:6]
    manifest = tmp_path / f"manifest.{form}"
    template = Template("clips/{prompt_id}-{sample}.mp4", 2)
    manifest.write_text(render(rows, form, template), encoding="utf-8")
    (tmp_path / "clips").mkdir()
    for row in rows:
        for sample in range(2):
            shutil.copy(small_clip, tmp_path / "clips" / f"{row.prompt.prompt_id}-{sample}.mp4")
    found = load_source(manifest)
    assert found.kind == "manifest" and not found.notes
    assert [(c.prompt, c.categories, c.sample_index) for c in found.clips] == [
        (row.prompt, row.categories, sample) for row in rows for sample in range(2)
    ]


@pytest.mark.parametrize(
    ("video", "samples", "says"),
    [
        ("clip.mp4", 1, "expected {prompt_id}"),
        ("{prompt_id}.mp4", 2, "expected {prompt_id} and {sample}"),
        ("{sample}.mp4", 2, "expected {prompt_id} and {sample}"),
        ("{prompt_id}-{seed}.mp4", 1, "no two clips share one"),
        ("{prompt_id.mp4", 1, "Write for example {prompt_id}.mp4"),
        ("{prompt_id}.mp4", 0, "expected 1 or more"),
    ],
)
def test_clip_names_have_to_differ(video, samples, says):
    with pytest.raises(UsageError, match=says.replace("{", r"\{").replace("}", r"\}")):
        Template(video, samples)


def test_plain_lines():
    rows = load_prompt_suite("vbench").rows
    lines = render(rows, "txt").split("\n")
    assert lines.pop() == "" and lines == [row.prompt.text for row in rows]
    with pytest.raises(UsageError, match="no clip names"):
        render(rows, "txt", Template("{prompt_id}.mp4"))
    for text in (None, "two\nlines"):
        row = PromptRow("line 1", Prompt(text, "seen", "heard", "a7"), (), {})
        with pytest.raises(UsageError, match="prompt a7 has no joint text of one line"):
            render([row], "txt")


def test_absent_texts_are_empty_cells():
    rows = [
        PromptRow("line 1", Prompt("both", None, None, "a"), (), {}),
        PromptRow("line 2", Prompt("both", "seen", "heard", None), (), {}),
    ]
    table = list(csv.DictReader(io.StringIO(render(rows, "csv"))))
    assert table[0]["prompt_v"] == "" and table[1]["prompt_a"] == "heard"
    assert [row["prompt_id"] for row in table] == ["a", "1"]  # a prompt without a name is called after its row
    assert "prompt_v" not in as_records(rows)[0]


def row_of(name: str, *categories: tuple[str, str]) -> PromptRow:
    return PromptRow("line 1", Prompt(name, prompt_id=name), tuple(Category(*c) for c in categories), {})


ROWS = [
    row_of("a", ("Sound", "speech"), ("Place", "city")),
    row_of("b", ("Sound", "speech"), ("Sound", "rain"), ("Place", "wood")),
    row_of("c", ("Sound", "rain"), ("Place", "city"), ("Mood", "rain")),
]


@pytest.mark.parametrize(
    ("categories", "limit", "names"),
    [
        ([], None, "abc"),
        ([], 2, "ab"),
        (["SPEECH"], None, "ab"),
        (["rain"], None, "bc"),
        (["Mood: rain"], None, "c"),
        (["mood:rain"], None, "c"),
        (["speech", "city"], None, "a"),
        (["Sound: rain", "Place: wood"], 5, "b"),
    ],
)
def test_prompts_are_chosen_by_category(categories, limit, names):
    assert "".join(row.prompt.text or "" for row in select_rows(ROWS, categories, limit)) == names


@pytest.mark.parametrize(
    ("categories", "limit", "says"),
    [
        (["speach"], None, "no prompt has the category 'speach'. Did you mean speech?"),
        (["§§"], None, "Known: speech, city, rain, wood"),
        (["speech", "Mood: rain"], None, "no prompt is in all of: speech, Mood: rain"),
        ([], 0, "a limit of 0 prompts leaves nothing"),
    ],
)
def test_a_choice_that_leaves_nothing_is_wrong_usage(categories, limit, says):
    with pytest.raises(UsageError) as caught:
        select_rows(ROWS, categories, limit)
    assert says in str(caught.value)


def test_lists_without_categories_say_so():
    with pytest.raises(UsageError, match="these prompts have no categories"):
        select_rows([row_of("a")], ["speech"])


def test_the_suite_files_are_plain_utf8_with_unix_lines():
    for path in Path(load_prompt_suite("avbench-175").path).parent.iterdir():
        content = path.read_bytes()
        assert content.endswith(b"\n") and b"\r" not in content and not content.startswith(b"\xef\xbb\xbf")
        content.decode("utf-8")
