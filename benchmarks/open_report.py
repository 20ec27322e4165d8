"""How long a report takes to open in headless Chromium: prints seconds until it can be used, and of what one does then.

    python benchmarks/open_report.py runs/x/report.html

Chromium is found as tests find it: AVBENCH_CHROMIUM, or `chromium` or `google-chrome` on the path.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent.parent / "tests"))
from chromium import chromium

_DRAWN = "new Promise(done => requestAnimationFrame(() => requestAnimationFrame(done)))"
_ACTIONS: dict[str, Callable[[Any], object]] = {
    "sort by a metric": lambda tab: tab.locator("#clip-table th[data-metric] button").first.click(),
    "sort by name": lambda tab: tab.locator('#clip-table th[data-key="id"] button').click(),
    "filter by two words": lambda tab: tab.fill("#filter", "9 that"),
    "next page": lambda tab: tab.click("#page-on"),
    "open a clip": lambda tab: tab.locator("#clip-table tbody tr th a").last.click(),
}


def seconds(tab: Any, action: Callable[[Any], object]) -> float:
    """Wall time of an action until its result is drawn."""
    start = time.perf_counter()
    action(tab)
    tab.evaluate(_DRAWN)
    return time.perf_counter() - start


def main(page: Path) -> None:
    """Open one page and use it."""
    with chromium() as browser:
        tab = browser.new_page(viewport={"width": 1280, "height": 900})
        opened = seconds(tab, lambda tab: tab.goto(page.resolve().as_uri()))
        print(f"{page.stat().st_size / 1e6:.1f} MB, {tab.inner_text('#matches')}: ready after {opened:.2f} s")
        for name, action in _ACTIONS.items():
            print(f"{name}: {seconds(tab, action):.2f} s")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
