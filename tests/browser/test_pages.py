"""All four pages: widths, themes, keyboard, print, texts of strangers, and an accessibility check."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from chromium import open_file

pytestmark = pytest.mark.browser
NAMES = ("report", "leaderboard", "ablation", "training")
LIGHT, DARK = "rgb(246, 247, 249)", "rgb(20, 23, 27)"
DRAWN = "new Promise(done => requestAnimationFrame(() => requestAnimationFrame(done)))"
STYLE = "getComputedStyle(document.activeElement)"
BACKGROUND = "getComputedStyle(document.body).backgroundColor"
# Contrast cannot be judged over the shades at the ends of scrolling regions, so they go. Marks of charts are drawings.
PLAIN = "document.querySelectorAll('.scroll').forEach(region => region.style.background = 'none')"

Open = Callable[..., Any]


@pytest.fixture
def show(browser: Any, pages: dict[str, Path]) -> Iterator[Open]:
    """Opens a page by name; nothing may have gone wrong on it, and no text of a stranger may have run."""
    tabs = []

    def start(name: str, width: int = 1280, scheme: str = "light") -> Any:
        tab = open_file(browser, pages[name], viewport={"width": width, "height": 900}, color_scheme=scheme)
        tabs.append(tab)
        return tab

    yield start
    for tab in tabs:
        assert tab.complaints == []
        assert tab.evaluate("window.__pwned") is None
        tab.close()


def findings(tab: Any) -> list[str]:
    """Serious and critical findings of axe."""
    from axe_playwright_python.sync_playwright import Axe

    tab.evaluate(PLAIN)
    return [
        f"{found['impact']} {found['id']}: {node['target']} {node['failureSummary']}"
        for found in Axe().run(tab).response["violations"]
        for node in found["nodes"]
        if found["impact"] in ("serious", "critical")
    ]


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [1280, 390])
@pytest.mark.parametrize("name", NAMES)
def test_a_page_fits_its_width_and_is_accessible(show: Open, name: str, width: int, scheme: str) -> None:
    tab = show(name, width, scheme)
    for details in tab.locator("details").all():
        details.evaluate("details => details.open = true")
    wide, room = tab.evaluate("[document.documentElement.scrollWidth, document.documentElement.clientWidth]")
    assert wide <= room
    assert findings(tab) == []


@pytest.mark.parametrize("name", NAMES)
def test_the_theme_follows_the_system_until_the_other_one_is_chosen(show: Open, name: str) -> None:
    tab = show(name)
    button = tab.locator("#theme")

    def state() -> tuple[str, str]:
        tab.evaluate(DRAWN)  # the page hears of the system's theme when it is drawn next
        return tab.evaluate(BACKGROUND), button.inner_text()

    assert state() == (LIGHT, "Dark")
    tab.emulate_media(color_scheme="dark")
    assert state() == (DARK, "Light")
    button.click()
    assert state() == (LIGHT, "Dark"), "chosen against the system"
    tab.emulate_media(color_scheme="light")
    assert state() == (LIGHT, "Dark")
    tab.emulate_media(color_scheme="dark")
    assert state() == (DARK, "Light"), "the system had caught up, and is followed again"
    button.press("Enter")
    button.press("Enter")
    tab.emulate_media(color_scheme="light")
    assert state() == (LIGHT, "Dark"), "back to the system's theme is following it"


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("name", NAMES)
def test_the_keyboard_reaches_everything_and_shows_where_it_is(show: Open, name: str, scheme: str) -> None:
    tab = show(name, 390, scheme)
    tab.keyboard.press("Tab")
    skip = tab.locator(".skip")
    assert skip.evaluate("link => link === document.activeElement && link.getBoundingClientRect().top >= 0")
    seen = set()
    for _ in range(40):
        tab.keyboard.press("Tab")
        if tab.evaluate("document.activeElement === document.body"):
            break  # after the last one
        style, width = tab.evaluate(f"[{STYLE}.outlineStyle, parseFloat({STYLE}.outlineWidth)]")
        assert style != "none" and width >= 1, tab.evaluate("document.activeElement.outerHTML.slice(0, 120)")
        seen.add(tab.evaluate("document.activeElement.tagName"))
    assert {"A", "BUTTON"} <= seen


@pytest.mark.parametrize("name", NAMES)
def test_the_skip_link_leads_to_the_content(show: Open, name: str) -> None:
    tab = show(name)
    tab.keyboard.press("Tab")
    tab.keyboard.press("Enter")
    assert tab.evaluate("document.activeElement.tagName") == "MAIN"


@pytest.mark.parametrize("name", NAMES)
def test_what_scrolls_can_be_reached_by_keys_and_what_does_not_is_no_stop(show: Open, name: str) -> None:
    tab = show(name, 390)
    regions = tab.evaluate(
        "Array.from(document.querySelectorAll('[role=region]')).filter(r => r.getClientRects().length).map("
        "r => [r.scrollWidth > r.clientWidth || r.scrollHeight > r.clientHeight, r.tabIndex === 0, r.ariaLabel])"
    )
    assert any(scrolls for scrolls, _, _ in regions)
    assert all(scrolls == stops for scrolls, stops, _ in regions)
    assert all(label for _, _, label in regions)


@pytest.mark.parametrize("name", NAMES)
def test_landmarks_and_headings(show: Open, name: str) -> None:
    tab = show(name)
    count = {what: tab.locator(what).count() for what in ("h1", "main", "body > header", "nav[aria-label]")}
    assert set(count.values()) == {1}, count
    levels = tab.evaluate("Array.from(document.querySelectorAll('main :is(h2, h3, h4)'), h => Number(h.tagName[1]))")
    assert levels[0] == 2
    assert all(after - before <= 1 for before, after in pairwise(levels))
    targets = tab.evaluate(
        "Array.from(document.querySelectorAll('nav a'), a => document.querySelector(a.hash) !== null)"
    )
    assert targets and all(targets)


@pytest.mark.parametrize("name", NAMES)
def test_print_is_light_whole_and_without_controls(show: Open, name: str) -> None:
    tab = show(name, scheme="dark")
    tab.emulate_media(media="print", color_scheme="dark")
    colour = tab.evaluate("getComputedStyle(document.body).color")
    assert colour == "rgb(26, 31, 38)", "dark ink although the screen is dark"
    for what in ("nav", "#theme", ".tools"):
        assert not tab.locator(what).first.is_visible(), what
    cut = tab.evaluate(
        "Array.from(document.querySelectorAll('.scroll'), r => getComputedStyle(r))"
        ".filter(style => style.overflowX !== 'visible' || style.maxHeight !== 'none').length"
    )
    assert cut == 0
    assert len(tab.pdf(prefer_css_page_size=True)) > 5000


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [1280, 390])
def test_the_opened_clip_fits_and_is_accessible(show: Open, width: int, scheme: str) -> None:
    tab = show("report", width, scheme)
    tab.locator("#clip-table tbody tr th a").nth(1).click()
    assert tab.locator("#detail").is_visible()
    for drawing in ("#timeline svg", "#faces svg", ".pictured svg"):
        assert tab.locator(drawing).is_visible()
    wide, room = tab.locator("#detail").evaluate("dialog => [dialog.scrollWidth, dialog.clientWidth]")
    assert wide <= room
    assert findings(tab) == []


def test_the_opened_row_and_differences_are_accessible(show: Open) -> None:
    tab = show("leaderboard", scheme="dark")
    tab.select_option("#baseline", "base")
    assert findings(tab) == []
    tab.locator("#board tbody tr:visible button").first.click()
    assert tab.locator("#detail").is_visible()
    assert findings(tab) == []
