"""A metric that waits until as many processes as asked for have met at a clip. Actors of Ray import it, too."""

from __future__ import annotations

import os
import time
from pathlib import Path

from avbench import Score, scorer

FOLDER, COUNT = "AVBENCH_TEST_MEETING", "AVBENCH_TEST_MEETING_COUNT"
"""Where each process leaves its name, and how many are waited for."""
_PATIENCE_S = 120.0


@scorer("meeting", unit="1", higher_is_better=True, range=(0.0, 1e9), source="test", needs=["video"])
def meeting(media):
    """Processes that have met."""
    folder, deadline = Path(os.environ[FOLDER]), time.monotonic() + _PATIENCE_S
    (folder / str(os.getpid())).touch()
    while len(list(folder.iterdir())) < int(os.environ[COUNT]) and time.monotonic() < deadline:
        time.sleep(0.05)
    return Score.ok(float(len(list(folder.iterdir()))))
