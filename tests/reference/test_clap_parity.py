"""CLAP of transformers, as avbench runs it, against package laion-clap with the same weights."""

from __future__ import annotations

import re

import numpy as np
import pytest
import torch

from avbench.clips import Prompt
from avbench.encoders import ClipInput, EncoderStore, LoadContext, WeightsConfig
from avbench.encoders.loading import load_strict
from avbench.encoders.networks import laion_clap
from avbench.encoders.networks.clap import CLAP_AUDIO, CLAP_TEXT, RATE, Network, byte_tokens
from avbench.encoders.networks.laion_clap import LAION_AUDIO, LAION_CLAP, LAION_TEXT
from avbench.media import Media
from avbench.metrics.clap_score import clap_score_laion

pytestmark = pytest.mark.reference

REDUCED = WeightsConfig(weights="keyed-random-reduced")
TEXTS = ["a dog barks", "short clicks at each impact, low hum", ""]

# Parts of the laion-clap network that no embedding passes through, and its tables of the spectrogram.
UNUSED = ("text_transform.", "audio_transform.")
UNUSED_AUDIO = ("spectrogram_extractor.", "logmel_extractor.", "tscam_conv.", "head.")
RENAMED = (
    ("attn_mask", "ATTN_MASK"),
    ("attn.proj", "attention.output.dense"),
    ("attn", "attention.self"),
    ("mlp.fc1", "intermediate.dense"),
    ("mlp.fc2", "output.dense"),
    ("norm1", "layernorm_before"),
    ("norm2", "layernorm_after"),
    ("bn0", "batch_norm"),
    ("ATTN_MASK", "attn_mask"),
)


