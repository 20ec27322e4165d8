"""The table, the Markdown, the JSON and the JUnit file say the same, and carry foreign text safely."""

from __future__ import annotations

import io
import json
import math
from dataclasses import replace
from xml.etree import ElementTree

import numpy as np
import pytest
from rich.console import Console

from avbench.check import (
    Policy,
    compare_runs,
    comparison_json,
    comparison_junit,
    comparison_markdown,
    comparison_table,
)
from avbench.pages.terminal import table_terminal


@pytest.fixture
def comparison(make_run, tmp_path):
    """av_align worse, desync undecided, fvd undecided, loudness not judged."""
    rng = np.random.default_rng(0)
    prompt = rng.normal(size=40)

    def run(name, effect, scatter):
        scores = {"av_align": prompt + effect, "desync": prompt + rng.normal(0, scatter, 40), "loudness": prompt}
        scores["av_align"] = scores["av_align"] + rng.normal(0, 0.1, 40)
        return make_run(tmp_path / name, scores, sets={"fvd": 300.0})

    return compare_runs(run("candidate", -1.0, 2.0), run("baseline", 0.0, 2.0), Policy())


def shown(comparison, width=80):
    console = Console(file=io.StringIO(), width=width)
    console.print(table_terminal(comparison_table(comparison)))
    return console.file.getvalue()


def test_eighty_columns_hold_the_table(comparison):
    lines = shown(comparison).splitlines()
    assert max(map(len, lines)) <= 80
    row = next(line for line in lines if line.startswith("av_align"))
    assert row.rstrip().endswith("worse")
    assert "40" in row
    assert any("clips would decide" in line for line in lines)
    assert any(line.startswith("not judged") and "loudness" in line for line in lines)


def test_regressions_come_first(comparison):
    text = shown(comparison)
    assert text.index("av_align") < text.index("desync")


def test_the_markdown_has_a_row_for_each_metric(comparison):
    text = comparison_markdown(comparison)
    rows = [line for line in text.splitlines() if line.startswith("| ")]
    assert len(rows) == 2 + 3
    assert all(line.replace("\\|", "").count("|") == rows[0].count("|") for line in rows)
    assert "**worse**" in rows[2]
    assert text.splitlines()[0] == "### avbench check: regression in av\\_align (1 worse, 2 undecided)"


def test_the_json_is_complete_and_has_no_nan(comparison):
    def refuse(text):
        raise ValueError(text)

    content = json.loads(comparison_json(comparison, strict=True), parse_constant=refuse)
    assert (content["exit_code"], content["strict"]) == (1, True)
    assert [finding["verdict"] for finding in content["findings"]] == [f.verdict for f in comparison.findings]
    fvd = next(finding for finding in content["findings"] if finding["metric"] == "fvd")
    assert (fvd["baseline"], fvd["low"], fvd["p"]) == (300.0, None, None)
    assert all(math.isfinite(finding["difference"]) for finding in content["findings"])


@pytest.mark.parametrize(("strict", "failures", "skipped"), [(False, 1, 2), (True, 3, 0)])
def test_junit_fails_what_the_exit_code_fails(comparison, strict, failures, skipped):
    suite = ElementTree.fromstring(comparison_junit(comparison, strict=strict)).find("testsuite")
    assert (suite.get("tests"), suite.get("failures"), suite.get("skipped")) == ("3", str(failures), str(skipped))
    assert len(suite.findall("testcase/failure")) == failures
    assert len(suite.findall("testcase/skipped")) == skipped
    failure = suite.find("testcase[@name='av_align']/failure")
    assert failure.get("type") == "worse"
    assert "difference -0.99" in failure.get("message")


FOREIGN = 'a|b `c` <img src=x onerror="1"> [d](javascript:e) *f* \x1b[31m \x00 ]]> & "g"\nh \ud800'


def test_foreign_text_stays_text(comparison):
    strange = replace(comparison, findings=tuple(replace(f, reason=FOREIGN) for f in comparison.findings))
    markdown = comparison_markdown(replace(strange, notes=(FOREIGN,)))
    assert "<img" not in markdown
    assert "a\\|b" in markdown
    assert "[d](" not in markdown
    assert markdown.isprintable() or set(filter(lambda sign: not sign.isprintable(), markdown)) == {"\n"}
    tree = ElementTree.fromstring(comparison_junit(strange).encode("utf-8"))
    assert "<img src=x" in tree.find("testsuite/testcase/failure").get("message")
    assert json.loads(comparison_json(strange))["findings"][0]["reason"] == FOREIGN
    assert "[d](javascript:e)" in shown(strange, width=400)
