# ruff: noqa: E402
"""DistillMOS, NISQA and Resemblyzer against their reference code at equal keyed-random weights."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from voice_material import GOLDENS

from avbench.encoders import ClipInput, Encoder, LoadContext, WeightsConfig
from avbench.encoders.loading import fill_keyed_random, load_strict, read_state_dict
from avbench.encoders.mel import slaney_filters
from avbench.encoders.networks.distillmos.encoder import DISTILLMOS, pieces
from avbench.encoders.networks.distillmos.network import DistillMos
from avbench.encoders.networks.nisqa.encoders import NISQA, NISQA_16K, NISQA_TTS, images_of
from avbench.encoders.networks.nisqa.features import mel_decibels
from avbench.encoders.networks.nisqa.network import Nisqa, NisqaTts
from avbench.encoders.networks.resemblyzer.encoder import VOICE, mel_power, starts, stretches
from avbench.encoders.networks.resemblyzer.network import VoiceEncoder
from avbench.errors import EnvironmentProblem

EXPECTED = json.loads((GOLDENS / "voices_keyed.json").read_text())
KEYED = LoadContext(WeightsConfig("keyed-random"), "cpu")
REDUCED = LoadContext(WeightsConfig("keyed-random-reduced"), "cpu")
POSITIONS = "transformer_pool_attn.transformer.position_encoding.pe"


def tones(rate: int, seconds: float) -> np.ndarray:
    """A rising tone that swells three times a second, over a soft one."""
    time = np.arange(int(rate * seconds)) / rate
    rising = np.sin(2 * np.pi * (150 * time + 60 * time * time)) * (1 + np.sin(2 * np.pi * 3 * time)) / 2
    return (0.2 * rising + 0.01 * np.sin(2 * np.pi * 3111 * time)).astype(np.float32)


def shapes(module: Any) -> dict[str, list[int]]:
    return {name: list(entry.shape) for name, entry in module.state_dict().items()}


def run(encoder: Encoder, network: Any, *sounds: np.ndarray) -> list[np.ndarray]:
    return list(encoder.run(network, [ClipInput((samples[None],)) for samples in sounds]))


@pytest.mark.parametrize(
    ("network", "name"),
    [(DistillMos, "distillmos"), (Nisqa, "nisqa"), (NisqaTts, "nisqa_tts"), (VoiceEncoder, "resemblyzer")],
)
def test_entries_are_those_of_the_reference(network: Any, name: str) -> None:
    with torch.device("meta"):
        assert shapes(network()) == EXPECTED[f"{name}_keys"]


class TestDistillMos:
    @pytest.fixture(scope="class")
    def network(self) -> Any:
        network = DistillMos().eval().requires_grad_(False)
        fill_keyed_random(network, he=True, keep=(POSITIONS,))
        return network

    def test_features_and_scores(self, network: Any) -> None:
        expected = EXPECTED["distillmos"]
        short, long = tones(16000, 1.5), tones(16000, 9.0)
        (piece,) = pieces(short)
        features = network.cnn(torch.from_numpy(piece / np.abs(piece).max())[None])[0].T  # (1024, 384)
        assert [1, *features.shape] == expected["features_shape"]
        # Bins with nothing but rounding in them count too, under a power of 0.3; rounding differs between processors.
        apart = np.abs(features[::97, ::61].numpy() - np.array(expected["features"]))
        assert np.median(apart) < 1e-4
        assert apart.max() < 2e-2
        scores = run(DISTILLMOS, network, short, long)
        assert [len(score) for score in scores] == [1, 3]
        assert scores[0].mean() == pytest.approx(expected["score_1_5s"], abs=1e-3)
        assert scores[1].mean() == pytest.approx(expected["score_9s"], abs=1e-3)

    def test_the_level_does_not_matter(self, network: Any) -> None:
        sound = tones(16000, 0.5)
        loud, soft = run(DISTILLMOS, network, sound, sound / 10)
        assert loud == pytest.approx(soft, abs=1e-4)

    @pytest.mark.parametrize(("samples", "count"), [(0, 1), (122_880, 1), (122_881, 2), (138_880, 2), (138_881, 3)])
    def test_pieces_cover_the_sound(self, samples: int, count: int) -> None:
        sound = np.arange(samples, dtype=np.float32)
        found = pieces(sound)
        assert [len(piece) for piece in found] == [122_880] * count
        assert samples < 122_880 or (found[0][0], found[-1][-1]) == (0, samples - 1)

    def test_another_file_in_the_package_is_refused(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """Not loaded and trusted: the file's digest is part of what is pinned."""
        (tmp_path / "distillmos" / "weights").mkdir(parents=True)
        (tmp_path / "distillmos" / "__init__.py").touch()
        torch.save({"model": {}}, tmp_path / "distillmos" / "weights" / "distill_mos_v7.pt")
        monkeypatch.syspath_prepend(tmp_path)
        with pytest.raises(EnvironmentProblem, match=r"distillmos==0\.9\.1"):
            DISTILLMOS.backbone.load(LoadContext(WeightsConfig(), "cpu"))


