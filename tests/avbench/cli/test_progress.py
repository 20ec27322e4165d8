"""The bar of a run on a terminal: steps, speed, time left, failures, and a line on the workers."""

from __future__ import annotations

import io
import re
import time

import pytest
from rich.console import Console

from avbench.cli import progress
from avbench.cli.progress import BarProgress


@pytest.mark.parametrize(("terminal", "quiet"), [(True, False), (True, True), (False, False)])
def test_a_terminal_shows_speed_nodes_failures_and_the_time_that_remains(monkeypatch, terminal, quiet):
    shown = io.StringIO()
    monkeypatch.setattr(progress, "console", lambda err: Console(file=shown, force_terminal=terminal, width=200))
    with BarProgress(quiet) as bar:
        bar.start(1000, 3, 500)
        for number in range(4):
            time.sleep(0.05)
            bar.advance(f"c{number}", number == 1, 10)
        bar.note("12.00 clips/s: node a 7.00, node b 5.00")
        time.sleep(0.4)  # it is drawn ten times a second
    text = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", shown.getvalue())
    if quiet or not terminal:
        assert text == ""
        return
    last = next(line for line in reversed(re.split(r"[\r\n]", text)) if line.strip())
    assert re.search(r"40/1000 +[0-9.]+ clips/s +0:0[0-9]:[0-9]{2} +1 failed +12.00 clips/s: node a 7.00, node b", last)


def test_a_log_gets_a_line_a_minute(monkeypatch, capsys):
    now = [1000.0]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    with BarProgress(quiet=False) as bar:
        bar.start(400, 0, 200)
        for number in range(8):
            now[0] += 20
            bar.advance(f"c{number}", number == 1, 20)
    lines = capsys.readouterr().err.splitlines()
    assert lines == [
        "scoring: 20 %, 0.50 clips/s, 0:05:20 to go, 1 failed",
        "scoring: 40 %, 0.50 clips/s, 0:04:00 to go, 1 failed",
    ]


def test_a_line_has_the_rates_of_nodes_in_place_of_one(monkeypatch, capsys):
    monkeypatch.setattr(progress, "_LINE_S", -1.0)
    with BarProgress(quiet=False) as bar:
        bar.start(4, 0, 4)
        bar.note("12.00 clips/s: node a 7.00, node b 5.00")
        bar.advance("c0", False, 1)
    assert capsys.readouterr().err == "scoring: 25 %, 12.00 clips/s: node a 7.00, node b 5.00\n"
