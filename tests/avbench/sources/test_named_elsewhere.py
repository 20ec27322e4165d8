"""Names of clips in columns of any name, with marks around them, or missing altogether, never lose to positions."""

from __future__ import annotations

import json
import random

import pyarrow
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from paired_lists import attempt, texts
from pyarrow import parquet

from avbench.errors import UsageError
from avbench.sources import load_source

COLUMNS = (
    *("clip_name", "output", "media", "url", "source", "mp4", "video_file_name", "image", "Datei", "result", "ref"),
    *("sample", "audio", "basename", "z"),
)
SPELLINGS = ("clip_{:03d}.mp4", "clip_{:03d}", "/data/out/clip_{:03d}.mp4", "C:\\out\\clip_{:03d}.mp4", "CLIP-{}.MP4")


@settings(max_examples=50, deadline=None)
@given(data=st.data(), column=st.sampled_from(COLUMNS), spelling=st.sampled_from(SPELLINGS), count=st.integers(2, 6))
def test_names_win_under_any_column_name(data, column, spelling, count):
    order = data.draw(st.permutations(range(count)))
    source = attempt(
        [f"clip_{n:03d}.mp4" for n in range(count)], f"{column},text", [f"{spelling.format(n)},p{n}" for n in order]
    )
    assert texts(source) == {f"clip_{n:03d}.mp4": f"p{n}" for n in range(count)}


@pytest.mark.parametrize("suffix", [".jsonl", ".parquet"])
@pytest.mark.parametrize(
    "cells",
    [lambda name: {"out": name}, lambda name: {"videos": [name]}, lambda name: {"meta": {"video": name, "fps": "24"}}],
)
@pytest.mark.parametrize("name", ["clip_{}.mp4", "sample_{:04d}.mp4"])
def test_lists_objects_and_formats(touch, clips, suffix, cells, name):
    names = [name.format(n) for n in range(3)]
    records = [cells(each) | {"text": f"p{n}"} for n, each in enumerate(names)][::-1]
    path = clips.parent / f"p{suffix}"
    if suffix == ".parquet":
        parquet.write_table(pyarrow.Table.from_pylist(records), path)
    else:
        path.write_text("\n".join(map(json.dumps, records)))
    assert texts(load_source(touch(*names), prompts=path)) == {each: f"p{n}" for n, each in enumerate(names)}


@pytest.mark.parametrize("name", ["clip_{}.mp4", "sample_{:04d}.mp4"])
def test_names_of_some_clips_that_contradict_the_positions_are_refused(name):
    names = [name.format(n) for n in range(3)]
    rows = [f"{names[1]},a", "other.mp4,b", "more.mp4,c"]
    message = attempt(names, "ref,text", rows)
    assert f"two rules disagree on {names[1]}" in message and "column 'ref'" in message
    assert "two rules disagree" in attempt(names, "ref,text", rows[:1])
    # Where they say the same, positions are as good as before.
    assert list(texts(attempt(names, "ref,text", ["x.mp4,a", f"{names[1]},b", ",c"])).values()) == ["a", "b", "c"]


def test_names_and_numbers_of_rows_that_disagree():
    names = [f"clip_{n}.mp4" for n in range(3)]
    message = attempt(names, "index,ref,text", [f"{n},clip_{2 - n}.mp4,p{n}" for n in range(3)])
    assert "two rules disagree on clip_0.mp4" in message and "'ref'" in message and "'index'" in message
    assert "two rules disagree" in attempt(names, "a,b,text", [f"clip_{n},clip_{2 - n},p{n}" for n in range(3)])


def test_texts_that_name_no_clip_disturb_nothing():
    names = [f"clip_{n}.mp4" for n in range(3)]
    for cells in (["rain", "snow", "rain"], ["gt/a.mp4", "gt/b.mp4", "gt/c.mp4"], ["clip_1.mp4 is like this"] * 3):
        source = attempt(names, "ref,text", [f"{cell},p{n}" for n, cell in enumerate(cells)])
        assert list(texts(source).values()) == ["p0", "p1", "p2"]


MARKED = ("{}\u200e", "\u200b{}", "'{}'", "[{}]", "`{}`", '"[""{}""]"', "\u202aC:\\out\\{}", "“{}”")


@pytest.mark.parametrize("cell", MARKED)
def test_marks_around_a_name(cell):
    rows = [f"{cell.format(f'video_{n}.mp4')},p{n}" for n in (1, 0)]
    assert texts(attempt(["video_0.mp4", "video_1.mp4"], "video,text", rows)) == {
        "video_0.mp4": "p0",
        "video_1.mp4": "p1",
    }


