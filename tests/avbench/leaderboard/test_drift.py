"""Strips of the drift view: dots in place, labels that never touch."""

from __future__ import annotations

import re
from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from avbench.leaderboard import fill, load_board
from avbench.leaderboard.page import drift_strips
from avbench.pages.dots import STRIP_MARGIN, STRIP_WIDTH, place_labels

RIGHT = STRIP_WIDTH - STRIP_MARGIN


@given(st.lists(st.tuples(st.floats(STRIP_MARGIN, RIGHT), st.text("abc", min_size=1, max_size=30)), max_size=8))
def test_labels_of_one_lane_do_not_touch_and_stay_inside(dots):
    placed = place_labels(sorted(dots))
    assert [label.text for label in placed] == [text for _, text in sorted(dots)]
    for lane in {label.lane for label in placed}:
        spans = sorted(label.span for label in placed if label.lane == lane)
        assert all(first[1] <= second[0] for first, second in pairwise(spans))
    assert all(label.span[1] <= STRIP_WIDTH for label in placed)


def test_the_axis_starts_at_zero_so_that_a_small_drift_looks_small(own):
    board, views = load_board(own)
    strips = {s.title: s for s in drift_strips(fill(next(v for v in views if v.name == "drift_ltx2"), board))}
    desync = strips["DeSync ↓ (s)"]
    assert re.match("OmniForcing 0.384; .*issue 26\\) 0.647$", desync.described)
    drawn = str(desync.drawing())
    assert f'<text class="tick start" x="{STRIP_MARGIN}" y="34">0</text>' in drawn
    found = re.findall(
        r'<circle class="mean" cx="([\d.]+)".*?<text class="tick \w+" x="([\d.]+)" y="\d+">(.*?)</text>', drawn
    )
    assert len(found) == 6 and all(dot == label for dot, label, _ in found)
    places = {text: float(x) for x, _, text in found}
    assert places["a user (OmniForcing issue 26) 0.647"] == RIGHT
    assert abs(places["OmniForcing 0.384"] - (STRIP_MARGIN + (RIGHT - STRIP_MARGIN) * 0.384 / 0.647)) < 0.1
