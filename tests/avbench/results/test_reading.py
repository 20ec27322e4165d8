"""The reader of run folders: a checked run, or one sentence that names the file."""

from __future__ import annotations

import dataclasses
import io
import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from avbench import load_run
from avbench.clips import Category, Clip
from avbench.errors import EnvironmentProblem, UsageError
from avbench.results import ClipRow, RunFolder, ScoreRow, by_metric
from avbench.results.damage import DamagedRunError
from avbench.results.info import read_summary
from avbench.results.parquet import read_details

INFO = {
    "schema_version": 1, "run_id": "r", "created": "2026-01-02T03:04:05", "weights": "checkpoints", "n_clips": 2,
    "metrics": {"m": {"unit": "1", "higher_is_better": True, "range": [0, None], "params": {}, "version": 1}},
    "environment": {"python": "3"}, "notes": [],
}  # fmt: skip
SUMMARY = {"overall": [], "categories": [], "models": []}


def score(clip: str | None, metric: str = "m", value: float | None = 0.5, status: str = "ok", **other: Any) -> ScoreRow:
    content: dict[str, Any] = {
        "schema_version": 1, "run_id": "r", "model": None, "suite": "s", "suite_version": "1", "scope": "clip",
        "clip_id": clip, "clip_sha256": f"sha-{clip}", "prompt_id": None, "sample_index": 0, "metric": metric,
        "value": value, "status": status, "reason": "" if status == "ok" else "why", "metric_version": 1,
        "params_digest": "p", "weights_digest": "none", "seconds": 0.1,
    }  # fmt: skip
    return ScoreRow(**(content | other))


def write(folder: Path) -> Path:
    clips = [ClipRow(n, None, 0, None, "text", None, None, f"{n}.mp4", None, f"sha-{n}", frames=9) for n in "ab"]
    rows = [score("a"), score("b", value=None, status="skipped")]
    rows.append(score(None, "f", 3.0, scope="all", clip_sha256="set", detail='{"clips": 2, "without_features": 1}'))
    with RunFolder(folder) as run:
        run.append(rows)
        for clip in clips:
            run.append_clip(clip)
        run.write_json("run.json", INFO)
        run.write_json("summary.json", SUMMARY)
        run.write_tables(rows, clips, [Clip(c.clip_id, Path("x"), categories=(Category("K", "one"),)) for c in clips])
    return folder


@pytest.fixture
def run(tmp_path: Path) -> Path:
    return write(tmp_path / "run")


def test_tables_come_back_as_they_were_written(run: Path) -> None:
    read = load_run(run)
    for name in ("scores", "clips", "categories"):
        plain = pd.read_parquet(run / f"{name}.parquet")
        pd.testing.assert_frame_equal(getattr(read, name), plain, check_dtype=False, check_exact=True)
    assert read.scores["value"].dtype == "float64"
    assert read.info == INFO


def test_a_slim_run_says_the_same_without_details_of_clips(run: Path) -> None:
    whole, slim = load_run(run), load_run(run, slim=True)
    for name, column in whole.scores.drop(columns="detail").items():
        texts = column.dtype == whole.scores["metric"].dtype
        assert (slim.scores[name].dtype == "category") == texts, name
        pd.testing.assert_series_equal(slim.scores[name].astype(object), column.astype(object), check_exact=True)
    assert slim.scores["detail"].isna().tolist() == [True, True, False]
    assert slim.scores["detail"].iloc[2] == whole.scores["detail"].iloc[2]
    assert list(slim.scores["status"].cat.categories) == ["ok", "skipped"]
    pd.testing.assert_frame_equal(slim.clips, whole.clips)


def test_details_of_a_few_clips(run: Path) -> None:
    details = edit("scores.parquet", lambda t: t.assign(detail=['{"n": 1}', '{"n": 2}', '{"clips": 2}']))
    details(run)
    assert read_details(run, ["b", "gone"]) == {("b", "m"): '{"n": 2}'}
    edit("scores.parquet", lambda t: t.drop(columns="detail"))(run)
    assert read_details(run, ["a", "b"]) == {}


