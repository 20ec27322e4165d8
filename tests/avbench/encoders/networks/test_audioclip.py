"""AudioCLIP's audio head against the reference, and what each mode feeds it."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from avbench.clips import Clip
from avbench.encoders.base import ClipInput, LoadContext
from avbench.encoders.networks.audioclip.encoders import (
    AUDIOCLIP_BACKBONE,
    AUDIOCLIP_COMPAT,
    AUDIOCLIP_FIXED,
    LoadedHead,
    audio_entries,
    run_as_reference,
)
from avbench.errors import EnvironmentProblem
from avbench.media import decode_clip
from avbench.weights.config import WeightsConfig

torch = pytest.importorskip("torch")

GOLDENS = Path(__file__).parents[3] / "goldens" / "metrics"


def _load(weights: str, precision: str = "fp32") -> LoadedHead:
    head: LoadedHead = AUDIOCLIP_BACKBONE.load(LoadContext(WeightsConfig(weights=weights, precision=precision), "cpu"))
    return head


@pytest.fixture(scope="module")
def head() -> LoadedHead:
    return _load("keyed-random")


@pytest.fixture(scope="module")
def small_head() -> LoadedHead:
    return _load("keyed-random-reduced")


@pytest.fixture(scope="module")
def sound(golden_clips) -> np.ndarray:
    (view,) = AUDIOCLIP_COMPAT.views
    clip = Clip("clip_a", golden_clips / "clip_a.mp4", golden_clips / "clip_a.wav")
    return decode_clip(clip, "clip_a", [view]).view(view)  # recorded at 16 kHz, so nothing is resampled


def _noise(seconds: float, rate: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).uniform(-0.5, 0.5, (1, int(seconds * rate))).astype(np.float32)


def _relative(found: np.ndarray, expected: np.ndarray) -> float:
    return float(np.linalg.norm(found - expected) / np.linalg.norm(expected))


def test_state_dict_is_the_audio_part_of_the_checkpoint(head, golden: Callable[[str], Any]):
    found = {key: list(entry.shape) for key, entry in head.network.state_dict().items()}
    everything = golden("state_dict_keys/audioclip")
    assert found == {key: shape for key, shape in everything.items() if key.startswith("audio.")}
    entries = audio_entries({key: torch.zeros(shape) for key, shape in everything.items()}, "a file")
    assert entries.keys() == found.keys()


def test_another_checkpoint_is_refused(golden: Callable[[str], Any]):
    audio_only = {key: torch.zeros(1) for key in golden("state_dict_keys/audioclip") if key.startswith("audio.")}
    with pytest.raises(EnvironmentProblem, match=r"visual\."):
        audio_entries(audio_only, "ESRNXFBSP.pt")


@pytest.mark.long
def test_same_function_as_the_reference_in_double_precision(sound):
    """With random weights this network is chaotic; float64 leaves no room for rounding to decide."""
    single = _load("keyed-random")
    network = single.network.double()
    head = LoadedHead(network, network.audio.spectrogram())
    expected = np.load(GOLDENS / "audioclip_float64.npz")
    sound = sound[:, :16_000].astype(np.float64)
    (reference,) = run_as_reference(head, [ClipInput((sound,))], seconds=1)
    assert _relative(reference, expected["reference"]) < 1e-6
    (whole,) = AUDIOCLIP_FIXED.run(head, [ClipInput((sound,))])
    assert _relative(whole, expected["sixteen_bit"]) < 1e-6
    assert _relative(whole, reference) > 0.1  # quirk fad_scale


def test_embedding_equals_the_reference(head, sound):
    """Tolerance 2e-2: the reference's own code differs from its golden by 3e-3 to 9e-3 with threads and libraries."""
    features = np.load(GOLDENS / "fvd_fad_features.npz")
    np.testing.assert_allclose(sound[0, :64], features["clip_a_audio_head"], atol=1e-7)
    (embedding,) = AUDIOCLIP_COMPAT.run(head, [ClipInput((sound,))])
    # 0.0231 on an Intel Xeon, less than 0.009 on an AMD EPYC; the float64 golden is the strict one.
    assert _relative(embedding, features["clip_a_audio_emb"][0]) < 3e-2


def test_spectrogram_as_constructed_is_a_fourier_transform(small_head):
    sound = torch.from_numpy(_noise(0.2, 44_100)) * 32768
    decibels = small_head.spectrogram.decibels(sound)
    frames = 1 + math.ceil((sound.shape[1] - 1654) / 561)
    assert decibels.shape == (1, 3, 341, frames)
    missing = (frames - 1) * 561 + 1654 - sound.shape[1]
    scaled = (sound[0].double().numpy() + 32768) * 2 / 65535 - 1
    padded = np.pad(scaled, (missing // 2, missing - missing // 2))
    frame = np.pad(padded[561 : 561 + 1654] * small_head.spectrogram.window.double().numpy(), 197)
    time = math.pi * np.linspace(-1, 1, 2048)
    spectrum = np.exp(-1j * np.arange(1023)[:, None] * time) @ frame / math.sqrt(2048)
    np.testing.assert_allclose(decibels[0, :, :, 1].reshape(-1), 10 * np.log10(np.abs(spectrum) ** 2), atol=2e-2)


def test_reference_length_is_cut_and_filled(small_head):
    long, short = _noise(6, 16_000), _noise(1.5, 16_000)
    cut = AUDIOCLIP_COMPAT.run(small_head, [ClipInput((long,)), ClipInput((short,))])
    filled = np.pad(short, ((0, 0), (0, 40_000)))
    expected = AUDIOCLIP_COMPAT.run(small_head, [ClipInput((long[:, :64_000],)), ClipInput((filled,))])
    np.testing.assert_array_equal(cut, expected)
    (other,) = run_as_reference(small_head, [ClipInput((long,))], seconds=6)
    assert _relative(other, cut[0]) > 0


@pytest.mark.parametrize("samples", [1, 100, 1654, 1655, 13_230])
def test_whole_sound_of_any_length(small_head, samples):
    silence = np.zeros((1, samples), dtype=np.float32)
    (embedding,) = AUDIOCLIP_FIXED.run(small_head, [ClipInput((silence,))])
    assert embedding.shape == (1024,)
    assert np.isfinite(embedding).all()


def test_sounds_of_unequal_length_do_not_disturb_each_other(small_head):
    clips = [ClipInput((_noise(seconds, 44_100, seed),)) for seed, seconds in enumerate((0.3, 0.5, 0.5))]
    together = AUDIOCLIP_FIXED.run(small_head, clips)
    alone = [AUDIOCLIP_FIXED.run(small_head, [clip])[0] for clip in clips]
    for one, other in zip(together, alone, strict=True):
        assert _relative(one, other) < 1e-4
    assert _relative(together[1], together[2]) > 0


def test_input_stage_stays_in_float32_at_low_precision(small_head):
    low = _load("keyed-random-reduced", "bf16")
    assert low.network.audio.fc.weight.dtype == torch.bfloat16
    torch.testing.assert_close(low.spectrogram.kernels, small_head.spectrogram.kernels, rtol=0, atol=0)
    (embedding,) = AUDIOCLIP_FIXED.run(low, [ClipInput((_noise(0.3, 44_100),))])
    assert embedding.dtype == np.float32
    assert np.isfinite(embedding).all()
