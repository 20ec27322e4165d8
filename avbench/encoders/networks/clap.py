"""CLAP (laion/clap-htsat-unfused) in the network of transformers: sounds and texts in one space of 512 dimensions."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from avbench.encoders.base import Backbone, ClipInput, Encoder, LoadContext
from avbench.encoders.batching import batched
from avbench.encoders.texts import with_counts
from avbench.errors import EnvironmentProblem
from avbench.media import Waveform
from avbench.weights.config import WeightsConfig
from avbench.weights.locate import files

if TYPE_CHECKING:
    from torch import Tensor

ROW = "clap_htsat_unfused"
WEIGHTS = "pytorch_model.bin"
NETWORK = "clap_htsat_unfused"
RATE = 48_000
SECONDS = 10
TOKENS = 512
VOCABULARY = 50_265
BATCH = 8
START, PAD, END = 0, 1, 2
# Tables of indices, not weights: files of different ages hold them or not.
_INDEX_TABLES = ("text_model.embeddings.position_ids", "text_model.embeddings.token_type_ids")

Samples = NDArray[np.float32]
Embedding = NDArray[np.float32]
Tokenize = Callable[[str], list[int]]


@dataclass(frozen=True)
class Network:
    """CLAP with its tokenizer.

    Attributes:
        module: `transformers.ClapModel`.
        tokenize: text -> all its token ids, start and end included.
    """

    module: Any
    tokenize: Tokenize


def _load(context: LoadContext) -> Network:
    from avbench.encoders.loading import fill_keyed_random, load_strict, read_state_dict, to_device

    module = _module(context.setup)
    if context.setup.is_test:
        fill_keyed_random(module)
    else:
        path = files(ROW, context.setup)[WEIGHTS]
        tables = {name: module.state_dict()[name] for name in _INDEX_TABLES}
        load_strict(module, tables | read_state_dict(path), path)
    to_device(module, context)
    _normalise_in_fp32(module)
    return Network(module, load_tokenizer(context.setup))


def _module(setup: WeightsConfig) -> Any:
    from transformers import ClapConfig, ClapModel

    if setup.reduced:
        audio = {"patch_embeds_hidden_size": 16, "hidden_size": 128, "depths": [1] * 4, "num_attention_heads": [2] * 4}
        text = {"vocab_size": 261, "hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2}
        text["intermediate_size"] = 64
        return ClapModel(ClapConfig(audio_config=audio, text_config=text, projection_dim=32))
    if setup.is_test:
        return ClapModel(ClapConfig())
    return ClapModel(ClapConfig.from_json_file(files(ROW, setup)["config.json"]))


def _normalise_in_fp32(module: Any) -> None:
    """Mel levels reach -100 dB, where half precision steps by 0.5 dB: normalise them before they are rounded."""
    norm = module.audio_model.audio_encoder.batch_norm
    dtype = module.audio_projection.linear1.weight.dtype
    norm.float()
    norm.register_forward_hook(lambda _module, _inputs, output: output.to(dtype))


def load_tokenizer(setup: WeightsConfig) -> Tokenize:
    """RoBERTa's tokenizer from the checkpoint's folder; with keyed-random weights one of bytes.

    Raises:
        EnvironmentProblem: a file is missing, or the vocabulary has another size than the network's.
    """
    if setup.is_test:
        return byte_tokens
    return _read_tokenizer(files(ROW, setup)["tokenizer.json"].parent)


def _read_tokenizer(folder: Path) -> Tokenize:
    from transformers import AutoTokenizer

    # The class that the folder names, from files alone: a concrete class would return an empty tokenizer offline.
    try:
        tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True)
    except Exception as error:
        raise EnvironmentProblem(
            f"{folder}: no tokenizer can be read from it ({str(error).splitlines()[0][:200]}). "
            f"Get it again with 'avbench models pull {ROW}'."
        ) from error
    if len(tokenizer) != VOCABULARY:
        raise EnvironmentProblem(
            f"{folder}: the tokenizer has {len(tokenizer)} entries, expected {VOCABULARY}. "
            f"Get it again with 'avbench models pull {ROW}'."
        )
    return lambda text: list(tokenizer(text, verbose=False)["input_ids"])


def byte_tokens(text: str) -> list[int]:
    """Token ids of a text's UTF-8 bytes, as RoBERTa has them for single bytes: a stand-in without a vocabulary."""
    return [START, *(_byte_ids()[byte] for byte in text.encode()), END]


