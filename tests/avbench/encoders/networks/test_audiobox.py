"""Audiobox Aesthetics: entry names, windows, padding, and the goldens at full size."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from avbench.encoders import ClipInput, LoadContext, WeightsConfig
from avbench.encoders.networks.audiobox.encoders import AUDIOBOX_AXES, AUDIOBOX_AXES_COMPAT, AXES
from avbench.encoders.networks.audiobox.heads import INVENTED_TARGETS, head_config
from avbench.encoders.networks.audiobox.inputs import RATE, WINDOW, javisbench_audio, pad_windows, split_windows
from avbench.errors import EnvironmentProblem
from avbench.media import AudioInfo
from avbench.media.resample import resample_sinc
from avbench.weights.config import Precision

torch = pytest.importorskip("torch")
Samples = NDArray[np.float32]

CONFIG = {
    "proj_num_layer": 5,
    "proj_ln": True,
    "proj_act_fn": "gelu",
    "proj_dropout": 0,
    "nth_layer": 13,
    "use_weighted_layer_sum": True,
    "precision": "bf16",
    "normalize_embed": True,
    "output_dim": 1,
    "target_transform": {"PQ": {"mean": 7.0, "std": 0.5}, **{axis: {"mean": 2.0, "std": 3.0} for axis in AXES[:3]}},
}


def load(precision: Precision = "fp32") -> Any:
    return AUDIOBOX_AXES.backbone.load(LoadContext(WeightsConfig("keyed-random-reduced", precision=precision), "cpu"))


@pytest.fixture(scope="module")
def network() -> Any:
    return load()


def noise(samples: int, seed: int = 0) -> Samples:
    return (0.2 * np.random.default_rng(seed).standard_normal(samples)).astype(np.float32)


def rate(network: Any, *sounds: Samples) -> list[Samples]:
    clips = [ClipInput((sound[None],), audio=AudioInfo(RATE, 1, len(sound))) for sound in sounds]
    return [np.asarray(rating) for rating in AUDIOBOX_AXES.run(network, clips)]


def test_entries_are_those_of_the_published_checkpoint(golden: Callable[[str], Any]) -> None:
    from avbench.encoders.networks.audiobox.network import FULL, AestheticsNetwork

    with torch.device("meta"):
        full = AestheticsNetwork(FULL, head_config(CONFIG, FULL.layers))
    entries = {key: list(value.shape) for key, value in full.state_dict().items()}
    assert entries == golden("state_dict_keys/aes")


@pytest.mark.parametrize("samples", [1, 399, 16000, WINDOW - 1, WINDOW, WINDOW + 1, 6 * WINDOW + 7])
def test_windows_hold_every_sample_once(samples: int) -> None:
    sound = noise(samples)
    windows = split_windows(sound)
    np.testing.assert_array_equal(np.concatenate(windows), sound)
    assert all(len(window) == WINDOW for window in windows[:-1])
    padded, lengths = pad_windows(windows)
    assert padded.shape == (len(windows), WINDOW)
    assert lengths.sum() == samples


def test_one_rating_per_axis_for_any_length(network: Any) -> None:
    for samples in (1, 4800, WINDOW, 60 * RATE):
        (rating,) = rate(network, noise(samples))
        assert rating.shape == (4,)
        assert rating.dtype == np.float32
        assert np.isfinite(rating).all()


def test_silence_gets_a_finite_rating(network: Any) -> None:
    assert np.isfinite(rate(network, np.zeros(RATE, dtype=np.float32))[0]).all()


def test_a_clip_is_the_mean_of_its_windows_weighted_by_length(network: Any) -> None:
    sound = noise(WINDOW + RATE)
    whole, first, rest = rate(network, sound, sound[:WINDOW], sound[WINDOW:])
    np.testing.assert_allclose(whole, (10 * first + rest) / 11, rtol=0, atol=1e-5)
    assert np.abs(first - rest).max() > 1e-3


def test_batches_equal_single_clips(network: Any) -> None:
    sounds = [noise(samples, seed) for seed, samples in enumerate((8000, 40000, WINDOW + 5000, 100))]
    for together, sound in zip(rate(network, *sounds), sounds, strict=True):
        np.testing.assert_allclose(together, rate(network, sound)[0], rtol=0, atol=1e-5)


def test_padding_is_not_heard_but_silence_is(network: Any) -> None:
    """The network is told where the sound ends, so appended silence must differ from padding."""
    sound = noise(3 * RATE)
    short, long = rate(network, sound, np.pad(sound, (0, 4 * RATE)))
    assert np.abs(short - long).max() > 1e-3


def test_masked_frames_change_nothing(network: Any) -> None:
    states = torch.randn(1, 20, 32, generator=torch.Generator().manual_seed(1))
    other = states.clone()
    other[:, 12:] = 7.0
    padded = torch.arange(20)[None] >= 12
    before, after = (network.wavlm_model.encoder(x, padded)[-1][:, :12] for x in (states, other))
    torch.testing.assert_close(before, after)


@pytest.mark.parametrize("precision", ["bf16", "fp16"])
def test_half_precision_stays_near(network: Any, precision: Precision) -> None:
    sound = noise(2 * RATE)
    (exact,), (half,) = rate(network, sound), rate(load(precision), sound)
    assert half.dtype == np.float32
    np.testing.assert_allclose(half, exact, rtol=0, atol=0.1)


def test_the_checkpoint_decides_heads_and_statistics(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from safetensors.torch import save_file

    from avbench.encoders.networks.audiobox import encoders as audiobox
    from avbench.encoders.networks.audiobox import network as networks

    monkeypatch.setattr(networks, "FULL", networks.REDUCED)
    content = CONFIG | {"nth_layer": 3, "proj_num_layer": 2}
    built = networks.AestheticsNetwork(networks.REDUCED, head_config(content, 2))
    save_file({key: value.contiguous() for key, value in built.state_dict().items()}, tmp_path / "model.safetensors")
    (tmp_path / "config.json").write_text(json.dumps(content))
    names = ("model.safetensors", "config.json")
    monkeypatch.setattr(audiobox, "files", lambda row, setup: {name: tmp_path / name for name in names})
    loaded = AUDIOBOX_AXES.backbone.load(LoadContext(WeightsConfig(), "cpu"))
    assert loaded.config.targets == ((2.0, 3.0), (2.0, 3.0), (2.0, 3.0), (7.0, 0.5))
    sound, lengths = pad_windows([noise(RATE)])
    with torch.inference_mode():
        expected = built.eval()(torch.from_numpy(sound), torch.from_numpy(lengths))
    np.testing.assert_allclose(rate(loaded, noise(RATE))[0], expected[0].numpy(), rtol=0, atol=1e-6)

    (tmp_path / "config.json").write_text(json.dumps(content | {"proj_num_layer": 3}))
    with pytest.raises(EnvironmentProblem, match="missing keys"):
        AUDIOBOX_AXES.backbone.load(LoadContext(WeightsConfig(), "cpu"))
    (tmp_path / "config.json").write_text("{")
    with pytest.raises(EnvironmentProblem, match=r"config\.json"):
        AUDIOBOX_AXES.backbone.load(LoadContext(WeightsConfig(), "cpu"))


@pytest.mark.parametrize(
    "change",
    [
        {"use_weighted_layer_sum": False},
        {"nth_layer": 12},
        {"output_dim": 2},
        {"proj_act_fn": "relu"},
        {"target_transform": None},
        {"target_transform": {"CE": {"mean": 1.0, "std": 1.0}}},
        {"target_transform": {axis: {"mean": 1.0, "std": 0.0} for axis in AXES}},
    ],
    ids=str,
)
def test_a_configuration_that_is_not_built_is_refused(change: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="|".join(change)):
        head_config(CONFIG | change, layers=12)


@pytest.mark.parametrize(
    ("sample_rate", "gain"), [(16000, 1.0), (44100, 0.3592), (48000, 0.33), (24000, 0.66), (22050, 0.7184)]
)
def test_resampling_bug_scales_instead(sample_rate: int, gain: float) -> None:
    sound = noise(1000)
    wrong = javisbench_audio(sound, sample_rate, aq_pad_as_valid=False)
    np.testing.assert_allclose(wrong, sound * gain, rtol=2e-4)
    right = javisbench_audio(sound, sample_rate, aq_pad_as_valid=False, aq_resample_bug=False)
    np.testing.assert_array_equal(right, resample_sinc(sound[None], sample_rate, RATE)[0])


def test_resampling_bug_averages_the_samples_that_one_becomes() -> None:
    sound = noise(1000)
    one = np.zeros((1, 1), dtype=np.float32) + 1
    expected = sound * resample_sinc(one, 8000, RATE).mean()
    np.testing.assert_allclose(javisbench_audio(sound, 8000, aq_pad_as_valid=False), expected, rtol=1e-6)


def test_padding_as_sound() -> None:
    sound = noise(1000)
    with_silence = javisbench_audio(sound, RATE, max_audio_len_s=0.1)
    np.testing.assert_array_equal(with_silence, np.pad(sound, (0, 600)))
    np.testing.assert_array_equal(javisbench_audio(sound, RATE, aq_pad_as_valid=False, max_audio_len_s=0.1), sound)
    np.testing.assert_array_equal(javisbench_audio(sound, RATE, max_audio_len_s=0.05), sound[:800])


def test_the_compat_encoder_hears_another_sound(network: Any) -> None:
    sound = noise(48000)
    fixed = ClipInput((resample_sinc(sound[None], 48000, RATE),), audio=AudioInfo(48000, 1, 48000))
    compat = ClipInput((sound[None],), audio=AudioInfo(48000, 1, 48000))
    right, wrong = AUDIOBOX_AXES.run(network, [fixed])[0], AUDIOBOX_AXES_COMPAT.run(network, [compat])[0]
    assert np.abs(right - wrong).max() > 1e-3


def test_invented_statistics_are_the_golden_ones(golden: Callable[[str], Any]) -> None:
    table = golden("audiobox")["target_transform"]
    assert tuple((table[axis]["mean"], table[axis]["std"]) for axis in AXES) == INVENTED_TARGETS


def read_wav(path: Path) -> tuple[Samples, int]:
    import soundfile

    sound, sample_rate = soundfile.read(path, dtype="float32", always_2d=True)
    return sound.T.mean(axis=0, dtype=np.float32), sample_rate


@pytest.mark.slow
def test_full_size_equals_the_reference(golden: Callable[[str], Any], golden_clips: Path) -> None:
    full = AUDIOBOX_AXES.backbone.load(LoadContext(WeightsConfig("keyed-random"), "cpu"))
    expected = golden("audiobox")["results"]

    def check(sound: Samples, axes: dict[str, float]) -> None:
        np.testing.assert_allclose(rate(full, sound)[0], [axes[axis] for axis in AXES], rtol=0, atol=2e-5)

    for clip in ("clip_a", "clip_b", "clip_c", "clip_d"):
        sound, sample_rate = read_wav(golden_clips / f"{clip}.wav")
        check(resample_sinc(sound[None], sample_rate, RATE)[0], expected[clip]["path_axes"])
        length = expected[clip]["max_audio_len_s"]
        check(javisbench_audio(sound, sample_rate, max_audio_len_s=length), expected[clip]["javis_axes"])
    sound, _ = read_wav(golden_clips / "clip_a.wav")
    check(np.tile(sound, 3), expected["clip_a_tiled3"]["path_axes"])
