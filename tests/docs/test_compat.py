"""The page on modes keeps up with the flags: each has a section with its tests, and a measured size where it can."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from avbench.metrics.base import Scorer, registry

PAGE = (Path(__file__).parents[2] / "docs" / "compat.md").read_text("utf-8")


def flags_of(scorer: Scorer) -> list[str]:
    return [flag for flag in str(dict(scorer.params).get("flags", "")).split(",") if flag]


BUILT_IN = [each for each in registry().values() if each.function.__module__.startswith("avbench.")]
FLAGS = sorted({flag for scorer in BUILT_IN for flag in flags_of(scorer)})
OF_VBENCH = sorted({flag for scorer in BUILT_IN if scorer.family == "vbench" for flag in flags_of(scorer)})


@pytest.mark.parametrize("flag", FLAGS)
def test_a_flag_has_a_section_that_says_what_fixed_does_and_which_tests_show_both(flag: str) -> None:
    _, _, after = PAGE.partition(f"\n### {flag}\n")
    section = re.split(r"^##", after, maxsplit=1, flags=re.MULTILINE)[0]
    assert re.search(r"^\*\*fixed\b", section, re.MULTILINE)
    assert re.search(r"\*\*Test:\*\*\s`tests/", section)


def test_the_flags_of_vbench_are_measured_on_clips() -> None:
    table = PAGE.partition("<!-- measured vbench -->")[2].partition("<!-- end -->")[0]
    assert sorted(set(re.findall(r"^\| `(\w+)` \|", table, re.MULTILINE))) == OF_VBENCH


def test_each_quirk_of_vbench_is_a_flag_or_has_the_reason_why_not() -> None:
    """The list has sixteen; those that are flags stand in one paragraph, the others in the table."""
    without = PAGE.partition("## Quirks without a flag")[2]
    paragraph = next(part for part in without.split("\n\n") if part.startswith("The rest of VBench's list"))
    first_cells = " ".join(re.findall(r"^\| ([^|]+) \|", without, re.MULTILINE))
    in_table = {int(number) for number in re.findall(r"\bV(\d+)\b", first_cells)}
    in_paragraph = {int(number) for number in re.findall(r"\bV(\d+)\s`", paragraph)}
    assert in_table | in_paragraph == set(range(1, 17))
    assert sorted(re.findall(r"`(\w+)`", paragraph)) == OF_VBENCH
