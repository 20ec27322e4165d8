"""A report of more clips than it has details of: its table in Chromium, a page at a time."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from chromium import open_file

from avbench.clips import Clip
from avbench.report.html import write_report
from avbench.results import ClipRow, RunFolder, load_run

from .conftest import EVIL, score

pytestmark = pytest.mark.browser
COUNT, DETAILED, PAGE = 450, 20, 200
ROWS = "#clip-table tbody tr"


@pytest.fixture(scope="module")
def page(browser: Any, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    folder = tmp_path_factory.mktemp("many")
    names = [f"clip{number}" for number in range(COUNT)]
    texts = [EVIL if number == 400 else f"prompt p{number // 2}x" for number in range(COUNT)]
    clips = [
        ClipRow(n, None, 0, None, t, None, None, f"{n}.mp4", None, f"sha-{n}")
        for n, t in zip(names, texts, strict=True)
    ]
    rows = [score(name, "av_align", (number * 37 % COUNT) / COUNT, None) for number, name in enumerate(names)]
    rows += [score(name, "loudness", None if number % 100 == 99 else -20.0, None) for number, name in enumerate(names)]
    with RunFolder(folder / "run") as run:
        run.write_json("run.json", {"schema_version": 1, "metrics": {}, "notes": []})
        run.write_tables(rows, clips, [Clip(name, Path(f"{name}.mp4")) for name in names])
    report = write_report(load_run(folder / "run"), folder / "report.html", max_clips=DETAILED)
    tab = open_file(browser, report, viewport={"width": 1400, "height": 1000})
    yield tab
    assert tab.complaints == []
    assert tab.evaluate("window.__pwned") is None
    tab.close()


def shown(page: Any) -> list[str]:
    return list(page.locator(f"{ROWS} th a").all_inner_texts())


def test_every_clip_is_on_one_page(page: Any) -> None:
    assert page.locator("#matches").inner_text() == f"{COUNT} clips"
    names = shown(page)
    assert len(names) == PAGE and page.locator("#page-back").is_disabled()
    while page.locator("#page-on").is_enabled():
        page.click("#page-on")
        names += shown(page)
    assert sorted(names) == sorted(f"clip{number}" for number in range(COUNT))
    assert page.locator("#page-rows").inner_text() == "401 to 450"
    page.click("#page-back")
    assert page.locator("#page-rows").inner_text() == "201 to 400"


def test_sorting_goes_over_all_pages(page: Any) -> None:
    head = page.locator("#clip-table th[data-metric]").first
    head.locator("button").click()
    column = head.evaluate("head => head.cellIndex") + 1
    values = [float(text) for text in page.locator(f"{ROWS} > :nth-child({column})").all_inner_texts()]
    page.click("#page-on")
    values += [float(text) for text in page.locator(f"{ROWS} > :nth-child({column})").all_inner_texts()]
    assert len(values) == 2 * PAGE
    assert values == sorted(values, reverse=True)
    page.locator('#clip-table th[data-key="id"] button').click()
    assert shown(page)[:12] == [f"clip{number}" for number in range(12)]


def test_filters_go_over_all_clips(page: Any) -> None:
    page.fill("#filter", "p222x")
    assert sorted(shown(page)) == ["clip444", "clip445"]
    assert page.locator("#pages").is_hidden()
    page.fill("#filter", "")
    page.select_option("#state", "error")
    assert sorted(shown(page)) == ["clip199", "clip299", "clip399", "clip99"]
    page.select_option("#state", "")
    assert len(shown(page)) == PAGE


def test_a_clip_without_details_opens_with_its_prompt_and_scores(page: Any) -> None:
    page.fill("#filter", "clip400")
    page.locator(f"{ROWS} th a").click()
    assert page.locator("#detail-title").inner_text() == "clip400"
    assert "this is none of them" in page.locator("#player").inner_text()
    assert "window.__pwned=1" in page.locator("#texts").inner_text()
    assert page.locator("#scores tr").count() == 2
    page.keyboard.press("Escape")
    page.fill("#filter", "p222x")
    page.locator(f"{ROWS} th a").first.click()
    page.click("#next")
    assert page.locator("#detail-title").inner_text() == "clip445"
    page.keyboard.press("Escape")
    page.fill("#filter", "")


def test_columns_stay_hidden_on_other_pages(page: Any) -> None:
    head = page.locator("#clip-table th[data-metric]").first
    column = head.evaluate("head => head.cellIndex") + 1
    page.locator(".chooser summary").click()
    page.locator("#columns input").first.click()
    page.click("#page-on")
    assert head.is_hidden()
    assert page.locator(f"{ROWS} > :nth-child({column})").first.is_hidden()
    page.locator("#columns input").first.click()
    assert page.locator(f"{ROWS} > :nth-child({column})").first.is_visible()
