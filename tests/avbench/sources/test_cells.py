"""What may stand in a cell: a list, an object, a number or a word where a prompt or a name belongs."""

from __future__ import annotations

import csv
import json

import pyarrow
import pytest
from pyarrow import parquet

from avbench.clips import Category
from avbench.errors import UsageError
from avbench.sources import load_source

TWO = ["A dog barks.", "A hound barks."]


def save(folder, suffix, records):
    path = folder / f"list{suffix}"
    if suffix == ".parquet":
        parquet.write_table(pyarrow.Table.from_pylist(records), path)
    elif suffix == ".json":
        path.write_text(json.dumps(records))
    else:
        path.write_text("\n".join(map(json.dumps, records)))
    return path


@pytest.fixture(params=[".jsonl", ".json", ".parquet"])
def load(request, touch, clips):
    """Load records as a manifest of this format."""
    touch("a.mp4", "b.mp4", "s.wav")
    return lambda *records: load_source(save(clips, request.param, records))


@pytest.mark.parametrize("column", ["text", "Video Prompt", "audio_text", "id", "prompt_id", "audio", "model"])
@pytest.mark.parametrize(
    ("value", "what"),
    [
        (TWO, "a list of 2"),
        ({"en": "A dog."}, r"an object with 1 keys \(en\)"),
        ([TWO], "a list of 2"),
        (True, "true or false"),
    ],
)
def test_what_is_no_text_is_refused_with_its_place(load, column, value, what):
    place = r"list\.\w+, (line|item|row) 2: "
    with pytest.raises(UsageError, match=rf"{place}{column} is {what}; expected one text\. \w"):
        load({"video": "a.mp4", column: None}, {"video": "b.mp4", column: value})


def test_a_path_is_no_list_either(load):
    with pytest.raises(UsageError, match="1: video is a list of 2; expected one text"):
        load({"video": ["a.mp4", "b.mp4"]})


@pytest.mark.parametrize("value", [5, 2.5])
def test_a_number_is_no_prompt_but_may_be_a_name(load, value):
    with pytest.raises(UsageError, match=f"1: text is the number {value}; expected one text.*quotes"):
        load({"video": "a.mp4", "text": value})
    clip = load({"video": "a.mp4", "id": value, "model": value}).clips[0]
    assert (clip.clip_id, clip.model) == (str(value), str(value))


def test_a_list_of_one_is_that_text_and_an_empty_list_is_none(load):
    clip = load({"video": ["a.mp4"], "text": ["A dog."], "id": ["x"], "sample_index": [3]}).clips[0]
    assert (clip.video.name, clip.prompt.text, clip.clip_id, clip.sample_index) == ("a.mp4", "A dog.", "x", 3)
    one, none = load({"video": "a.mp4", "text": ["A dog."]}, {"video": "b.mp4", "text": []}).clips
    assert (one.prompt.text, none.prompt.text) == ("A dog.", None)


@pytest.mark.parametrize("suffix", [".jsonl", ".json", ".parquet"])
def test_prompt_lists_are_as_strict(touch, clips, suffix):
    root = touch("a.mp4", "b.mp4")
    for record, message in [
        ({"id": "b", "text": TWO}, "text is a list of 2"),
        ({"id": ["a", "b"], "text": "x"}, "id is a list of 2"),
    ]:
        with pytest.raises(UsageError, match=rf"list\{suffix}, .* 1: {message}; expected one text"):
            load_source(root, prompts=save(clips, suffix, [record]))
    prompts = save(clips, suffix, [{"id": ["b"], "text": ["x"]}])
    assert [clip.prompt.text for clip in load_source(root, prompts=prompts).clips] == [None, "x"]


@pytest.mark.parametrize("name", ["l.csv", "l.jsonl", "p.txt"])
@pytest.mark.parametrize(
    ("cell", "what"),
    [
        ('["A dog barks.", "A hound barks."]', "a list of 2"),
        ("['A dog barks.', 'B']", "a list of 2"),
        ("[ 'A dog' 'B' ]", "a list of 2"),
        ("('A dog', \"it's\")", "a list of 2"),
        ('{"en": "A dog"}', r"an object with 1 keys \(en\)"),
        ("{'en': 'A dog', 'zh': '狗'}", r"an object with 2 keys"),
        ("[3]", "the number 3"),
        ('[["x"], ["y"]]', "a list of 2"),
        ("b'A dog'", "bytes as Python writes them"),
    ],
)
def test_texts_that_spell_a_list_or_an_object_are_refused_too(touch, clips, name, cell, what):
    root = touch("a_0.mp4", "a_1.mp4")
    path = clips / name
    if name == "l.csv":
        with path.open("w", newline="") as file:
            csv.writer(file).writerows([["video", "text"], ["a_0.mp4", "x"], ["a_1.mp4", cell]])
    elif name == "l.jsonl":
        path.write_text("\n".join(json.dumps({"video": f"a_{n}.mp4", "text": t}) for n, t in enumerate(["x", cell])))
    else:
        path.write_text(f"x\n{cell}\n")
    with pytest.raises(UsageError, match=rf", line [23]: text is {what}.*; expected one text\. \w"):
        load_source(root, prompts=path)


