"""ImageBind as avbench builds it against package imagebind-unofficial, Meta's code, with the same weights."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest
import torch
import torchvision.transforms._functional_tensor as moved

from avbench.encoders.loading import fill_keyed_random, load_strict
from avbench.encoders.networks.imagebind import network as ours
from avbench.encoders.networks.imagebind.inputs import mel_spectrograms
from avbench.encoders.networks.imagebind.tokens import tokenize

pytestmark = pytest.mark.reference

TEXTS = [
    "a red square bounces inside a textured box",
    "percussive taps &amp; a STEADY tone, 3.5 kHz -- it's naïve",
    "over and over the waves break on a shore of black stones " * 9,
    "",
]


@pytest.fixture(scope="module")
def package():
    # pytorchvideo imports this module under the name that it had before torchvision 0.17.
    sys.modules.setdefault("torchvision.transforms.functional_tensor", moved)
    return pytest.importorskip("imagebind")


@pytest.fixture(scope="module")
def theirs(package):
    small = {"depth": 16, "thermal": 16, "imu": 16}
    sizes = {f"{name}_embed_dim": width for name, width in small.items()}
    sizes |= {f"{name}_num_blocks": 1 for name in small} | {f"{name}_num_heads": 2 for name in small}
    for name in ("vision", "text", "audio"):
        size = getattr(ours.REDUCED, name)
        sizes[f"{name}_embed_dim"], sizes[f"{name}_num_blocks"] = size.width, size.blocks
        sizes[f"{name}_num_heads"] = size.heads
    network = package.imagebind_model.ImageBindModel(out_embed_dim=ours.REDUCED.out, **sizes).eval()
    fill_keyed_random(network)
    return network


@pytest.fixture(scope="module")
def same(theirs):
    network = ours.ImageBind(ours.REDUCED).eval()
    load_strict(network, ours.without_unused(theirs.state_dict(), Path("imagebind")), "imagebind")
    return network


def noise(*shape: int) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(0))


@torch.inference_mode()
def test_stills_and_pairs_have_the_same_embedding(theirs, same):
    stills, pairs = noise(3, 3, 224, 224), noise(2, 3, 2, 224, 224)
    torch.testing.assert_close(same.embed_pictures(stills), theirs({"vision": stills})["vision"], atol=2e-5, rtol=0)
    # Theirs takes (B, clips, ...) and averages over the clips; here one clip each.
    torch.testing.assert_close(
        same.embed_pictures(pairs), theirs({"vision": pairs[:, None]})["vision"], atol=2e-5, rtol=0
    )


@torch.inference_mode()
def test_sounds_have_the_same_embedding(theirs, same):
    mels = noise(3, 1, 128, 204)
    expected = theirs({"audio": mels[:, None]})["audio"]
    assert expected.norm(dim=-1).min() > 1  # scaled
    torch.testing.assert_close(same.embed_mels(mels), expected, atol=2e-5, rtol=1e-5)


@torch.inference_mode()
def test_texts_have_the_same_tokens_and_embedding(package, theirs, same):
    """The package keeps the end token of long texts; the copy of it that JavisBench carries does not."""
    tokens = package.data.load_and_transform_text(TEXTS, "cpu")
    assert torch.equal(tokenize(TEXTS, ib_text_truncation=False), tokens)
    assert (tokenize(TEXTS, ib_text_truncation=True) == tokens).all(dim=1).tolist() == [True, True, False, True]
    torch.testing.assert_close(same.embed_tokens(tokens), theirs({"text": tokens})["text"], atol=2e-5, rtol=1e-5)


@pytest.mark.parametrize("samples", [32000, 20000, 400])
def test_mel_pictures_are_the_same(samples, package):
    sound = 0.1 * np.random.default_rng(0).standard_normal(samples).astype(np.float32)
    expected = package.data.waveform2melspec(torch.from_numpy(sound.copy())[None], 16000, 128, 204)
    (found,) = mel_spectrograms([sound - sound.mean()], torch.device("cpu"))
    torch.testing.assert_close(found, (expected + 4.268) / 9.138, atol=2e-4, rtol=0)
