"""Child process: score a manifest and print this process's peak resident memory in bytes.

peak_memory.py MANIFEST RUN_FOLDER [SUITE WEIGHTS]
"""

from __future__ import annotations

import resource
import sys
from pathlib import Path


def peak_bytes() -> int:
    """Peak resident memory of this process."""
    # Not ru_maxrss where VmHWM exists: a child that was started with vfork inherits its parent's ru_maxrss.
    status = Path("/proc/self/status")
    if status.exists():
        line = next(line for line in status.read_text().splitlines() if line.startswith("VmHWM"))
        return int(line.split()[1]) * 1024
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024


if __name__ == "__main__":
    from avbench import load_source
    from avbench.encoders import WeightsConfig
    from avbench.run.options import RunOptions
    from avbench.run.runner import run_source
    from avbench.suites import get_suite

    manifest, out, suite, weights = [*sys.argv[1:], "quick", "checkpoints"][:4]
    options = RunOptions(setup=WeightsConfig(weights))
    # What `avbench score` calls; `score_clips` would also return the whole table to the caller.
    run_source(load_source(Path(manifest)), get_suite(suite), Path(out), options)
    print(peak_bytes())
