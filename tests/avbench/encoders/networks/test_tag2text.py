"""Tag2Text: frames, entries, features and captions against the reference's."""

from __future__ import annotations

import hashlib

import numpy as np
import pytest
from vbench_goldens import arrays, checkpoint_entries, decoded, entries_of, golden

from avbench.encoders import ClipInput, LoadContext, WeightsConfig
from avbench.encoders.wordpieces import PIECES, WordPieces
from avbench.errors import EnvironmentProblem

torch = pytest.importorskip("torch")
pytest.importorskip("timm")
pytest.importorskip("tokenizers")

from avbench.encoders.loading import fill_keyed_random  # noqa: E402
from avbench.encoders.networks.tag2text import encoders  # noqa: E402
from avbench.encoders.networks.tag2text.encoders import (  # noqa: E402
    PROMPT,
    TAG2TEXT,
    TAG2TEXT_CAPTIONS,
    Captioner,
    from_bytes,
    network_input,
    tag_ids,
    tag_text,
    tags,
    to_bytes,
)
from avbench.encoders.networks.tag2text.network import (  # noqa: E402
    BEGIN_CAPTION,
    BEGIN_TAGS,
    REDUCED,
    Reader,
    Tag2Text,
    without_second_names,
)

SECOND = "vision_multi.encoder.layer.0.crossattention.self.query.weight"
FIRST = "tag_encoder.encoder.layer.0.crossattention.self.query.weight"


@pytest.fixture(scope="module")
def captioner():
    return TAG2TEXT.load(LoadContext(WeightsConfig("keyed-random-reduced"), "cpu"))


@pytest.fixture(scope="module")
def frames(golden_clips):
    return decoded(golden_clips / "clip_d.mp4", TAG2TEXT_CAPTIONS.views).view(TAG2TEXT_CAPTIONS.views[0])


def known_words() -> WordPieces:
    """The part of the published vocabulary that the golden needs."""
    pieces = golden("scene_tag2text")["pieces"]
    special = {"0": "[PAD]", "100": "[UNK]", "101": "[CLS]", "102": "[SEP]", "103": "[MASK]"}
    return WordPieces([(pieces | special).get(str(number), f"[{number}]") for number in range(PIECES)])


def noise(count: int, seed: int):
    return np.random.default_rng(seed).integers(0, 256, (count, 384, 384, 3)).astype(np.uint8)


def test_frames_equal_the_reference(frames):
    expected = arrays("scene_tag2text")
    np.testing.assert_array_equal(frames[::5, 7::48, 7::48], expected["clip_d.resized_sub"])
    np.testing.assert_allclose(frames.mean((1, 2)), expected["clip_d.resized_mean"], atol=2e-3)
    inputs = network_input(torch.from_numpy(frames[[0, 8]]))
    np.testing.assert_allclose(inputs.mean((2, 3)), expected["clip_d.in_mean"], atol=1e-6)
    np.testing.assert_allclose(inputs[:, :, 5::48, 5::48], expected["clip_d.in_sub"], atol=1e-6)


def test_entries_are_those_of_the_checkpoint_but_for_tables_of_indices():
    entries = checkpoint_entries("tag2text_swin_b")
    assert entries_of(Tag2Text) == {name: shape for name, shape in entries.items() if "position_ids" not in name}


def test_second_names_are_those_of_the_checkpoint(tmp_path):
    """An entry under each of them is left out, if it equals the entry that it names."""
    tied = checkpoint_entries("tag2text_swin_b_tied")
    state = {first: torch.full((1,), float(number)) for number, first in enumerate(tied.values())}
    twins = {second: state[first] for second, first in tied.items()}
    assert len(tied) == 34
    assert without_second_names(state | twins, tmp_path) == state
    for second in tied:
        with pytest.raises(EnvironmentProblem, match=f"{second} differs from {tied[second]}"):
            without_second_names(state | {second: torch.full((1,), -1.0)}, tmp_path)


def test_likely_tags_are_named_in_order():
    logits = np.full(3429, -5.0, np.float32)
    logits[[5, 127, 3351, 17]] = 3
    logits[40] = 0.84  # a sigmoid of 0.698
    assert tag_text(logits) == f"{tags()[5]} | {tags()[17]}"
    assert (len(tags()), tags()[127], tags()[3351]) == (3429, "quarter", "two")


def test_the_text_of_tags_is_cut_and_filled_to_40_ids():
    words = known_words()
    assert tag_ids("stone | smile", words)[:6] == [BEGIN_TAGS, *words.encode("stone | smile"), 102, 0]
    assert tag_ids("", words) == [BEGIN_TAGS, 102] + [0] * 38
    long = tag_ids("stone " * 50, words)
    assert (len(long), long[-1], 0 in long) == (40, 102, False)


def test_captions_survive_as_an_array():
    captions = ["a street", "", "naïve 通り"]
    assert from_bytes(to_bytes(captions)) == captions


def test_one_caption_for_each_frame_and_no_prompt(captioner):
    (packed,) = TAG2TEXT_CAPTIONS.run(captioner, [ClipInput((noise(3, 0),))])
    captions = from_bytes(packed)
    assert packed.dtype == np.uint8
    assert len(captions) == 3
    assert all(caption and not caption.startswith(PROMPT) for caption in captions)


def test_several_clips_equal_each_alone(captioner):
    clips = [ClipInput((noise(2, seed),)) for seed in range(2)]
    for one, clip in zip(TAG2TEXT_CAPTIONS.run(captioner, clips), clips, strict=True):
        np.testing.assert_array_equal(one, TAG2TEXT_CAPTIONS.run(captioner, [clip])[0])


