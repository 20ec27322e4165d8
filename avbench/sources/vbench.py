"""VBench's official prompts: which clips are samples of them, and what a sampling lacks.

Source: VBench (Huang et al., CVPR 2024), vbench/__init__.py and the sampling notes of its repository.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from functools import cache

from avbench.clips import Category, Clip, Expected
from avbench.sources.categories import unique
from avbench.sources.prompts import PromptRow, read_prompts
from avbench.sources.shipped import shipped_folder
from avbench.sources.spelling import composed

LIST = "vbench.jsonl"
ASPECT = "VBench dimension"
FLICKERING = "temporal_flickering"
SAMPLES = 5
FLICKERING_SAMPLES = 25
"""The static filter thins these out: the first five that stand still are judged."""


@dataclass(frozen=True)
class SampledPrompt:
    """A prompt of the list with its clips by sample number."""

    row: PromptRow
    clips: tuple[Clip, ...]


@dataclass(frozen=True)
class Coverage:
    """How much of a dimension's prompts was generated.

    Attributes:
        dimension: its name.
        prompts: all prompts of the list that belong to it, in the order of the list.
        samples: clips that each prompt should have.
        doubled: ids of clips that another clip of the same prompt and number precedes.
    """

    dimension: str
    prompts: tuple[SampledPrompt, ...]
    samples: int
    doubled: tuple[str, ...] = ()

    @property
    def sampled(self) -> int:
        """Number of prompts with a clip."""
        return sum(bool(prompt.clips) for prompt in self.prompts)

    @property
    def full(self) -> int:
        """Number of prompts with all samples."""
        return sum(len(prompt.clips) == self.samples for prompt in self.prompts)

    @property
    def clips(self) -> int:
        """Number of clips that count."""
        return sum(len(prompt.clips) for prompt in self.prompts)

    @property
    def lack(self) -> str:
        """What is missing, as half a sentence; empty for nothing."""
        if self.doubled:
            return f"{self.dimension} has several clips for one sample ({self.doubled[0]})"
        if self.full == len(self.prompts):
            return ""
        return f"{self.dimension} has {self.samples} samples of {self.full} of {len(self.prompts)} prompts"


@cache
def official_prompts() -> tuple[PromptRow, ...]:
    """VBench's 946 prompts in the order of its list.

    Raises:
        EnvironmentProblem: the list that comes with avbench is missing.
    """
    return read_prompts(shipped_folder() / LIST).rows


def dimensions_of(row: PromptRow) -> tuple[str, ...]:
    """Dimensions that a prompt of the list belongs to."""
    return tuple(category.name for category in row.categories if category.aspect == ASPECT)


def samples_needed(row: PromptRow) -> int:
    """How many clips VBench asks for of a prompt."""
    return FLICKERING_SAMPLES if FLICKERING in dimensions_of(row) else SAMPLES


def official_metadata(text: str) -> tuple[Expected, tuple[Category, ...]]:
    """What VBench's list says of a prompt with this text, letter by letter: what must be seen, and its dimensions.

    Two texts stand there twice, for appearance style and for overall consistency: theirs are put together.
    """
    rows = _by_text().get(composed(text), [])
    stated = {name: value for row in rows for name, value in asdict(row.prompt.expected).items() if value is not None}
    return Expected(**stated), unique(category for row in rows for category in row.categories)


@cache
def _by_text() -> dict[str, list[PromptRow]]:
    by_text: dict[str, list[PromptRow]] = {}
    for row in official_prompts():
        by_text.setdefault(composed(row.prompt.text or ""), []).append(row)
    return by_text


def coverage(clips: Iterable[Clip], rows: Sequence[PromptRow]) -> list[Coverage]:
    """The clips under the prompts of the list, dimension by dimension.

    A clip belongs to the prompt with its text and its id. Where no id fits, as in folders that are named after prompts,
    it belongs to every prompt with its text.
    """
    texts: dict[str, list[int]] = {}
    for number, row in enumerate(rows):
        texts.setdefault(composed(row.prompt.text or ""), []).append(number)
    members: dict[int, list[Clip]] = {}
    for clip in clips:
        candidates = texts.get(composed(clip.prompt.for_video or ""), [])
        named = [number for number in candidates if rows[number].prompt.prompt_id == clip.prompt.prompt_id]
        for number in named or candidates:
            members.setdefault(number, []).append(clip)
    names = dict.fromkeys(name for row in rows for name in dimensions_of(row))
    return [_cover(name, rows, members) for name in names]


def _cover(dimension: str, rows: Sequence[PromptRow], members: dict[int, list[Clip]]) -> Coverage:
    samples = FLICKERING_SAMPLES if dimension == FLICKERING else SAMPLES
    prompts, doubled = [], list[str]()
    for number, row in enumerate(rows):
        if dimension not in dimensions_of(row):
            continue
        chosen: dict[int, Clip] = {}
        for clip in members.get(number, []):
            if clip.sample_index < samples and chosen.setdefault(clip.sample_index, clip) is not clip:
                doubled.append(clip.clip_id)
        prompts.append(SampledPrompt(row, tuple(chosen[sample] for sample in sorted(chosen))))
    return Coverage(dimension, tuple(prompts), samples, tuple(doubled))
