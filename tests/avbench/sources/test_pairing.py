"""Which prompt a clip gets: names and numbers of the list win over positions, and what is unclear is refused."""

from __future__ import annotations

import pyarrow
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from paired_lists import attempt, texts
from pyarrow import parquet

from avbench.errors import UsageError
from avbench.sources import load_source

# The same number, as lists and as files spell it.
PLAIN_KEYS = ("{}", "{:04d}", "{}.0")
NAME_KEYS = ("clip_{}", "Clip-{:03d}", "out/clip_{}.mp4", "CLIP {}.MOV", "clip{:02d}")
FILES = ("clip_{}.mp4", "clip-{:03d}.mp4", "Clip{:02d}.mkv", "m1/clip_{}.mp4", "CLIP {:04d}.flv")
STARTS = st.sampled_from([0, 1, 2, 7, 100])


@settings(max_examples=60, deadline=None)
@given(data=st.data(), start=STARTS, count=st.integers(2, 8), file=st.sampled_from(FILES))
def test_the_assignment_follows_the_ids_and_never_the_positions(data, start, count, file):
    key = data.draw(st.sampled_from(PLAIN_KEYS + NAME_KEYS))
    plain = ("id", "index", "prompt_id", "Prompt Index", "#")
    column = data.draw(st.sampled_from(plain if key in PLAIN_KEYS else ("id", "video", "name", "file")))
    order = data.draw(st.permutations(range(start, start + count)))
    listed = data.draw(st.lists(st.sampled_from(order), min_size=2, unique=True))
    source = attempt(map(file.format, listed), f"{column},text", [f"{key.format(n)},prompt {n}" for n in order])
    assert not isinstance(source, str), source
    assert texts(source) == {file.format(n): f"prompt {n}" for n in listed}


@settings(max_examples=60, deadline=None)
@given(data=st.data(), file=st.sampled_from(FILES[:3]), key=st.sampled_from(PLAIN_KEYS + NAME_KEYS))
def test_lists_with_gaps_give_no_clip_the_prompt_of_another(data, file, key):
    """Any numbers on both sides: a clip has the prompt of its own number, or none, or all is refused."""
    numbers = st.lists(st.integers(0, 9), min_size=1, unique=True)
    listed, rows = data.draw(numbers), data.draw(numbers)
    assume(len(rows) > 1)
    source = attempt(map(file.format, listed), "id,text", [f"{key.format(n)},prompt {n}" for n in rows])
    if isinstance(source, str):
        assert "Add a column `video`" in source
        return
    for n, clip in zip(sorted(listed), source.clips, strict=True):
        assert clip.prompt.text == (f"prompt {n}" if n in rows else None)


@settings(max_examples=40, deadline=None)
@given(data=st.data(), count=st.integers(3, 8))
def test_any_column_that_counts_the_rows_forbids_positions(data, count):
    """Whatever it is called, a column that counts the rows in another order is never passed over."""
    column = data.draw(st.sampled_from(["scene", "Frage Nr.", "x", "seed", "key", "nr", "vid"]))
    start = data.draw(st.sampled_from([0, 1]))
    order = data.draw(st.permutations(range(start, start + count)))
    assume(order != list(range(count)))
    source = attempt([f"out_{n}.mp4" for n in range(count)], f"{column},text", [f"{n},prompt {n}" for n in order])
    if isinstance(source, str):
        assert "two rules disagree" in source or "it is not clear from where" in source
    else:
        assert texts(source) == {f"out_{n}.mp4": f"prompt {n}" for n in range(count)}


@settings(max_examples=60, deadline=None)
@given(data=st.data(), start=st.integers(2, 9), count=st.integers(3, 8), file=st.sampled_from(FILES))
def test_a_column_that_counts_from_any_number_forbids_positions(data, start, count, file):
    """2, 3, 4, 5 under a name that says nothing: no clip gets the prompt of another row."""
    column = data.draw(st.sampled_from(["frobnitz", "Order", "shot", "x", "Frage Nr."]))
    order = data.draw(st.permutations(range(start, start + count)))
    key = data.draw(st.sampled_from(PLAIN_KEYS))
    listed = data.draw(st.lists(st.integers(0, start + count), min_size=1, unique=True))
    source = attempt(map(file.format, listed), f"{column},text", [f"{key.format(n)},prompt {n}" for n in order])
    if isinstance(source, str):
        assert "Add a column `video`" in source
    else:
        assert texts(source) == {file.format(n): f"prompt {order[n]}" for n in listed}
        # What counts from beyond the last row is no other reading of the positions; else both say the same.
        assert start >= count or all(order[n] == n for n in listed)