@torch.inference_mode()
def test_a_word_at_a_time_reads_as_the_whole_text(captioner):
    """Keys and values that are kept give the logits of reading all words anew."""
    decoder = captioner.network.text_decoder
    context = torch.randn(2, 5, REDUCED.bert.width, generator=torch.Generator().manual_seed(0))
    kept = Reader(decoder, context)
    kept.start(torch.tensor([[7, 8], [7, 8]]))
    kept.step(torch.tensor([9, 10, 11, 12]), torch.tensor([0, 0, 1, 1]))  # two beams of each text
    by_words = kept.step(torch.tensor([20, 21, 22, 23]), torch.tensor([1, 0, 2, 2]))
    texts = torch.tensor([[7, 8, 10, 20], [7, 8, 9, 21], [7, 8, 11, 22], [7, 8, 11, 23]])
    whole = Reader(decoder, context[[0, 0, 1, 1]]).start(texts)
    torch.testing.assert_close(by_words, whole, atol=1e-5, rtol=0)


@pytest.mark.parametrize("precision", ["bf16", "fp16"])
def test_runs_at_half_precision(precision):
    half = TAG2TEXT.load(LoadContext(WeightsConfig("keyed-random-reduced", precision=precision), "cpu"))
    (packed,) = TAG2TEXT_CAPTIONS.run(half, [ClipInput((noise(2, 1),))])
    assert len(from_bytes(packed)) == 2


def test_a_checkpoint_is_read_strictly_but_for_second_names_and_tables(tmp_path, monkeypatch, captioner):
    paths = {encoders.ROW: tmp_path / "tag2text.pth", "bert_base_uncased_vocab": tmp_path / "vocab.txt"}
    paths["bert_base_uncased_vocab"].write_text("\n".join(captioner.words.pieces) + "\n", encoding="utf-8")
    monkeypatch.setattr("avbench.encoders.networks.tag2text.network.Size", lambda: REDUCED)
    monkeypatch.setattr(encoders, "files", lambda row, setup: {paths[row].name: paths[row]})
    state = captioner.network.state_dict()
    tables = {"tag_encoder.embeddings.position_ids": torch.arange(512)[None]}

    def load(entries) -> Captioner:
        torch.save({"model": entries, "epoch": 1}, paths[encoders.ROW])
        return TAG2TEXT.load(LoadContext(WeightsConfig(), "cpu"))

    clip = ClipInput((noise(2, 2),))
    loaded = load(state | tables | {SECOND: state[FIRST]})
    np.testing.assert_array_equal(TAG2TEXT_CAPTIONS.run(loaded, [clip])[0], TAG2TEXT_CAPTIONS.run(captioner, [clip])[0])
    with pytest.raises(EnvironmentProblem, match="whose second name it is"):
        load(state | {SECOND: state[FIRST] + 1})
    with pytest.raises(EnvironmentProblem, match=r"1 missing keys \(fc\.b\)"):
        load({name: value for name, value in state.items() if name != "fc.b"})
    with pytest.raises(EnvironmentProblem, match="1 unknown keys"):
        load(state | {"pooler.weight": state["fc.b"]})


@pytest.mark.slow
@torch.inference_mode()
def test_features_and_captions_equal_the_reference(frames):
    expected, caption = arrays("scene_tag2text"), golden("scene_tag2text")
    network, words = Tag2Text().eval(), known_words()
    fill_keyed_random(network)
    network.fc.W.mul_(10)
    network.fc.b.mul_(10)
    image = network.visual_encoder(network_input(torch.from_numpy(frames[[0, 8]])))
    np.testing.assert_allclose(image[:, ::16, ::32], expected["clip_d.swin_sub"], atol=5e-5)
    queries = []
    network.fc.register_forward_hook(lambda _module, inputs, _output: queries.append(inputs[0]))
    logits = network.tag_logits(image).numpy()
    np.testing.assert_allclose(queries[0][:, ::343, ::48], expected["clip_d.mlr_sub"], atol=5e-5)
    np.testing.assert_allclose(logits.mean(axis=1), expected["clip_d.tag_logit_mean"], atol=2e-4)
    np.testing.assert_allclose(logits[:, ::9], expected["clip_d.tag_logits"], atol=2e-4)
    texts = [tag_text(row) for row in logits]
    assert hashlib.sha256(texts[0].encode()).hexdigest() == caption["tags_sha256"]
    for row, count, first in zip(logits, caption["n_tags"], caption["tag_index"], strict=True):
        likely = np.flatnonzero(1 / (1 + np.exp(-row)) > 0.7)
        assert (len(likely), likely[: len(first)].tolist()) == (count, first)
    assert tag_ids(texts[0], words) == caption["tag_ids"]
    # The reference reads both captions off the first frame.
    ids = torch.tensor([tag_ids(text, words) for text in texts])
    context = network.context(ids, image)
    np.testing.assert_allclose(context[:, ::8, ::48], expected["clip_d.tagenc_sub"], atol=5e-5)
    prompt = [BEGIN_CAPTION, *words.encode(PROMPT)]
    first = Reader(network.text_decoder, context[:1]).start(torch.tensor([prompt]))
    for row in expected["clip_d.first_declogits_sub"]:
        np.testing.assert_allclose(first[0, ::509], row, atol=2e-4)
    (found,) = network.captions(context[:1], prompt)
    assert found == caption["sequence"]
    assert words.spell(found)[len(PROMPT) :] == caption["caption"]
