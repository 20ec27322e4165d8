"""AudioCLIP sound features for Fréchet audio distance (Guzhov et al. 2021)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from avbench.encoders.base import Backbone, ClipInput, Encoder, LoadContext
from avbench.encoders.batching import batched
from avbench.errors import EnvironmentProblem
from avbench.media import Waveform
from avbench.weights.locate import files

if TYPE_CHECKING:
    from torch import Tensor

    from avbench.encoders.networks.audioclip.network import AudioCLIP, Spectrogram

RATE = 44_100
COMPAT_RATE = 16_000
COMPAT_MAX_S = 4.0
"""`max_audio_len_s` of the compat encoder: sounds are cut or filled with zeros to it."""
BATCH = 8

Samples = NDArray[np.float32]


@dataclass(frozen=True)
class LoadedHead:
    """The network and its input stage, which stays in float32 at any precision."""

    network: AudioCLIP
    spectrogram: Spectrogram


def _load(context: LoadContext) -> LoadedHead:
    from avbench.encoders.loading import fill_keyed_random, load_strict, read_state_dict, to_device
    from avbench.encoders.networks.audioclip.network import CONSTRUCTED, REDUCED, AudioCLIP

    network = AudioCLIP(REDUCED if context.setup.reduced else None)
    if context.setup.is_test:
        fill_keyed_random(network, he=True, keep=CONSTRUCTED)
    else:
        (path,) = files("audioclip", context.setup).values()
        load_strict(network, audio_entries(read_state_dict(path), str(path)), path)
    spectrogram = network.audio.spectrogram().to(context.device)
    to_device(network, context)
    return LoadedHead(network, spectrogram)


# The image and text branches of the checkpoint, which play no part in sound features.
_OTHER_BRANCHES = (
    "visual.",
    "transformer.",
    "token_embedding.",
    "ln_final.",
    "positional_embedding",
    "text_projection",
    "logit_scale",
)


def audio_entries(state: dict[str, Tensor], source: str) -> dict[str, Tensor]:
    """The checkpoint without its image and text branches; entries of neither kind stay and are refused later.

    Raises:
        EnvironmentProblem: one of those branches is not there, so that it is another checkpoint.
    """
    absent = [prefix for prefix in _OTHER_BRANCHES if not any(key.startswith(prefix) for key in state)]
    if absent:
        raise EnvironmentProblem(
            f"{source} is not AudioCLIP-Full-Training.pt: it has no entries {', '.join(absent)}. "
            "Get the file again with 'avbench models pull audioclip'."
        )
    return {key: value for key, value in state.items() if not key.startswith(_OTHER_BRANCHES)}


def run_whole(head: LoadedHead, clips: Sequence[ClipInput]) -> list[Samples]:
    """Embedding (1024,) per clip from the whole sound, as the network was trained: 44.1 kHz, 16-bit range.

    Args:
        head: the network.
        clips: one view each, (1, N) at 44.1 kHz in [-1, 1]; the head gets N samples, and averages over time.
    """
    return _embed(head, [clip.views[0][0] * np.float32(32768) for clip in clips])


def run_as_reference(head: LoadedHead, clips: Sequence[ClipInput], *, seconds: float = COMPAT_MAX_S) -> list[Samples]:
    """Embedding (1024,) per clip as JavisBench gets it: 16 kHz sound in [-1, 1] (quirk `fad_scale`).

    The network rescales from 16-bit range, so that it sees a signal of amplitude 3e-5 on an offset of 1.5e-5.

    Args:
        head: the network.
        clips: one view each, (1, N) at 16 kHz in [-1, 1].
        seconds: length to which sounds are cut, or filled with zeros.
    """
    length = int(seconds * COMPAT_RATE)
    return _embed(head, [_fit(clip.views[0][0], length) for clip in clips])


def _fit(sound: Samples, length: int) -> Samples:
    fitted = np.zeros(length, dtype=np.float32)
    count = min(length, len(sound))
    fitted[:count] = sound[:count]
    return fitted


def _embed(head: LoadedHead, sounds: Sequence[Samples]) -> list[Samples]:
    import torch

    def forward(items: list[Samples]) -> Tensor:
        batch = torch.from_numpy(np.stack(items)).to(head.spectrogram.window)
        embeddings: Tensor = head.network(head.spectrogram.decibels(batch))
        return embeddings  # (B, 1024)

    # Sounds of unequal length cannot share a batch: padding would change the average over time.
    size = BATCH if len({len(sound) for sound in sounds}) == 1 else 1
    return [output[0] for output in batched(forward, [[sound] for sound in sounds], size, "AudioCLIP")]


AUDIOCLIP_BACKBONE = Backbone(name="audioclip", load=_load, row="audioclip")

AUDIOCLIP_FIXED = Encoder("audioclip", 1, AUDIOCLIP_BACKBONE, run_whole, views=(Waveform(rate=RATE),))
"""Whole sound, mono, 44.1 kHz, 16-bit range -> 1024 numbers, not normalised."""

AUDIOCLIP_COMPAT = Encoder(
    f"audioclip_16k_{COMPAT_MAX_S:g}s",
    1,
    AUDIOCLIP_BACKBONE,
    partial(run_as_reference, seconds=COMPAT_MAX_S),
    views=(Waveform(rate=COMPAT_RATE),),
)
"""First 4 s, mono, 16 kHz, in [-1, 1]: what the released reference features were made with."""
