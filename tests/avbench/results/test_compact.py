"""Which rows of the record stand in the table: the newest of each clip and metric, of this content and this set."""

from __future__ import annotations

from dataclasses import replace

from avbench.results import ScoreRow
from avbench.results.compact import compact
from avbench.run.earlier import EarlierRows

SHAS = {"b": "sha-b", "a": "sha-a"}  # in the order of the source
SETS = {"all": "set-all", "Sound/rain": "set-rain"}


def row(metric: str, clip_id: str | None = "a", sha: str | None = None, scope: str = "clip") -> ScoreRow:
    digest = sha or (SHAS.get(str(clip_id), "") if clip_id is not None else SETS[scope])
    return ScoreRow(
        schema_version=2, run_id="r", model=None, suite="s", suite_version="1", scope=scope, clip_id=clip_id,
        clip_sha256=digest, prompt_id=None, sample_index=0, metric=metric, value=1.0, status="ok", reason="",
        metric_version=1, params_digest="p", weights_digest="none", seconds=0.0,
    )  # fmt: skip


def kept(rows: list[ScoreRow]) -> list[int]:
    offsets = compact(list(enumerate(rows)), SHAS, SETS)
    # A complete run is known by their number, without this list.
    assert EarlierRows.of_rows(rows).count(SHAS, SETS) == len(offsets)
    return offsets


def test_no_rows():
    assert kept([]) == []


def test_one_metric_over_two_sets_of_the_same_clips_has_two_rows():
    rows = [row("fvd", None, "same", "all"), row("fvd", None, "same", "Sound/rain")]
    sets = {"all": "same", "Sound/rain": "same"}
    assert sorted(compact(enumerate(rows), SHAS, sets)) == [0, 1]
    assert EarlierRows.of_rows(rows).count(SHAS, sets) == 2


def test_the_newest_row_of_a_clip_and_metric_stands():
    assert kept([row("m"), row("m"), replace(row("m"), status="error", value=None, reason="x")]) == [2]


def test_the_order_is_that_of_the_source_then_of_names_and_sets_come_last():
    rows = [row("fvd", None, scope="all"), row("z"), row("m"), row("m", "b"), row("fad", None, scope="all")]
    assert kept(rows) == [3, 2, 1, 4, 0]


def test_other_clips_and_earlier_contents_are_left_out():
    assert kept([row("m", "gone", "sha-gone"), row("m", sha="sha-of-last-week"), row("m", "b")]) == [2]


def test_rows_of_other_sets_of_clips_are_left_out():
    rows = [
        row("fvd", None, "set-of-fewer", "all"),
        row("fvd", None, "x", "Sound/wind"),
        row("fvd", None, scope="Sound/rain"),
    ]
    assert kept(rows) == [2]


def test_a_row_of_a_set_replaces_none_of_a_clip():
    assert kept([row("m"), row("m", None, scope="all")]) == [0, 1]