def test_one_metric_at_a_time(run: Path) -> None:
    whole, slim = (list(by_metric(load_run(run, slim=slim).scores)) for slim in (False, True))
    assert [part["metric"].unique().tolist() for part in slim] == [["f"], ["m"]]
    for one, other in zip(whole, slim, strict=True):
        columns = one.columns.drop(["detail", "model"])  # columns of nulls alone have no texts to tell their type
        pd.testing.assert_frame_equal(one[columns], other[columns])


def test_what_pandas_writes_is_read(run: Path) -> None:
    for name in ("scores", "clips", "categories"):
        frame = pd.read_parquet(run / f"{name}.parquet")
        frame.index = frame.index * 10 + 3
        frame.assign(unknown=1).to_parquet(run / f"{name}.parquet")
    read = load_run(run)
    assert "unknown" not in read.scores.columns
    assert list(read.scores.index) == [0, 1, 2]


def edit(name: str, change: Callable[[pd.DataFrame], Any]) -> Callable[[Path], None]:
    """A damage: `change` edits a table or returns another."""

    def damage(folder: Path) -> None:
        frame = pd.read_parquet(folder / name)
        result = change(frame)
        (frame if result is None else result).to_parquet(folder / name)

    return damage


def cell(name: str, column: str, value: Any, row: int = 0) -> Callable[[Path], None]:
    def change(frame: pd.DataFrame) -> pd.DataFrame:
        frame = frame.astype({column: object})
        frame.loc[row, column] = value
        return frame

    return edit(name, change)


def info(**changes: Any) -> Callable[[Path], None]:
    return lambda folder: (folder / "run.json").write_text(json.dumps(INFO | changes)) and None


def fact(key: str, value: Any) -> Callable[[Path], None]:
    return info(metrics={"m": {**INFO["metrics"]["m"], key: value}})  # type: ignore[index]


def content(name: str, data: bytes) -> Callable[[Path], None]:
    return lambda folder: (folder / name).write_bytes(data) and None


def bomb(folder: Path) -> None:
    row = pq.read_table(folder / "scores.parquet").slice(0, 1)
    part = pa.concat_tables([row] * 100_000).combine_chunks()
    with pq.ParquetWriter(folder / "scores.parquet", part.schema, compression="zstd") as writer:
        for _ in range(40):
            writer.write_table(part)


def long_text(folder: Path) -> None:
    table = pq.read_table(folder / "clips.parquet").slice(0, 1)
    at = table.schema.get_field_index("text")
    table = pa.concat_tables([table] * 2_000).combine_chunks()
    text = pa.DictionaryArray.from_arrays(pa.array([0] * 2_000, pa.int32()), pa.array(["x" * 2_000_000]))
    pq.write_table(table.set_column(at, "text", text), folder / "clips.parquet", compression="zstd")


def not_text(folder: Path) -> None:
    table = pq.read_table(folder / "scores.parquet")
    raw = pa.array([b"\xff"] * len(table), pa.binary()).view(pa.string())
    at = table.schema.get_field_index("metric")
    pq.write_table(table.set_column(at, "metric", raw), folder / "scores.parquet")


def column_twice(folder: Path) -> None:
    table = pq.read_table(folder / "scores.parquet")
    pq.write_table(table.append_column("metric", table["reason"]), folder / "scores.parquet")


def in_place(name: str, make: Callable[[Path], Any]) -> Callable[[Path], None]:
    def damage(folder: Path) -> None:
        (folder / name).unlink()
        make(folder / name)

    return damage


