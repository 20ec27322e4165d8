"""Prompts of a training run: read from JSON lines, and drawn for a step as a pure function of (seed, step)."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from omninft_train.errors import SettingError, UsageError, near

FIELDS = ("prompt_av", "prompt_v", "prompt_a")
_MAX_BYTES = 256 << 20
# Apart from whatever else is drawn from the same seed.
_PROMPT_STREAM, _CLASS_STREAM = 0x9F01, 0x9F02
_GOLDEN = (math.sqrt(5) - 1) / 2


@dataclass(frozen=True)
class TrainPrompt:
    """One prompt.

    Attributes:
        prompt_av: what the clip is generated from.
        prompt_v: what rewards of the video judge against.
        prompt_a: what rewards of the sound judge against.
        metadata: further keys of the line.
    """

    prompt_av: str
    prompt_v: str
    prompt_a: str
    metadata: Mapping[str, Any] = field(default_factory=dict, hash=False)


class DrawOptions(Protocol):
    """How many prompts a step has, and how classes share them.

    Attributes:
        groups: prompts of a step.
        class_key: metadata key that names a prompt's class; None to draw from all alike.
        class_weights: weight of each class, in any unit, 0 or more and not all 0; empty for equal weights.
    """

    @property
    def groups(self) -> int: ...
    @property
    def class_key(self) -> str | None: ...
    @property
    def class_weights(self) -> Mapping[str, float]: ...


def load_prompts(path: Path) -> list[TrainPrompt]:
    """Prompts of a JSON-lines file, in its order; empty lines are passed over.

    Raises:
        UsageError: the file cannot be read, is too large or holds no prompt, or a line is not a JSON object with the
            three texts; file and line are named.
    """
    try:
        if (size := path.stat().st_size) > _MAX_BYTES:
            raise UsageError(f"{path} has {size:,} bytes; up to {_MAX_BYTES:,} are read. Split the file.")
        content = path.read_bytes()
    except OSError as error:
        raise UsageError(f"{path}: cannot be read ({error.strerror}).") from error
    lines = content.removeprefix(b"\xef\xbb\xbf").split(b"\n")
    prompts = [_parse(line, f"{path}:{number}") for number, line in enumerate(lines, 1) if line.strip()]
    if not prompts:
        raise UsageError(f"{path}: holds no prompt. Expected one JSON object per line with {', '.join(FIELDS)}.")
    return prompts


def _parse(line: bytes, location: str) -> TrainPrompt:
    try:
        row = json.loads(line.decode("utf-8"), object_pairs_hook=_unique_keys)
    except UnicodeDecodeError as error:
        raise UsageError(f"{location}: not UTF-8 ({error.reason} at byte {error.start} of the line).") from error
    except (ValueError, RecursionError) as error:
        raise UsageError(f"{location}: not a JSON object ({error}).") from error
    if not isinstance(row, dict):
        raise UsageError(f"{location}: expected a JSON object, got {type(row).__name__}.")
    for name in FIELDS:
        _check_text(row, name, location)
    metadata = {key: value for key, value in row.items() if key not in FIELDS}
    return TrainPrompt(row["prompt_av"], row["prompt_v"], row["prompt_a"], metadata)


def _unique_keys(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    row = dict(pairs)
    if len(row) < len(pairs):
        keys = [key for key, _ in pairs]
        raise ValueError(f"the key '{next(key for key in keys if keys.count(key) > 1)}' appears twice")
    return row


def _check_text(row: Mapping[str, Any], name: str, location: str) -> None:
    if name not in row:
        raise UsageError(f"{location}: missing field '{name}'. The line has: {', '.join(row) or 'no key'}.")
    text = row[name]
    if not isinstance(text, str):
        raise UsageError(f"{location}: '{name}' must be a text, got {type(text).__name__}.")
    if not text.isascii() and any("\ud800" <= char <= "\udfff" for char in text):
        raise UsageError(f"{location}: '{name}' has half of a surrogate pair. Write the text again.")
    if not text.strip():
        raise UsageError(
            f"{location}: '{name}' is blank; a reward would judge against nothing. Fill it or drop the line."
        )


def draw(prompts: Sequence[TrainPrompt], seed: int, step: int, options: DrawOptions) -> list[TrainPrompt]:
    """The prompts of a step, all different; nothing but the arguments decides.

    Without classes an epoch is a permutation of all prompts, cut into steps; where they do not come out even, the last
    step of the epoch is filled with its first prompts. With classes a step is spread over them by weight, each class
    gets its fraction to within one prompt, and is walked round in a random order of its own.

    Args:
        prompts: all of them.
        seed: of the run.
        step: from 0.
        options: how many, and classes.

    Raises:
        UsageError: fewer prompts than a step needs, or classes and weights that do not fit each other.
    """
    if options.groups > len(prompts):
        raise SettingError(
            f"prompts.groups = {options.groups}, but there are {len(prompts)} prompts, and those of a step must "
            "differ. Lower prompts.groups or add prompts.",
            "prompts.groups",
        )
    chosen = (
        _by_class(prompts, seed, step, options) if options.class_key else _by_epoch(len(prompts), seed, step, options)
    )
    return [prompts[index] for index in chosen]


def _by_epoch(count: int, seed: int, step: int, options: DrawOptions) -> list[int]:
    epoch, location = divmod(step, -(-count // options.groups))
    order = _random(seed, _PROMPT_STREAM, epoch).permutation(count)
    start = location * options.groups
    return [int(order[i % count]) for i in range(start, start + options.groups)]


def _by_class(prompts: Sequence[TrainPrompt], seed: int, step: int, options: DrawOptions) -> list[int]:
    members = _classes(prompts, str(options.class_key))
    # One offset per step, then equal distances: each class gets its fraction of the step rounded up or down.
    # Multiples of the golden ratio fill [0, 1) evenly, so that rare classes get their fraction sooner than by chance.
    offsets = (_random(seed, _CLASS_STREAM, 0).random() + np.arange(step + 1) * _GOLDEN) % 1.0
    points = (np.arange(options.groups) + offsets[:, None]) / options.groups  # (step + 1, G)
    edges = np.cumsum(_fractions(members, options))
    classes = np.searchsorted(edges / edges[-1], points, side="right")
    chosen: list[int] = []
    for number, indices in enumerate(members.values()):
        taken = (classes == number).sum(axis=1)  # in this step and in each before
        order = _random(seed, _PROMPT_STREAM, number).permutation(indices)
        chosen += order[np.arange(taken[:-1].sum(), taken.sum()) % len(order)].tolist()
    return chosen


def _classes(prompts: Sequence[TrainPrompt], key: str) -> dict[str, list[int]]:
    """Indices of the prompts of each class, classes by name."""
    members: dict[str, list[int]] = {}
    for index, prompt in enumerate(prompts):
        if key not in prompt.metadata:
            raise SettingError(
                f"prompts.class_key = '{key}': prompt {index + 1} ({prompt.prompt_av[:40]!r}) has no such key; it has: "
                f"{', '.join(prompt.metadata) or 'none'}.",
                "prompts.class_key",
            )
        members.setdefault(str(prompt.metadata[key]), []).append(index)
    return dict(sorted(members.items()))


def _fractions(members: Mapping[str, Sequence[int]], options: DrawOptions) -> list[float]:
    """Fraction of a step that each class gets, in their order."""
    weights = options.class_weights or dict.fromkeys(members, 1.0)
    if unknown := [name for name in weights if name not in members]:
        raise SettingError(
            f"prompts.class_weights: no prompt is of class '{unknown[0]}'. {near(unknown[0], members)}",
            ("prompts", "class_weights", unknown[0]),
        )
    if unnamed := [name for name in members if name not in weights]:
        raise SettingError(
            f"prompts.class_weights: no weight for {', '.join(unnamed)}. Give 0 to leave a class out.",
            "prompts.class_weights",
        )
    total = math.fsum(weights.values())
    for name, indices in members.items():
        most = math.ceil(weights[name] / total * options.groups - 1e-9)
        if most > len(indices):
            raise SettingError(
                f"class '{name}' has {len(indices)} prompts, and its fraction {weights[name] / total:.3g} of "
                f"prompts.groups = {options.groups} can ask for {most} different ones in a step. Lower its weight or "
                "prompts.groups.",
                ("prompts", "class_weights", name),
                "prompts.groups",
            )
    return [weights[name] / total for name in members]


def _random(seed: int, stream: int, number: int) -> np.random.Generator:
    return np.random.default_rng([seed % 2**63, stream, number])