def converted(state: dict[str, torch.Tensor], tables: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Entries of a laion-clap network under the names of `transformers.ClapModel`, with its tables of indices."""
    found = {}
    for name, value in state.items():
        if name.startswith((*UNUSED, *(f"audio_branch.{part}" for part in UNUSED_AUDIO))):
            continue
        if name.startswith("text_branch."):
            found[name.replace("text_branch", "text_model")] = value
        elif name.startswith("audio_branch."):
            found |= converted_sound(name.removeprefix("audio_branch."), value)
        else:
            found[re.sub(r"projection\.([02])", lambda m: f"projection.linear{int(m[1]) // 2 + 1}", name)] = value
    return tables | {name: value for name, value in found.items() if not name.endswith("attn_mask")}


def converted_sound(name: str, value: torch.Tensor) -> dict[str, torch.Tensor]:
    for old, new in RENAMED:
        name = name.replace(old, new)
    name = f"audio_model.audio_encoder.{name}"
    if ".qkv." not in name:
        return {name: value}
    pieces = zip(("query", "key", "value"), value.chunk(3), strict=True)
    return {name.replace("qkv", part): piece for part, piece in pieces}


@pytest.fixture(scope="module")
def theirs() -> Network:
    return LAION_CLAP.load(LoadContext(REDUCED, "cpu"))


def ours(theirs: Network, epsilon: float) -> Network:
    from transformers import ClapConfig, ClapModel

    module = ClapModel(ClapConfig(text_config={"num_hidden_layers": 2, "layer_norm_eps": epsilon})).eval()
    tables = {name: value for name, value in module.state_dict().items() if name.endswith(("_ids",))}
    load_strict(module, converted(theirs.module.state_dict(), tables), "laion-clap")
    return Network(module, byte_tokens)


@pytest.fixture(scope="module")
def same(theirs) -> Network:
    """With RoBERTa's epsilon, which laion-clap takes; `ClapConfig` itself defaults to 1e-12."""
    return ours(theirs, 1e-5)


def sound(seconds: float) -> np.ndarray:
    time = np.arange(int(seconds * RATE)) / RATE
    noise = np.random.default_rng(0).standard_normal(len(time))
    return (0.3 * np.sin(2 * np.pi * 440 * time) + 0.05 * noise).astype(np.float32)[None]


@pytest.mark.parametrize("seconds", [0.3, 3.0, 6.0, 10.0, 12.0])
def test_sounds_have_the_same_embedding(seconds, same, theirs):
    """Up to what 16 bits and two spectrograms leave."""
    clip = ClipInput((sound(seconds),))
    (here,), (there,) = CLAP_AUDIO.run(same, [clip]), LAION_AUDIO.run(theirs, [clip])
    assert np.linalg.norm(there) == pytest.approx(1, abs=1e-5)
    np.testing.assert_allclose(here, there, atol=1e-5)


@pytest.mark.parametrize("text", TEXTS)
def test_texts_have_the_same_embedding(text, same, theirs):
    clip = ClipInput((), text)
    np.testing.assert_allclose(CLAP_TEXT.run(same, [clip])[0], LAION_TEXT.run(theirs, [clip])[0], atol=1e-6)


def test_the_epsilon_of_the_text_network_matters(theirs, same):
    """So the checkpoint's own config.json has to say it, as `avbench.encoders.networks.clap` lets it."""
    clip = ClipInput((), TEXTS[0])
    other = ours(theirs, 1e-12)
    there = LAION_TEXT.run(theirs, [clip])[0]
    near, far = (np.abs(CLAP_TEXT.run(network, [clip])[0] - there).max() for network in (same, other))
    assert far > 1e-5 > 20 * near


@pytest.fixture(scope="module")
def package(theirs):
    """The package's own front, with the network that avbench built."""
    with laion_clap._no_downloads(text_layers=2):
        from laion_clap import CLAP_Module

        front = CLAP_Module(enable_fusion=False, device="cpu", amodel="HTSAT-tiny", tmodel="roberta")
    front.model = theirs.module
    return front


@pytest.mark.parametrize("seconds", [0.3, 3.0, 10.0])
def test_sounds_are_fed_as_the_package_feeds_them(seconds, theirs, package):
    expected = package.get_audio_embedding_from_data(x=sound(seconds), use_tensor=False)[0]
    np.testing.assert_allclose(LAION_AUDIO.run(theirs, [ClipInput((sound(seconds),))])[0], expected, atol=1e-6)


def test_texts_are_fed_as_the_package_feeds_them(theirs, package):
    """The package fills texts to 77 tokens; what is filled is masked."""

    def tokenize(texts):
        rows = [byte_tokens(text) for text in texts]
        ids = [row + [1] * (77 - len(row)) for row in rows]
        mask = [[1] * len(row) + [0] * (77 - len(row)) for row in rows]
        return {"input_ids": torch.tensor(ids), "attention_mask": torch.tensor(mask)}

    with torch.inference_mode():
        expected = package.get_text_embedding(TEXTS[:2], tokenizer=tokenize)
    found = LAION_TEXT.run(theirs, [ClipInput((), text) for text in TEXTS[:2]])
    np.testing.assert_allclose([row[:-1] for row in found], expected, atol=1e-5)


def test_loading_leaves_no_traces(theirs):
    import sys

    from transformers import RobertaModel, RobertaTokenizer

    assert not {name for name in sys.modules if name.split(".")[0] in ("training", "clap_module")}
    assert not [entry for entry in sys.path if entry.endswith("laion_clap")]
    assert RobertaModel.from_pretrained.__qualname__ == "PreTrainedModel.from_pretrained"
    assert RobertaTokenizer.from_pretrained.__qualname__ == "PreTrainedTokenizerBase.from_pretrained"


def test_a_checkpoint_of_the_package_is_read(theirs, tmp_path, monkeypatch):
    """With the prefix of distributed training, and with the table that old versions of transformers stored."""
    state = {f"module.{name}": value for name, value in theirs.module.state_dict().items()}
    state["module.text_branch.embeddings.position_ids"] = torch.arange(514)[None]
    path = tmp_path / laion_clap.WEIGHTS
    torch.save({"epoch": 1, "name": "x", "state_dict": state}, path)
    monkeypatch.setattr(laion_clap, "files", lambda row, setup: {laion_clap.WEIGHTS: path})
    monkeypatch.setattr(laion_clap, "load_tokenizer", lambda setup: byte_tokens)
    shallow = laion_clap._no_downloads
    monkeypatch.setattr(laion_clap, "_no_downloads", lambda text_layers: shallow(2))
    loaded = LAION_CLAP.load(LoadContext(WeightsConfig(), "cpu"))
    clip = ClipInput((sound(1.0),), TEXTS[0])
    for encoder in (LAION_AUDIO, LAION_TEXT):
        np.testing.assert_array_equal(encoder.run(loaded, [clip])[0], encoder.run(theirs, [clip])[0])


def test_the_second_backend_scores(theirs):
    store = EncoderStore(setup=REDUCED)
    assert clap_score_laion.unavailable(REDUCED) is None
    media = Media.from_arrays("clip", None, 24.0, sound(12.0), RATE)
    score = clap_score_laion(media, Prompt("x" * 90), store)
    assert score.status == "ok"
    assert score.detail["note"] == "text cut from 92 to 77 tokens; first 10 s of 12.00 s of sound"
