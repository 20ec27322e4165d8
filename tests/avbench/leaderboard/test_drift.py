"""Strips of the drift view: dots in place, labels that never touch."""

from __future__ import annotations

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from avbench.leaderboard import fill, load_board
from avbench.leaderboard.drift import LEFT, RIGHT, WIDTH, _lanes, drift_strips


def span(dot):
    width = len(dot.label) * 6.2
    return (dot.x, dot.x + width) if dot.anchor == "start" else (dot.x - width, dot.x)


@given(st.lists(st.tuples(st.floats(LEFT, WIDTH - RIGHT), st.text("abc", min_size=1, max_size=30)), max_size=8))
def test_labels_of_one_lane_do_not_touch_and_stay_inside(dots):
    placed = _lanes(sorted(dots))
    assert [dot.label for dot in placed] == [label for _, label in sorted(dots)]
    for lane in {dot.lane for dot in placed}:
        spans = sorted(span(dot) for dot in placed if dot.lane == lane)
        assert all(first[1] <= second[0] for first, second in pairwise(spans))
    assert all(span(dot)[1] <= WIDTH for dot in placed)


def test_the_axis_starts_at_zero_so_that_a_small_drift_looks_small(own):
    board, views = load_board(own)
    strips = {s.heading: s for s in drift_strips(fill(next(v for v in views if v.name == "drift_ltx2"), board))}
    desync = strips["DeSync ↓ (s)"]
    assert (desync.low, desync.high, desync.start) == ("0.384", "0.647", "0")
    places = {dot.label: dot.x for dot in desync.dots}
    whole = WIDTH - LEFT - RIGHT
    assert places["a user (OmniForcing issue 26) 0.647"] == WIDTH - RIGHT
    assert abs(places["OmniForcing 0.384"] - (LEFT + whole * 0.384 / 0.647)) < 0.1
    assert len(desync.dots) == 6
