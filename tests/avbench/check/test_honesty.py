"""How often the check is wrong, and what it finds, on scores of known truth: a part of benchmarks/measure_check.py."""

from __future__ import annotations

import importlib.util
import re
import sys
from pathlib import Path
from types import ModuleType

import pytest

REPOSITORY = Path(__file__).parents[3]
BENCHMARKS = REPOSITORY / "benchmarks"


@pytest.fixture(scope="module")
def study() -> ModuleType:
    """benchmarks/measure_check.py as a module."""
    spec = importlib.util.spec_from_file_location("measure_check", BENCHMARKS / "measure_check.py")
    module = importlib.util.module_from_spec(spec)
    sys.modules["measure_check"] = module
    spec.loader.exec_module(module)
    return module


def test_a_few_equal_pairs_raise_no_alarm_and_a_large_difference_is_found(study):
    worse, _, _ = study.false_alarms(50, "bell-shaped", 20)
    assert worse <= 0.1
    assert study.power(50, 1.0, 5)["worse"] == 1


@pytest.mark.slow
@pytest.mark.parametrize("scores", ["bell-shaped", "long tail", "mostly zero", "four clips per prompt"])
def test_false_alarms_stay_below_five_per_cent_over_a_thousand_pairs(study, scores):
    worse, moved, low = study.false_alarms(50, scores, 1000, seed=5)
    assert worse <= 0.05
    assert moved <= low <= 0.05 + 3 * (0.05 * 0.95 / 1000) ** 0.5


@pytest.mark.slow
@pytest.mark.parametrize(("n", "effect", "least"), [(50, 0.5, 0.6), (200, 0.3, 0.8), (1000, 0.3, 0.97)])
def test_differences_are_found_as_often_as_the_page_says(study, n, effect, least):
    shares = study.power(n, effect, 100, seed=5)
    assert shares["worse"] >= least
    assert shares["better"] == shares["same"] == 0


@pytest.mark.slow
def test_a_difference_below_the_relevant_one_is_called_the_same_in_the_end(study):
    shares = study.power(1000, 0.1, 50, seed=5)
    assert shares["worse"] == 0
    assert shares["same"] >= 0.7


def test_the_page_holds_the_tables_of_the_script(study):
    text = (REPOSITORY / "docs" / "ci.md").read_text(encoding="utf-8")
    assert study.MEASURED.search(text)
    rows = re.findall(r"^\| (\d+) \| ([^|]+) \| ([\d.]+) % \|", text, re.MULTILINE)
    assert len(rows) == len(study.SIZES) * (len(study.NULLS) + len(study.EFFECTS))
    alarms = [float(share) for _, name, share in rows if name.strip() in study.NULLS]
    assert max(alarms) <= 5
