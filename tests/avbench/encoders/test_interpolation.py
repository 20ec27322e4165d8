"""Resizing against torch's `interpolate`."""

from __future__ import annotations

import numpy as np
import pytest

from avbench.encoders.interpolation import resize

torch = pytest.importorskip("torch")

SIZES = [((96, 128), (224, 298)), ((704, 1280), (224, 407)), ((148, 136), (243, 224)), ((7, 3), (3, 9))]


@pytest.mark.parametrize("kernel", ["bilinear", "bicubic"])
@pytest.mark.parametrize(("before", "after"), SIZES)
def test_equals_torch(kernel, before, after):
    frame = np.random.default_rng(0).integers(0, 256, (*before, 3)).astype(np.uint8)
    pixels = torch.from_numpy(frame).permute(2, 0, 1)[None].float()
    wanted = torch.nn.functional.interpolate(pixels, after, mode=kernel, align_corners=False)[0].permute(1, 2, 0)
    found = resize(frame, *after, kernel)
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, wanted, atol=5e-4)  # of 255


def test_a_frame_of_the_wanted_size_stays_as_it_is():
    frame = np.random.default_rng(0).integers(0, 256, (4, 6, 3)).astype(np.uint8)
    np.testing.assert_array_equal(resize(frame, 4, 6, "bicubic"), frame)
