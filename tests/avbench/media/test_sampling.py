"""Frames from the middle of equal parts, against the reference's indices."""

from __future__ import annotations

import numpy as np
import pytest
from vbench_goldens import golden

from avbench.media import Middle


@pytest.mark.parametrize("case", golden("middle_indices"), ids=lambda case: f"{case['num']} of {case['vlen']}")
def test_middle_frames_equal_the_reference(case):
    times = np.arange(case["vlen"]) / 25
    assert Middle(case["num"]).indices(times, 25.0).tolist() == case["idx"]


def test_no_frame_has_no_middle():
    assert Middle(8).indices(np.zeros(0), 25.0).tolist() == []
