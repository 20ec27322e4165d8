"""CSV as spreadsheets write it: other separators, `sep=`, other encodings; and commas stay commas."""

from __future__ import annotations

import csv
import io

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from avbench.errors import UsageError
from avbench.sources import load_source
from avbench.sources.tables import read_table


def texts(path, **options):
    return [(clip.video.name, clip.prompt.text) for clip in load_source(path, **options).clips]


@pytest.mark.parametrize("first", ["", "sep={}\n", "SEP={}\r\n", '"sep={}"\n'])
@pytest.mark.parametrize("separator", [",", ";", "\t", "|"])
@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_separators_of_spreadsheets(touch, write, first, separator, end):
    touch("a.mp4", "b.mp4")
    rows = ["video;text;model", 'a.mp4;"A dog barks; then, ""it"" | runs.";m', "b.mp4;5 cm;m"]
    lines = end.join(row.replace(";", separator) for row in rows)
    path = write("l.csv", first.format(separator) + lines + end)
    told = 'A dog barks; then, "it" | runs.'.replace(";", separator)
    assert texts(path) == [("a.mp4", told), ("b.mp4", "5 cm")]


def test_unquoted_commas_in_a_file_with_semicolons(touch, write):
    touch("a.mp4")
    assert texts(write("l.csv", "video;text\na.mp4;A dog barks, then runs, 2,5 m.\n")) == [
        ("a.mp4", "A dog barks, then runs, 2,5 m.")
    ]


@pytest.mark.parametrize("separator", [",", ";", "\t", "|"])
@pytest.mark.parametrize("blanks", ["", " ", "   "])
def test_spaces_behind_a_separator_do_not_count(touch, write, separator, blanks):
    touch("a.mp4", "b.mp4", "c.mp4")
    rows = ["video;~text", 'a.mp4;~"A dog, ""it"" barks; then | runs."', "b.mp4;~A cat.", ' "c.mp4";~" x "']
    lines = "\n".join(row.replace(";~", separator + blanks) for row in rows) + "\n"
    assert texts(write("l.csv", lines)) == [
        ("a.mp4", 'A dog, "it" barks; then | runs.'),
        ("b.mp4", "A cat."),
        ("c.mp4", " x "),
    ]


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ('a.mp4,\t"A dog, barking"', "expected 2 cells as in the header, got 3"),
        ('a.mp4,\t"A dog"', r"'\\t\"A dog\"' has another blank than a space before its quotes. Remove"),
        ('a.mp4, \u00a0"A dog"', ".*another blank than a space before its quotes"),
        ('a.mp4,"A dog" ', "malformed CSV"),
        ('"a.mp4" ,"A dog"', "malformed CSV"),
        ('a.mp4, "A dog" barks', "malformed CSV"),
    ],
)
def test_blanks_beside_quotes_that_are_not_clear_are_refused(touch, write, row, message):
    touch("a.mp4")
    with pytest.raises(UsageError, match=rf"l\.csv, line 2: {message}"):
        load_source(write("l.csv", f"video,text\n{row}\n"))


def test_lines_are_counted_with_the_line_of_the_separator(touch, write):
    touch("a.mp4")
    with pytest.raises(UsageError, match=r"l\.csv, line 4: expected 2 cells.*got 3 \(the separator is a semicolon\)"):
        load_source(write("l.csv", "sep=;\nvideo;text\na.mp4;x\na.mp4;x;y\n"))


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("l.csv", "sep=:\nvideo:text\na.mp4:x\n", "line 1: 'sep=:' names a separator that is not read; expected one"),
        ("l.csv", "sep=\nvideo,text\n", "line 1: 'sep=' names a separator that is not read"),
        ("l.tsv", "video,text\na.mp4,x\n", r"line 1: the header is separated by a comma; expected a tab in a \.tsv"),
        ("l.csv", "video;text\na.mp4\n", "line 2: expected 2 cells.*got 1"),
        ("l.csv", 'video,text\na.mp4,"' + "x" * 140_000, "line 2: a cell of more than 131,072 characters.*quotes"),
    ],
)
def test_what_is_not_read_is_named(touch, write, name, text, message):
    touch("a.mp4")
    with pytest.raises(UsageError, match=f"{name}, {message}"):
        load_source(write(name, text))


def test_tabs_in_a_tsv_and_other_marks_in_its_texts(touch, write):
    touch("a.mp4")
    assert texts(write("l.tsv", "video\ttext\na.mp4\tone, two; three | four\n")) == [
        ("a.mp4", "one, two; three | four")
    ]


