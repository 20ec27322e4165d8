"""Speech against the numbers of the packages silero_vad and speechmos."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile

from avbench.clips import Prompt
from avbench.encoders import EncoderStore, WeightsConfig
from avbench.encoders.mel import slaney_filters
from avbench.encoders.networks.dnsmos import DNSMOS, _log_mel, _segments
from avbench.encoders.networks.silero import RATE, SILERO, speech_segments
from avbench.encoders.onnx import files_digest, package_file
from avbench.media import Media
from avbench.metrics.speech import dnsmos_overall, speech_share, speech_span

GOLDENS = Path(__file__).parents[2] / "goldens" / "metrics"
EXPECTED = json.loads((GOLDENS / "speech.json").read_text())


def speaking() -> Media:
    sound, rate = soundfile.read(GOLDENS / "inputs" / "speech_ovi_kitchen.flac", dtype="float32")
    return Media.from_arrays("speaking", None, 1.0, sound, rate)


def silent(samples: int = RATE) -> Media:
    return Media.from_arrays(f"silent {samples}", None, 1.0, np.zeros(samples), RATE)


class TestWithoutPackages:
    @pytest.mark.parametrize("case", EXPECTED["segment_cases"])
    def test_segments_equal_the_package(self, case: dict) -> None:
        ours = speech_segments(case["probabilities"], case["samples"])
        # The package rounds half gaps down to whole samples.
        expected = np.array(case["segments"], dtype=float).reshape(-1, 2) / RATE
        assert np.array(ours).reshape(-1, 2) == pytest.approx(expected, abs=1 / RATE)

    def test_no_window(self) -> None:
        assert speech_segments([], 0) == []

    def test_mel_equals_librosa(self) -> None:
        expected = EXPECTED["mel"]
        index = np.arange(16000)
        sound = (0.3 * np.sin(index * index / 2e4) + 0.01 * np.sin(1.7 * index)).astype(np.float32)
        assert slaney_filters(16000, 321, 120, 8000).sum(axis=1) == pytest.approx(expected["filter_sums"], abs=1e-6)
        mel = _log_mel(sound)
        assert mel.shape == (expected["frames"], 120)
        assert mel[::9, ::7] == pytest.approx(np.array(expected["every_9th_frame_7th_band"]), abs=1e-3)

    @pytest.mark.parametrize(("seconds", "count"), [(0, 1), (1 / RATE, 7), (5, 1), (9.5, 1), (10.5, 1), (13, 4)])
    def test_dnsmos_segments(self, seconds: float, count: int) -> None:
        segments = _segments(np.ones(round(seconds * RATE), np.float32))
        assert [len(segment) for segment in segments] == [144160] * count

    def test_missing_files_are_named(self) -> None:
        assert files_digest("no_such_package", "a.onnx") == "absent"
        with pytest.raises(FileNotFoundError, match=r"avbench\[speech\]"):
            package_file("no_such_package", "a.onnx")


@pytest.mark.speech
class TestWithPackages:
    @pytest.fixture(autouse=True)
    def _packages(self) -> None:
        pytest.importorskip("onnxruntime")
        if reason := SILERO.backbone.missing(WeightsConfig()) or DNSMOS.backbone.missing(WeightsConfig()):
            pytest.skip(reason)

    def test_probabilities(self) -> None:
        ours = EncoderStore().embed(SILERO, speaking())
        assert ours == pytest.approx(EXPECTED["probabilities"], abs=1e-4)

    def test_share_and_span(self) -> None:
        media, store = speaking(), EncoderStore()
        segments = np.array(EXPECTED["segments"]) / RATE
        share = speech_share(media, Prompt(), store)
        assert media.audio is not None
        assert share.value == pytest.approx(np.diff(segments).sum() / media.audio.duration, abs=1e-3)
        span = speech_span(media, Prompt(), store)
        assert span.value == pytest.approx(segments[-1, 1] - segments[0, 0], abs=1e-3)

    def test_dnsmos(self) -> None:
        result = dnsmos_overall(speaking(), Prompt(), EncoderStore())
        expected = EXPECTED["dnsmos"]
        assert result.value == pytest.approx(expected["overall"], abs=1e-3)
        assert result.detail == pytest.approx({k: expected[k] for k in ("sig", "bak", "p808")}, abs=1e-3)

    @pytest.mark.parametrize("samples", [1, 511, 16000])
    def test_silence(self, samples: int) -> None:
        media, store = silent(samples), EncoderStore()
        assert speech_share(media, Prompt(), store).value == 0.0
        for scorer in (speech_span, dnsmos_overall):
            assert scorer(media, Prompt(), store).reason == "no speech found"
        assert np.isfinite(store.embed(DNSMOS, media)).all()

    def test_imports_neither_package_nor_torch(self) -> None:
        code = (
            "import sys, numpy as np\n"
            "from avbench.encoders import EncoderStore, WeightsConfig\n"
            "from avbench.encoders.networks.silero import SILERO\n"
            "from avbench.media import Media\n"
            "EncoderStore().embed(SILERO, Media.from_arrays('k', None, 1.0, np.zeros(600), 16000))\n"
            "assert not {'silero_vad', 'speechmos', 'torch'} & set(sys.modules)"
        )
        subprocess.run([sys.executable, "-c", code], check=True)

    def test_digests(self) -> None:
        assert len(SILERO.backbone.digest(WeightsConfig())) == len(DNSMOS.backbone.digest(WeightsConfig())) == 64
