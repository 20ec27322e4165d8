"""Parquet: byte strings, media in the table, types of all kinds, and files that inflate."""

from __future__ import annotations

import datetime
import os

import pyarrow as pa
import pytest
from pyarrow import parquet

from avbench.clips import Category
from avbench.errors import UsageError
from avbench.sources import load_source
from avbench.sources.tables import read_table

FILE = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
LARGE = os.urandom(40_000)
STRING_VIEW = pytest.param(
    pa.string_view(),
    marks=pytest.mark.skipif(int(pa.__version__.split(".")[0]) < 21, reason="pyarrow before 21 writes no string views"),
)


@pytest.fixture
def save(touch, clips):
    """Write columns as Parquet beside a.mp4 and b.mp4; returns the path."""
    touch("a.mp4", "b.mp4")

    def create(options=None, **columns):
        path = clips / "l.parquet"
        parquet.write_table(pa.table(columns), path, **(options or {}))
        return path

    return create


@pytest.mark.parametrize("kind", [pa.binary(), pa.large_binary(), pa.large_string(), STRING_VIEW, pa.binary(5)])
def test_paths_and_texts_of_other_string_types(save, kind):
    column = pa.array([b"a.mp4", b"b.mp4"]).cast(pa.string() if kind == pa.string_view() else kind)
    path = save(video=column.cast(kind), text=pa.array([b"A dog.", None]).cast(pa.large_string()))
    assert [(clip.clip_id, clip.prompt.text) for clip in load_source(path).clips] == [
        ("a.mp4", "A dog."),
        ("b.mp4", None),
    ]


def test_categorical_columns(save):
    path = save(video=["a.mp4", "b.mp4"], model=pa.array(["m", "m"]).dictionary_encode(), category=["x; y", None])
    first, second = load_source(path).clips
    assert (first.model, second.model) == ("m", "m")
    assert first.categories == (Category("category", "x"), Category("category", "y"))


def test_dates_and_numbers_as_names(save):
    dates = pa.array([datetime.datetime(2025, 1, 2, tzinfo=datetime.UTC), None], pa.timestamp("us", "UTC"))
    clip = load_source(save(video=["a.mp4", "b.mp4"], id=pa.array([7, 8]), model=dates)).clips[0]
    assert (clip.clip_id, clip.model) == ("7", "2025-01-02 00:00:00+00:00")
    with pytest.raises(UsageError, match=r"l\.parquet, row 1: text is a datetime \(2025.*expected one text"):
        load_source(save(video=["a.mp4", "b.mp4"], text=dates))


def test_paths_beside_empty_bytes_are_taken(save):
    path = save(video=pa.array([{"bytes": None, "path": "a.mp4"}, {"bytes": None, "path": "b.mp4"}], FILE))
    assert [clip.clip_id for clip in load_source(path).clips] == ["a.mp4", "b.mp4"]


@pytest.mark.parametrize("data", [b"\x00\x00\x00 ftypisom", LARGE], ids=["small", "large"])
@pytest.mark.parametrize("kind", [pa.binary(), FILE], ids=["bytes", "struct"])
@pytest.mark.parametrize("column", ["video", "audio"])
def test_media_in_a_manifest_is_said(save, kind, data, column):
    cell = data if kind == pa.binary() else {"bytes": data, "path": "a.mp4"}
    columns = {"video": ["a.mp4"], "text": ["A dog."]} | {column: pa.array([cell], kind)}
    with pytest.raises(UsageError, match=rf"l\.parquet, row 1: {column} is media or other bytes.*write its path"):
        load_source(save(**columns))


@pytest.mark.parametrize("data", [b"\x00\x00\x00 ftypisom", LARGE], ids=["small", "large"])
def test_media_in_a_prompt_list_gives_its_name_at_most(save, clips, data):
    structs = pa.array([{"bytes": data, "path": "b.mp4"}, {"bytes": data, "path": None}], FILE)
    source = load_source(clips, prompts=save(video=structs, text=["A cat.", "Another."]))
    assert [clip.prompt.text for clip in source.clips] == [None, "A cat."]
    source = load_source(clips, prompts=save(video=pa.array([data]), id=["b"], text=["A cat."]))
    assert [clip.prompt.text for clip in source.clips] == [None, "A cat."]


def test_columns_without_a_meaning_are_not_read(save):
    path = save(video=["a.mp4"], no=["007"], long=["x" * 300], vector=pa.array([[0.0] * 8]), raw=pa.array([LARGE]))
    table = read_table(path)
    assert table.columns == ("video", "no", "long", "vector", "raw")
    assert table.rows[0].cells == {"video": "a.mp4", "no": "007"}
    assert load_source(path).notes == ("4 columns ignored: no, long, vector, raw",)


def test_large_columns_without_a_meaning_cost_nothing(save):
    path = save(video=["a.mp4"] * 50_000, note=pa.repeat("x" * 8_000, 50_000))
    assert set(read_table(path).rows[-1].cells) == {"video"}


def test_column_names_that_meet(clips):
    table = pa.Table.from_arrays([pa.array(["a.mp4"]), pa.array(["x"])], names=["video", " video"])
    parquet.write_table(table, clips / "l.parquet")
    with pytest.raises(UsageError, match="column 'video' appears twice"):
        load_source(clips / "l.parquet")


def lists_of(indices, values):
    return pa.ListArray.from_arrays(
        range(len(indices) + 1), pa.DictionaryArray.from_arrays(indices.cast("int32"), values)
    )


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        (lambda: {"text": pa.nulls(1_200_000, pa.string())}, "more than 1,000,000 rows"),
        (lambda: {"text": pa.repeat("x" * 500, 900_000)}, r"column 'text' holds 450,000,000 bytes"),
        (
            lambda: {"text": pa.repeat("x" * 3_000_000, 200).dictionary_encode()},
            "column 'text' holds 600,000,000 bytes",
        ),
        (lambda: {"text": lists_of(pa.repeat(0, 300), ["x" * 1_000_000])}, "column 'text' holds 300,000,000 bytes"),
    ],
    ids=["rows", "repeated", "long", "nested"],
)
def test_what_inflates_is_refused_first(save, columns, message):
    path = save({"compression": "zstd"}, **columns())
    assert path.stat().st_size < 1_000_000
    with pytest.raises(UsageError, match=rf"l\.parquet: {message}"):
        load_source(path)
