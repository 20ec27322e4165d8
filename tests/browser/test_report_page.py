"""The report in Chromium: sort, filter, open and play a clip, dark mode; a prompt's script never runs."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from chromium import open_file

from avbench.report.html import write_report
from avbench.results import load_run

from .conftest import synthetic_run

pytestmark = pytest.mark.browser


@pytest.fixture(scope="module", params=["always", "never"])
def page(request: pytest.FixtureRequest, browser: Any, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """The report, opened from disk, media inside or linked."""
    folder = tmp_path_factory.mktemp("report")
    run = load_run(os.environ.get("AVBENCH_BROWSER_RUN") or synthetic_run(folder))
    report = write_report(run, folder / "report.html", embed=request.param)
    tab = open_file(browser, report, viewport={"width": 1400, "height": 1000}, color_scheme="light")
    yield tab
    tab.close()


def metric_values(page: Any, head: Any) -> list[float]:
    column = head.evaluate("head => head.cellIndex")
    texts = page.locator(f"#clip-table tbody tr > :nth-child({column + 1})").all_inner_texts()
    return [float(text) for text in texts if text and text[-1].isdigit()]


def test_sorting_by_a_metric(page: Any) -> None:
    head = page.locator("#clip-table th[data-metric]").first
    head.locator("button").click()
    assert head.get_attribute("aria-sort") == "descending"
    values = metric_values(page, head)
    assert values
    assert values == sorted(values, reverse=True)
    head.locator("button").press("Enter")
    assert head.get_attribute("aria-sort") == "ascending"
    assert metric_values(page, head) == sorted(values)
    assert page.locator("#clip-table th[aria-sort]").count() == 1


def test_filtering(page: Any) -> None:
    rows = page.locator("#clip-table tbody tr")
    total = rows.count()
    name = rows.nth(total - 1).locator("th a").inner_text()
    page.fill("#filter", name)
    visible = page.locator("#clip-table tbody tr:not([hidden])")
    assert name in visible.locator("th a").all_inner_texts()
    page.fill("#filter", "no clip has this text")
    assert visible.count() == 0
    page.fill("#filter", "")
    page.select_option("#state", "error")
    assert visible.count() == page.locator('#clip-table tbody tr[data-state~="error"]').count()
    page.select_option("#state", "")
    assert visible.count() == total


def test_choosing_columns(page: Any) -> None:
    head = page.locator("#clip-table th[data-metric]").first
    page.locator(".chooser summary").click()
    page.locator("#columns input").first.click()
    assert head.is_hidden()
    page.locator("#columns input").first.click()
    page.locator(".chooser summary").click()
    assert head.is_visible()


def open_clip(page: Any, *wanted: str) -> None:
    """Open the first clip that has all of this in its data."""
    number = page.evaluate(
        "wanted => JSON.parse(document.getElementById('report-data').textContent).clips"
        ".findIndex(clip => wanted.every(name => clip[name] !== null))",
        list(wanted),
    )
    if number < 0:
        pytest.skip(f"no clip of this run has {' and '.join(wanted)}")
    page.locator(f"#clip-{number} th a").click()
    assert page.locator("#detail").is_visible()


def wait_until(page: Any, condition: str) -> None:
    """Poll from outside: Playwright's own wait needs eval, which the page's policy forbids."""
    for _ in range(150):
        if page.evaluate(f"Boolean({condition})"):
            return
        page.wait_for_timeout(100)
    pytest.fail(f"not true after 15 s: {condition}")


def close_clip(page: Any) -> None:
    page.keyboard.press("Escape")
    assert page.locator("#detail").is_hidden()


def test_a_clip_plays(page: Any) -> None:
    open_clip(page, "video")
    page.evaluate("document.querySelector('video').play()")
    wait_until(page, "document.querySelector('video').currentTime > 0.3")
    page.evaluate("document.querySelector('video').pause()")
    assert page.locator("#scores tr").count() > 0
    close_clip(page)
    assert page.locator("video").count() == 0


def test_separate_sound_follows_the_picture(page: Any) -> None:
    open_clip(page, "audio")
    assert "separate sound file" in page.locator("#player").inner_text()
    page.evaluate("document.querySelector('video').play()")
    wait_until(page, "document.querySelector('audio').currentTime > 0.3")
    drift = "Math.abs(document.querySelector('video').currentTime - document.querySelector('audio').currentTime)"
    assert page.evaluate(drift) < 0.25
    page.evaluate("document.querySelector('video').pause()")
    page.evaluate("document.querySelector('video').currentTime = 1.0")
    wait_until(page, f"{drift} < 0.1 && document.querySelector('audio').paused")
    assert page.evaluate("document.querySelector('video').muted")
    screenshot(page, "sound")
    close_clip(page)


def test_the_timeline_shows_the_offset_and_a_cursor(page: Any) -> None:
    open_clip(page, "timeline")
    assert page.locator("#timeline svg path").count() >= 1
    assert page.locator("#timeline b").inner_text()
    place = page.locator("#timeline .cursor")
    before = float(place.get_attribute("x1"))
    page.evaluate("document.querySelector('video').currentTime = 1.0")
    page.wait_for_function(f"document.querySelector('.cursor').getAttribute('x1') > {before + 5}", timeout=5000)
    screenshot(page, "clip")
    close_clip(page)


FACES = "JSON.parse(document.getElementById('report-data').textContent).clips.find(clip => clip.faces && clip.words)"


def test_boxes_of_faces_follow_the_picture(page: Any) -> None:
    open_clip(page, "faces", "words")
    faces = page.evaluate(f"{FACES}.faces.faces")
    assert page.locator("#faces .in-view").count() == len(faces)
    wait_until(page, "document.querySelector('video').videoWidth")
    begin, end, every = (faces[0][name] for name in ("begin", "end", "every"))
    page.evaluate(f"document.querySelector('video').currentTime = {begin + min(every, end - begin) / 2}")
    wait_until(page, "!document.querySelector('.pictured .face').hasAttribute('hidden')")
    left = float(page.locator(".pictured .face").first.get_attribute("x"))
    assert left == pytest.approx(faces[0]["boxes"][0][0] * page.evaluate("document.querySelector('video').videoWidth"))
    picture, video = (page.locator(what).bounding_box() for what in (".pictured > svg", "video"))
    assert picture == video, "the boxes lie over the picture, letterboxed as it is"
    wait_until(page, "!document.querySelector('video').seeking && document.querySelector('video').readyState >= 2")
    late = [number for number, face in enumerate(faces) if face["begin"] > 0.1]
    screenshot(page, "faces")
    page.evaluate("document.querySelector('video').currentTime = 0")
    for number in late:
        wait_until(page, f"document.querySelectorAll('.pictured .face')[{number}].hasAttribute('hidden')")
    page.locator("#player label", has_text="boxes of faces").click()
    assert page.locator(".pictured > svg").is_hidden()
    close_clip(page)


def test_a_word_leads_to_its_time(page: Any) -> None:
    open_clip(page, "faces", "words")
    words = page.evaluate(f"{FACES}.words.words")
    page.locator("#texts .word").nth(len(words) - 1).click()
    wait_until(page, f"Math.abs(document.querySelector('video').currentTime - {words[-1][1]}) < 0.1")
    close_clip(page)


def test_keyboard_and_neighbours(page: Any) -> None:
    page.locator("#clip-table tbody tr").first.locator("th a").press("Enter")
    first = page.locator("#detail-title").inner_text()
    page.locator("#next").click()
    if page.locator("#clip-table tbody tr").count() > 1:
        assert page.locator("#detail-title").inner_text() != first
    page.locator("#previous").click()
    assert page.locator("#detail-title").inner_text() == first
    close_clip(page)


def test_dark_mode(page: Any) -> None:
    page.evaluate("scrollTo(0, 0)")
    colour = "getComputedStyle(document.body).backgroundColor"
    light = page.evaluate(colour)
    screenshot(page, "light")
    page.click("#theme")
    assert page.evaluate(colour) != light
    screenshot(page, "dark")
    page.click("#theme")
    assert page.evaluate(colour) == light


def test_nothing_complained_and_no_prompt_ran(page: Any) -> None:
    """Last in the file: every page of this module has been used by now."""
    assert page.evaluate("window.__pwned") is None
    assert page.complaints == []


def screenshot(page: Any, name: str) -> None:
    """Beside the path in AVBENCH_SCREENSHOT (which holds the light page), for a person to look at."""
    target = os.environ.get("AVBENCH_SCREENSHOT")
    if target:
        path = Path(target)
        # The lower part of a clip's panel shows where the file lies, which is nobody's business in a README.
        part = {"clip": {"x": 0, "y": 0, "width": 1400, "height": 850}} if name in ("sound", "faces") else {}
        page.screenshot(path=str(path if name == "light" else path.with_stem(f"{path.stem}-{name}")), **part)
