"""Whatever a file holds, it gives a source or a UsageError, and no clip outside of the folder."""

from __future__ import annotations

import csv
import io
import json
import tempfile
from pathlib import Path

import pyarrow
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pyarrow import parquet

from avbench.errors import UsageError
from avbench.sources import Source, load_source
from avbench.sources.rows import says_missing
from avbench.sources.spelled_values import spelled_value

FAST = settings(max_examples=60, deadline=None)

headers = st.sampled_from(["video", "path", "text", "audio", "id", "categories", "cat0_ind", "model", "cat:x", "z"])
cells = st.one_of(
    st.text(max_size=20),
    st.sampled_from(["a.mp4", "../x.mp4", "/etc/passwd", "nan", "0", "1.0", "-1", "{}", "[1]", "a: b; c", "."]),
)
json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=10),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)
# What a file holds unchanged: no NUL, no half surrogates.
texts = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=60)
kept = texts.filter(lambda text: text.strip() != "" and not says_missing(text) and spelled_value(text) is None)


@pytest.fixture(scope="module")
def root():
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name).resolve() / "clips"
        (folder / "sub").mkdir(parents=True)
        (folder / "a.mp4").write_bytes(b"dummy")
        (folder / "sub" / "up").symlink_to(folder.parent)
        (folder.parent / "x.mp4").write_bytes(b"dummy")
        yield folder


def attempt(path: Path, **options) -> Source | None:
    try:
        source = load_source(path, **options)
    except UsageError as error:
        assert str(error).encode()
        return None
    ids = [clip.clip_id for clip in source.clips]
    assert ids and len(set(ids)) == len(ids)
    for clip in source.clips:
        assert clip.clip_id.encode()
        for file in filter(None, [clip.video, clip.audio]):
            assert file.is_absolute()
            assert file.resolve().is_relative_to(source.root)
    return source


def write_and_attempt(root: Path, name: str, data: bytes) -> None:
    path = root.parent / "tables"
    path.mkdir(exist_ok=True)
    (path / name).write_bytes(data)
    attempt(path / name)
    attempt(root, prompts=path / name)


@FAST
@given(
    data=st.one_of(
        st.binary(max_size=200),
        st.text(max_size=200).map(lambda text: text.encode("utf-8", "surrogatepass")),
        st.binary(max_size=80).map(lambda data: b"video,text\na.mp4," + data),
        st.binary(max_size=80).map(lambda data: b"PAR1" + data + b"PAR1"),
    ),
    suffix=st.sampled_from([".csv", ".tsv", ".jsonl", ".json", ".parquet", ".txt"]),
)
def test_any_bytes(root, data, suffix):
    write_and_attempt(root, f"any{suffix}", data)


@FAST
@given(names=st.lists(headers, min_size=1, max_size=5, unique=True), data=st.data())
def test_any_csv(root, names, data):
    rows = data.draw(st.lists(st.lists(cells, min_size=len(names), max_size=len(names)), max_size=4))
    out = io.StringIO(newline="")
    csv.writer(out).writerows([names, *rows])
    write_and_attempt(root, "any.csv", out.getvalue().encode("utf-8", "surrogatepass"))


@FAST
@given(records=st.lists(st.dictionaries(headers | st.text(max_size=5), json_values | cells, max_size=5), max_size=4))
def test_any_json(root, records):
    lines = "\n".join(json.dumps({"video": "a.mp4", **record}) for record in records)
    write_and_attempt(root, "any.jsonl", lines.encode())
    write_and_attempt(root, "any.json", json.dumps(records).encode())


@FAST
@given(prompts=st.lists(kept, min_size=1, max_size=4), kind=st.sampled_from(["csv", "jsonl", "parquet"]))
def test_prompts_round_trip(root, prompts, kind):
    path = root / f"list.{kind}"
    records = [{"video": "a.mp4", "text": text, "audio_text": text[::-1]} for text in prompts]
    if kind == "csv":
        out = io.StringIO(newline="")
        writer = csv.DictWriter(out, list(records[0]), quoting=csv.QUOTE_ALL)  # a quoted text stays as it is
        writer.writeheader()
        writer.writerows(records)
        path.write_bytes(out.getvalue().encode())
    elif kind == "jsonl":
        path.write_text("\n".join(json.dumps(record, ensure_ascii=False) for record in records), newline="")
    else:
        parquet.write_table(pyarrow.Table.from_pylist(records), path)
    source = attempt(path)
    assert source is not None
    assert [clip.prompt.text for clip in source.clips] == prompts
    if not any(says_missing(text[::-1]) or spelled_value(text[::-1]) is not None for text in prompts):
        assert [clip.prompt.audio_text for clip in source.clips] == [text[::-1] for text in prompts]


pieces = st.sampled_from(["..", ".", "sub", "up", "a.mp4", "x.mp4", "", "/", "etc", "C:", "\\", "~", "http:", " "])


@settings(max_examples=200, deadline=None)
@given(
    path=st.one_of(st.text(max_size=30), st.lists(pieces, max_size=7).map("/".join), st.lists(pieces).map("".join)),
    column=st.sampled_from(["video", "audio"]),
)
def test_no_path_leads_outside(root, path, column):
    table = root / "paths.jsonl"
    table.write_text(json.dumps({"video": "a.mp4", column: path}))
    attempt(table)
