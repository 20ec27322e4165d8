"""The encoders of NISQA: scores of transmitted speech at two rates, and naturalness of synthetic speech."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from avbench.encoders.base import Backbone, ClipInput, Encoder, LoadContext, Run
from avbench.encoders.networks.nisqa.features import STEPS, images, mel_decibels
from avbench.media import Waveform
from avbench.weights.locate import files

RATE, LOW_RATE = 48000, 16000
LONGEST_S, TTS_LONGEST_S = 52.0, 60.1
"""The reference refuses more than 1300 images, one each 40 ms; for naturalness more than 6000, one each 10 ms."""
SHORTEST_S = 0.01 * (STEPS - 1)
_HIGHEST_HZ, _TTS_HIGHEST_HZ = 20_000.0, 8_000.0
_EVERY, _TTS_EVERY = 4, 1


def _load(context: LoadContext, row: str, tts: bool) -> Any:
    from avbench.encoders.loading import fill_keyed_random, load_strict, read_state_dict, to_device
    from avbench.encoders.networks.nisqa.network import PUBLISHED, REDUCED, Nisqa, NisqaTts

    network = (NisqaTts if tts else Nisqa)(REDUCED if context.setup.reduced else PUBLISHED)
    if context.setup.is_test:
        fill_keyed_random(network, he=True)
    else:
        (path,) = files(row, context.setup).values()
        load_strict(network, read_state_dict(path), path)
    return to_device(network, context)


def _scores_at(rate: int, highest_hz: float, every: int, longest_s: float = LONGEST_S) -> Run:
    def run(network: Any, clips: Sequence[ClipInput]) -> list[NDArray[np.float32]]:
        return [_scores(network, images_of(clip.views[0][0], rate, highest_hz, every, longest_s)) for clip in clips]

    return run


def images_of(
    sound: NDArray[np.float32], rate: int, highest_hz: float, every: int, longest_s: float = LONGEST_S
) -> NDArray[np.float32]:
    """The input of a sound (N,): (W, 1, 48, 15); no image where the sound is too short or too long to be judged."""
    if not SHORTEST_S <= len(sound) / rate <= longest_s:
        return np.zeros((0, 1, 48, STEPS), dtype=np.float32)
    return images(mel_decibels(sound, rate, highest_hz), every)


def _scores(network: Any, shown: NDArray[np.float32]) -> NDArray[np.float32]:
    """(5,) or (1,); (0,) where there is nothing to judge. A sound passes alone, so none depends on another."""
    import torch

    if not len(shown):
        return np.zeros(0, dtype=np.float32)
    weight = next(network.parameters())
    with torch.inference_mode():
        scores: NDArray[np.float32] = network(torch.from_numpy(shown).to(weight)).float().cpu().numpy()
    return scores


def _backbone(row: str, load: Callable[[LoadContext], Any]) -> Backbone:
    return Backbone(name=row, load=load, row=row, packages=("torch",), extra="models")


_NISQA = _backbone("nisqa", lambda context: _load(context, "nisqa", tts=False))
_NISQA_TTS = _backbone("nisqa_tts", lambda context: _load(context, "nisqa_tts", tts=True))

NISQA = Encoder("nisqa", 1, _NISQA, _scores_at(RATE, _HIGHEST_HZ, _EVERY), (Waveform(rate=RATE, mono=True),))
"""Overall quality, noisiness, discontinuity, coloration, loudness of the sound at 48 kHz, (5,)."""
NISQA_16K = Encoder(
    "nisqa_16k", 1, _NISQA, _scores_at(LOW_RATE, _HIGHEST_HZ, _EVERY), (Waveform(rate=LOW_RATE, mono=True),)
)
"""The same of the sound at 16 kHz, where the bands above 8 kHz are empty."""
NISQA_TTS = Encoder(
    "nisqa_tts",
    2,
    _NISQA_TTS,
    _scores_at(RATE, _TTS_HIGHEST_HZ, _TTS_EVERY, TTS_LONGEST_S),
    (Waveform(rate=RATE, mono=True),),
)
"""Naturalness of the sound at 48 kHz, (1,)."""
