"""Suites are written out: what they hold changes where a person changes it, and nowhere else."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from avbench import Category
from avbench.metrics import Score, scorer
from avbench.metrics import base as registry_module
from avbench.metrics.base import get_scorers, registry
from avbench.metrics.vbench_dimensions import DIMENSIONS, QUALITY, static_filter
from avbench.sources.vbench import official_prompts
from avbench.suites import get_suite, list_suites

IN_NO_SUITE = {
    "aq_ce", "aq_cu", "aq_pc", "aq_pq", "hpsv3", "desync_margin", "clap_score_laion",
    "lse_c_joonson_compat", "lse_d_joonson_compat", "sync_offset_joonson_compat", "lse_c_wav2lip_compat",
    "lse_d_wav2lip_compat", "sync_offset_latentsync_compat", "object_class_antialias_compat",
    "multiple_objects_antialias_compat", "spatial_relationship_antialias_compat",
}  # fmt: skip
"""Built-in metrics that are asked for by name only."""


def test_every_metric_of_avbench_is_in_a_suite_or_left_out_on_purpose() -> None:
    built_in = {name for name, entry in registry().items() if entry.function.__module__.startswith("avbench.")}
    in_suites = {name for suite in list_suites() for name in suite.metrics}
    assert in_suites <= built_in
    assert built_in - in_suites == IN_NO_SUITE


def test_a_new_metric_changes_no_suite(monkeypatch: pytest.MonkeyPatch) -> None:
    before = {suite.name: (suite.metrics, suite.version) for suite in list_suites()}
    monkeypatch.setattr(registry_module, "_REGISTRY", dict(registry()))

    def brightness(media, prompt, store):  # type: ignore[no-untyped-def]
        """Of a metric that was added to avbench."""
        return Score.ok(0.0)

    brightness.__module__ = "avbench.metrics.brightness"
    scorer("brightness", unit="1", higher_is_better=None, range=(0.0, 1.0), source="test", needs=())(brightness)
    assert "brightness" in registry()
    assert {suite.name: (suite.metrics, suite.version) for suite in list_suites()} == before


def test_quick_needs_no_checkpoint() -> None:
    assert [s.name for s in get_scorers(get_suite("quick").metrics) if any(b.row for b in s.backbones)] == []


def test_a_suite_changes_its_version_with_a_metric(monkeypatch: pytest.MonkeyPatch) -> None:
    before = {suite.name: suite.version for suite in list_suites()}
    changed = replace(registry()["sharpness"], version=99)
    monkeypatch.setattr(registry_module, "_REGISTRY", registry() | {"sharpness": changed})
    now = {suite.name: suite.version for suite in list_suites()}
    assert [name for name in now if now[name] != before[name]] == ["quick"]


def test_a_suite_changes_its_version_with_the_clips_that_it_asks_a_metric_of() -> None:
    whole = get_suite("quick")
    part = replace(whole, only={"sharpness": Category("colour", "red")})
    assert len({whole.version, part.version, replace(part, only={"loudness": Category("colour", "red")}).version}) == 3


def test_vbench_asks_each_metric_of_its_own_prompts_and_has_what_its_totals_need() -> None:
    for name, mode in (("vbench", "fixed"), ("vbench-compat", "compat")):
        suite = get_suite(name)
        derived = [entry for entry in get_scorers(suite.metrics) if entry.level == "derived"]
        assert {each for entry in derived for each in entry.inputs} == set(suite.only)
        assert set(suite.only) | {entry.name for entry in derived} == set(suite.metrics)
        asked = {metric: category.name for metric, category in suite.only.items()}
        expected = {dimension.metric(mode): dimension.name for dimension in DIMENSIONS}
        assert asked == expected | {static_filter(mode): "temporal_flickering"}
        known = {category for row in official_prompts() for category in row.categories}
        assert set(suite.only.values()) == known


def test_own_videos_have_the_ten_dimensions_that_vbench_allows() -> None:
    golden = json.loads((Path(__file__).parents[2] / "goldens" / "vbench" / "final.json").read_text())["matching"]
    refused = set(golden["custom_refused"])
    assert {dimension.name for dimension in DIMENSIONS} == set(golden["all_dimensions"])
    custom = get_suite("vbench-custom").metrics
    assert set(custom) == {dimension.name for dimension in DIMENSIONS} - refused
    assert set(get_suite("vbench-quality").metrics) == {dimension.name for dimension in QUALITY}
    assert get_suite("omninft-paper").metrics == (*get_suite("omninft-tables").metrics, *custom)


def test_suites_of_talking_benchmarks_mix_no_modes() -> None:
    """What is computed for comparison with published tables is in no column of the suite `speech`."""
    for name in ("talking-compass", "talking-vabench", "talking-verse"):
        assert all(metric.endswith("_compat") for metric in get_suite(name).metrics)
    assert not any(metric.endswith("_compat") for metric in get_suite("speech").metrics)


def test_compat_suites_take_every_metric_of_mode_compat() -> None:
    """And no other, so that no table mixes modes unseen."""
    for name in ("javisbench", "vbench", "vbench-custom", "vbench-quality"):
        fixed, compat = get_suite(name).metrics, get_suite(f"{name}-compat").metrics
        assert compat == tuple(f"{metric}_compat" if f"{metric}_compat" in registry() else metric for metric in fixed)
