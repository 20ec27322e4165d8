"""Metrics that do to clips of 80 pixels width what bad files do to a decoder. Worker processes import them, too."""

from __future__ import annotations

import ctypes
import os
import signal
from collections.abc import Callable
from pathlib import Path

import numpy as np

from avbench import Frame, FrameSeries, Score, Waveform, scorer
from avbench.encoders import Backbone, Encoder
from avbench.errors import EnvironmentProblem

WIDE = 80
SWAP = "AVBENCH_TEST_SWAP"
"""Names a file that is replaced by its neighbour `FILE.new` while a wide clip is decoded."""
LONG = 20_000
"""Samples of sound at 8 kHz from which on the network crashes."""


def _at_first_wide_frame(action: Callable[[], object]) -> Callable[[Frame | None, Frame], tuple[float, ...]]:
    def step(previous: Frame | None, frame: Frame) -> tuple[float, ...]:
        if previous is None and frame.rgb.shape[1] == WIDE:
            action()
        return (0.0,)

    return step


def _crash() -> None:
    os.kill(os.getpid(), signal.SIGSEGV)


def _hang() -> None:
    ctypes.PyDLL(None).sleep(600)  # native code that lets no other thread run


def _swap() -> None:
    path = Path(os.environ[SWAP])
    path.with_name(f"{path.name}.new").replace(path)


def _register(name: str, action: Callable[[], object]) -> None:
    view = FrameSeries(name, _at_first_wide_frame(action))

    def judge(media, prompt, store):
        """A metric for a test."""
        return Score.ok(float(len(media.view(view))))

    scorer(
        name, unit="1", higher_is_better=True, range=(0.0, 1e9), source="test", needs=["video"], views=(view,)
    )(judge)  # fmt: skip


for _name, _action in (("crashes", _crash), ("hangs", _hang), ("swaps", _swap)):
    _register(_name, _action)


def _forward(network, inputs):
    if any(item.views[0].shape[1] >= LONG for item in inputs):
        _crash()
    return [np.mean(item.views[0], axis=1) for item in inputs]


_NETWORK = Encoder("mean", 1, Backbone("mean", lambda context: "mean", packages=()), _forward, (Waveform(rate=8000),))


@scorer(
    "mean_sound", unit="1", higher_is_better=True, range=(-1.0, 1.0), source="test", needs=["audio"],
    encoders=(_NETWORK,),
)  # fmt: skip
def mean_sound(media, prompt, store):
    """Mean of the sound, as a network would give it."""
    return Score.ok(float(store.embed(_NETWORK, media)[0]))


def _refuse(context):
    raise EnvironmentProblem("no such device")


@scorer(
    "unloadable", unit="1", higher_is_better=True, range=(-1.0, 1.0), source="test", needs=["audio"],
    encoders=(Encoder("lame", 1, Backbone("lame", _refuse, packages=()), _forward, (Waveform(rate=8000),)),),
)  # fmt: skip
def unloadable(media, prompt, store):
    """A metric whose network cannot be loaded."""
    return Score.ok(float(store.embed(unloadable.encoders[0], media)[0]))
