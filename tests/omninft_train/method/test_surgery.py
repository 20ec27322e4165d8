"""Presets of gradient surgery at LTX-2's depth and stretched to others."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from omninft_train.method.surgery import PRESETS, SurgeryRule, block_at, keep_by_block, preset_keep

NAMES = st.sampled_from(sorted(PRESETS))


@given(NAMES)
def test_presets_at_the_depth_of_ltx2_are_their_rules(name: str):
    preset = PRESETS[name]
    assert preset_keep(preset, 48) == keep_by_block(preset.rules, 48)


@pytest.mark.parametrize(
    ("name", "depth", "keep"),
    [
        ("release", 4, [0.1, 1.0, 1.0, 0.3]),
        ("release", 5, [0.1, 1.0, 1.0, 1.0, 0.3]),
        ("release", 1, [1.0]),
        ("release", 24, [0.1] * 5 + [1.0] * 15 + [0.3] * 4),
        ("paper", 4, [0.9, 1.0, 1.0, 1.0]),
        ("paper-keep10", 5, [0.1, 1.0, 1.0, 1.0, 1.0]),
    ],
)
def test_other_depths_take_the_share_of_the_same_place(name: str, depth: int, keep: list[float]):
    assert preset_keep(PRESETS[name], depth) == keep


@given(NAMES, st.integers(1, 200))
def test_stretching_invents_nothing_and_keeps_the_order(name: str, depth: int):
    whole, stretched = preset_keep(PRESETS[name], 48), preset_keep(PRESETS[name], depth)
    assert len(stretched) == depth
    runs, stretched_runs = (
        [value for place, value in enumerate(values) if place == 0 or values[place - 1] != value]
        for values in (whole, stretched)
    )
    remaining = iter(runs)
    assert all(value in remaining for value in stretched_runs)  # a subsequence


@given(NAMES, st.integers(1, 6))
def test_doubling_the_depth_doubles_each_block(name: str, times: int):
    keep = preset_keep(PRESETS[name], 48)
    assert preset_keep(PRESETS[name], 48 * times) == [value for value in keep for _ in range(times)]


@pytest.mark.parametrize("depth", [1, 3, 4, 7, 10, 28, 48, 100])
def test_fractions_of_the_depth_are_read_alike_everywhere(depth: int) -> None:
    """The block that a region starts at is the first that a rule from there on covers."""
    for fraction in (0.0, 0.1, 0.2084, 0.29, 0.5, 0.57, 0.99):
        first = block_at(fraction, depth)
        rule = keep_by_block([SurgeryRule(f"{fraction}-1.0", 0.0)], depth)
        assert [block for block, keep in enumerate(rule) if keep == 0] == list(range(first, depth))
        assert first == depth or (first + 0.5) / depth >= fraction
        assert first == 0 or (first - 0.5) / depth < fraction
    assert block_at(0.2084, 48) == 10 and block_at(0.5, 4) == 2
