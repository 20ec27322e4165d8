"""Facts of the picture: hand-worked numbers, properties, edge cases."""

from __future__ import annotations

import math

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from numpy.typing import NDArray

from avbench.clips import Prompt
from avbench.encoders import EncoderStore
from avbench.media import Media
from avbench.metrics import Score, Scorer
from avbench.metrics import picture as p
from avbench.metrics.picture_series import PICTURE, Col

ALL = [
    p.sharpness,
    p.exposure,
    p.colourfulness,
    p.blockiness,
    p.black_share,
    p.frozen_share,
    p.motion_energy,
    p.shot_cuts,
]
PAIRS = [p.frozen_share, p.motion_energy, p.shot_cuts]


def score(scorer: Scorer, frames: NDArray[np.uint8], fps: float = 24.0) -> Score:
    return scorer(Media.from_arrays("k", frames, fps), Prompt(), EncoderStore())


def value(scorer: Scorer, frames: NDArray[np.uint8], fps: float = 24.0) -> float:
    result = score(scorer, frames, fps)
    assert result.value is not None, result.reason
    return result.value


def flat(levels: list[int], height: int = 32, width: int = 48) -> NDArray[np.uint8]:
    return np.stack([np.full((height, width, 3), level, np.uint8) for level in levels])


def texture(seed: int, height: int = 64, width: int = 96) -> NDArray[np.uint8]:
    rough = np.random.default_rng(seed).integers(0, 256, (height, width, 3)).astype(np.uint8)
    return cv2.normalize(cv2.GaussianBlur(rough, (0, 0), 3), None, 0, 255, cv2.NORM_MINMAX)


class TestSharpness:
    def test_one_bright_pixel(self) -> None:
        frame = flat([0], 5, 5)
        frame[0, 2, 2] = 10
        # The Laplacian holds -40 once and 10 four times in 25 pixels, and its mean is 0.
        assert value(p.sharpness, frame) == pytest.approx((1600 + 4 * 100) / 25)

    def test_flat_is_zero(self) -> None:
        assert value(p.sharpness, flat([200])) == 0.0

    @given(st.integers(0, 100), st.floats(0.5, 4))
    @settings(max_examples=15, deadline=None)
    def test_blur_lowers_it(self, seed: int, sigma: float) -> None:
        frame = texture(seed)
        assert value(p.sharpness, cv2.GaussianBlur(frame, (0, 0), sigma)[None]) < value(p.sharpness, frame[None])


class TestTones:
    def test_exposure_and_its_shares(self) -> None:
        frame = flat([128], 10, 10)
        frame[0, 0], frame[0, 1] = 0, 255
        result = score(p.exposure, frame)
        assert result.value == pytest.approx((8 * 128 + 255) / 10 / 255)
        assert result.detail == pytest.approx({"crushed": 0.1, "blown": 0.1})

    def test_black_frames(self) -> None:
        frames = flat([0, 25, 26, 255], 10, 10)  # 0.10 of 255 is 25.5
        frames[1, 0, :2] = 255  # 98 of 100 pixels are black
        assert value(p.black_share, frames) == 0.5
        frames[1, 0, 2] = 255
        assert value(p.black_share, frames) == 0.25

    def test_white_is_exactly_one(self) -> None:
        assert value(p.exposure, flat([255, 255])) == 1.0


class TestColourfulness:
    def test_grey_has_none(self) -> None:
        assert value(p.colourfulness, flat([0, 90, 255])) == 0.0

    def test_pure_red(self) -> None:
        frame = flat([0])
        frame[..., 0] = 255
        assert value(p.colourfulness, frame) == pytest.approx(0.3 * math.hypot(255, 127.5))

    @given(st.integers(0, 1000))
    @settings(max_examples=15, deadline=None)
    def test_equals_the_paper_formula(self, seed: int) -> None:
        frame = np.random.default_rng(seed).integers(0, 256, (33, 47, 3)).astype(np.uint8)
        r, g, b = np.moveaxis(frame.astype(np.float64), 2, 0)
        rg, yb = r - g, (r + g) / 2 - b
        expected = math.hypot(rg.std(), yb.std()) + 0.3 * math.hypot(rg.mean(), yb.mean())
        assert value(p.colourfulness, frame[None]) == pytest.approx(expected, rel=1e-9)

    def test_large_saturated_picture_does_not_overflow(self) -> None:
        frame = np.zeros((1, 720, 1280, 3), np.uint8)
        frame[:, :, ::2, 0] = frame[:, :, 1::2, 2] = 255
        # Half red (255, 127.5), half blue (0, -255) in (rg, yb).
        expected = math.hypot(127.5, 191.25) + 0.3 * math.hypot(127.5, -63.75)
        assert value(p.colourfulness, frame) == pytest.approx(expected, rel=1e-9)


