"""The page in Chromium: filter, sort, baseline, slopes, provenance; a table's script never runs."""

from __future__ import annotations

from typing import Any

import pytest
from chromium import open_file

from avbench.leaderboard import build

from .conftest import FIGURES, figure

pytestmark = pytest.mark.browser
EVIL = "</script><script>window.__pwned=1</script><img src=x onerror='window.__pwned=1'>"


@pytest.fixture
def open_page(browser):
    pages = []

    def start(path) -> Any:
        pages.append(open_file(browser, path, viewport={"width": 1400, "height": 900}))
        return pages[-1]

    yield start
    for page in pages:
        assert page.complaints == []
        page.close()


def shown(page):
    return page.locator("#board tbody tr:visible").all()


def test_filters_leave_matching_rows_and_columns(open_page, own):
    page = open_page(own / "rendered" / "leaderboards.html")
    page.select_option("#backbone", "LTX-2")
    page.select_option("#method", "OmniNFT")
    rows = [row.inner_text() for row in shown(page)]
    assert rows and all("OmniNFT" in row for row in rows)
    page.select_option("#columns", "VBench")
    assert page.locator("#board thead th:visible").count() == 6, "five texts and imaging quality"
    page.select_option("#columns", "")
    page.fill("#search", "released")
    assert page.inner_text("#count").startswith("0 of")


def test_sorting_puts_the_best_first_and_unknown_last(open_page, own):
    page = open_page(own / "rendered" / "leaderboards.html")
    page.select_option("#benchmark", "JavisBench")
    page.select_option("#backbone", "LTX-2")
    head = page.locator('#board thead th[data-column="0"]')
    head.locator("button").click()
    assert head.get_attribute("aria-sort") == "descending"
    values = [row.locator("td").nth(4).inner_text() for row in shown(page)]
    numbers = [float(value.split()[0]) for value in values if value != "–"]
    assert numbers == sorted(numbers, reverse=True)
    assert values[: len(numbers)] == [value for value in values if value != "–"]


def test_a_baseline_gives_differences_only_where_the_protocol_is_the_same(open_page, own):
    page = open_page(own / "rendered" / "leaderboards.html")
    page.select_option("#backbone", "LTX-2")
    page.select_option("#baseline", label="OmniNFT, Table 1: LTX-2 (19B)")
    full = page.locator("#board tbody tr:visible", has_text="LTX-2+OmniNFT").first
    assert "+1.288 (+63.2 %) ▲" in full.inner_text()
    assert "-0.300 (-52.7 %) ▲" in full.inner_text()
    other = page.locator("#board tbody tr:visible", has_text="VA-Judger, Table 2").nth(1)
    assert "▲" not in other.inner_text()
    page.check("#across")
    assert "▲" in other.inner_text()
    assert other.locator(".across").count() > 0
    page.select_option("#show", "percent")
    assert "+63.2 % ▲" in full.inner_text() and "3.326" not in full.inner_text()


def test_best_and_second_are_marked_within_one_paper_only(open_page, own):
    page = open_page(own / "rendered" / "leaderboards.html")
    assert page.locator("#board td:nth-child(6) .best").count() == 0
    page.fill("#search", "VA-Judger, Table 2")
    assert page.locator("#board td:nth-child(6) .best").inner_text() == "3.942"
    assert page.locator("#board .second").count() > 0


def test_slopes_follow_rows_and_metric(open_page, own):
    page = open_page(own / "rendered" / "leaderboards.html")
    page.select_option("#backbone", "LTX-2")
    page.select_option("#method", "OmniNFT")
    assert "+1.288 ▲" in page.inner_text("#slope-chart")
    page.select_option("#slope-metric", label="DeSync ↓ (s)")
    assert "-0.300 ▲" in page.inner_text("#slope-chart")
    assert page.locator("#slope-chart line.rise").count() >= 5
    page.select_option("#method", "base")
    assert "None of these rows" in page.inner_text("#slope-chart")


def test_a_row_opens_with_the_source_of_each_figure(open_page, own):
    page = open_page(own / "rendered" / "leaderboards.html")
    page.fill("#search", "shallow")
    shown(page)[0].locator("button").focus()
    page.keyboard.press("Enter")
    text = page.inner_text("#detail")
    assert "conflicting" in text and "relabelled JavisScore" in text
    page.click("#detail-close")
    assert not page.locator("#detail").is_visible()


def test_texts_of_a_table_never_run(open_page, make_folder):
    odd = figure(row=EVIL, benchmark=EVIL, backbone=EVIL, source=EVIL, note=EVIL)
    folder = make_folder(lines=[*FIGURES, odd])
    build(folder)
    page = open_page(folder / "rendered" / "leaderboards.html")
    shown(page)[-1].locator("th").click()
    assert EVIL in page.inner_text("#detail")
    assert page.evaluate("window.__pwned") is None
