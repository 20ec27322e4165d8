"""CLAP in the authors' own package, laion-clap: a second implementation of the network of `clap`, for comparison.

The package differs from `clap` in three ways that are kept: the sound is rounded to 16 bits, the spectrogram is made by
torchlibrosa, and texts are cut at 77 tokens.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any
from unittest import mock

import numpy as np
from numpy.typing import NDArray

from avbench.encoders.base import Backbone, ClipInput, Encoder, LoadContext
from avbench.encoders.batching import batched
from avbench.encoders.networks.clap import (
    RATE,
    SECONDS,
    VOCABULARY,
    Network,
    cut_tokens,
    first_seconds,
    load_tokenizer,
    pad_tokens,
)
from avbench.encoders.texts import with_counts
from avbench.media import Waveform
from avbench.weights.locate import files

if TYPE_CHECKING:
    from torch import Tensor

ROW = "clap_laion"
WEIGHTS = "630k-audioset-best.pt"  # hub lukewys/laion_clap; the source of laion/clap-htsat-unfused
NETWORK = "clap_laion"
TOKENS = 77
BATCH = 8

Samples = NDArray[np.float32]
Embedding = NDArray[np.float32]


def _load(context: LoadContext) -> Network:
    from avbench.encoders.loading import fill_keyed_random, load_strict, read_state_dict

    with _no_downloads(text_layers=2 if context.setup.reduced else 12):
        from laion_clap import CLAP_Module

        module = CLAP_Module(enable_fusion=False, device="cpu", amodel="HTSAT-tiny", tmodel="roberta").model
    if context.setup.is_test:
        fill_keyed_random(module, keep=_constants(module))
    else:
        path = files(ROW, context.setup)[WEIGHTS]
        state = {name.removeprefix("module."): value for name, value in read_state_dict(path).items()}
        # A table 0..513 that versions of transformers before 4.31 stored.
        state.pop("text_branch.embeddings.position_ids", None)
        load_strict(module, state, path)
    # Always fp32: its spectrogram is part of the network.
    module.eval().requires_grad_(False).to(context.device)
    return Network(module, load_tokenizer(context.setup))


def _constants(module: Any) -> list[str]:
    """Fourier and mel tables and the masks of shifted windows, which the package stores among the weights."""
    tables = ("spectrogram_extractor", "logmel_extractor", "attn_mask")
    return [name for name in module.state_dict() if any(table in name for table in tables)]


@contextmanager
def _no_downloads(text_layers: int) -> Iterator[None]:
    """Import and build laion-clap without a hub and without traces.

    Its import loads three tokenizers by hub names, and its constructor RoBERTa weights that the checkpoint replaces.
    Without a network that takes minutes and ends in empty tokenizers. It also puts its folder on the module path, where
    its packages `training` and `clap_module` could stand in for somebody else's.
    """
    from transformers import PreTrainedTokenizerBase, RobertaConfig, RobertaModel

    def blank_roberta(*_arguments: Any, **_options: Any) -> Any:
        return RobertaModel(
            RobertaConfig(
                vocab_size=VOCABULARY,
                max_position_embeddings=514,
                type_vocab_size=1,
                layer_norm_eps=1e-5,
                num_hidden_layers=text_layers,
            )
        )

    path, modules = list(sys.path), set(sys.modules)
    try:
        with (
            mock.patch.object(PreTrainedTokenizerBase, "from_pretrained", lambda *_a, **_o: None),
            mock.patch.object(RobertaModel, "from_pretrained", blank_roberta),
        ):
            yield
    finally:
        sys.path[:] = path
        for name in set(sys.modules) - modules:
            if name.split(".")[0] in ("training", "clap_module"):
                del sys.modules[name]


def _embed_texts(network: Network, clips: Sequence[ClipInput]) -> list[Embedding]:
    def forward(texts: list[list[int]]) -> Tensor:
        ids, mask = pad_tokens([cut_tokens(text, TOKENS) for text in texts])
        features = network.module.get_text_embedding({"input_ids": ids, "attention_mask": mask})
        return with_counts(features, [len(text) for text in texts])

    outputs = batched(forward, [[network.tokenize(clip.text or "")] for clip in clips], BATCH, NETWORK)
    return [rows[0] for rows in outputs]


def filled(sound: Samples) -> Samples:
    """10 s at 48 kHz, rounded to 16 bits: the sound (n,) repeated as often as it fits, then silence."""
    rounded = np.trunc(np.clip(sound, -1, 1) * np.float32(32767)) / np.float32(32767)
    size = SECONDS * RATE
    repeated = np.tile(rounded, size // len(rounded))
    return np.pad(repeated, (0, size - len(repeated)))


def _embed_audio(network: Network, clips: Sequence[ClipInput]) -> list[Embedding]:
    import torch

    def forward(sounds: list[Samples]) -> Tensor:
        output: Tensor = network.module.get_audio_embedding([{"waveform": torch.from_numpy(filled(s))} for s in sounds])
        return output

    outputs = batched(forward, [[first_seconds(clip.views[0])] for clip in clips], BATCH, NETWORK)
    return [rows[0] for rows in outputs]


LAION_CLAP = Backbone(
    name=NETWORK, load=_load, row=ROW, packages=("torch", "transformers", "laion_clap"), extra="reference"
)
LAION_AUDIO = Encoder("laion_clap_sound", 1, LAION_CLAP, _embed_audio, views=(Waveform(rate=RATE),))
"""First 10 s of sound, repeated to fill them -> unit vector (512,)."""

LAION_TEXT = Encoder("laion_clap_text", 1, LAION_CLAP, _embed_texts, text="audio")
"""Sound prompt -> unit vector (512,), and the token count of the text: (513,), see `split_text`."""
