"""What the judges built on Qwen2-VL share: frames, prompts, patches, positions."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from avbench.encoders.networks.qwen2vl.frames import EvenFrames, target_size
from avbench.encoders.networks.qwen2vl.prompts import (
    IMAGE_PAD,
    SPECIAL,
    VIDEO_PAD,
    VOCABULARY,
    load_tokenizer,
    prompt_ids,
    read_constant,
)
from avbench.encoders.networks.videoalign import HIGH, LOW, REWARD_TOKENS, resize
from avbench.errors import EnvironmentProblem

torch = pytest.importorskip("torch")
pytest.importorskip("transformers")


def noise(count: int, height: int = 56, width: int = 84) -> NDArray[np.uint8]:
    return np.random.default_rng(0).integers(0, 256, (count, height, width, 3)).astype(np.uint8)


def test_frame_choice_is_that_of_the_reference(golden: Callable[[str], Any]) -> None:
    for case in golden("formulas")["videoalign_nframes"]:
        times = np.arange(case["total_frames"]) / case["fps"]
        chosen = EvenFrames(case["sample_fps"]).indices(times, case["fps"])
        assert chosen.tolist() == case["indices"]


@pytest.mark.parametrize("rate", [2.0, 24.0])
def test_frame_choice_rounds_as_torch_does(rate: float) -> None:
    for total in [*range(2, 400), 767, 768, 769, 1440, 7200]:
        chosen = EvenFrames(rate).indices(np.arange(total) / 24, 24.0)
        expected = torch.linspace(0, total - 1, len(chosen)).round().long().tolist()
        assert chosen.tolist() == expected
        assert len(chosen) % 2 == 0


def test_clips_of_no_or_one_frame_give_what_they_have() -> None:
    assert EvenFrames(2.0).indices(np.zeros(0), 24.0).tolist() == []
    assert EvenFrames(2.0).indices(np.zeros(1), 24.0).tolist() == [0]


def test_target_sizes_are_those_of_the_reference(golden: Callable[[str], Any]) -> None:
    for case in golden("formulas")["videoalign_resize"]:
        assert list(target_size(case["h"], case["w"], LOW, case["max_pixels"])) == case["out"]
    with pytest.raises(ValueError, match="aspect"):
        target_size(10, 2010, LOW, HIGH)


@pytest.mark.parametrize(("height", "width"), [(96, 128), (480, 832), (1080, 1920), (300, 301)])
def test_resize_is_that_of_torchvision(height: int, width: int) -> None:
    functional = pytest.importorskip("torchvision.transforms.functional")
    frame = noise(1, height, width)[0]
    resized = resize(frame)
    batch = torch.tensor(frame[None]).permute(0, 3, 1, 2)
    mode = pytest.importorskip("torchvision.transforms").InterpolationMode.BICUBIC
    expected = functional.resize(batch, list(resized.shape[:2]), interpolation=mode, antialias=True)
    np.testing.assert_array_equal(resized, expected[0].permute(1, 2, 0).numpy())


@pytest.fixture(scope="module")
def tiny_tokenizer(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A folder like that of Qwen2-VL's tokenizer, with its special tokens and ids, in which every byte is a token."""
    from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    letters = sorted(pre_tokenizers.ByteLevel.alphabet())
    vocabulary = {letter: place for place, letter in enumerate(letters)}
    vocabulary |= {f"unused{place}": place for place in range(len(letters), 151_643)}
    tokenizer = Tokenizer(models.BPE(vocabulary, []))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    by_id = {place: f"<|special{place}|>" for place in range(151_643, VOCABULARY)}
    by_id |= {place: token for token, place in SPECIAL.items()}
    tokenizer.add_special_tokens([AddedToken(by_id[place], special=True) for place in sorted(by_id)])
    folder = tmp_path_factory.mktemp("tokenizer")
    build: Any = PreTrainedTokenizerFast
    build(tokenizer_object=tokenizer, pad_token=by_id[151_643]).save_pretrained(folder)
    (folder / "chat_template.json").write_text(json.dumps({"chat_template": "unknown"}))
    return {path.name: path for path in folder.iterdir()}