@pytest.mark.parametrize("numbers", [(2, 3, 4, 5), (3, 5, 6, 8), (5, 4, 3, 2), (40, 2, 17, 3)])
def test_numbers_of_a_column_that_hold_those_of_the_clips(numbers):
    message = attempt(["v_2.mp4", "v_3.mp4"], "frobnitz,text", [f"{n},p{n}" for n in numbers])
    assert (
        "two rules disagree on v_" in message and "column 'frobnitz'" in message and "Add a column `video`" in message
    )


@pytest.mark.parametrize("column", ["id", "frobnitz"])
@pytest.mark.parametrize("digits", ["１２３", "①②③", "١٢٣", "१२३"])
def test_digits_of_other_scripts_are_numbers(column, digits):
    message = attempt([f"v_{n}.mp4" for n in range(3)], f"{column},text", [f"{digit},p" for digit in digits])
    assert isinstance(message, str)
    if column == "id":
        source = attempt([f"v_{digit}.mp4" for digit in digits], "id,text", ["3,p3", "2,p2", "1,p1"])
        assert list(texts(source).values()) == ["p1", "p2", "p3"]


def test_numbers_inside_objects_forbid_positions(touch, write):
    root = touch(*(f"v_{n}.mp4" for n in range(3)))
    rows = [f'{{"meta": {{"n": {n}}}, "tags": [{n}, "x"], "text": "p{n}"}}\n' for n in (1, 2, 3)]
    with pytest.raises(UsageError, match=r"column 'meta\.n'"):
        load_source(root, prompts=write("p.jsonl", "".join(rows)))


def test_a_column_that_may_number_the_rows_is_named_where_no_rule_fits():
    message = attempt(["v_7.mp4", "v_8.mp4"], "frobnitz,text", ["7,a", "8,b"])
    assert "rename frobnitz to `index` if it numbers the rows" in message


@pytest.mark.parametrize(
    ("column", "numbers"),
    [("seed", (42, 43, 44)), ("duration", (5, 6, 7)), ("x", (5, 6, None)), ("x", (5, 8, 3)), ("x", (7, 7, 7))],
)
def test_measures_and_settings_number_no_rows(column, numbers):
    rows = [f"{'' if n is None else n},p{i}" for i, n in enumerate(numbers)]
    source = attempt([f"v_{i}.mp4" for i in range(3)], f"{column},text", rows)
    assert not isinstance(source, str), source
    assert texts(source) == {f"v_{i}.mp4": f"p{i}" for i in range(3)}


@settings(max_examples=40, deadline=None)
@given(data=st.data(), prompts=st.integers(2, 5), samples=st.integers(2, 3), start=st.sampled_from([0, 1, 4]))
def test_several_samples_of_each_prompt(data, prompts, samples, start):
    ids = data.draw(st.permutations(range(start, start + prompts)))
    file = data.draw(st.sampled_from(["video_{}_{}.mp4", "{}-{}.mp4", "prompt{:03d}_seed{}.mp4", "{:02d}_take_{}.mp4"]))
    key = data.draw(st.sampled_from(PLAIN_KEYS))
    names = {file.format(n, sample): f"prompt {n}" for n in ids for sample in range(samples)}
    source = attempt(names, "id,text", [f"{key.format(n)},prompt {n}" for n in ids])
    if isinstance(source, str):
        # Both numbers take exactly the values of the list.
        assert "several numbers" in source and set(ids) == set(range(samples))
    else:
        assert texts(source) == names
        assert {clip.sample_index for clip in source.clips} == set(range(samples))


def test_ids_from_one(touch, write):
    root = touch(*(f"video_{n}.mp4" for n in range(1, 5)))
    source = load_source(root, prompts=write("p.csv", "id,text\n" + "".join(f"{n},prompt {n}\n" for n in range(1, 6))))
    assert texts(source) == {f"video_{n}.mp4": f"prompt {n}" for n in range(1, 5)}
    assert "the last number in each file name is column 'id' of p.csv" in source.matching
    assert any("1 of 5 prompts have no clip: line 6" in note for note in source.notes)