class TestNisqa:
    @pytest.mark.parametrize(
        ("encoder", "name", "rate", "highest"),
        [
            (NISQA, "nisqa", 48000, 20000), (NISQA_16K, "nisqa", 16000, 20000),
            (NISQA_TTS, "nisqa_tts", 48000, 8000),
        ],
    )  # fmt: skip
    def test_a_sound_equals_the_reference(self, encoder: Encoder, name: str, rate: int, highest: int) -> None:
        expected = EXPECTED[f"{name}_{rate}"]
        sound = tones(rate, 1.5)
        decibels = mel_decibels(sound, rate, highest)
        assert decibels[::5, ::13] == pytest.approx(np.array(expected["spec"]), abs=2e-2)
        (scores,) = run(encoder, encoder.backbone.load(KEYED), sound)
        assert scores == pytest.approx(np.array(expected["scores"]), abs=1e-3)

    def test_pictures_overlap(self) -> None:
        sound = tones(16000, 1.5)
        every_fourth = images_of(sound, 16000, 20000, 4)
        assert len(every_fourth) == EXPECTED["nisqa_16000"]["windows"]
        each = images_of(sound, 16000, 20000, 1)
        assert np.array_equal(each[::4], every_fourth)
        assert np.array_equal(each[1][0, :, :-1], each[0][0, :, 1:])

    @pytest.mark.parametrize("seconds", [0, 1 / 48000, 0.1, 60.2])
    def test_what_is_too_short_or_too_long_has_no_score(self, seconds: float) -> None:
        sound = np.zeros(round(48000 * seconds), dtype=np.float32)
        for encoder in (NISQA, NISQA_TTS):
            assert run(encoder, encoder.backbone.load(REDUCED), sound)[0].shape == (0,)

    def test_each_network_has_its_own_limit(self) -> None:
        sound = np.zeros(round(48000 * 52.1), dtype=np.float32)
        shapes = [run(each, each.backbone.load(REDUCED), sound)[0].shape for each in (NISQA, NISQA_TTS)]
        assert shapes == [(0,), (1,)]

    def test_silence_has_a_finite_score(self) -> None:
        for encoder, count in ((NISQA, 5), (NISQA_TTS, 1)):
            (scores,) = run(encoder, encoder.backbone.load(REDUCED), np.zeros(48000, np.float32))
            assert scores.shape == (count,) and np.isfinite(scores).all()

    def test_the_file_of_the_authors_is_read(self, tmp_path: Path) -> None:
        """Tensors lie beside the arguments of the training."""
        network = NISQA.backbone.load(KEYED)
        path = tmp_path / "nisqa.tar"
        torch.save({"args": {"ms_sr": None, "td": "self_att"}, "model_state_dict": network.state_dict()}, path)
        other = Nisqa()
        load_strict(other, read_state_dict(path), path)
        assert torch.equal(other.state_dict()["cnn.model.conv6.weight"], network.state_dict()["cnn.model.conv6.weight"])


def test_bands_above_half_the_rate_are_empty() -> None:
    filters = slaney_filters(16000, 4096, 48, 20000)
    assert filters.sum(axis=1).min() == 0 < slaney_filters(48000, 4096, 48, 20000).sum(axis=1).min()


class TestResemblyzer:
    def test_an_utterance_equals_the_reference(self) -> None:
        expected = EXPECTED["resemblyzer"]
        sound = tones(16000, 3.1)
        assert mel_power(sound)[::50, ::7] == pytest.approx(np.array(expected["mel"]), rel=1e-3, abs=1e-5)
        assert starts(len(sound)) == expected["starts"]
        network = VOICE.backbone.load(KEYED)
        rows = network(torch.from_numpy(np.stack(stretches(sound)))).numpy()
        assert len(rows) == expected["partials"]
        mean = rows.mean(axis=0)
        assert (mean / np.linalg.norm(mean))[::16] == pytest.approx(np.array(expected["embedding"]), abs=1e-4)

    @pytest.mark.parametrize("samples", EXPECTED["resemblyzer_starts"])
    def test_stretches_begin_where_the_reference_begins_them(self, samples: str) -> None:
        assert starts(int(samples)) == EXPECTED["resemblyzer_starts"][samples]

    def test_clips_do_not_mix(self) -> None:
        pytest.importorskip("webrtcvad")
        network = VOICE.backbone.load(REDUCED)
        long, short = tones(16000, 4.0), tones(16000, 2.0)
        together = run(VOICE, network, long, np.zeros(16000, np.float32), short)
        assert [rows.shape for rows in together] == [(3, 8), (0, 8), (3, 8)]
        for rows, sound in ((together[0], long), (together[2], short)):
            assert rows == pytest.approx(run(VOICE, network, sound)[0], abs=1e-6)
