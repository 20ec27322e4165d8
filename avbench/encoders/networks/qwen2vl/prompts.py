"""The text that a judge reads: template, conversation around it, and token ids."""

from __future__ import annotations

import ast
import hashlib
import json
import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from avbench.errors import EnvironmentProblem

Tokenize = Callable[[str], list[int]]

IMAGE_PAD = "<|image_pad|>"
VIDEO_PAD = "<|video_pad|>"
VOCABULARY = 151_657  # entries of Qwen2-VL's tokenizer; a judge's own tokens follow
SPECIAL = {
    "<|im_start|>": 151_644,
    "<|im_end|>": 151_645,
    "<|vision_start|>": 151_652,
    "<|vision_end|>": 151_653,
    IMAGE_PAD: 151_655,
    VIDEO_PAD: 151_656,
}
# Of the text in chat_template.json, which `conversation` says in Python for the one turn that judges take.
_CHAT_TEMPLATE_SHA256 = "a0bc6f6fc7a29a80017a433e8f03a1cc1236e838a944a2d034295a60c4f2fddb"


def conversation(pads: str, text: str) -> str:
    """One user turn with an image or video and a text, and the start of the answer.

    Args:
        pads: the pad token of the medium, once for each token that the network makes of it.
        text: what the user says about it.

    Source: chat template of Qwen/Qwen2-VL-2B-Instruct.
    """
    return (
        "<|im_start|>system\nYou are a helpful assistant.<|im_end|>\n"
        f"<|im_start|>user\n<|vision_start|>{pads}<|vision_end|>{text}<|im_end|>\n"
        "<|im_start|>assistant\n"
    )


def prompt_ids(tokenize: Tokenize, pad: str, pads: int, text: str) -> list[int]:
    """Token ids of the conversation about an image or video that takes `pads` tokens.

    Raises:
        ValueError: the text holds the pad token, which would be taken for a piece of image.
    """
    ids = tokenize(conversation(pad * pads, text))
    if ids.count(SPECIAL[pad]) != pads:
        raise ValueError(f"the prompt holds the token {pad}")
    return ids


def read_constant(path: Path, name: str, sha256: str) -> str:
    """A text constant of a Python file, which is parsed and never run.

    Raises:
        EnvironmentProblem: no such constant, or another text than the checkpoint was trained with.
    """
    texts = [
        node.value.value
        for node in ast.parse(path.read_text(encoding="utf-8")).body
        if isinstance(node, ast.Assign)
        and isinstance(node.value, ast.Constant)
        and isinstance(node.value.value, str)
        and any(isinstance(target, ast.Name) and target.id == name for target in node.targets)
    ]
    if len(texts) != 1 or hashlib.sha256(texts[0].encode()).hexdigest() != sha256:
        raise EnvironmentProblem(
            f"{path}: the text {name} is missing or is not the one that the checkpoint was trained with. "
            "Delete the file and get it again with 'avbench models pull'."
        )
    return texts[0]


def load_tokenizer(files: Mapping[str, Path], rewards: Sequence[str]) -> Tokenize:
    """The tokenizer of a checkpoint folder with a judge's tokens added.

    Args:
        files: paths by name; "tokenizer.json" lies beside the other files of the tokenizer.
        rewards: the judge's tokens, in the order of training.

    Raises:
        EnvironmentProblem: another vocabulary, a special token that is not one token, or another chat template.
    """
    from transformers import AutoTokenizer

    folder = files["tokenizer.json"].parent
    # Where files are missing, this may return an almost empty tokenizer instead of raising; hence the checks.
    tokenizer = AutoTokenizer.from_pretrained(str(folder), local_files_only=True)
    problems = []
    if len(tokenizer) != VOCABULARY:
        problems.append(f"{len(tokenizer)} entries, expected {VOCABULARY}")
    tokenizer.add_tokens(list(rewards), special_tokens=True)
    for token, expected in special_ids(rewards).items():
        if (ids := list(tokenizer(token)["input_ids"])) != [expected]:
            problems.append(f"{token} is {ids}, expected [{expected}]")
    template = json.loads(files["chat_template.json"].read_text(encoding="utf-8"))["chat_template"]
    if hashlib.sha256(template.encode()).hexdigest() != _CHAT_TEMPLATE_SHA256:
        problems.append("another chat template")
    if problems:
        raise EnvironmentProblem(f"{folder} does not hold Qwen2-VL's tokenizer: {'; '.join(problems)}.")
    return lambda text: list(tokenizer(text)["input_ids"])


def special_ids(rewards: Sequence[str]) -> dict[str, int]:
    """Ids of the special tokens, with a judge's own at the end of the vocabulary."""
    return SPECIAL | {token: VOCABULARY + index for index, token in enumerate(rewards)}


def stand_in_tokenizer(rewards: Sequence[str]) -> Tokenize:
    """For keyed-random weights, which know no words: special tokens keep their ids, anything else becomes its bytes."""
    special = special_ids(rewards)
    pattern = re.compile("(" + "|".join(map(re.escape, special)) + ")")

    def tokenize(text: str) -> list[int]:
        ids: list[int] = []
        for piece in pattern.split(text):
            ids += [special[piece]] if piece in special else list(piece.encode())
        return ids

    return tokenize
