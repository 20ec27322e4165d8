"""CLAP: mel levels, tokens and embeddings against the reference's, and what a reduced network must do."""

from __future__ import annotations

import json

import numpy as np
import pytest

from avbench.clips import Clip, Prompt
from avbench.encoders import ClipInput, EncoderStore, LoadContext, WeightsConfig
from avbench.encoders.networks import clap
from avbench.encoders.networks.clap import (
    CLAP,
    CLAP_AUDIO,
    CLAP_AUDIO_SINC,
    CLAP_AUDIO_ZERO_PAD,
    CLAP_TEXT,
    RATE,
    byte_tokens,
    cut_tokens,
    first_seconds,
    mel_features,
    pad_tokens,
)
from avbench.encoders.texts import split_text
from avbench.errors import EnvironmentProblem
from avbench.media import Media, decode_clip

torch = pytest.importorskip("torch")
pytest.importorskip("transformers")

CLIPS = ["clip_a", "clip_b", "clip_c", "clip_d"]
REDUCED = WeightsConfig(weights="keyed-random-reduced")


@pytest.fixture(scope="module")
def arrays(golden_clips):
    return np.load(golden_clips.parent / "clap.npz")


@pytest.fixture(scope="module")
def network():
    return CLAP.load(LoadContext(REDUCED, "cpu"))


def decoded(golden_clips, name: str) -> Media:
    clip = Clip(name, golden_clips / f"{name}.mp4", golden_clips / f"{name}.wav")
    return decode_clip(clip, name, CLAP_AUDIO.views + CLAP_AUDIO_SINC.views)


def sound(seconds: float, seed: int = 0):
    return 0.1 * np.random.default_rng(seed).standard_normal((1, int(seconds * RATE))).astype(np.float32)


def test_mel_levels_equal_the_reference(golden_clips, arrays):
    """At 48 kHz in the file; the others also differ by the resampler (see metrics of the golden)."""
    heard = first_seconds(decoded(golden_clips, "clip_c").view(CLAP_AUDIO.views[0]))
    levels = mel_features([heard], clap_zero_pad=True)
    assert levels.shape == (1, 1, 1001, 64)
    np.testing.assert_allclose(levels[0, 0, ::8], arrays["clip_c_features_sub"], atol=1e-3)


@pytest.mark.parametrize("name", CLIPS)
def test_stand_in_tokens_equal_the_golden(name, golden):
    prompts = {
        "clip_a": "short clicks at each impact, low hum",
        "clip_b": "percussive taps over a steady tone",
        "clip_c": "irregular knocks",
        "clip_d": "a single click",
    }
    assert byte_tokens(prompts[name]) == golden("clap")[name]["input_ids"]


def test_the_flag_fills_with_silence_instead_of_repetitions():
    three = sound(3)[0]
    silence, repeated = (mel_features([three], clap_zero_pad=flag)[0, 0] for flag in (True, False))
    np.testing.assert_array_equal(silence[:299], repeated[:299])
    assert (silence[303:] == -100).all()
    assert (repeated[303:898] > -100).any(axis=1).all()
    assert (repeated[903:] == -100).all()  # 3 x 3 s; no fourth one is begun
    ten = sound(10)[0]
    np.testing.assert_array_equal(mel_features([ten], clap_zero_pad=True), mel_features([ten], clap_zero_pad=False))


def test_the_first_ten_seconds_count(network):
    long = sound(12)
    (first,) = CLAP_AUDIO.run(network, [ClipInput((long[:, : 10 * RATE],))])
    (whole,) = CLAP_AUDIO.run(network, [ClipInput((long,))])
    np.testing.assert_array_equal(first, whole)
    (later,) = CLAP_AUDIO.run(network, [ClipInput((long[:, 2 * RATE :],))])
    assert not np.array_equal(first, later)


@pytest.mark.parametrize("samples", [0, 1, 100])
def test_tiny_and_silent_sounds_have_finite_embeddings(samples, network):
    (value,) = CLAP_AUDIO.run(network, [ClipInput((np.zeros((1, samples), np.float32),))])
    assert np.isfinite(value).all()


def test_cutting_keeps_the_end_and_padding_masks():
    assert cut_tokens([0, 5, 6, 7, 2], 5) == [0, 5, 6, 7, 2]
    assert cut_tokens([0, 5, 6, 7, 8, 2], 5) == [0, 5, 6, 7, 2]
    ids, mask = pad_tokens([[0, 5, 2], [0, 2]])
    assert ids.tolist() == [[0, 5, 2], [0, 2, 1]]
    assert mask.tolist() == [[1, 1, 1], [1, 1, 0]]


def test_long_texts_are_cut_and_tell_their_length(network):
    (value,) = CLAP_TEXT.run(network, [ClipInput((), "x" * 600)])
    (cut,) = CLAP_TEXT.run(network, [ClipInput((), "x" * 510)])
    assert (split_text(value)[1], split_text(cut)[1]) == (602, 512)
    np.testing.assert_array_equal(split_text(value)[0], split_text(cut)[0])


def test_several_clips_equal_each_alone(network):
    clips = [ClipInput((sound(s),), text) for s, text in [(0.3, "a dog"), (4, "rain " * 90), (11, "")]]
    for encoder in (CLAP_AUDIO, CLAP_AUDIO_ZERO_PAD, CLAP_TEXT):
        together = encoder.run(network, clips)
        alone = [encoder.run(network, [clip])[0] for clip in clips]
        assert [array.dtype for array in together] == [np.float32] * 3
        for one, other in zip(together, alone, strict=True):
            np.testing.assert_allclose(one, other, atol=1e-5)


