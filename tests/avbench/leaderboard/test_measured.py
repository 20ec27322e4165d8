"""Runs become measured rows, with what is needed to trust them; runs with test weights do not."""

from __future__ import annotations

import hashlib

import pytest

from avbench import load_run
from avbench.errors import UsageError
from avbench.leaderboard import About, append_measured, measured_rows, read_folder, run_digest
from avbench.leaderboard import measured as module

from .conftest import FIGURES, edit_run, figure, measured

ABOUT = About(benchmark="drawn clips", seeds="0, 1", row="drawn", machine="2 cores")


def test_a_row_says_what_was_measured_with_what_where_and_when(run_path):
    run = load_run(run_path)
    rows = {row.metric: row for row in measured_rows(run, ABOUT)}
    row = rows["temporal_flickering"]
    scores = run.scores[run.scores["metric"] == "temporal_flickering"]
    assert float(row.value) == pytest.approx(scores["value"].item(), rel=1e-5)
    assert (row.row, row.benchmark, row.seeds, row.machine) == ("drawn", "drawn clips", "0 1", "2 cores")
    assert (row.mode, row.weights, row.weights_digest) == ("fixed", "checkpoints", "none")
    assert (row.n, row.n_of, row.unit, row.direction) == ("1", "1", "1", "higher")
    assert (row.low, row.high) == ("", ""), "one clip has no interval"
    assert row.run_digest == run_digest(run)
    assert row.date == run.info["created"][:10]
    assert row.avbench_version == run.info["environment"]["avbench"]


def test_names_come_from_the_run_where_none_is_given(run_path):
    rows = measured_rows(load_run(run_path), About("b", "0"))
    assert {row.row for row in rows} == {"run"}
    assert {row.machine for row in rows} == {load_run(run_path).info["environment"]["platform"]}


def test_a_metric_without_a_value_gives_no_row(run_path):
    run = load_run(run_path)
    run.scores.loc[run.scores["metric"] == "loudness", ["value", "status", "reason"]] = [None, "skipped", "silent"]
    assert "loudness" not in {row.metric for row in measured_rows(run, ABOUT)}
    run.scores["status"] = "skipped"
    with pytest.raises(UsageError, match="has no value"):
        measured_rows(run, ABOUT)


@pytest.mark.parametrize(("weights", "words"), [("keyed-random", "keyed-random weights"), (..., "does not name")])
def test_runs_with_test_weights_are_refused(run_path, tmp_path, weights, words):
    with pytest.raises(UsageError, match=words):
        measured_rows(load_run(edit_run(run_path, tmp_path / "copy", weights=weights)), ABOUT)


def test_the_digest_follows_the_scores_and_nothing_else(run_path, tmp_path):
    first = load_run(run_path)
    again = load_run(edit_run(run_path, tmp_path / "copy", run_id="other", created="2001-01-01T00:00:00", command="x"))
    again.scores["seconds"] = 9.0
    again.scores["clip_id"] = "renamed"
    assert run_digest(first) == run_digest(again)
    again.scores.loc[0, "value"] = 0.125
    assert run_digest(first) != run_digest(again)


def test_the_digest_is_that_of_the_sorted_rows(run_path, monkeypatch):
    """It is in tables of others: neither how a run is read nor how long it is may change it."""
    monkeypatch.setattr(module, "_BATCH", 2)
    run = load_run(run_path)
    rows = run.scores.to_dict("records")
    names = ("scope", "clip_sha256", "metric", "metric_version", "params_digest", "weights_digest", "status", "value")
    lines = sorted("\t".join(str(row[name]) for name in names) for row in rows)
    expected = hashlib.sha256("\n".join(lines).encode()).hexdigest()[:16]
    assert len(lines) == 3
    assert run_digest(run) == run_digest(load_run(run_path, slim=True)) == expected


def test_a_slim_run_gives_the_same_rows(run_path):
    assert measured_rows(load_run(run_path, slim=True), ABOUT) == measured_rows(load_run(run_path), ABOUT)


def test_several_models_give_rows_each(run_path):
    run = load_run(run_path)
    import pandas as pd

    both = pd.concat([run.scores.assign(model="a"), run.scores.assign(model="b")], ignore_index=True)
    run = type(run)(run.path, run.info, both, run.clips, run.categories)
    assert {row.row for row in measured_rows(run, About("b", "0"))} == {"a", "b"}
    with pytest.raises(UsageError, match="several models"):
        measured_rows(run, ABOUT)


def test_the_mode_is_the_metrics(run_path):
    run = load_run(run_path)
    run.scores["metric"] = run.scores["metric"].replace("loudness", "aq_compat")
    run.info["metrics"]["aq_compat"] = {"unit": "1", "higher_is_better": True, "params": {"mode": "compat"}}
    row = next(row for row in measured_rows(run, ABOUT) if row.metric == "aq_compat")
    assert (row.mode, row.quantity, row.direction) == ("compat", "aq", "higher")


def test_rows_are_added_once_and_the_folder_stays_right(make_folder, run_path):
    folder = make_folder()
    rows = measured_rows(load_run(run_path), ABOUT)
    assert append_measured(folder, rows) == len(rows) > 0
    assert append_measured(folder, rows) == 0
    assert append_measured(folder, [measured()], "other.csv") == 1
    reading = read_folder(folder)
    assert reading.problems == ()
    assert sorted(reading.board.measured, key=repr) == sorted([*rows, measured()], key=repr)


@pytest.mark.parametrize("file", ["../up.csv", "a/b.csv", "x.txt", ".hidden.csv"])
def test_a_table_is_a_name_and_no_path(make_folder, file):
    with pytest.raises(UsageError, match="not the name of a table"):
        append_measured(make_folder(), [measured()], file)


def test_nothing_is_written_when_one_row_or_the_folder_is_wrong(make_folder):
    folder = make_folder()
    with pytest.raises(UsageError, match="cannot add mine, vq: column weights"):
        append_measured(folder, [measured(run_digest="aaaaaaaa"), measured(weights="keyed-random")])
    folder = make_folder(lines=[*FIGURES, figure(row="x", unit="s")])
    with pytest.raises(UsageError, match="Fix it before you add rows"):
        append_measured(folder, [measured()])
    assert not (folder / "measured").exists()