@pytest.mark.parametrize("column", ["id", "Nr", "index", "row_number"])
@pytest.mark.parametrize(("files", "rows"), [(range(4), range(1, 6)), (range(1, 5), range(4)), (range(4), range(1, 5))])
@pytest.mark.parametrize("file", ["video_{}.mp4", "{:04d}.mp4"])
def test_counting_from_another_start_is_refused(column, files, rows, file):
    message = attempt(map(file.format, files), f"{column},text", [f"{n},prompt {n}" for n in rows])
    assert f"column '{column}'" in message
    assert "not clear from where clips and rows are counted" in message
    assert f"Add a column `video` with the file name of each clip ({file.format(files[0])})" in message


def test_names_may_count_from_another_start_too():
    message = attempt([f"clip_{n:03d}.mp4" for n in range(3)], "name,text", [f"clip_{n},p{n}" for n in (1, 2, 3)])
    assert "not clear from where" in message
    # Names that fit as they are are not in doubt.
    source = attempt([f"clip_{n}.mp4" for n in range(3)], "name,text", [f"clip_{n},p{n}" for n in (1, 2, 3)])
    assert texts(source) == {"clip_0.mp4": None, "clip_1.mp4": "p1", "clip_2.mp4": "p2"}


def test_clips_that_the_list_lacks_have_no_prompt():
    source = attempt([f"video_{n}.mp4" for n in range(3, 9)], "id,text", [f"{n},p{n}" for n in range(6)])
    assert texts(source) == {f"video_{n}.mp4": f"p{n}" if n < 6 else None for n in range(3, 9)}
    assert any("3 of 6 clips have no prompt row" in note for note in source.notes)


def test_two_columns_of_numbers_that_disagree():
    rows = [f"{n + 1},{n},p{n}" for n in range(5)]
    message = attempt([f"video_{n}.mp4" for n in range(1, 5)], "id,index,text", rows)
    assert "two rules disagree on video_1.mp4" in message
    assert "column 'id' of list.csv: line 2 ('p0')" in message
    assert "column 'index' of list.csv: line 3 ('p1')" in message
    # One of them fits all clips, the other does not.
    source = attempt([f"video_{n}.mp4" for n in range(5)], "id,index,text", rows)
    assert texts(source) == {f"video_{n}.mp4": f"p{n}" for n in range(5)}


def test_two_columns_of_names_that_disagree():
    message = attempt(["a.mp4", "b.mp4"], "id,name,text", ["a,b,1", "b,a,2"])
    assert "two rules disagree on a.mp4" in message and "'id'" in message and "'name'" in message


def test_a_number_twice():
    names = ["video_1.mp4", "video_2.mp4"]
    message = attempt(names, "id,text", ["1,x", "2,y", "2,z"])
    assert "line 4: column 'id' names video_2.mp4 again, with another prompt than line 3" in message
    assert texts(attempt(names, "id,text", ["2,y", "1,x", "2,y"])) == {"video_1.mp4": "x", "video_2.mp4": "y"}


def test_a_column_that_is_not_all_numbers_still_forbids_positions():
    message = attempt([f"video_{n}.mp4" for n in range(3)], "id,text", ["1,p1", "2,p2", "x,p3", "0,p0"])
    assert "two rules disagree" in message


def test_ids_of_another_kind_are_no_row_numbers():
    message = attempt([f"video_{n}.mp4" for n in range(3)], "id,text", ["391,p1", "22,p2", "7,p3"])
    assert "column 'id' of list.csv: no prompt" in message


def test_positions_without_a_column_of_numbers(touch, write):
    root = touch(*(f"video_{n}.mp4" for n in range(1, 5)))
    with pytest.raises(UsageError, match=r"the clips count from 1, and rows 0 to 4 fit as well as lines 1 to 5"):
        load_source(root, prompts=write("p.txt", "a\nb\nc\nd\ne\n"))
    source = load_source(touch("video_0.mp4"), prompts=write("p.txt", "a\nb\nc\nd\ne\n"))
    assert list(texts(source).values()) == ["a", "b", "c", "d", "e"]


