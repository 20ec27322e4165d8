"""A few cases of the fuzz harness with every run of the tests; `fuzz_readers.py` runs as many as asked for."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from fuzz.results_file import endings, save

HARNESS = Path(__file__).with_name("fuzz_readers.py")


@pytest.mark.long
def test_readers_give_a_result_or_one_line(tmp_path):
    results = tmp_path / "results" / "fuzz.json"
    command = [sys.executable, str(HARNESS), "--count", "60", "--seed", "7", "--keep", str(tmp_path)]
    command += ["--results", str(results)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr + done.stdout
    assert "of 60 files, 0 failed" in done.stdout
    figures = json.loads(results.read_text())["readers"]
    assert (figures["seed"], figures["files"], figures["timeouts"], figures["tracebacks"]) == (7, 60, 0, 0)
    assert figures["readings"] == sum(figures["outcomes"].values()) and figures["packages"]["avbench"]


def test_sections_of_other_harnesses_stay_and_findings_are_counted_by_kind(tmp_path):
    path = tmp_path / "fuzz.json"
    save(path, "media", {"files": 3})
    findings = [
        "clips x: exit code 1: Traceback (most",
        "score y: a clip hangs",
        "score z: ended by SIGSEGV",
        "took 9 s",
    ]
    save(path, "readers", {"files": 5, **endings([*findings, "exit 3"])})
    stored = json.loads(path.read_text())
    assert (stored["media"]["files"], stored["readers"]["files"]) == (3, 5)
    kinds = [stored["readers"][kind] for kind in ("timeouts", "tracebacks", "signals", "other_findings")]
    assert kinds == [2, 1, 1, 1]