@pytest.mark.parametrize("encoding", ["utf-16", "utf-32", "utf-8-sig"])
@pytest.mark.parametrize("name", ["l.csv", "l.tsv", "l.jsonl", "l.json"])
def test_unicode_text_of_spreadsheets(touch, clips, encoding, name):
    touch("a.mp4")
    text = {
        "l.csv": "video\ttext\r\na.mp4\tcafé 日本\r\n",
        "l.tsv": "video\ttext\r\na.mp4\tcafé 日本\r\n",
        "l.jsonl": '{"video": "a.mp4", "text": "café 日本"}\r\n',
        "l.json": '{"a.mp4": "café 日本"}',
    }[name]
    (clips / name).write_bytes(text.encode(encoding))
    assert texts(clips / name) == [("a.mp4", "café 日本")]


def test_half_a_utf_16_file(clips):
    (clips / "l.csv").write_bytes("video,text\n".encode("utf-16")[:-1])
    with pytest.raises(UsageError, match=r"l\.csv: begins as UTF-16 and is damaged"):
        load_source(clips / "l.csv")


@pytest.mark.parametrize(("separator", "suffix"), [("\t", ".tsv"), (",", ".csv"), (";", ".csv")])
def test_a_table_called_txt_is_no_list_of_prompts(touch, write, separator, suffix):
    root = touch("x_0.mp4", "x_1.mp4")
    path = write("p.txt", f"video{separator}text\nx_0{separator}A dog.\n")
    with pytest.raises(UsageError, match=rf"p\.txt, line 1: .* is the header of a table\. Rename the file to {suffix}"):
        load_source(root, prompts=path)
    kept = load_source(root, prompts=write("p.txt", f"video{separator}text\nA dog.\n"))
    assert kept.clips[1].prompt.text == "A dog."


def test_line_ends_of_old_text_files(touch, write):
    root = touch("x_0.mp4", "x_1.mp4")
    for end in ("\n", "\r\n", "\r"):
        assert [text for _, text in texts(root, prompts=write("p.txt", f"one{end}two{end}"))] == ["one", "two"]
        lines = f'{{"video": "x_0", "text": "one"}}{end}{{"video": "x_1", "text": "two"}}{end}'
        assert [text for _, text in texts(root, prompts=write("p.jsonl", lines))] == ["one", "two"]


def test_a_blank_before_quotes_is_named_where_it_is_and_nowhere_else(write):
    """Cells in quotes may begin so, next to each other, over lines, and beside one that is wrong."""
    right = 'video,2\r\na.mp4,"\t"""\r\nb.mp4,\r\n",","\tb ""c"", \r\n\t""d"\r\n'
    table = read_table(write("right.csv", right))
    assert [row.cells["2"] for row in table.rows] == ['\t"', "", '\tb "c", \r\n\t"d']
    wrong = right + 'd.mp4,\t"x"\r\n'
    with pytest.raises(UsageError, match=r"line 6: '\\t\"x\"' has another blank"):
        read_table(write("wrong.csv", wrong))


known = st.sampled_from(["video", "Video Path", "text", "prompt", "id", "categories", "cat:x", "audio_text", "model"])
marks = st.text(st.sampled_from("abc ,;\t|:'\"=\n2.5é"), max_size=12)
names = marks.map(lambda name: " ".join(name.split())).filter(
    lambda name: name != "" and not name.lower().startswith("sep=")
)


@settings(max_examples=200, deadline=None)
@given(data=st.data())
def test_a_file_with_commas_is_always_split_at_commas(tmp_path_factory, data):
    """Other columns and all cells may hold any mark: one column that is known at commas settles it."""
    others = data.draw(st.lists(names, max_size=3, unique=True))
    column = data.draw(known)
    header = data.draw(st.permutations([column, *(name for name in others if name != column)]))
    rows = data.draw(st.lists(st.lists(marks, min_size=len(header), max_size=len(header)), min_size=1, max_size=4))
    out = io.StringIO(newline="")
    quoting = data.draw(st.sampled_from([csv.QUOTE_ALL, csv.QUOTE_MINIMAL]))
    writer = csv.writer(out, quoting=quoting)
    writer.writerows([header, *rows])
    path = tmp_path_factory.mktemp("csv") / "l.csv"
    path.write_bytes(out.getvalue().encode())
    table = read_table(path)
    assert table.columns == tuple(header)
    read = [[row.cells[name] for name in header] for row in table.rows]
    if quoting == csv.QUOTE_MINIMAL:  # spaces at the start of a cell without quotes do not count
        read, rows = ([[cell.lstrip(" ") for cell in row] for row in part] for part in (read, rows))
    assert read == rows