class TestBlockiness:
    def test_constant_picture_is_one(self) -> None:
        assert value(p.blockiness, flat([77])) == 1.0

    def test_blocks_of_eight(self) -> None:
        board = (np.indices((16, 24)) // 8).sum(axis=0) % 2 * 20
        frame = np.repeat(board[:, :, None], 3, axis=2).astype(np.uint8)[None]
        # Every grid line is a step of 20, every other step is 0.
        assert value(p.blockiness, frame) == pytest.approx((20 + 0.5) / 0.5)

    def test_grid_elsewhere_does_not_count(self) -> None:
        board = ((np.indices((16, 24)) + 4) // 8).sum(axis=0) % 2 * 20
        frame = np.repeat(board[:, :, None], 3, axis=2).astype(np.uint8)[None]
        assert value(p.blockiness, frame) < 1.0

    @given(st.integers(0, 100), st.integers(5, 40))
    @settings(max_examples=15, deadline=None)
    def test_jpeg_raises_it(self, seed: int, quality: int) -> None:
        frame = texture(seed)
        _, data = cv2.imencode(".jpg", frame, [cv2.IMWRITE_JPEG_QUALITY, quality])
        again = cv2.imdecode(data, cv2.IMREAD_COLOR)
        assert value(p.blockiness, again[None]) > value(p.blockiness, frame[None])

    def test_too_small_for_a_grid(self) -> None:
        assert "8 pixels" in score(p.blockiness, flat([1], 8, 8)).reason
        assert value(p.blockiness, flat([1], 1, 9)) == 1.0


class TestChange:
    def test_motion_energy_is_change_per_second(self) -> None:
        frames = flat([0, 51, 0, 51])
        assert value(p.motion_energy, frames, 10.0) == pytest.approx(0.2 * 10)
        assert value(p.motion_energy, frames, 30.0) == pytest.approx(0.2 * 30)

    def test_still_is_frozen(self) -> None:
        assert value(p.frozen_share, flat([9, 9, 9])) == 1.0
        assert value(p.motion_energy, flat([9, 9, 9])) == 0.0

    def test_frozen_level(self) -> None:
        frames = flat([9, 9, 9], 10, 10)
        frames[1, 0, :2] += 10  # mean |dY| = 0.2 is frozen, 0.3 is not
        frames[2] = frames[1]
        frames[2, 1, :3] += 10
        assert value(p.frozen_share, frames) == 0.5

    @given(st.integers(2, 6), st.integers(0, 5))
    @settings(max_examples=15, deadline=None)
    def test_a_repeated_frame_raises_frozen_share(self, count: int, where: int) -> None:
        frames = np.stack([texture(seed) for seed in range(count)])
        again = np.insert(frames, where % count, frames[where % count], axis=0)
        assert value(p.frozen_share, again) > value(p.frozen_share, frames)


class TestShotCuts:
    def moving(self, seed: int, count: int, step: int = 1) -> NDArray[np.uint8]:
        wide = texture(seed, 64, 96 + count * step)
        return np.stack([wide[:, t * step : t * step + 96] for t in range(count)])

    def test_hard_cuts_with_their_times(self) -> None:
        frames = np.concatenate([self.moving(1, 10), self.moving(2, 12), self.moving(3, 8)])
        result = score(p.shot_cuts, frames, 20.0)
        assert result.value == 2
        assert result.detail["times"] == pytest.approx([0.5, 1.1])

    def test_motion_is_no_cut(self) -> None:
        assert value(p.shot_cuts, self.moving(1, 30, 4)) == 0

    @pytest.mark.parametrize("length", [1, 2, 3])
    def test_flash_is_no_cut(self, length: int) -> None:
        frames = self.moving(4, 30)
        frames[10 : 10 + length] = 250
        assert value(p.shot_cuts, frames) == 0

    def test_two_frames(self) -> None:
        assert value(p.shot_cuts, flat([0, 200])) == 1
        assert value(p.shot_cuts, flat([100, 100])) == 0


class TestEdges:
    @pytest.mark.parametrize("scorer", PAIRS, ids=lambda s: s.name)
    def test_one_frame(self, scorer: Scorer) -> None:
        assert score(scorer, flat([3])).reason == "needs at least 2 frames"

    @pytest.mark.parametrize("size", [(1, 1), (1, 17), (17, 1), (7, 9), (9, 31)])
    @pytest.mark.parametrize("scorer", ALL, ids=lambda s: s.name)
    def test_odd_sizes(self, scorer: Scorer, size: tuple[int, int]) -> None:
        assert score(scorer, flat([3, 200, 200], *size)).status in ("ok", "skipped")

    @given(arrays(np.uint8, st.tuples(st.integers(1, 4), st.integers(1, 20), st.integers(1, 20), st.just(3))))
    @settings(max_examples=40, deadline=None)
    def test_range_holds(self, frames: NDArray[np.uint8]) -> None:
        for scorer in ALL:
            result = score(scorer, frames)
            assert result.value is None or scorer.range[0] <= result.value <= scorer.range[1], scorer.name

    def test_non_contiguous_frames(self) -> None:
        frames = np.stack([texture(1), texture(2)])
        flipped = frames[:, :, ::-1]
        for scorer in ALL:
            assert score(scorer, flipped).value == score(scorer, np.ascontiguousarray(flipped)).value

    def test_series_has_one_column_per_name_and_thumbnail_pixel(self) -> None:
        series = Media.from_arrays("k", flat([1, 2]), 24.0).view(PICTURE)
        assert series.shape == (2, Col.THUMB + 256)
        assert np.isnan(series[0, Col.CHANGE])
