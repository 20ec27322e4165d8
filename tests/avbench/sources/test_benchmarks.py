"""Folders laid out as JavisBench's and VBench's."""

from __future__ import annotations

import pytest

from avbench.clips import Category
from avbench.errors import UsageError
from avbench.sources import load_source

JAVIS = (
    "path,audio_path,text,audio_text,cat0_ind,cat2_ind\n"
    'gt/x.mp4,gt/x.wav,zero,sound zero,0,"0,4"\n'
    "gt/y.mp4,gt/y.wav,one,sound one,4,1\n"
    "/abs/z.mp4,http://z,two,,1,2\n"
)


@pytest.fixture
def javis(touch, write):
    """A folder with clips 0 and 2, clip 7 without a row, and no CSV."""
    return touch(*(f"sample_000{n}.{s}" for n in (0, 2, 7) for s in ("mp4", "wav")))


def check_javis(source, root):
    first, second, third = source.clips
    assert source.kind == "javisbench"
    assert (first.video, first.audio) == (root / "sample_0000.mp4", root / "sample_0000.wav")
    assert (first.prompt.text, first.prompt.audio_text) == ("zero", "sound zero")
    assert first.prompt.prompt_id == "0"
    assert first.categories == (
        Category("Event Scenario", "Natural Scenario"),
        Category("Sound Type", "Ambient sounds"),
        Category("Sound Type", "Speech sounds"),
    )
    assert (second.prompt.text, second.prompt.audio_text, second.prompt.for_audio) == ("two", None, "two")
    assert third.prompt.is_empty
    assert "2 of 3 clips have a prompt" in source.matching
    assert any("1 of 3 clips have no prompt row: sample_0007.mp4" in note for note in source.notes)
    assert any("1 of 3 prompts have no clip: line 3" in note for note in source.notes)


@pytest.mark.parametrize("layout", ["auto", "javisbench"])
def test_javisbench_with_the_csv_in_the_folder(javis, write, layout):
    write("JavisBench-mini.csv", JAVIS)
    check_javis(load_source(javis, layout=layout), javis)


@pytest.mark.parametrize("layout", ["auto", "javisbench"])
def test_javisbench_with_the_csv_elsewhere(javis, tmp_path, layout):
    path = tmp_path / "JavisBench.csv"
    path.write_text(JAVIS)
    check_javis(load_source(javis, layout=layout, prompts=path), javis)


def test_javisbench_without_a_csv(javis, write):
    source = load_source(javis)
    assert source.kind == "folder"
    assert any("--prompts" in note for note in source.notes)
    with pytest.raises(UsageError, match=r"does not hold exactly one.*--prompts"):
        load_source(javis, layout="javisbench")
    write("a.csv", JAVIS)
    write("b.csv", JAVIS)
    assert load_source(javis).kind == "folder"
    with pytest.raises(UsageError, match="exactly one"):
        load_source(javis, layout="javisbench")


def test_csv_without_texts_is_no_benchmark(javis, write):
    write("scores.csv", "clip,score\nx,1\n")
    assert load_source(javis).kind == "folder"


def test_table_that_names_the_clips_wins_over_row_numbers(javis, write):
    write("p.csv", "video,text\nsample_0002.mp4,zero\nsample_0000.mp4,one\n")
    source = load_source(javis)
    assert source.kind == "folder"
    assert [clip.prompt.text for clip in source.clips] == ["one", "zero", None]


def test_javisbench_needs_its_file_names(javis, touch, write):
    write("j.csv", JAVIS)
    touch("extra.mp4")
    assert load_source(javis).kind == "folder"
    with pytest.raises(UsageError, match=r"extra\.mp4: expected sample_<row>"):
        load_source(javis, layout="javisbench")


def test_javisbench_index_out_of_range(javis, write):
    write("j.csv", "text,cat3_ind\nx,0\ny,3\n")
    with pytest.raises(UsageError, match=r"j\.csv, line 3: cat3_ind \(Temporal Composition\).*expected 0 to 2"):
        load_source(javis)


def test_javisbench_models_in_subfolders(touch, write):
    root = touch("m1/sample_0.mp4", "m2/sample_0.mp4")
    write("j.csv", "text\nx\n")
    source = load_source(root)
    assert source.kind == "javisbench"
    assert [(clip.prompt.text, clip.sample_index) for clip in source.clips] == [("x", 0), ("x", 0)]


def test_vbench_names_hold_the_prompt(touch):
    source = load_source(touch("a dog runs-0.mp4", "a dog runs-1.mp4", "sub/co-op at night-12.mp4"))
    assert source.kind == "vbench"
    assert [(clip.prompt.text, clip.sample_index) for clip in source.clips] == [
        ("a dog runs", 0),
        ("a dog runs", 1),
        ("co-op at night", 12),
    ]
    assert "3 of 3 clips have a prompt" in source.matching


@pytest.mark.parametrize("names", [["clip-0.mp4", "clip-1.mp4"], ["a dog-0.mp4", "other.mp4"], ["a dog.mp4"]])
def test_vbench_is_not_guessed_from_other_names(touch, names):
    source = load_source(touch(*names))
    assert source.kind == "folder"
    assert all(clip.prompt.is_empty for clip in source.clips)


def test_vbench_forced(touch, write):
    root = touch("dog-0.mp4", "cat-1.mp4")
    assert [clip.prompt.text for clip in load_source(root, layout="vbench").clips] == ["cat", "dog"]
    with pytest.raises(UsageError, match="--prompts"):
        load_source(root, layout="vbench", prompts=write("p.txt", "x"))
    touch("other.mp4", " -3.mp4")
    with pytest.raises(UsageError, match=r"2 of 4 files.* -3\.mp4, other\.mp4"):
        load_source(root, layout="vbench")


def test_prompts_and_layout_folder_switch_vbench_off(touch, write):
    root = touch("a dog-0.mp4", "a dog-1.mp4")
    assert load_source(root, layout="folder").clips[0].prompt.is_empty
    source = load_source(root, prompts=write("p.txt", "x\ny"))
    assert (source.kind, [clip.prompt.text for clip in source.clips]) == ("folder", ["x", "y"])


@pytest.mark.parametrize(
    "names",
    [
        ["my dog 2024-01-05.mp4", "my dog 2024-01-06.mp4"],
        ["my dog-2024.mp4"],
        ["my dog 5-1-2024.mp4", "my dog 6-1-2024.mp4"],
        ["my dog 2024-1-5.mp4", "my dog 2024-1-6.mp4", "a cat-0.mp4"],
        ["walk in rome-12.mp4", "walk in rome-13.mp4"],
        ["walk in rome-00.mp4", "walk in rome-01.mp4"],
        ["scene of rain-0.mp4", "scene of rain-100.mp4"],
    ],
)
def test_dates_and_numbers_in_titles_are_no_vbench_samples(touch, names):
    source = load_source(touch(*names))
    assert source.kind == "folder"
    assert all(clip.prompt.is_empty for clip in source.clips)
    assert any("choose layout vbench (--layout)" in note for note in source.notes)
    forced = load_source(touch(), layout="vbench")
    assert (forced.kind, any("--layout" in note for note in forced.notes)) == ("vbench", False)


def test_a_prompt_that_ends_in_a_year_keeps_its_samples(touch):
    source = load_source(touch("a party in 2024-0.mp4", "a party in 2024-1.mp4"))
    assert (source.kind, [clip.prompt.text for clip in source.clips]) == ("vbench", ["a party in 2024"] * 2)
