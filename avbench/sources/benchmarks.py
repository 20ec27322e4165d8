"""Folder layouts of benchmarks: JavisBench (`sample_0000.mp4` + CSV), VBench (`{prompt}-{i}.mp4`)."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from avbench.clips import Clip, Prompt
from avbench.errors import UsageError
from avbench.sources.prompts import Pairing, PromptList
from avbench.sources.safety import printable, some_of

_JAVISBENCH_STEM = re.compile(r"sample_([0-9]{1,9})")
_VBENCH_STEM = re.compile(r"(.+)-([0-9]{1,9})", re.DOTALL)


def looks_like_javisbench(clips: Sequence[Clip]) -> bool:
    """Whether every clip is called `sample_<number>`."""
    return all(_JAVISBENCH_STEM.fullmatch(clip.video.stem) for clip in clips)


def looks_like_vbench(clips: Sequence[Clip]) -> bool:
    """Whether every clip is called `<text>-<number>`, and most texts have two words or more."""
    matches = [_VBENCH_STEM.fullmatch(clip.video.stem) for clip in clips]
    long = sum(match is not None and len(match[1].split()) >= 2 for match in matches)
    return all(matches) and 2 * long > len(matches)


def pair_javisbench(clips: Sequence[Clip], prompts: PromptList) -> tuple[PromptList, Pairing]:
    """The number in `sample_<number>` is the row of the CSV, counted from 0.

    Returns:
        The prompts, each with its row number as prompt_id where the file gives none, and the pairing.

    Raises:
        UsageError: a file with another name.
    """
    numbers: list[int | None] = []
    for clip in clips:
        match = _JAVISBENCH_STEM.fullmatch(clip.video.stem)
        if match is None:
            raise UsageError(
                f"{clip.video}: expected sample_<row>, as in sample_0000.mp4, in a JavisBench folder. Rename "
                "or move the file, or use layout `folder`."
            )
        number = int(match[1])
        numbers.append(number if number < len(prompts.rows) else None)
    rows = tuple(
        replace(row, prompt=replace(row.prompt, prompt_id=row.prompt.prompt_id or str(number)))
        for number, row in enumerate(prompts.rows)
    )
    rule = f"sample_<n> is row n of {prompts.path.name}, counted from 0"
    return replace(prompts, rows=rows), Pairing(rule, tuple(numbers))


def only_csv(root: Path) -> Path | None:
    """The single visible CSV file directly in a folder, or None."""
    found = [
        path
        for path in sorted(root.iterdir())
        if path.suffix.lower() == ".csv" and not path.name.startswith(".") and path.is_file()
    ]
    return found[0] if len(found) == 1 else None


def vbench_clips(clips: Sequence[Clip]) -> list[Clip]:
    """Clips with the prompt and the sample number that their names hold.

    Raises:
        UsageError: a name without `-<number>` at the end.
    """
    result, wrong = [], []
    for clip in clips:
        match = _VBENCH_STEM.fullmatch(clip.video.stem)
        text = printable(match[1]) if match else ""
        if match is None or not text.strip():
            wrong.append(clip.clip_id)
            continue
        result.append(replace(clip, prompt=Prompt(text=text), sample_index=int(match[2])))
    if wrong:
        raise UsageError(
            f"{len(wrong)} of {len(clips)} files are not named <prompt>-<number> as VBench's are: "
            f"{some_of(wrong)}. Rename them, or use layout `folder` with --prompts."
        )
    return result