@pytest.mark.parametrize("digits", ["０１", "٠١"])
def test_digits_of_other_scripts(digits):
    rows = [f"video_{digits[n]}.mp4,p{n}" for n in (1, 0)]
    assert list(texts(attempt(["video_0.mp4", "video_1.mp4"], "video,text", rows)).values()) == ["p0", "p1"]


@pytest.mark.parametrize("header", ["\u200bvideo,text", "\ufeff\ufeffvideo,text", '\ufeff\ufeff"video","text"'])
def test_invisible_characters_in_a_header(header):
    rows = [f"video_{n}.mp4,p{n}" for n in (1, 0)]
    assert list(texts(attempt(["video_0.mp4", "video_1.mp4"], header, rows)).values()) == ["p0", "p1"]


@pytest.mark.parametrize("column", ["video", "path", "clip_id", "name", "video_name", "clip_name", "output_path"])
@pytest.mark.parametrize("cells", [("cat.mp4", "dog.mp4"), ("video_1.mp4 (done)", "video_0.mp4 (done)"), ("", "foo")])
def test_a_column_of_file_names_that_names_no_clip_is_refused(column, cells):
    message = attempt(["video_0.mp4", "video_1.mp4"], f"{column},text", [f"{cell},p" for cell in cells])
    first = next(filter(None, cells))
    assert f"column '{column}' names no clip of the folder (first: '{first}')" in message
    assert "names no clip" in attempt(["video_0.mp4", "video_1.mp4"], f"{column},text", [f"{cells[1]},p"])


@pytest.mark.parametrize(
    "cells",
    [
        *("1,2,,4", "1,2,3,x", "1,2,3,4,6", "1,2", "2,1", "1,0", "1/4,2/4,3/4,4/4", "1 of 3,2 of 3,3 of 3"),
        *("No. 1,No. 2,No. 3", "#1,#2,#3", "0,2,3", "scene 1,scene 2,scene 3"),
    ],
)
def test_columns_of_any_name_that_number_the_rows_otherwise(cells):
    rows = cells.split(",")
    message = attempt([f"out_{n}.mp4" for n in range(min(len(rows), 3))], "weird,text", [f"{c},p" + c for c in rows])
    assert "two rules disagree" in message and "column 'weird'" in message


@pytest.mark.parametrize("cells", ["1,1,2,2", "24,25,26", "1,1,1", "1,5,90", "0,1,2", "1,,,,", "3,1", "a,b", "1/2,1/3"])
def test_numbers_that_do_not_number_the_rows(cells):
    rows = cells.split(",")
    names = [f"out_{n}.mp4" for n in range(len(rows))]
    source = attempt(names, "weird,text", [f"{cell},p{n}" for n, cell in enumerate(rows)])
    assert list(texts(source).values()) == [f"p{n}" for n in range(len(rows))]


def test_numbers_of_all_rows_behind_those_of_each():
    source = attempt(["out_1.mp4", "out_2.mp4"], "id,text", [f"{n}/3,p{n}" for n in (3, 1, 2)])
    assert list(texts(source).values()) == ["p1", "p2"]


@pytest.mark.parametrize(
    "label",
    ["{}. ", "{}\t", "{}) ", "{}|", "video_{}.mp4\t", "video_{}.mp4, ", "video_{}|", "Video-0{};", "other{}.mp4|"],
)
def test_lines_of_a_text_file_that_begin_with_a_label(touch, write, label):
    root = touch("video_0.mp4", "video_1.mp4")
    path = write("p.txt", "".join(f"{label.format(n)}A dog.\n" for n in (1, 0)))
    with pytest.raises(UsageError, match=r"p\.txt, line 1: every line begins with its number or with the name.*CSV"):
        load_source(root, prompts=path)


@pytest.mark.parametrize(
    "lines", [("2 dogs, barking", "1 dog, asleep"), ("7. Sinfonie", "9. Sinfonie"), ("a, b", "c, d")]
)
def test_lines_that_are_prompts(touch, write, lines):
    source = load_source(touch("video_0.mp4", "video_1.mp4"), prompts=write("p.txt", "\n".join(lines)))
    assert tuple(texts(source).values()) == lines


def test_many_columns_and_rows_are_looked_through_quickly():
    words = random.Random(1)
    rows = [",".join(f"{words.random()} rain" for _ in range(4)) + f",p{n}" for n in range(2000)]
    source = attempt([f"out_{n}.mp4" for n in range(3)], "a,b,c,d,text", rows)
    assert list(texts(source).values()) == ["p0", "p1", "p2"]