S, C, K = "scores.parquet", "clips.parquet", "categories.parquet"
DAMAGES: dict[str, tuple[Callable[[Path], Any], str, str]] = {
    "info empty": (content("run.json", b""), "run.json", "Expecting value"),
    "info torn": (content("run.json", b'{"run_id": '), "run.json", "Expecting value"),
    "info a list": (content("run.json", b"[]"), "run.json", "holds a list"),
    "info not UTF-8": (content("run.json", b'{"run_id": "\xff"}'), "run.json", "utf-8"),
    "info deep": (content("run.json", b"[" * 100_000), "run.json", "recursion"),
    "info with NaN": (info(n_clips=float("nan")), "run.json", "NaN|nan|compliant"),
    "info half a pair": (content("run.json", b'{"run_id": "\\ud800"}'), "run.json", "surrogate"),
    "info a huge number": (content("run.json", b'{"n_clips": ' + b"9" * 9999 + b"}"), "run.json", "digits"),
    "schema missing": (content("run.json", b"{}"), "run.json", "schema_version is None"),
    "schema a text": (info(schema_version="1"), "run.json", "schema_version is '1'"),
    "schema zero": (info(schema_version=0), "run.json", "schema_version is 0"),
    "schema true": (info(schema_version=True), "run.json", "schema_version is True"),
    "run id a number": (info(run_id=7), "run.json", "run_id is not a text"),
    "source a list": (info(source=["x"]), "run.json", "source is not a text"),
    "notes of numbers": (info(notes=[1]), "run.json", "notes"),
    "negative clips": (info(n_clips=-1), "run.json", "n_clips is -1"),
    "environment of numbers": (info(environment={"python": 3}), "run.json", "environment"),
    "metrics a list": (info(metrics=[]), "run.json", "metrics is not an object"),
    "metadata a text": (info(metrics={"m": "x"}), "run.json", "its metadata"),
    "unit a number": (fact("unit", 3), "run.json", "unit is of a wrong type"),
    "direction a text": (fact("higher_is_better", "yes"), "run.json", "higher_is_better"),
    "range of texts": (fact("range", ["0", "1"]), "run.json", "range"),
    "range of three": (fact("range", [0, 1, 2]), "run.json", "range"),
    "params a list": (fact("params", []), "run.json", "params"),
    "scores missing": (lambda f: (f / S).unlink(), S, "missing"),
    "scores empty": (content(S, b""), S, "Parquet|bytes"),
    "scores torn": (lambda f: (f / S).write_bytes((f / S).read_bytes()[:900]), S, "Parquet"),
    "scores no Parquet": (content(S, b"x" * 4000), S, "Parquet"),
    "clips missing": (lambda f: (f / C).unlink(), C, "missing"),
    "clips of another table": (lambda f: shutil.copy(f / K, f / C), C, "lacks the columns"),
    "no metric column": (edit(S, lambda t: t.drop(columns="metric")), S, "lacks the columns metric"),
    "column twice": (column_twice, S, "twice"),
    "value a text": (edit(S, lambda t: t.assign(value="x")), S, "value is (large_)?string"),
    "value true": (edit(S, lambda t: t.assign(value=True)), S, "value is bool"),
    "value infinite": (cell(S, "value", float("inf")), S, "value has values"),
    "value absurd": (cell(S, "value", 1e300), S, "value has values"),
    "ok without a value": (cell(S, "value", None), S, "ok without a finite value: 'm'"),
    "a value with an error": (cell(S, "status", "error"), S, "status is not ok"),
    "status unknown": (cell(S, "status", "fine"), S, "'fine'"),
    "status null": (cell(S, "status", None), S, "empty cells"),
    "metric null": (cell(S, "metric", None), S, "empty cells"),
    "metric no text": (not_text, S, "."),
    "clip id numbers": (edit(S, lambda t: t.assign(clip_id=1)), S, "clip_id is int64"),
    "clip id null": (cell(S, "clip_id", None), S, "without a clip_id"),
    "clip id of no clip": (cell(S, "clip_id", "x"), S, "clips that clips.parquet lacks: 'x'"),
    "scope of a clip": (cell(S, "scope", "all"), S, "scope is not clip"),
    "rows twice": (edit(S, lambda t: pd.concat([t, t[:1]])), S, "several rows of one metric for one clip"),
    "set rows twice": (edit(S, lambda t: pd.concat([t, t[2:]])), S, "for one set"),
    "set detail no JSON": (cell(S, "detail", "x", 2), S, "not JSON"),
    "set counts of texts": (cell(S, "detail", '{"clips": "2"}', 2), S, "counts"),
    "set counts negative": (cell(S, "detail", '{"clips": -2}', 2), S, "counts"),
    "sample negative": (edit(S, lambda t: t.assign(sample_index=-1)), S, "sample_index has values"),
    "sample a fraction": (edit(S, lambda t: t.assign(sample_index=0.5)), S, "sample_index is double"),
    "seconds negative": (edit(S, lambda t: t.assign(seconds=-1.0)), S, "seconds has values"),
    "a list column": (edit(S, lambda t: t.assign(reason=[["x"]] * len(t))), S, "reason is list"),
    "bytes": (edit(S, lambda t: t.assign(reason=b"x")), S, "reason is binary"),
    "millions of rows": (bomb, S, "unfolds to more than"),
    "a long text often": (long_text, C, "unfolds"),
    "clips twice": (edit(C, lambda t: pd.concat([t, t])), C, "there twice: 'a', 'b'"),
    "frames negative": (edit(C, lambda t: t.assign(frames=-1)), C, "frames has values"),
    "frames a fraction": (edit(C, lambda t: t.assign(frames=0.5)), C, "frames|truncated"),
    "duration infinite": (edit(C, lambda t: t.assign(duration=float("inf"))), C, "duration"),
    "path null": (cell(C, "video_path", None), C, "empty cells"),
    "labels twice": (edit(K, lambda t: pd.concat([t, t])), K, "labels that are there twice"),
    "labels of no clip": (cell(K, "clip_id", "x"), K, "clips that clips.parquet lacks"),
    "labels null": (cell(K, "category", None), K, "empty cells"),
    "a folder": (in_place(S, Path.mkdir), S, "a folder"),
    "a pipe": (in_place(S, os.mkfifo), S, "pipe"),
    "a link": (in_place("run.json", lambda p: p.symlink_to("/etc/passwd")), "run.json", "a link"),
    "a link to itself": (in_place(C, lambda p: p.symlink_to(p.name)), C, "a link"),
}  # fmt: skip


