"""A few cases of the fuzz harness with every run of the tests; `fuzz_readers.py` runs as many as asked for."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

HARNESS = Path(__file__).with_name("fuzz_readers.py")


def test_readers_give_a_result_or_one_line(tmp_path):
    command = [sys.executable, str(HARNESS), "--count", "200", "--seed", "7", "--keep", str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr + done.stdout
    assert "of 200 files, 0 failed" in done.stdout