@pytest.mark.parametrize("precision", ["bf16", "fp16"])
def test_runs_at_half_precision_with_levels_kept_exact(precision, network):
    half = CLAP.load(LoadContext(WeightsConfig(weights="keyed-random-reduced", precision=precision), "cpu"))
    norm = half.module.audio_model.audio_encoder.batch_norm
    assert norm.weight.dtype == norm.running_mean.dtype == torch.float32
    assert half.module.dtype != torch.float32
    clip = ClipInput((sound(2),), "rain " * 90)
    for encoder in (CLAP_AUDIO, CLAP_TEXT):
        exact, rounded = encoder.run(network, [clip])[0], encoder.run(half, [clip])[0]
        assert rounded.dtype == np.float32
        assert exact[:32] @ rounded[:32] > 0.99
    assert split_text(rounded)[1] == 452


def write_checkpoint(folder, entries: int, state=None):
    """A folder as the hub has it, with a small network and a vocabulary of bytes and fillers."""
    from transformers import ClapConfig

    config = clap._module(REDUCED).config
    assert isinstance(config, ClapConfig)
    config.save_pretrained(folder)
    vocabulary = {"<s>": 0, "<pad>": 1, "</s>": 2, "<unk>": 3, "<mask>": 4}
    printable = [*range(33, 127), *range(161, 173), *range(174, 256)]
    others = [byte for byte in range(256) if byte not in printable]
    letters = [chr(byte) for byte in printable] + [chr(256 + place) for place in range(len(others))]
    vocabulary |= {letter: 5 + place for place, letter in enumerate(letters)}
    vocabulary |= {f"filler{place}": place for place in range(len(vocabulary), entries)}
    (folder / "vocab.json").write_text(json.dumps(vocabulary))
    (folder / "merges.txt").write_text("#version: 0.2\n")
    (folder / "tokenizer_config.json").write_text(json.dumps({"tokenizer_class": "RobertaTokenizer"}))
    tokenizer = {
        "version": "1.0",
        "added_tokens": [
            {
                "id": i,
                "content": token,
                "special": True,
                "single_word": False,
                "lstrip": False,
                "rstrip": False,
                "normalized": False,
            }
            for i, token in enumerate(["<s>", "<pad>", "</s>", "<unk>", "<mask>"])
        ],
        "pre_tokenizer": {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": True},
        "post_processor": {
            "type": "RobertaProcessing",
            "sep": ["</s>", 2],
            "cls": ["<s>", 0],
            "trim_offsets": True,
            "add_prefix_space": False,
        },
        "decoder": {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": True},
        "model": {"type": "BPE", "vocab": vocabulary, "merges": [], "unk_token": None},
    }
    (folder / "tokenizer.json").write_text(json.dumps(tokenizer))
    torch.save(state, folder / clap.WEIGHTS)
    return {path.name: path for path in folder.iterdir()}


@pytest.mark.parametrize("tables", [True, False])
def test_a_checkpoint_is_read_with_its_own_tokenizer(tables, tmp_path, monkeypatch, network):
    """With the index tables that some files hold, and without them."""
    state = network.module.state_dict()
    kept = state if tables else {k: v for k, v in state.items() if not k.endswith(("position_ids", "token_type_ids"))}
    paths = write_checkpoint(tmp_path, 50265, dict(kept))
    monkeypatch.setattr(clap, "files", lambda row, setup: paths)
    loaded = CLAP.load(LoadContext(WeightsConfig(), "cpu"))
    text = "percussive taps, ünïcode too"
    assert loaded.tokenize(text) == byte_tokens(text)
    clip = ClipInput((sound(1),), text)
    for encoder in (CLAP_AUDIO, CLAP_TEXT):
        np.testing.assert_array_equal(encoder.run(loaded, [clip])[0], encoder.run(network, [clip])[0])


def test_a_wrong_checkpoint_is_refused(tmp_path, monkeypatch, network):
    state = dict(network.module.state_dict())
    monkeypatch.setattr(clap, "files", lambda row, setup: paths)
    paths = write_checkpoint(tmp_path, 50264, state)
    with pytest.raises(EnvironmentProblem, match="50264 entries, expected 50265"):
        CLAP.load(LoadContext(WeightsConfig(), "cpu"))
    (tmp_path / "tokenizer.json").write_text("no tokenizer")
    with pytest.raises(EnvironmentProblem, match="no tokenizer can be read"):
        CLAP.load(LoadContext(WeightsConfig(), "cpu"))
    torch.save({k: v for k, v in state.items() if k != "logit_scale_a"}, paths[clap.WEIGHTS])
    with pytest.raises(EnvironmentProblem, match="1 missing keys"):
        CLAP.load(LoadContext(WeightsConfig(), "cpu"))


@pytest.mark.slow
def test_embeddings_equal_the_reference(golden, golden_clips, arrays, monkeypatch):
    """1e-4 where the file has 48 kHz. Elsewhere librosa's old resampler moves them, so only their direction is held."""
    store = EncoderStore(setup=WeightsConfig(weights="keyed-random"))
    prompts = {}
    monkeypatch.setattr(clap, "byte_tokens", lambda text: prompts[text])
    for name in CLIPS:
        prompts[name] = golden("clap")[name]["input_ids"]
        media = decoded(golden_clips, name)
        text, _ = split_text(store.embed(CLAP_TEXT, media, Prompt(name)))
        np.testing.assert_allclose(text, arrays[f"{name}_text_embeds"][0], atol=1e-4)
        for encoder, key in ((CLAP_AUDIO_ZERO_PAD, "audio_embeds"), (CLAP_AUDIO, "audio_embeds_repeatpad")):
            value, expected = store.embed(encoder, media), arrays[f"{name}_{key}"][0]
            assert value @ expected > 0.999
            if name == "clip_c":
                np.testing.assert_allclose(value, expected, atol=1e-4)
