"""Suites are written out: what they hold changes where a person changes it, and nowhere else."""

from __future__ import annotations

from dataclasses import replace

import pytest

from avbench import Category
from avbench.metrics import Score, scorer
from avbench.metrics import base as registry_module
from avbench.metrics.base import get_scorers, registry
from avbench.suites import get_suite, list_suites

IN_NO_SUITE = {"aq_ce", "aq_cu", "aq_pc", "aq_pq", "hpsv3", "desync_margin", "clap_score_laion"}
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