@pytest.mark.parametrize("slim", [False, True])
@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=[pytest.mark.long] * (name == "millions of rows")) for name in DAMAGES]
)
def test_damage_is_one_sentence_that_names_the_file(run: Path, name: str, slim: bool) -> None:
    damage, file, words = DAMAGES[name]
    damage(run)
    with pytest.raises(DamagedRunError, match=words) as caught:
        load_run(run, slim=slim)
    text = str(caught.value)
    assert caught.value.name == file
    assert f"damaged run folder: {file}: " in text
    assert "\n" not in text
    assert len(text) < 900


def test_a_newer_schema_and_an_unfinished_run_have_their_own_words(run: Path, tmp_path: Path) -> None:
    (run / "run.json").write_text(json.dumps(INFO | {"schema_version": 3}))
    with pytest.raises(UsageError, match=r"schema 3.*Upgrade"):
        load_run(run)
    other = write(tmp_path / "other")
    (other / K).unlink()
    with pytest.raises(UsageError, match="unfinished"):
        load_run(other)
    with pytest.raises(UsageError, match="not a run folder"):
        load_run(tmp_path)


def test_texts_of_strangers_are_shown_escaped(run: Path) -> None:
    cell(S, "status", "\x1b]0;own\x07")(run)
    with pytest.raises(DamagedRunError) as caught:
        load_run(run)
    assert "\x1b" not in str(caught.value)


def test_too_large_files_are_not_read(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("avbench.results.info.MOST_BYTES", 20)
    with pytest.raises(DamagedRunError, match=r"run\.json: it has .* bytes"):
        load_run(run)
    monkeypatch.setattr("avbench.results.info.MOST_BYTES", 10**6)
    monkeypatch.setattr("avbench.results.parquet.MOST_FILE_BYTES", 20)
    with pytest.raises(DamagedRunError, match=r"clips\.parquet: it has .* bytes"):
        load_run(run)


def test_want_of_memory_is_one_sentence(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def hungry(*_: Any) -> None:
        raise MemoryError

    monkeypatch.setattr("avbench.results.parquet._frame", hungry)
    with pytest.raises(DamagedRunError, match="more memory than there is"):
        load_run(run)


def test_files_that_may_not_be_read_are_said(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def forbidden(*_: Any, **__: Any) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("avbench.results.damage.open_regular", forbidden)
    with pytest.raises(DamagedRunError, match=r"cannot be read \(Permission denied\)"):
        load_run(run)


@pytest.mark.parametrize(
    "content",
    [b"", b"{", b"[]", b"{}", b'{"overall": 1, "categories": [], "models": []}', b"\xff",
     b'{"overall": [{"metric": 1}], "categories": [], "models": []}'],
)  # fmt: skip
def test_a_damaged_summary_is_known(run: Path, content: bytes) -> None:
    assert read_summary(run) == SUMMARY
    (run / "summary.json").write_bytes(content)
    with pytest.raises(DamagedRunError, match=r"summary\.json"):
        read_summary(run)


def line(**changes: Any) -> bytes:
    row = {key: value for key, value in (dataclasses.asdict(score("c")) | changes).items() if value is not ...}
    return json.dumps(row).encode() + b"\n"


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"\n", "no JSON"),
        (b"[]\n", "no JSON object"),
        (b"\xff\xfe\n", "no JSON"),
        (b"[" * 100_000 + b"\n", "no JSON"),
        (line(value="0.5"), "value is str"),
        (line(value=True), "value is bool"),
        (line(value=float("nan")), "value is nan"),
        (line(value=10**400), "value is"),
        (line(value=None), "status is 'ok' and value is None"),
        (line(status="error"), "status is 'error' and value is 0.5"),
        (line(status="fine"), "status is 'fine'"),
        (line(sample_index=-1), "sample_index is -1"),
        (line(sample_index=0.0), "sample_index is float"),
        (line(metric_version=2**40), "metric_version"),
        (line(metric=None), "metric is null"),
        (line(metric=...), "metric is missing"),
        (line(reason="\ud800"), "reason is not valid Unicode"),
        (line(scope="all"), "scope is 'all'"),
        (line(scope="all", clip_id=None, detail="[]"), "not an object"),
    ],
)
def test_a_line_of_the_record_that_is_none_is_named(run: Path, data: bytes, words: str) -> None:
    path = run / "scores.jsonl"
    path.write_bytes(path.read_bytes() + data)
    with RunFolder(run) as folder, pytest.raises(DamagedRunError, match=rf"line 4 .*{words}"):
        folder.rows()


