"""Tables and lists that are too large: one line, before memory is taken."""

from __future__ import annotations

import os

import pytest

from avbench.errors import EnvironmentProblem, UsageError
from avbench.sources import load_source, text_files
from avbench.sources import tables as tables_module


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("l.csv", r"up to 268,435,456 are read\. Split the file\."),
        ("l.jsonl", r"up to 268,435,456 are read\. Split the file\."),
        ("l.json", r"up to 67,108,864 are read\. Split the file, or write it as \.jsonl\."),
        ("l.txt", r"up to 268,435,456 are read\. Split the file\."),
    ],
)
def test_files_of_a_gigabyte_are_not_opened(touch, clips, name, message):
    root = touch("a.mp4")
    with (clips / name).open("wb") as file:
        os.truncate(file.fileno(), 1 << 30)
    with pytest.raises(UsageError, match=rf"{name} has 1,073,741,824 bytes; {message}"):
        load_source(root, prompts=clips / name)


@pytest.mark.parametrize(
    ("name", "row"), [("l.csv", "a"), ("l.jsonl", '{"text": "a"}'), ("l.json", '{"text": "a"},'), ("l.txt", "a")]
)
def test_long_lists(touch, write, monkeypatch, name, row):
    monkeypatch.setattr(text_files, "MAX_ROWS", 5)
    root = touch("a.mp4")

    def lines(count):
        text = "\n".join([row] * count)
        return f"[{text.strip(',')}]" if name == "l.json" else f"text\n{text}" if name == "l.csv" else text

    with pytest.raises(UsageError, match=rf"{name}: more than 5 rows\. Split the file"):
        load_source(root, prompts=write(name, lines(6)))
    with pytest.raises(UsageError, match="cannot tell which of 5 prompts"):
        load_source(root, prompts=write(name, lines(5)))


@pytest.mark.parametrize(
    ("name", "data", "message"),
    [
        ("l.csv", b"\n" * 1_500_000, "more than 1,000,000 rows"),
        ("l.txt", b"\n" * 1_500_000, "more than 1,000,000 rows"),
        ("l.jsonl", b"\n" * 1_500_000, "more than 1,000,000 rows"),
        ("l.csv", b"," * 20_000, "line 1: 20,001 columns; up to 10,000 are read"),
        ("l.csv", b"text" + b"," * 17_000_000, "line 1: more than 16,777,216 characters"),
        ("l.jsonl", b"{" + b" " * 17_000_000 + b"}", "line 1: more than 16,777,216 characters"),
        ("l.json", b"[" + b"[]," * 2_100_000 + b"[]]", r"more than 4,000,000 values\. Write it as \.jsonl"),
        ("l.csv", b'text\n"' + b"x\n" * 1_000_000, r"line \d+: a cell of more than 131,072 characters"),
    ],
)
def test_small_files_that_become_large(touch, clips, name, data, message):
    root = touch("a.mp4")
    (clips / name).write_bytes(data)
    with pytest.raises(UsageError, match=f"{name}[:,] {message}"):
        load_source(root, prompts=clips / name)


def test_no_memory_is_no_traceback(touch, write, monkeypatch):
    def fail(_):
        raise MemoryError

    touch("a.mp4")
    monkeypatch.setitem(tables_module._READERS, ".csv", fail)
    with pytest.raises(EnvironmentProblem, match=r"l\.csv: not enough memory to read it"):
        load_source(write("l.csv", "video\na.mp4\n"))
