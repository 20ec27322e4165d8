"""Import paths that docs once gave to users and plug-ins still give the very same things."""

from __future__ import annotations

import pytest

import avbench


def test_every_public_name_is_there() -> None:
    for name in avbench.__all__:
        assert getattr(avbench, name).__name__ == name


def test_paths_of_the_python_api() -> None:
    from avbench import runner, scoring
    from avbench.run.options import RunOptions
    from avbench.run.protocol import PROTOCOLS

    assert runner.RunOptions is RunOptions
    assert scoring.PROTOCOLS is PROTOCOLS


def test_paths_of_plug_ins_with_a_network() -> None:
    pytest.importorskip("torch")
    from avbench.encoders import checkpoints, loading, weights
    from avbench.weights import locate

    for name in ("fill_keyed_random", "load_strict", "read_state_dict", "to_device"):
        assert getattr(checkpoints, name) is getattr(loading, name)
    assert weights.files is locate.files


def test_the_earlier_name_of_the_weights_config() -> None:
    from avbench.encoders import Setup, WeightsConfig

    assert Setup is WeightsConfig
