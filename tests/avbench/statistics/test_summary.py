"""Summary entries: counts by status, prompts as clusters, intervals inside a range, categories, models, sets."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
import pytest

from avbench.statistics import MIN_CLUSTERS, mean_interval
from avbench.statistics.summary import (
    clusters_of,
    ranges_of,
    summarize,
    summarize_parts,
    summarize_run,
    summarize_sets,
)

NO_LABELS = pd.DataFrame(columns=["clip_id", "aspect", "category"])


def scores(values: Sequence[float | str], metric: str = "m", **columns: Any) -> pd.DataFrame:
    """Rows of clips c0, c1 ...: a number, or the reason of an error; "-" in front for one that was skipped."""
    rows = []
    for index, value in enumerate(values):
        good = not isinstance(value, str)
        status = "ok" if good else "skipped" if str(value).startswith("-") else "error"
        rows.append(
            {
                "clip_id": f"c{index}", "metric": metric, "scope": "clip", "status": status, "detail": "{}",
                "value": value if good else math.nan, "reason": "" if good else str(value).removeprefix("-"),
                "model": None, "weights_digest": "", **columns,
            }
        )  # fmt: skip
    return pd.DataFrame(rows)


def each_alone(count: int) -> dict[str, Any]:
    return {f"c{index}": index for index in range(count)}


def set_row(scope: str, value: float | None, detail: Mapping[str, Any], reason: str = "") -> pd.DataFrame:
    row = {
        "clip_id": None, "metric": "fvd", "scope": scope, "value": math.nan if value is None else value,
        "status": "error" if value is None else "ok", "reason": reason, "detail": json.dumps(detail), "model": None,
    }  # fmt: skip
    return pd.DataFrame([row])


def test_rows_are_counted_by_status_and_the_mean_is_over_numbers_alone():
    values = [1.0, 2.0, 3.0, 4.0, 5.0, 9.0, "cannot decode", "-no sound", "-no sound"]
    (entry,) = summarize(scores(values), each_alone(9), {})
    assert (entry["n"], entry["n_ok"], entry["n_skipped"], entry["n_error"]) == (9, 6, 2, 1)
    assert (entry["mean"], entry["median"], entry["prompts"]) == (4.0, 3.5, 6)
    assert entry["reasons"] == {"no sound": 2, "cannot decode": 1}
    interval = mean_interval([1.0, 2.0, 3.0, 4.0, 5.0, 9.0])
    assert (entry["low"], entry["high"], entry["no_interval"]) == (interval.low, interval.high, "")


def test_a_metric_without_a_number_has_reasons_and_nothing_else():
    (entry,) = summarize(scores(["-no sound", "-no sound"]), each_alone(2), {"m": (0.0, 1.0)})
    assert (entry["n"], entry["n_ok"], entry["reasons"]) == (2, 0, {"no sound": 2})
    assert entry["mean"] is entry["median"] is entry["low"] is entry["high"] is None
    assert entry["no_interval"] == ""


def test_samples_of_one_prompt_are_one_cluster():
    values = np.repeat(np.arange(8.0), 3)
    clips = {f"c{index}": index // 3 for index in range(24)}
    (entry,) = summarize(scores(values.tolist()), clips, {})
    (alone,) = summarize(scores(values.tolist()), each_alone(24), {})
    assert (entry["prompts"], alone["prompts"]) == (8, 24)
    assert entry["high"] - entry["low"] > 1.5 * (alone["high"] - alone["low"])


def test_fewer_prompts_than_an_interval_needs_are_said_instead_of_one():
    (entry,) = summarize(scores([1.0] * (MIN_CLUSTERS - 1)), each_alone(MIN_CLUSTERS - 1), {})
    assert entry["mean"] == 1.0 and entry["low"] is None
    assert entry["no_interval"] == f"fewer than {MIN_CLUSTERS} prompts"


def test_an_interval_ends_at_the_range_of_the_metric():
    values = [0.0, 0.0, 0.01, 0.02, 0.0, 0.9]
    (free,) = summarize(scores(values), each_alone(6), {})
    (inside,) = summarize(scores(values), each_alone(6), {"m": (0.0, 1.0)})
    (other,) = summarize(scores(values), each_alone(6), {"another": (0.0, 1.0)})
    assert free["low"] < 0 and free == other
    assert (inside["low"], inside["high"]) == (0.0, min(1.0, free["high"]))
    assert {**inside, "low": free["low"], "high": free["high"]} == free, "nothing else changes"


def test_both_ends_are_cut_and_an_interval_inside_is_left_alone():
    values = [0.1, 0.9, 0.1, 0.9, 0.1, 0.8]
    (wide,) = summarize(scores(values), each_alone(6), {"m": (0.45, 0.5)})
    (untouched,) = summarize(scores(values), each_alone(6), {"m": (-1.0, 2.0)})
    (free,) = summarize(scores(values), each_alone(6), {})
    assert (wide["low"], wide["high"]) == (0.45, 0.5)
    assert untouched == free


def test_a_mean_outside_of_a_declared_range_keeps_its_interval():
    """A declaration that is wrong must not make an interval that misses its own mean."""
    values = [2.0, 3.0, 2.5, 2.2, 2.8, 2.4]
    assert summarize(scores(values), each_alone(6), {"m": (0.0, 1.0)}) == summarize(scores(values), each_alone(6), {})


def test_ranges_come_from_run_json_where_null_is_unbounded():
    info = {"metrics": {"a": {"range": [0, 1]}, "b": {"range": [None, 3.5]}, "c": {}, "d": {"range": []}}}
    assert ranges_of(info) == {"a": (0, 1), "b": (-math.inf, 3.5)}
    assert ranges_of({}) == ranges_of({"metrics": None}) == {}


def test_clips_without_prompt_stand_for_themselves():
    clips = pd.DataFrame(
        {
            "clip_id": list("abcdefgh"), "prompt_id": ["1", "1", *[None] * 6],
            "text": ["x", "y", "x", None, "x", None, None, "x"], "video_text": [None] * 8, "audio_text": [None] * 8,
            "speech_text": [*[None] * 5, "hello", "hello", "hello"],
        }
    )  # fmt: skip
    keys = clusters_of(clips)
    assert keys["a"] == keys["b"], "one id, whatever the texts"
    assert keys["c"] == keys["e"], "one text"
    assert keys["f"] == keys["g"], "one sentence to be spoken"
    assert len(set(keys.values())) == 5


def test_categories_and_models_have_entries_of_their_own():
    table = scores([1.0, 2.0, 3.0], model="one")
    labels = pd.DataFrame({"clip_id": ["c0", "c1"], "aspect": ["Sound", "Sound"], "category": ["rain", "rain"]})
    parts = summarize_run(table, each_alone(3), labels, {})
    assert [(e["aspect"], e["category"], e["n"], e["mean"]) for e in parts["categories"]] == [("Sound", "rain", 2, 1.5)]
    assert parts["models"] == [], "one model is what `overall` says"
    table["model"] = ["one", "two", "two"]
    parts = summarize_run(table, each_alone(3), NO_LABELS, {})
    assert [(e["model"], e["mean"]) for e in parts["models"]] == [("one", 1.0), ("two", 2.5)]
    assert parts["categories"] == [] and parts["overall"][0]["mean"] == 2.0


def test_parts_give_what_the_whole_table_gives():
    tables = [scores([1.0, 2.0, 4.0], "a"), scores([3.0, "broken", 5.0], "b")]
    for table in tables:
        table["model"] = ["x", "y", "y"]
    whole = summarize_run(pd.concat(tables), each_alone(3), NO_LABELS, {"a": (0.0, 9.0)})
    parts = summarize_parts(tables, each_alone(3), NO_LABELS, {"a": (0.0, 9.0)})
    assert {key: sorted(map(str, entries)) for key, entries in parts.items()} == {
        key: sorted(map(str, entries)) for key, entries in whole.items()
    }


def test_sets_take_value_and_interval_from_their_row():
    detail = {"clips": 10, "without_features": 2, "low": 80.0, "high": 120.0, "prompts": 8}
    whole, label = set_row("all", 100.0, detail), set_row("Sound/rain", 90.0, {"clips": 3})
    (overall,), (category,) = summarize_sets(pd.concat([whole, label]))
    assert (overall["mean"], overall["low"], overall["high"], overall["prompts"]) == (100.0, 80.0, 120.0, 8)
    assert (overall["n"], overall["n_ok"], overall["n_error"], overall["no_interval"]) == (10, 8, 2, "")
    assert (category["aspect"], category["category"], category["mean"]) == ("Sound", "rain", 90.0)
    assert category["no_interval"] == "scored by a version without intervals of sets"


def test_a_set_that_failed_has_its_reason_and_no_interval():
    (entry,), none = summarize_sets(set_row("all", None, {"clips": 4}, "the reference set has other features"))
    assert none == []
    assert (entry["mean"], entry["low"], entry["no_interval"]) == (None, None, "")
    assert entry["reasons"] == {"the reference set has other features": 1}


@pytest.mark.parametrize("metric", ["loudness", "av_offset_confidence"])
def test_a_registered_metric_brings_its_range(metric):
    from avbench.metrics.base import registry

    scorer = registry()[metric]
    low, high = ranges_of({"metrics": {metric: scorer.metadata()}})[metric]
    assert (low, high) == scorer.range
