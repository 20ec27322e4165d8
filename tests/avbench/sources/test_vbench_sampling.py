"""VBench's official prompts: their dimensions, what must be seen, which clips are samples of them, what is missing."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path

import pytest

from avbench.clips import Category, Clip, Expected, Prompt
from avbench.errors import UsageError
from avbench.prompts import Template, as_records, load_prompt_suite
from avbench.sources import load_source
from avbench.sources.prompts import PromptRow
from avbench.sources.vbench import ASPECT, coverage, dimensions_of, official_prompts, samples_needed
from avbench.suites import get_suite

GOLDENS = json.loads((Path(__file__).parents[2] / "goldens" / "vbench" / "final.json").read_text())


def prompt_row(text: str, *dimensions: str, prompt_id: str | None = None) -> PromptRow:
    return PromptRow("", Prompt(text, prompt_id=prompt_id), tuple(Category(ASPECT, name) for name in dimensions), {})


def clip(text: str, sample: int, prompt_id: str | None = None) -> Clip:
    name = f"{text}-{sample}.mp4"
    return Clip(name, Path(name), prompt=Prompt(text, prompt_id=prompt_id), sample_index=sample)


def test_clips_match_prompts_as_in_the_reference(touch):
    """Letter by letter, samples 0 to 4 only; a prompt of several dimensions serves all of them."""
    matching = GOLDENS["matching"]
    rows = [prompt_row(entry["prompt_en"], *entry["dimension"]) for entry in matching["info"]]
    root = touch(*(name for name in matching["files"] if "-" in name))
    found = {each.dimension: each for each in coverage(load_source(root, layout="vbench").clips, rows)}
    for dimensions, expected in matching["matched"].items():
        if dimensions == "custom":
            continue  # the next test
        names = dimensions.split("+")
        matched = {
            prompt.row.prompt.text: [each.clip_id for each in prompt.clips]
            for name in names
            for prompt in found[name].prompts
        }
        assert matched == dict(expected)


@pytest.mark.parametrize(
    ("name", "text"),
    [*GOLDENS["prompt_from_filename"], *GOLDENS["matching"]["matched"]["custom"]],
)
def test_a_file_name_holds_the_prompt_that_the_reference_reads(touch, name, text):
    """It takes names without a sample number as well, which are refused here, and GIF, which is no kind of clip."""
    folder = touch(name.replace(".gif", ".mp4"))
    if re.search(r"-[0-9]+\.", name):
        (found,) = load_source(folder, layout="vbench").clips
        assert found.prompt.text == text
    else:
        assert text == name.removesuffix(".mp4")
        with pytest.raises(UsageError, match="not named <prompt>-<number>"):
            load_source(folder, layout="vbench")


def test_the_suite_for_own_videos_has_what_the_reference_allows_for_them():
    matching = GOLDENS["matching"]
    allowed = set(matching["all_dimensions"]) - set(matching["custom_refused"])
    assert set(get_suite("vbench-custom").metrics) == allowed


def test_the_official_list_has_what_each_dimension_needs():
    rows = official_prompts()
    assert len(rows) == 946 and len({row.prompt.text for row in rows}) == 944
    fields = {
        "object_class": "objects",
        "multiple_objects": "objects",
        "color": "color",
        "spatial_relationship": "relation",
        "scene": "scene",
        "appearance_style": "style",
        "human_action": "action",
    }
    for row in rows:
        needed = {fields[name] for name in dimensions_of(row) if name in fields}
        stated = {name for name in Expected.__dataclass_fields__ if getattr(row.prompt.expected, name) is not None}
        assert stated == needed, row.prompt.text
    by_text = {row.prompt.text: row.prompt.expected for row in rows}
    assert by_text["A person is petting animal (not cat)"].action == "petting animal (not cat)"
    assert by_text["a bird and a cat"].objects == "bird and cat"
    assert {samples_needed(row) for row in rows if "temporal_flickering" in dimensions_of(row)} == {25}
    assert sum(map(samples_needed, rows)) == 871 * 5 + 75 * 25


def test_a_folder_named_after_prompts_knows_dimensions_and_what_must_be_seen(touch):
    root = touch("alley-0.mp4", "a bird and a cat-0.mp4", "A person is marching-3.mp4", "A dog of nobody-0.mp4")
    found = {each.prompt.text: each for each in load_source(root).clips}
    assert found["alley"].categories == (Category(ASPECT, "scene"), Category(ASPECT, "background_consistency"))
    assert found["alley"].prompt.expected == Expected(scene="alley")
    assert found["a bird and a cat"].prompt.expected == Expected(objects="bird and cat")
    assert found["A person is marching"].prompt.expected == Expected(action="marching")
    assert found["A person is marching"].sample_index == 3
    assert (found["A dog of nobody"].categories, found["A dog of nobody"].prompt.expected) == ((), Expected())


def test_a_folder_of_one_dimension_is_known_for_vbenchs(touch):
    """Most scenes are one word, which a title may be as well."""
    rows = [row for row in official_prompts() if "scene" in dimensions_of(row)]
    assert sum(" " not in (row.prompt.text or "") for row in rows) > len(rows) / 2
    found = load_source(touch(*(f"{row.prompt.text}-{sample}.mp4" for row in rows for sample in range(2))))
    assert found.kind == "vbench"
    assert {each.prompt.expected.scene for each in found.clips} == {row.prompt.expected.scene for row in rows}
    full = {each.dimension for each in coverage(found.clips, rows) if each.sampled == len(rows)}
    assert full == {"scene", "background_consistency"}


@pytest.mark.parametrize(
    ("names", "kind"),
    [
        (["alley-0.mp4", "harbor-0.mp4", "intro-0.mp4"], "vbench"),
        (["alley-0.mp4", "intro-0.mp4"], "folder"),
        ([*(f"intro-{sample}.mp4" for sample in range(9)), "a dog runs-0.mp4", "alley-0.mp4"], "vbench"),
        ([*(f"alley-{sample}.mp4" for sample in range(9)), "intro-0.mp4", "end-0.mp4"], "folder"),
    ],
)
def test_most_texts_have_to_be_prompts_whatever_their_number_of_samples(touch, names, kind):
    assert load_source(touch(*names)).kind == kind


def test_an_exported_manifest_says_what_the_list_says(tmp_path):
    rows = load_prompt_suite("vbench").rows
    records = as_records(rows, Template("{prompt_id}-{sample}.mp4", None))
    assert len(records) == 6230
    for record in records[::500]:
        (tmp_path / record["video"]).touch()
    manifest = tmp_path / "m.jsonl"
    manifest.write_text("".join(json.dumps(record) + "\n" for record in records[::500]))
    by_id = {row.prompt.prompt_id: row for row in rows}
    for each in load_source(manifest).clips:
        row = by_id[each.prompt.prompt_id]
        assert (each.prompt, each.categories) == (row.prompt, row.categories)


def test_what_is_missing_is_said_dimension_by_dimension():
    rows = [
        prompt_row("a cat", "color", "scene"),
        prompt_row("a dog", "color"),
        prompt_row("a wall", "temporal_flickering"),
    ]
    clips = [clip("a cat", sample) for sample in range(5)] + [clip("a wall", sample) for sample in range(25)]
    color, scene, flickering = coverage([*clips, clip("a dog", 0), clip("a cat", 7), clip("a fox", 0)], rows)
    assert (color.sampled, color.full, color.clips, scene.clips) == (2, 1, 6, 5)
    assert color.lack == "color has 5 samples of 1 of 2 prompts"
    assert scene.lack == flickering.lack == ""
    assert coverage(clips[:-1], rows)[2].lack == "temporal_flickering has 25 samples of 0 of 1 prompts"


def test_two_clips_for_one_sample_are_no_sampling():
    rows = [prompt_row("a cat", "color")]
    clips = [clip("a cat", sample) for sample in range(5)]
    (found,) = coverage([*clips, replace(clips[0], clip_id="twin")], rows)
    assert found.lack == "color has several clips for one sample (twin)"


TWICE = "The bund Shanghai, oil painting"


def test_a_text_that_stands_twice_serves_all_its_dimensions(touch):
    """Once for appearance style, once for overall consistency and two more."""
    (found,) = load_source(touch(f"{TWICE}-0.mp4")).clips
    names = ("appearance_style", "overall_consistency", "aesthetic_quality", "imaging_quality")
    assert found.categories == tuple(Category(ASPECT, name) for name in names)
    assert found.prompt.expected == Expected(style="oil painting")
    in_folder = [clip(TWICE, sample) for sample in range(5)]
    assert {each.dimension: each.clips for each in coverage(in_folder, official_prompts()) if each.clips} == (
        dict.fromkeys(names, 5)
    )


def test_clips_with_the_lists_ids_serve_their_own_prompt_only():
    ids = [row.prompt.prompt_id for row in official_prompts() if row.prompt.text == TWICE]
    assert len(ids) == 2
    by_id = [clip(TWICE, sample, ids[0]) for sample in range(5)]
    assert [each.dimension for each in coverage(by_id, official_prompts()) if each.clips] == ["appearance_style"]