CHAT = (
    "{% for m in messages %}{% if loop.first and m['role'] != 'system' %}<|im_start|>system\n"
    "You are a helpful assistant.<|im_end|>\n{% endif %}<|im_start|>{{ m['role'] }}\n{% for c in m['content'] %}"
    "{% if c['type'] == 'image' %}<|vision_start|><|image_pad|><|vision_end|>{% elif c['type'] == 'video' %}"
    "<|vision_start|><|video_pad|><|vision_end|>{% else %}{{ c['text'] }}{% endif %}{% endfor %}<|im_end|>\n"
    "{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
"""What the published chat template says about a user turn, in a shorter form."""


def use_own_template(monkeypatch: pytest.MonkeyPatch, files: dict[str, Path]) -> None:
    files["chat_template.json"].write_text(json.dumps({"chat_template": CHAT}))
    digest = hashlib.sha256(CHAT.encode()).hexdigest()
    monkeypatch.setattr("avbench.encoders.networks.qwen2vl.prompts._CHAT_TEMPLATE_SHA256", digest)


@pytest.mark.parametrize("kind", ["video", "image"])
def test_inputs_are_those_of_transformers_processor(
    kind: str, tiny_tokenizer: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    from transformers import AutoTokenizer, Qwen2VLProcessor
    from transformers.models.qwen2_vl import Qwen2VLImageProcessor, Qwen2VLVideoProcessor

    from avbench.encoders.networks.qwen2vl.inputs import patches, tokens_of

    use_own_template(monkeypatch, tiny_tokenizer)
    theirs = AutoTokenizer.from_pretrained(str(tiny_tokenizer["tokenizer.json"].parent))
    theirs.add_tokens(list(REWARD_TOKENS), special_tokens=True)
    build: Any = Qwen2VLProcessor
    processor = build(Qwen2VLImageProcessor(), theirs, Qwen2VLVideoProcessor(), chat_template=CHAT)
    frames = noise(6 if kind == "video" else 1)
    text = f"\nA caption: äö 雪 {REWARD_TOKENS[0]}\nEND\n{REWARD_TOKENS[2]}"
    turns = [{"role": "user", "content": [{"type": kind}, {"type": "text", "text": text}]}]
    pixels = torch.tensor(frames).permute(0, 3, 1, 2)
    medium: dict[str, Any] = {"videos": [pixels], "do_sample_frames": False} if kind == "video" else {"images": pixels}
    prompt = processor.apply_chat_template(turns, tokenize=False, add_generation_prompt=True)
    expected = processor(text=[prompt], do_resize=False, return_tensors="pt", **medium)

    rows, grid = patches(frames, torch.device("cpu"))
    pad = VIDEO_PAD if kind == "video" else IMAGE_PAD
    ids = prompt_ids(load_tokenizer(tiny_tokenizer, REWARD_TOKENS), pad, tokens_of(grid), text)
    assert ids == expected["input_ids"][0].tolist()
    assert list(grid) == expected[f"{kind}_grid_thw"][0].tolist()
    suffix = "_videos" if kind == "video" else ""
    torch.testing.assert_close(rows, expected[f"pixel_values{suffix}"], atol=2e-6, rtol=0)


def test_only_the_published_tokenizer_is_accepted(
    tiny_tokenizer: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    tiny_tokenizer["chat_template.json"].write_text(json.dumps({"chat_template": "another"}))
    with pytest.raises(EnvironmentProblem, match="another chat template"):
        load_tokenizer(tiny_tokenizer, REWARD_TOKENS)
    use_own_template(monkeypatch, tiny_tokenizer)
    assert load_tokenizer(tiny_tokenizer, REWARD_TOKENS)(REWARD_TOKENS[1]) == [VOCABULARY + 1]
    monkeypatch.setattr("avbench.encoders.networks.qwen2vl.prompts.VOCABULARY", VOCABULARY + 1)
    with pytest.raises(EnvironmentProblem, match="151657 entries"):
        load_tokenizer(tiny_tokenizer, REWARD_TOKENS)


def test_a_folder_without_a_tokenizer_is_refused(tmp_path: Path) -> None:
    """Transformers itself makes an almost empty tokenizer of it, and says nothing."""
    (tmp_path / "config.json").write_text('{"model_type": "qwen2_vl"}')
    (tmp_path / "chat_template.json").write_text('{"chat_template": ""}')
    paths = {name: tmp_path / name for name in ("tokenizer.json", "chat_template.json")}
    with pytest.raises(EnvironmentProblem, match="expected 151657"):
        load_tokenizer(paths, REWARD_TOKENS)


def test_templates_are_read_as_data_and_checked(tmp_path: Path) -> None:
    source = tmp_path / "template.py"
    source.write_text('raise SystemExit("never run")\nTEXT = """\nRate it: {text_prompt}\n"""\nOTHER = 3\n')
    text = "\nRate it: {text_prompt}\n"
    digest = hashlib.sha256(text.encode()).hexdigest()
    assert read_constant(source, "TEXT", digest) == text
    for name, sha256 in (("TEXT", "0" * 64), ("OTHER", digest), ("ABSENT", digest)):
        with pytest.raises(EnvironmentProblem, match=name):
            read_constant(source, name, sha256)


def test_another_architecture_is_refused(tmp_path: Path) -> None:
    from avbench.encoders.networks.qwen2vl.network import (
        QWEN2_VL_2B,
        QWEN2_VL_7B,
        check_config,
        text_settings,
        vision_settings,
    )

    path = tmp_path / "config.json"
    path.write_text(json.dumps(text_settings(QWEN2_VL_2B) | {"vision_config": vision_settings(QWEN2_VL_2B)}))
    check_config(path, QWEN2_VL_2B)
    with pytest.raises(EnvironmentProblem, match="hidden_size"):
        check_config(path, QWEN2_VL_7B)


def test_positions_count_tokens_and_frequencies_are_rounded() -> None:
    """What sets the judges apart from Qwen2-VL itself, beside the networks that transformers builds."""
    from transformers.models.qwen2_vl import Qwen2VLTextConfig
    from transformers.models.qwen2_vl.modeling_qwen2_vl import Qwen2VLRotaryEmbedding

    from avbench.encoders.networks.qwen2vl.network import TextRotary

    rope = {"rope_type": "default", "rope_theta": 1e6, "mrope_section": [16, 24, 24]}
    build: Any = Qwen2VLRotaryEmbedding
    theirs = build(Qwen2VLTextConfig(hidden_size=1536, num_attention_heads=12, rope_parameters=rope))
    positions = torch.arange(2000).expand(3, 1, 2000)
    words = torch.zeros(1, 2000, 1536)
    exact = theirs(words, positions)[0]
    theirs.inv_freq = theirs.inv_freq.bfloat16().float()
    rounded = theirs(words, positions)[0]
    ours = TextRotary(128)(words, positions)[0]
    torch.testing.assert_close(ours, rounded, atol=1e-5, rtol=0)
    assert (rounded - exact).abs().max() > 0.5
