"""Picture transforms against torchvision and torch."""

from __future__ import annotations

import numpy as np
import pytest

from avbench.encoders.images import bicubic_crop_224, bilinear_224, resize_crop_224, short_side_224

torch = pytest.importorskip("torch")
transforms = pytest.importorskip("torchvision.transforms")
Image = pytest.importorskip("PIL.Image")


@pytest.mark.parametrize("size", [(96, 128), (131, 77), (480, 853), (224, 224), (720, 1280), (448, 448), (30, 500)])
def test_transforms_equal_torchvision_and_torch(size):
    frame = np.random.default_rng(0).integers(0, 256, (*size, 3)).astype(np.uint8)
    steps = [transforms.Resize(224, transforms.InterpolationMode.BICUBIC), transforms.CenterCrop(224)]
    np.testing.assert_array_equal(resize_crop_224(frame), transforms.Compose(steps)(Image.fromarray(frame)))
    short = short_side_224(frame)
    # In double: torch rounds positions to float32, which moves pixels of noise by up to 7e-5.
    pixels = torch.from_numpy(frame).double().permute(2, 0, 1)[None] / 255
    wanted = torch.nn.functional.interpolate(pixels, size=short.shape[:2], mode="bilinear", align_corners=False)
    assert min(short.shape[:2]) == 224
    np.testing.assert_allclose(short, wanted[0].permute(1, 2, 0), atol=1e-6)


@pytest.mark.parametrize("size", [(96, 128), (131, 77), (480, 853), (224, 224), (225, 229), (30, 500)])
def test_transforms_without_antialias_equal_torchvision_on_float_tensors(size):
    frame = np.random.default_rng(0).integers(0, 256, (*size, 3)).astype(np.uint8)
    pixels = torch.from_numpy(frame).permute(2, 0, 1).float()
    mode = transforms.InterpolationMode
    crop = transforms.CenterCrop(224)(transforms.Resize(224, mode.BICUBIC, antialias=False)(pixels))
    whole = transforms.Resize(224, mode.BILINEAR, antialias=False)(pixels)
    np.testing.assert_allclose(bicubic_crop_224(frame), crop.permute(1, 2, 0), atol=5e-4)
    np.testing.assert_allclose(bilinear_224(frame), whole.permute(1, 2, 0), atol=5e-4)


def test_bicubic_values_overshoot():
    frame = np.zeros((96, 128, 3), np.uint8)
    frame[:, 64:] = 255
    values = bicubic_crop_224(frame)
    assert values.min() < -5
    assert values.max() > 260
