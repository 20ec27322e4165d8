"""Folders with a prompt list: by key column, by number, by a single prompt, else an error."""

from __future__ import annotations

import json

import pyarrow
import pytest
from pyarrow import parquet

from avbench.clips import Category
from avbench.errors import UsageError
from avbench.sources import load_source


def texts(source):
    return {clip.clip_id: clip.prompt.text for clip in source.clips}


@pytest.mark.parametrize("column", ["clip_id", "id", "Video", "path", "file", "name", "vid", "youtube_id"])
@pytest.mark.parametrize("keys", [("m/cat.mp4", "dog.mp4"), ("cat.mp4", "dog.mp4"), ("cat", "dog"), ("m/cat", "dog")])
def test_key_column(touch, write, column, keys):
    root = touch("dog.mp4", "m/cat.mp4")
    source = load_source(root, prompts=write("p.csv", f"{column},text\n{keys[0]},meow\n{keys[1]},woof\n"))
    assert texts(source) == {"dog.mp4": "woof", "m/cat.mp4": "meow"}
    assert source.kind == "folder"
    assert column in source.matching
    assert "2 of 2 clips have a prompt" in source.matching
    assert source.notes == ()


def test_columns_of_vabench(touch, write):
    row = {
        "prompt_en": "av",
        "prompt_vision": "v",
        "prompt_audio": "a",
        "dimension": ["first_dnsmos", "third_artistry"],
    }
    (clip,) = load_source(touch("a.mp4"), prompts=write("p.json", json.dumps([row]))).clips
    assert (clip.prompt.text, clip.prompt.video_text, clip.prompt.audio_text) == ("av", "v", "a")


def test_vggsound_columns_in_all_formats(touch, write, clips):
    root = touch("-abc_000030.mp4", "xyz_000010.mp4")
    records = [
        {"vid": "xyz_000010", "prompt_av": "av", "prompt_v": "v", "prompt_a": "a"},
        {"vid": "-abc_000030", "prompt_av": None, "prompt_v": "v2", "prompt_a": "a2"},
    ]
    parquet.write_table(pyarrow.Table.from_pylist(records), clips / "p.parquet")
    write("p.jsonl", "\n".join(map(json.dumps, records)))
    write("p.csv", "vid,prompt_av,prompt_v,prompt_a\nxyz_000010,av,v,a\n-abc_000030,,v2,a2\n")
    for name in ["p.parquet", "p.jsonl", "p.csv"]:
        first, second = load_source(root, prompts=clips / name, layout="folder").clips
        assert (first.prompt.text, first.prompt.for_video, first.prompt.audio_text) == (None, "v2", "a2")
        assert (second.prompt.text, second.prompt.video_text, second.prompt.audio_text) == ("av", "v", "a")


def test_partial_matches_are_noted(touch, write):
    source = load_source(touch("a.mp4", "b.mp4"), prompts=write("p.csv", "id,text\na,x\nq,y\nr,z\n"))
    assert texts(source) == {"a.mp4": "x", "b.mp4": None}
    assert "1 of 2 clips have a prompt" in source.matching
    assert any("1 of 2 clips have no prompt row: b.mp4" in note for note in source.notes)
    assert any("2 of 3 prompts have no clip: line 3, line 4" in note for note in source.notes)


def test_column_that_names_most_clips_wins(touch, write):
    prompts = write("p.csv", "id,name,text\na,x,1\n7,a,2\n8,b,3\n")
    assert texts(load_source(touch("a.mp4", "b.mp4"), prompts=prompts)) == {"a.mp4": "2", "b.mp4": "3"}


def test_key_that_names_a_clip_twice(touch, write):
    root = touch("a.mp4")
    with pytest.raises(UsageError, match=r"p\.csv, line 3: column 'id' names a\.mp4 again.*line 2"):
        load_source(root, prompts=write("p.csv", "id,text\na,x\na,y\n"))
    assert texts(load_source(root, prompts=write("p.csv", "id,text\na,x\na,x\n"))) == {"a.mp4": "x"}