@cache
def _byte_ids() -> dict[int, int]:
    # RoBERTa's vocabulary starts with five special tokens and GPT-2's bytes: printable ones first.
    printable = [*range(33, 127), *range(161, 173), *range(174, 256)]
    order = printable + [byte for byte in range(256) if byte not in printable]
    return {byte: 5 + index for index, byte in enumerate(order)}


def cut_tokens(ids: list[int], most: int) -> list[int]:
    """At most so many token ids; of a longer text the last one kept is the end token."""
    return ids if len(ids) <= most else [*ids[: most - 1], END]


def pad_tokens(texts: Sequence[list[int]]) -> tuple[Tensor, Tensor]:
    """Token ids and attention mask, int64 (B, L) each, padded on the right."""
    import torch

    longest = max(len(ids) for ids in texts)
    ids = torch.tensor([text + [PAD] * (longest - len(text)) for text in texts])
    lengths = torch.tensor([len(text) for text in texts])
    return ids, (torch.arange(longest) < lengths[:, None]).long()


def _embed_texts(network: Network, clips: Sequence[ClipInput]) -> list[Embedding]:
    device = network.module.device

    def forward(texts: list[list[int]]) -> Tensor:
        ids, mask = pad_tokens([cut_tokens(text, TOKENS) for text in texts])
        output = network.module.get_text_features(ids.to(device), attention_mask=mask.to(device))
        return with_counts(output.pooler_output, [len(text) for text in texts])

    outputs = batched(forward, [[network.tokenize(clip.text or "")] for clip in clips], BATCH, NETWORK)
    return [rows[0] for rows in outputs]


def first_seconds(sound: Samples) -> Samples:
    """The first 10 s of a sound (1, N) as (n,); a track too short for a single sample is one of silence."""
    return sound[0, : SECONDS * RATE] if sound.size else np.zeros(1, dtype=np.float32)


@cache
def _extractor() -> Any:
    from transformers import ClapFeatureExtractor

    # The checkpoint's values. "rand_trunc" selects its mel filters (Slaney); sounds come cut, so nothing is random.
    return ClapFeatureExtractor(
        feature_size=64,
        sampling_rate=RATE,
        hop_length=480,
        max_length_s=SECONDS,
        fft_window_size=1024,
        frequency_min=50,
        frequency_max=14_000,
        truncation="rand_trunc",
    )


def mel_features(sounds: Sequence[Samples], *, clap_zero_pad: bool) -> NDArray[np.float32]:
    """Mel levels in dB (B, 1, 1001, 64) of sounds of at most 10 s at 48 kHz.

    Args:
        sounds: (n,) each.
        clap_zero_pad: fill 10 s with silence, as the reference's call does with transformers 4. Otherwise the sound
            is repeated as often as it fits and then filled, as the checkpoint asks for.
    """
    padding = "pad" if clap_zero_pad else "repeatpad"
    features = _extractor()(list(sounds), padding=padding, sampling_rate=RATE, return_tensors="np")
    return np.asarray(features["input_features"], dtype=np.float32)


def _embed_audio(network: Network, clips: Sequence[ClipInput], *, clap_zero_pad: bool) -> list[Embedding]:
    import torch

    def forward(sounds: list[Samples]) -> Tensor:
        features = torch.from_numpy(mel_features(sounds, clap_zero_pad=clap_zero_pad)).to(network.module.device)
        output: Tensor = network.module.get_audio_features(features).pooler_output
        return output

    outputs = batched(forward, [[first_seconds(clip.views[0])] for clip in clips], BATCH, NETWORK)
    return [rows[0] for rows in outputs]


CLAP = Backbone(name=NETWORK, load=_load, row=ROW, packages=("torch", "transformers"))
_SOXR = (Waveform(rate=RATE),)
_SINC = (Waveform(rate=RATE, resampler="sinc"),)

CLAP_AUDIO = Encoder("clap_sound", 1, CLAP, partial(_embed_audio, clap_zero_pad=False), views=_SOXR)
"""First 10 s of sound, repeated to fill them -> unit vector (512,)."""

CLAP_AUDIO_ZERO_PAD = Encoder("clap_sound_zero_pad", 1, CLAP, partial(_embed_audio, clap_zero_pad=True), views=_SOXR)
"""The same, filled with silence."""

CLAP_AUDIO_SINC = Encoder("clap_sound_sinc", 1, CLAP, partial(_embed_audio, clap_zero_pad=True), views=_SINC)
"""Filled with silence and resampled as torchaudio does, as OmniNFT's reward has it."""

CLAP_TEXT = Encoder("clap_text", 1, CLAP, _embed_texts, text="audio")
"""Sound prompt -> unit vector (512,), and the token count of the text: (513,), see `split_text`."""
