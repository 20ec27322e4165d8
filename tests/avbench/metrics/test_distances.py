"""FVD, KVD and FAD: distances against the reference's numbers, known cases and properties; both modes."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from avbench.metrics.distances import first_rows, frechet_distance, polynomial_mmd
from avbench.metrics.frechet import fad, fad_compat, fvd, fvd_compat, kvd, kvd_compat

GOLDENS = Path(__file__).parents[2] / "goldens" / "metrics"
SETS = ["s1", "s2", "s3"]
METRICS = [fvd, fvd_compat, kvd, kvd_compat, fad, fad_compat]

seeds = st.integers(0, 2**32 - 1)
shapes = st.tuples(st.integers(2, 30), st.integers(2, 30), st.integers(1, 20))


def _pair(seed: int, shape: tuple[int, int, int]) -> tuple[np.ndarray, np.ndarray]:
    noise = np.random.default_rng(seed)
    rows, others, columns = shape
    return noise.normal(size=(rows, columns)), noise.normal(0.3, 1.4, size=(others, columns))


@pytest.fixture(scope="module")
def arrays():
    return np.load(GOLDENS / "distances.npz")


@pytest.mark.parametrize("name", SETS)
def test_compat_equals_the_reference(name, arrays, golden):
    expected = golden("distances")[name]
    video = (arrays[f"{name}_fv"], arrays[f"{name}_rv"])
    sound = (arrays[f"{name}_fa"], arrays[f"{name}_ra"])
    even = [rows[::2] for rows in (*first_rows(*video), *first_rows(*sound))]
    for scorer, key, whole, half in (
        (fvd_compat, "fvd", video, even[:2]),
        (kvd_compat, "kvd", video, even[:2]),
        (fad_compat, "fad", sound, even[2:]),
    ):
        assert scorer.function(*whole).value == pytest.approx(expected[key], rel=1e-3), key
        assert scorer.function(*half).value == pytest.approx(expected["subset_even"][key], rel=1e-3), key


@pytest.mark.parametrize("name", SETS)
def test_fixed_kernel_distance_sees_the_means(name, arrays, golden):
    expected = golden("distances")[name]["kvd_uncentred"]
    rows = first_rows(arrays[f"{name}_fv"], arrays[f"{name}_rv"])
    assert kvd.function(*rows).value == pytest.approx(expected, rel=1e-3)
    assert kvd_compat.function(*rows).value < 0 < expected  # quirk kvd_centred


def test_fixed_takes_all_rows_and_compat_the_first_of_each(arrays):
    fake, real = arrays["s1_fv"], arrays["s1_rv"]
    assert fvd.function(fake, real).detail == {"n_fake": 64, "n_real": 80}
    assert fvd_compat.function(fake, real).detail == {"n_fake": 64, "n_real": 64}
    assert fvd.function(fake, real).value != pytest.approx(fvd_compat.function(fake, real).value, rel=1e-3)
    assert fvd.function(fake, real[:64]).value == fvd_compat.function(fake, real).value


def test_known_distance_of_two_normals():
    """Diagonal covariances: |m1 - m2|^2 + sum (s1 - s2)^2."""
    corners = np.array([[x, y] for x in (-1.0, 1.0) for y in (-1.0, 1.0)]) * np.sqrt(3 / 4)  # unit covariance
    assert frechet_distance(corners * [1, 2], corners * [3, 5] + [10, 0]) == pytest.approx(100 + 4 + 9)


def test_known_kernel_distance():
    """Rows 1, 1 and 0, 0 in one column: k = 8 within the first, 1 within the second and between."""
    assert polynomial_mmd(np.ones((2, 1)), np.zeros((2, 1)), centred=False) == pytest.approx(8 + 1 - 2)
    assert polynomial_mmd(np.ones((2, 1)), np.zeros((2, 1)), centred=True) == pytest.approx(0)


@given(seeds, shapes)
@settings(deadline=None)
def test_frechet_distance_properties(seed, shape):
    x, y = _pair(seed, shape)
    assert frechet_distance(x, x) == pytest.approx(0, abs=1e-9)
    distance = frechet_distance(x, y)
    assert distance >= 0
    assert frechet_distance(y, x) == pytest.approx(distance, rel=1e-9)
    shift = np.random.default_rng(seed + 1).normal(size=shape[2])
    assert frechet_distance(x + shift, y + shift) == pytest.approx(distance, rel=1e-6, abs=1e-9)
    assert frechet_distance(x, x + shift) == pytest.approx(shift @ shift, rel=1e-6, abs=1e-9)
    assert frechet_distance(3 * x, 3 * y) == pytest.approx(9 * distance, rel=1e-9)
    order = np.random.default_rng(seed).permutation(len(x))
    assert frechet_distance(x[order], y) == pytest.approx(distance, rel=1e-9, abs=1e-9)


@given(seeds, shapes)
@settings(deadline=None)
def test_kernel_distance_properties(seed, shape):
    x, y = _pair(seed, shape)
    shift = np.random.default_rng(seed + 1).normal(size=shape[2])
    for centred in (False, True):
        distance = polynomial_mmd(x, y, centred=centred)
        assert polynomial_mmd(y, x, centred=centred) == pytest.approx(distance, rel=1e-9, abs=1e-9)
    blind = polynomial_mmd(x + shift, y, centred=True)
    assert blind == pytest.approx(polynomial_mmd(x, y, centred=True), rel=1e-6, abs=1e-6)


def test_kernel_distance_of_one_distribution_is_zero_on_average():
    noise = np.random.default_rng(7)
    pairs = [noise.normal(size=(2, 40, 8)) for _ in range(300)]
    values = [polynomial_mmd(x, y, centred=False) for x, y in pairs]
    assert abs(np.mean(values)) < 4 * np.std(values) / np.sqrt(len(values))
    assert min(values) < 0


def test_shift_of_a_set_moves_the_fixed_kernel_distance_only():
    x = np.random.default_rng(3).normal(size=(50, 6))
    moved = x + 2
    assert polynomial_mmd(x, moved, centred=False) > polynomial_mmd(x, x, centred=False) + 1
    assert polynomial_mmd(x, moved, centred=True) == pytest.approx(polynomial_mmd(x, x, centred=True))


def test_frechet_distance_with_fewer_rows_than_columns_keeps_to_the_definition():
    noise = np.random.default_rng(5)
    x, y = noise.normal(size=(12, 40)), noise.normal(0.2, 1.3, size=(15, 40))
    s1, s2 = np.cov(x.T), np.cov(y.T)
    roots = np.sqrt(np.maximum(np.linalg.eigvals(s1 @ s2).real, 0)).sum()
    expected = np.square(x.mean(0) - y.mean(0)).sum() + np.trace(s1 + s2) - 2 * roots
    assert frechet_distance(x, y) == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("scorer", METRICS, ids=lambda scorer: scorer.name)
def test_one_row_is_skipped_with_a_reason(scorer):
    one, many = np.ones((1, 8), dtype=np.float32), np.ones((5, 8), dtype=np.float32)
    score = scorer.function(one, many)
    assert (score.status, score.value) == ("skipped", None)
    assert "1 clips" in score.reason
    assert "1 reference clips" in scorer.function(many, one).reason
    assert scorer.function(np.ones((0, 8), dtype=np.float32), many).status == "skipped"


def test_sets_that_do_not_fit_are_refused():
    with pytest.raises(ValueError, match="cannot be compared"):
        frechet_distance(np.ones((3, 4)), np.ones((3, 5)))
    with pytest.raises(ValueError, match="needs 2 rows"):
        polynomial_mmd(np.ones((1, 4)), np.ones((3, 4)), centred=False)


def test_modes_and_flags_are_declared():
    facts = {scorer.name: (dict(scorer.params), scorer.level, scorer.encoders[0].name) for scorer in METRICS}
    for name, (params, judges, encoder) in facts.items():
        assert judges == "set"
        assert params["mode"] == ("compat" if name.endswith("_compat") else "fixed")
        assert encoder != facts[name.removesuffix("_compat")][2] or params["mode"] == "fixed"
    assert facts["kvd_compat"][0]["flags"] == "fvd_half_range,kvd_centred"
    assert facts["fvd_compat"][0]["flags"] == "fvd_half_range"
    assert facts["fad_compat"][0]["flags"] == "fad_scale"


def test_sound_distance_is_reported_times_ten_thousand(arrays, golden):
    rows = first_rows(arrays["s1_fa"], arrays["s1_ra"])
    unscaled = golden("distances")["s1"]["fad_unscaled"]
    assert frechet_distance(*rows) == pytest.approx(unscaled, rel=1e-3)
    assert fad.function(*rows).value == pytest.approx(1e4 * frechet_distance(*rows))