@pytest.mark.parametrize(
    ("cell", "text"),
    [
        ('["A dog barks."]', "A dog barks."),
        ("['A dog barks.']", "A dog barks."),
        (' ["A dog"] ', "A dog"),
        ("[]", None),
        ("[Scene 1] A dog.", "[Scene 1] A dog."),
        ("[Scene 1]", "[Scene 1]"),
        ("{A dog | a cat}", "{A dog | a cat}"),
        ("(a dog, barking)", "(a dog, barking)"),
        ("[a dog, " * 3, "[a dog, " * 3),
        ("b'A dog", "b'A dog"),
        ("[" * 300 + "]" * 300, "[" * 300 + "]" * 300),
        ('["' + "x" * 20_000 + '", "y"]', '["' + "x" * 20_000 + '", "y"]'),
    ],
)
def test_texts_in_brackets(touch, clips, cell, text):
    touch("a.mp4")
    with (clips / "l.csv").open("w", newline="") as file:
        csv.writer(file).writerows([["video", "text"], ["a.mp4", cell]])
    assert load_source(clips / "l.csv").clips[0].prompt.text == text


def test_lists_and_objects_stay_where_they_have_a_meaning_or_none(load):
    source = load({"video": "a.mp4", "categories": {"Sound": ["x", "y"]}, "cat:night": True, "boxes": [[1, 2], [3, 4]]})
    assert source.clips[0].categories == (
        Category("Sound", "x"),
        Category("Sound", "y"),
        Category("night", "true"),
    )
    assert source.notes == ("1 columns ignored: boxes",)


WORDS = ["None", "N/A", "null", "NA", "<NA>", "nil", "NaT", "#N/A", "nan", " NONE ", "-", "n.a.", "#REF!", "Undefined"]


@pytest.mark.parametrize("word", WORDS)
@pytest.mark.parametrize("name", ["list.csv", "list.jsonl"])
def test_words_for_a_missing_value_are_no_prompts_and_counted(touch, write, name, word):
    touch("a.mp4", "b.mp4", "c.mp4")
    rows = [("a.mp4", "A dog.", ""), ("b.mp4", word, word), ("c.mp4", "Nantes", word)]
    if name == "list.csv":
        text = "video,text,audio_text\n" + "".join(f"{','.join(row)}\n" for row in rows)
        first = "text, line 3, audio_text, line 3, audio_text, line 4"
    else:
        text = "\n".join(json.dumps(dict(zip(("video", "text", "audio_text"), row, strict=True))) for row in rows)
        first = "text, line 2, audio_text, line 2, audio_text, line 3"
    source = load_source(write(name, text))
    assert [(c.prompt.text, c.prompt.audio_text) for c in source.clips] == [
        ("A dog.", None),
        (None, None),
        ("Nantes", None),
    ]
    assert source.notes == (f"3 text cells say only None, N/A or the like and count as no prompt: {first}",)


def test_words_for_a_missing_value_in_prompt_lists(touch, write):
    root = touch("x_0.mp4", "x_1.mp4")
    note = "1 text cells say only None, N/A or the like and count as no prompt: text, line "
    source = load_source(root, prompts=write("p.txt", "A dog.\nNone\n"))
    assert ([clip.prompt.text for clip in source.clips], source.notes) == (["A dog.", None], (f"{note}2",))
    source = load_source(root, prompts=write("p.csv", "video,text\nx_0,A dog.\nx_1,N/A\n"))
    assert ([clip.prompt.text for clip in source.clips], source.notes) == (["A dog.", None], (f"{note}3",))


def test_names_and_categories_may_be_such_words(touch, write):
    touch("None", "NA.mp4")
    source = load_source(write("l.csv", "video,id,model,cat:sound\nNA.mp4,NA,nil,none\n"))
    clip = source.clips[0]
    assert (clip.clip_id, clip.model, clip.categories) == ("NA", "nil", (Category("sound", "none"),))
    assert source.notes == ()


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ('{"video": "a.mp4", "text": "x", "text": "y"}', "the key 'text' appears twice"),
        ('{"video": "a.mp4", " text": "x", "text": "y"}', "the key 'text' appears twice, once with spaces"),
        ('{"video": "a.mp4", "z": ' + "[" * 70 + "]" * 70 + "}", "nested more than 64 levels deep"),
    ],
)
def test_objects_that_cannot_be_meant(write, line, message):
    with pytest.raises(UsageError, match=f"l.jsonl, line 1: .*{message}"):
        load_source(write("l.jsonl", line))