def test_one_prompt_for_the_same_name_of_two_models(touch, write):
    source = load_source(touch("m1/a.mp4", "m2/a.mp4"), prompts=write("p.csv", "id,text\na,x\n"))
    assert texts(source) == {"m1/a.mp4": "x", "m2/a.mp4": "x"}
    assert [clip.sample_index for clip in source.clips] == [0, 0]
    assert source.clips[0].prompt.prompt_id == "a"


def test_number_at_the_end_of_the_name(touch, write):
    root = touch("m1/out_0002.mp4", "m1/out_0000.mp4", "m2/gen1.mp4")
    source = load_source(root, prompts=write("p.txt", "zero\none\r\ntwo\nthree\n"))
    assert texts(source) == {"m1/out_0000.mp4": "zero", "m1/out_0002.mp4": "two", "m2/gen1.mp4": "one"}
    assert "counted from 0" in source.matching
    assert any("1 of 4 prompts have no clip: line 4" in note for note in source.notes)


def test_key_column_comes_before_the_number(touch, write):
    prompts = write("p.csv", "id,text\nout_1,x\nout_0,y\n")
    assert texts(load_source(touch("out_0.mp4", "out_1.mp4"), prompts=prompts)) == {
        "out_0.mp4": "y",
        "out_1.mp4": "x",
    }


def test_single_prompt_goes_to_all_clips(touch, write):
    source = load_source(touch("a.mp4", "b.mp4"), prompts=write("p.txt", "the prompt"))
    assert texts(source) == {"a.mp4": "the prompt", "b.mp4": "the prompt"}
    assert [clip.sample_index for clip in source.clips] == [0, 1]


@pytest.mark.parametrize(
    ("names", "reason"),
    [
        (["a.mp4", "b.mp4"], "does not end in a number"),
        (["x_0.mp4", "x_2.mp4"], "x_2.mp4 asks for row 2, and there are rows 0 to 1"),
        (["x_0.mp4", "y_0.mp4"], "several clips of one folder end in 0"),
        (["x_1.mp4", "x_01.mp4"], "several clips of one folder end in 1"),
    ],
)
def test_never_by_order(touch, write, names, reason):
    with pytest.raises(UsageError, match=f"{reason}.*Add a column `video`"):
        load_source(touch(*names), prompts=write("p.txt", "one\ntwo\n"))


def test_numbers_of_a_list_with_other_names_are_not_rows(touch, write):
    root = touch("abc_0.mp4", "xyz_1.mp4")
    with pytest.raises(UsageError, match="columns vid name no clip"):
        load_source(root, prompts=write("p.csv", "vid,text\nq,one\nr,two\n"))
    assert texts(load_source(root, prompts=write("p.txt", "one\ntwo"))) == {
        "abc_0.mp4": "one",
        "xyz_1.mp4": "two",
    }


def test_categories_of_a_prompt_list(touch, write):
    prompts = write("p.csv", "video,text,cat2_ind,mood\na.mp4,x,0,calm\n")
    assert load_source(touch("a.mp4"), prompts=prompts).clips[0].categories == (
        Category("Sound Type", "Ambient sounds"),
    )


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("p.csv", "video,foo\na.mp4,x\n", "no text column.*got video, foo"),
        ("p.csv", "text\n", "no rows"),
        ("p.txt", "\n \n", "no prompts"),
        ("p.txt", "one\n\ntwo\n", "line 2: empty line"),
        ("p.doc", "one", r"unknown kind of table '\.doc'"),
        ("p.csv", "text,cat0_ind\nx,9\n", r"line 2: cat0_ind"),
    ],
)
def test_bad_prompt_lists(touch, write, name, content, message):
    with pytest.raises(UsageError, match=rf"p\.\w+.*{message}"):
        load_source(touch("a.mp4"), prompts=write(name, content))


def test_missing_prompt_list(touch, clips):
    root = touch("a.mp4")
    for path in [clips / "none.csv", clips / "none.txt"]:
        with pytest.raises(UsageError, match=r"none.*does not exist"):
            load_source(root, prompts=path)
    (clips / "d.csv").mkdir()
    with pytest.raises(UsageError, match="is a folder"):
        load_source(root, prompts=clips / "d.csv")
