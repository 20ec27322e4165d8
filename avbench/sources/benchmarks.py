"""Folder layouts of benchmarks: JavisBench (`sample_0000.mp4` + CSV), VBench (`{prompt}-{i}.mp4`)."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from avbench.clips import Clip, Prompt
from avbench.errors import UsageError
from avbench.sources.pairing import Pairing, contradiction, counts_from_one, pair_all_by_number, pair_by_name
from avbench.sources.prompts import PromptList
from avbench.sources.safety import printable, some_of
from avbench.sources.vbench import official_metadata

_JAVISBENCH_STEM = re.compile(r"sample_([0-9]{1,9})")
_JAVISBENCH_DIGITS = 4
# "2024-1-5" and "5-1-2024".
_DATE_AT_END = re.compile(
    r"(?<![0-9])(?:(?:19|20)[0-9]{2}-[0-9]{1,2}-[0-9]{1,2}|[0-9]{1,2}-[0-9]{1,2}-(?:19|20)[0-9]{2})$"
)
_VBENCH_STEM = re.compile(r"(.+)-([0-9]{1,9})", re.DOTALL)


def looks_like_javisbench(clips: Sequence[Clip]) -> bool:
    """Whether every clip is called `sample_<number>`."""
    return all(_JAVISBENCH_STEM.fullmatch(clip.video.stem) for clip in clips)


def looks_like_vbench(clips: Sequence[Clip]) -> bool:
    """Whether every clip is called `<text>-<sample>` as VBench's are, and most of the texts read as prompts.

    A text does that has two words or more, or that VBench's list has, where most scenes are one word. Each counts once,
    however many samples it has. Samples count from 0 without leading zeros. A date, a year or a number in a title is no
    sample.
    """
    return _has_prompt_names(clips) and _are_samples([clip.video.stem for clip in clips])


def vbench_hint(clips: Sequence[Clip]) -> str | None:
    """A note where names hold texts and numbers as VBench's, but the numbers are no samples; else None."""
    if not _has_prompt_names(clips) or _are_samples([clip.video.stem for clip in clips]):
        return None
    return (
        f"files are named <text>-<number> ({clips[0].clip_id}), but the numbers do not count samples from 0, so the "
        "texts are not taken as prompts; choose layout vbench (--layout) if they are"
    )


def _has_prompt_names(clips: Sequence[Clip]) -> bool:
    matches = [_VBENCH_STEM.fullmatch(clip.video.stem) for clip in clips]
    texts = {match[1] for match in matches if match is not None}
    return all(matches) and 2 * sum(map(_reads_as_prompt, texts)) > len(texts)


def _reads_as_prompt(text: str) -> bool:
    return len(text.split()) >= 2 or bool(official_metadata(text)[1])


def _are_samples(stems: Sequence[str]) -> bool:
    if any(_DATE_AT_END.search(stem) for stem in stems):
        return False
    samples = [stem.rpartition("-")[2] for stem in stems]
    return "0" in samples and all(len(sample) <= 2 and sample == str(int(sample)) for sample in samples)


def pair_javisbench(clips: Sequence[Clip], prompts: PromptList) -> tuple[PromptList, Pairing]:
    """The number in `sample_<number>` is the row of the CSV, counted from 0, unless the CSV numbers its rows itself.

    Returns:
        The prompts, each with its row number as prompt_id where the file gives none, and the pairing.

    Raises:
        UsageError: a column of the list disagrees, or the clips may count from 1.
    """
    pairing, _ = pair_all_by_number(clips, prompts, paths_name_clips=False)
    if pairing is not None:
        return prompts, pairing
    pairing = _by_row(clips, prompts)
    cure = (
        "Add a column `video` with the file name of each clip, or choose layout javisbench (--layout) if the rows count"
    )
    if message := contradiction(clips, prompts, pairing):
        raise UsageError(f"{message} {cure}.")
    padded = all(len(_row_number(clip)) >= _JAVISBENCH_DIGITS for clip in clips)
    if not padded and counts_from_one(pairing.numbers):
        raise UsageError(
            f"{prompts.path}: the clips count from 1 ({clips[0].clip_id}), so that rows counted from 0 and from 1 both "
            f"fit. {cure}."
        )
    return with_row_ids(prompts), pairing


def insist_on_javisbench(clips: Sequence[Clip], prompts: PromptList) -> tuple[PromptList, Pairing, list[str]]:
    """As `pair_javisbench`, but where a column disagrees in part, the rows count, and a note says so.

    Raises:
        UsageError: a file with another name, or two columns of the list contradict each other.
    """
    if wrong := [clip for clip in clips if not _JAVISBENCH_STEM.fullmatch(clip.video.stem)]:
        raise UsageError(
            f"{wrong[0].video}: expected sample_<row>, as in sample_0000.mp4, in a JavisBench folder. Rename "
            "or move the file, or use layout `folder`."
        )
    pairing = pair_by_name(clips, prompts)
    if pairing is None:
        pairing, _ = pair_all_by_number(clips, prompts, paths_name_clips=False)
    if pairing is not None:
        return prompts, pairing, []
    pairing = _by_row(clips, prompts)
    message = contradiction(clips, prompts, pairing)
    return with_row_ids(prompts), pairing, [f"{message} The rows count, as the layout says."] if message else []


def with_row_ids(prompts: PromptList) -> PromptList:
    """The prompts, each with its row number, counted from 0, as prompt_id where the file gives none."""
    rows = tuple(
        replace(row, prompt=replace(row.prompt, prompt_id=row.prompt.prompt_id or str(number)))
        for number, row in enumerate(prompts.rows)
    )
    return replace(prompts, rows=rows)


def _by_row(clips: Sequence[Clip], prompts: PromptList) -> Pairing:
    rows = [int(_row_number(clip)) for clip in clips]
    rule = f"sample_<n> is row n of {prompts.path.name}, counted from 0"
    return Pairing(rule, tuple(row if row < len(prompts.rows) else None for row in rows))


def _row_number(clip: Clip) -> str:
    return clip.video.stem.removeprefix("sample_")


def only_csv(root: Path) -> Path | None:
    """The single visible CSV file directly in a folder, or None."""
    files = [
        path
        for path in sorted(root.iterdir())
        if path.suffix.lower() == ".csv" and not path.name.startswith(".") and path.is_file()
    ]
    return files[0] if len(files) == 1 else None


def vbench_clips(clips: Sequence[Clip]) -> list[Clip]:
    """Clips with the prompt and the sample number that their names hold.

    VBench's own prompts have their dimensions and what must be seen, as its list says.

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
        expected, categories = official_metadata(text)
        prompt = Prompt(text=text, expected=expected)
        result.append(replace(clip, prompt=prompt, categories=categories, sample_index=int(match[2])))
    if wrong:
        raise UsageError(
            f"{len(wrong)} of {len(clips)} files are not named <prompt>-<number> as VBench's are: "
            f"{some_of(wrong)}. Rename them, or use layout `folder` with a prompt list (--prompts)."
        )
    return result
