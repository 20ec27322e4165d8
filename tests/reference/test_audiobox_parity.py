"""Audiobox Aesthetics as avbench builds it against package audiobox-aesthetics, Meta's code, with the same weights."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from avbench.encoders import ClipInput
from avbench.encoders.loading import fill_keyed_random, load_strict
from avbench.encoders.networks.audiobox.encoders import AUDIOBOX_AXES, AXES
from avbench.encoders.networks.audiobox.heads import INVENTED_TARGETS, HeadConfig
from avbench.encoders.networks.audiobox.network import FULL, AestheticsNetwork
from avbench.media import Media

pytestmark = pytest.mark.reference


@pytest.fixture(scope="module")
def predictor():
    from audiobox_aesthetics.infer import AesPredictor
    from audiobox_aesthetics.model.aes import AesMultiOutput, Normalize

    statistics = {axis: {"mean": mean, "std": std} for axis, (mean, std) in zip(AXES, INVENTED_TARGETS, strict=True)}
    model = AesMultiOutput(proj_num_layer=5, proj_ln=True, target_transform=statistics).eval()
    fill_keyed_random(model)
    # Its constructor would fetch the weights.
    made = AesPredictor.__new__(AesPredictor)
    made.model, made.device = model, torch.device("cpu")
    made.data_col, made.sample_rate = "path", 16000
    made.target_transform = {axis: Normalize(**values) for axis, values in statistics.items()}
    return made


@pytest.fixture(scope="module")
def network(predictor):
    built = AestheticsNetwork(FULL, HeadConfig(targets=INVENTED_TARGETS, proj_num_layer=5, proj_ln=True)).eval()
    load_strict(built, predictor.model.state_dict(), "audiobox-aesthetics")
    return built


@pytest.mark.parametrize(("seconds", "rate", "channels"), [(1.5, 44100, 2), (12.0, 16000, 1)])
def test_ratings_are_the_same(seconds, rate, channels, predictor, network):
    """Resampling, averaging of channels, windows and their weights included."""
    time = np.arange(int(seconds * rate)) / rate
    rng = np.random.default_rng(0)
    tones = 0.2 * np.sin(2 * np.pi * np.outer([220, 330][:channels], time)) * (1 + np.sin(7 * time))
    sound = (tones + 0.02 * rng.standard_normal(tones.shape)).astype(np.float32)
    (row,) = predictor.forward([{"path": torch.from_numpy(sound), "sample_rate": rate}])
    view = Media.from_arrays("clip", None, 24.0, sound, rate).view(AUDIOBOX_AXES.views[0])
    (found,) = AUDIOBOX_AXES.run(network, [ClipInput((view,))])
    np.testing.assert_allclose(found, [row[axis] for axis in AXES], atol=1e-4)