def test_names_that_differ_in_a_word_but_not_in_the_number():
    source = attempt(["gen_02.mp4", "gen_01.mp4"], "video,text", ["clip_1.mp4,p1", "clip_2.mp4,p2", "clip_3.mp4,p3"])
    assert texts(source) == {"gen_01.mp4": "p1", "gen_02.mp4": "p2"}
    message = attempt(["gen_0.mp4", "gen_1.mp4"], "video,text", ["dog_1.mp4,p1", "cat_2.mp4,p2", "cow_3.mp4,p3"])
    assert "two rules disagree" in message


@pytest.mark.parametrize("key", ["{:04d}_a_dog_barks", "{}.mp4", "scene {} take", "out/{:02d} dog.mov"])
def test_numbers_anywhere_in_the_names_of_the_list(key):
    rows = [f"{key.format(n)},p{n}" for n in (3, 0, 4, 1, 2)]
    source = attempt([f"video_{n:02d}.mp4" for n in range(4)], "name,text", rows)
    assert list(texts(source).values()) == ["p0", "p1", "p2", "p3"]
    message = attempt([f"video_{n:02d}.mp4" for n in range(4)], "name,text", rows[1:])
    assert "two rules disagree" in message or "cannot tell" in message


def test_one_row_with_a_number():
    names = ["a_1.mp4", "a_2.mp4"]
    assert texts(attempt(names, "prompt_id,text", ["17,x"])) == dict.fromkeys(names, "x")
    assert texts(attempt(["a.mp4", "b.mp4"], "id,text", ["17,x"])) == {"a.mp4": "x", "b.mp4": "x"}
    assert "two rules disagree on a_2.mp4" in attempt(names, "id,text", ["1,x"])
    assert "column 'id' is 17, which is the number of no clip; if it is for all" in attempt(names, "id,text", ["17,x"])
    assert "names no clip of the folder (first: 'other.mp4')" in attempt(names, "video,text", ["other.mp4,x"])


@pytest.mark.parametrize(
    ("file", "numbers"),
    [
        ("wan2.1_{:04d}.mp4", range(3)),
        ("ltx2_video_{}.mp4", range(3)),
        ("seed42_{}_512x512_24fps.mp4", range(3)),
        ("2024-01-05_{:03d}.mp4", range(3)),
        ("{:04d}_dog.mp4", range(3)),
        ("veo 3 clip {}.mp4", range(3)),
    ],
)
def test_other_numbers_in_a_name_do_not_count(file, numbers):
    rows = [f"{n},p{n}" for n in (4, 2, 0, 1, 3)]
    assert texts(attempt(map(file.format, numbers), "id,text", rows)) == {file.format(n): f"p{n}" for n in numbers}


@pytest.mark.parametrize(
    "names",
    [
        ["video_3_0.mp4", "video_3_1.mp4"],
        ["video_6_1.mp4", "video_7_2.mp4"],
        ["video_3_0.mp4"],
        ["m1_0000.mp4", "m1_0001.mp4", "m2_0000.mp4", "m2_0001.mp4"],
        ["rec_2024-01-03.mp4", "rec_2024-01-04.mp4"],
        ["1/out_0.mp4", "2/out_0.mp4", "2/out_1.mp4"],
    ],
)
@pytest.mark.parametrize("table", ["id,text", "text"])
def test_unclear_numbers_are_refused(names, table):
    rows = [f"{n},p{n}" if "id" in table else f"p{n}" for n in range(9)]
    assert "cannot tell which of 9 prompts" in attempt(names, table, rows)


def test_a_constant_in_front_and_a_sample_behind():
    names = [f"{model}/{model}_Clip_{n:03d}_{sample}.mp4" for model in ("a", "b") for n in (1, 2) for sample in (0, 1)]
    source = attempt(names, "name,text", ["clip-2,p2", "clip-1,p1", "clip-3,p3"])
    assert texts(source) == {name: f"p{name[-7]}" for name in names}
    # "dog" is not the name of a hot dog.
    assert "cannot tell" in attempt(["hot dog.mp4", "big cat.mp4"], "name,text", ["dog,x", "cat,y"])