def test_lines_of_other_versions_are_read(run: Path) -> None:
    path = run / "scores.jsonl"
    with RunFolder(run) as folder:
        path.write_bytes(path.read_bytes() + line(unknown=1, detail=..., value=3))
        places = [place for place, _ in folder.scan()]
        assert [row.value for row in folder.read_at(places[-1:])] == [3]
        assert folder.rows()[-1].detail == "{}"


@pytest.mark.parametrize("name", [".lock", "scores.jsonl", "run.json", "features"])
def test_nothing_is_written_through_a_link(run: Path, tmp_path: Path, name: str) -> None:
    target = tmp_path / "target"
    target.write_text("precious")
    (run / name).unlink(missing_ok=True)
    (run / name).symlink_to(target)
    with pytest.raises(UsageError, match="a link"):
        RunFolder(run).__enter__()
    assert target.read_text() == "precious"


def test_a_pipe_in_place_of_a_record_does_not_block(run: Path) -> None:
    (run / "clips.jsonl").unlink()
    os.mkfifo(run / "clips.jsonl")
    with pytest.raises(UsageError, match="pipe"):
        RunFolder(run).__enter__()


def test_damaged_features_are_none(run: Path) -> None:
    import numpy as np

    with RunFolder(run) as folder:
        good = np.arange(5, dtype=np.float32)
        folder.put_feature("space", "key", good)
        path = folder.feature_path("space", "key")
        whole = path.read_bytes()
        found = folder.feature("space", "key")
        assert found is not None
        assert (found == good).all()
        wrong: list[Any] = [good.astype(np.float64), good[None], good[:0], np.array([np.nan], np.float32)]
        saved = []
        for value in wrong:
            buffer = io.BytesIO()
            np.save(buffer, value)
            saved.append(buffer.getvalue())
        pickled = io.BytesIO()
        np.save(pickled, np.array([{}], dtype=object), allow_pickle=True)
        claims = whole.replace(b"(5,)", b"(5000000000000,)").replace(b" " * 12, b"", 1)
        for data in (b"", whole[:-1], whole + b"x", b"\0" * 200, whole[:40], claims, pickled.getvalue(), *saved):
            path.write_bytes(data)
            assert folder.feature("space", "key") is None
        path.unlink()
        path.mkdir()
        assert folder.feature("space", "key") is None


def test_a_locked_folder_is_an_environment_problem(run: Path) -> None:
    with RunFolder(run), pytest.raises(EnvironmentProblem, match="in use"):
        RunFolder(run).__enter__()


def test_an_address_that_was_made_a_path_is_named_as_one() -> None:
    with pytest.raises(UsageError, match="Give it as text"):
        load_run(Path("s3://bucket/runs/x"))
