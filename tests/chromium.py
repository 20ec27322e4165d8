"""Headless Chromium for tests of pages."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

_ARGS = (
    "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync", "--autoplay-policy=no-user-gesture-required",
)  # fmt: skip


@contextmanager
def chromium() -> Iterator[Any]:
    """A browser of Playwright, from AVBENCH_CHROMIUM or the path."""
    playwright = pytest.importorskip("playwright.sync_api")
    path = os.environ.get("AVBENCH_CHROMIUM") or shutil.which("chromium") or shutil.which("google-chrome")
    if path is None:
        pytest.fail("no Chromium found: install it, or give its path in AVBENCH_CHROMIUM")
    with playwright.sync_playwright() as tools:
        browser = tools.chromium.launch(executable_path=path, args=list(_ARGS))
        yield browser
        browser.close()


def open_file(browser: Any, path: Path, **options: Any) -> Any:
    """A tab that shows a file; `tab.complaints` collects errors, warnings, and requests to any network."""
    tab = browser.new_page(**options)
    tab.set_default_timeout(5000)
    tab.complaints = []
    tab.on("console", lambda m: tab.complaints.append(m.text) if m.type in ("error", "warning") else None)
    tab.on("pageerror", lambda error: tab.complaints.append(str(error)))
    tab.on("request", lambda r: tab.complaints.append(r.url) if r.url.startswith("http") else None)
    tab.goto(path.resolve().as_uri())
    return tab