def test_folders_of_the_list_tell_equal_names_apart():
    names = ["a/clip_1.mp4", "b/clip_1.mp4"]
    source = attempt(names, "video,text", ["out\\A\\clip_01.mp4,x", "out\\B\\clip_01.mp4,y"])
    assert texts(source) == {"a/clip_1.mp4": "x", "b/clip_1.mp4": "y"}


def test_upper_and_lower_case_matter_where_a_name_fits_as_it_is():
    assert texts(attempt(["aBc.mp4", "abc.mp4"], "id,text", ["aBc,x", "q,y"])) == {"aBc.mp4": "x", "abc.mp4": None}
    source = attempt(["aBc.mp4", "abc.mp4"], "video,text", ["v/aBc.mp4,x", "v/abc.mp4,y"])
    assert texts(source) == {"aBc.mp4": "x", "abc.mp4": "y"}
    assert "two names of clips are one name" in attempt(["a_b.mp4", "a-b.mp4"], "id,text", ["a b,x", "q,y"])


def test_the_spelling_that_was_matched_is_said():
    source = attempt(["clip_001.mp4", "clip_002.mp4"], "id,text", ["clip_1,x", "clip_2,y"])
    assert "names the clips in another spelling ('clip_1' is clip_001.mp4)" in source.matching


def test_the_index_of_a_pandas_table(touch, clips):
    """A list that was shuffled or filtered keeps its numbers in a column without a name, or in one of pandas'."""
    root = touch(*(f"video_{n}.mp4" for n in range(3)))
    path = clips / "p.csv"
    path.write_text(",text\n2,p2\n0,p0\n1,p1\n")
    assert texts(load_source(root, prompts=path)) == {f"video_{n}.mp4": f"p{n}" for n in range(3)}
    table = pyarrow.table({"text": ["p2", "p0", "p1"], "__index_level_0__": [2, 0, 1]})
    parquet.write_table(table, clips / "p.parquet")
    assert texts(load_source(root, prompts=clips / "p.parquet")) == {f"video_{n}.mp4": f"p{n}" for n in range(3)}


class TestJavisBench:
    NAMES = tuple(f"sample_{n:04d}.mp4" for n in range(4))

    @pytest.mark.parametrize("layout", ["auto", "javisbench"])
    @pytest.mark.parametrize("column", ["id", "index"])
    def test_an_index_column_wins(self, layout, column):
        rows = [f"gt/{n + 5}.mp4,{n},p{n}" for n in (3, 1, 4, 2, 0)]
        source = attempt(self.NAMES, f"path,{column},text", rows, layout=layout)
        assert list(texts(source).values()) == ["p0", "p1", "p2", "p3"]

    @pytest.mark.parametrize("ids", [range(1, 6), (4821, 2, 77, 9000, 13)])
    def test_an_index_column_that_does_not_fit_is_refused_unless_the_layout_is_asked_for(self, ids):
        rows = [f"{n},p{row}" for row, n in enumerate(ids)]
        message = attempt(self.NAMES, "id,text", rows)
        assert "two rules disagree on sample_0000.mp4" in message
        assert "sample_<n> is row n of list.csv, counted from 0" in message
        assert "choose layout javisbench (--layout)" in message
        source = attempt(self.NAMES, "id,text", rows, layout="javisbench")
        assert list(texts(source).values()) == ["p0", "p1", "p2", "p3"]
        assert any("The rows count, as the layout says." in note for note in source.notes)

    def test_numbers_in_paths_of_the_ground_truth_give_no_prompts(self):
        source = attempt(self.NAMES, "path,text", [f"gt/yt_{n}.mp4,p{n}" for n in range(5)])
        assert list(texts(source).values()) == ["p0", "p1", "p2", "p3"]
        message = attempt(self.NAMES, "path,text", [f"gt/yt_{n}.mp4,p{n}" for n in (3, 2, 1, 0, 4)])
        assert "two rules disagree" in message

    def test_the_row_rule_needs_the_names_of_the_benchmark(self):
        rows = [f"p{n}" for n in range(5)]
        source = attempt(self.NAMES[1:], "text", rows)
        assert list(texts(source).values()) == ["p1", "p2", "p3"]
        message = attempt(["sample_1.mp4", "sample_2.mp4"], "text", rows)
        assert "the clips count from 1 (sample_1.mp4)" in message
