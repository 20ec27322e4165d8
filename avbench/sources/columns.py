"""Map columns of a table to their meanings by aliases of their names; read prompt and categories of a row."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from avbench.clips import Category, Prompt
from avbench.sources.categories import (
    DEFAULT_ASPECT,
    aspect_categories,
    javisbench_categories,
    parse_categories,
    unique,
)
from avbench.sources.expected import AUXILIARY, COLUMNS, read_expected
from avbench.sources.rows import Row, Table
from avbench.sources.safety import some_of
from avbench.sources.spelling import without_marks
from avbench.sources.spoken import COLUMNS as SPEECH
from avbench.sources.spoken import TEXT_COLUMN, read_speech
from avbench.sources.spoken_tags import has_unclosed

# Names that say "this was generated"; beside them, a plain path is the ground truth (JavisBench).
GENERATED_VIDEO = (
    "pred_video_path",
    "pred_video",
    "pred_path",
    "generated_video_path",
    "generated_video",
    "generated_path",
    "gen_video_path",
    "gen_video",
    "output_video_path",
    "output_video",
    "output_path",
)
PLAIN_VIDEO = (
    "video",
    "video_path",
    "video_file",
    "video_filename",
    "clip",
    "clip_path",
    "path",
    "file",
    "file_path",
    "filepath",
    "filename",
    "file_name",
)
GENERATED_AUDIO = (
    "pred_audio_path",
    "pred_audio",
    "generated_audio_path",
    "generated_audio",
    "gen_audio_path",
    "gen_audio",
    "output_audio_path",
    "output_audio",
)
PLAIN_AUDIO = (
    "audio",
    "audio_path",
    "audio_file",
    "audio_filename",
    "sound",
    "sound_path",
    "wav",
    "wav_path",
)
TEXT = (
    "text",
    "prompt",
    "caption",
    "text_prompt",
    "prompt_text",
    "prompt_av",
    "av_prompt",
    "prompt_en",
    "full_prompt",
    "joint_prompt",
    "av_caption",
    "description",
)
VIDEO_TEXT = (
    "video_text",
    "video_prompt",
    "prompt_v",
    "prompt_video",
    "prompt_vision",
    "video_caption",
    "visual_prompt",
)
AUDIO_TEXT = ("audio_text", "audio_prompt", "prompt_a", "prompt_audio", "audio_caption", "sound_prompt")
MODEL = ("model", "model_name", "generator", "system")
SAMPLE_INDEX = ("sample_index", "sample_idx", "sample_number")
PROMPT_ID = ("prompt_id", "prompt_index", "prompt_idx")
CLIP_ID = ("clip_id", "id")
EXPECTED = (*COLUMNS, AUXILIARY)
# Columns of a prompt list that can name a clip, besides the video columns; the first of equals wins.
KEYS = (
    *CLIP_ID,
    *PLAIN_VIDEO,
    *GENERATED_VIDEO,
    "name",
    "video_name",
    "video_file_name",
    "clip_name",
    "clip_file",
    "clip_filename",
    "basename",
    "media_path",
    "vid",
    "video_id",
    "youtube_id",
    "ytid",
    "stem",
    "key",
    "uid",
    "prompt_id",
    "relpath",
)

# Those of them whose texts are names of files and nothing else.
FILE_NAMES = frozenset(
    (
        *PLAIN_VIDEO,
        *GENERATED_VIDEO,
        *("clip_id", "name", "video_name", "video_file_name", "clip_name", "clip_file", "clip_filename"),
        *("basename", "media_path", "stem"),
    )
)

_NAMES = frozenset(
    (
        *KEYS,
        *GENERATED_AUDIO,
        *PLAIN_AUDIO,
        *TEXT,
        *VIDEO_TEXT,
        *AUDIO_TEXT,
        *MODEL,
        *SAMPLE_INDEX,
        *PROMPT_ID,
        *EXPECTED,
        *SPEECH,
    )
)
_SEPARATORS = re.compile(r"[-_\s]+")
_JAVISBENCH_INDEX = re.compile(r"cat([0-4])_ind")
_ASPECT_COLUMN = re.compile(r"\s*cat\s*:(.*)", re.IGNORECASE | re.DOTALL)


@dataclass(frozen=True)
class Columns:
    """The column for each meaning, under the name that the file uses, or None."""

    video: str | None
    audio: str | None
    text: str | None
    video_text: str | None
    audio_text: str | None
    model: str | None
    sample_index: str | None
    prompt_id: str | None
    clip_id: str | None
    categories: tuple[str, ...]
    expected: dict[str, str]
    speech: dict[str, str]
    ground_truth: tuple[str, ...]
    ignored: tuple[str, ...]

    @property
    def has_text(self) -> bool:
        """Whether any column holds prompts."""
        return bool(self.text or self.video_text or self.audio_text)


def has_meaning(column: str) -> bool:
    """Whether a column of this name is read at all."""
    return normalize_name(column) in _NAMES or _is_category(column)


def normalize_name(name: str) -> str:
    """Column name in lower case with single underscores: "Video Path" -> "video_path"."""
    return _SEPARATORS.sub("_", without_marks(name).strip().lower()).strip("_")


def find_columns(table: Table) -> Columns:
    """Assign the columns of a table to their meanings."""
    names: dict[str, str] = {}
    for column in table.columns:
        names.setdefault(normalize_name(column), column)

    def pick(aliases: tuple[str, ...]) -> str | None:
        return next((names[alias] for alias in aliases if alias in names), None)

    generated, plain = pick(GENERATED_VIDEO), pick(PLAIN_VIDEO)
    audio = pick(GENERATED_AUDIO) or pick(PLAIN_AUDIO)
    truth: tuple[str, ...] = ()
    if generated and plain:
        audio = pick(GENERATED_AUDIO)
        truth = tuple(names[alias] for alias in PLAIN_VIDEO + PLAIN_AUDIO if alias in names)
    texts = (pick(TEXT), pick(VIDEO_TEXT), pick(AUDIO_TEXT))
    others = (pick(MODEL), pick(SAMPLE_INDEX), pick(PROMPT_ID), pick(CLIP_ID))
    categories = tuple(column for column in table.columns if _is_category(column))
    expected_content = {alias: names[alias] for alias in EXPECTED if alias in names}
    speech = {alias: names[alias] for alias in SPEECH if alias in names}
    stated = (*expected_content.values(), *speech.values())
    used = {generated or plain, audio, *texts, *others, *categories, *truth, *stated}
    return Columns(
        generated or plain,
        audio,
        *texts,
        *others,
        categories=categories,
        expected=expected_content,
        speech=speech,
        ground_truth=truth,
        ignored=tuple(column for column in table.columns if column not in used),
    )


def key_columns(table: Table) -> tuple[str, ...]:
    """Columns of a prompt list that can name a clip, the likeliest first."""
    by_rank = [(KEYS.index(name), column) for column in table.columns if (name := normalize_name(column)) in KEYS]
    return tuple(column for _, column in sorted(by_rank))


def read_prompt(row: Row, columns: Columns) -> Prompt:
    """The texts of a row; None where a cell is empty.

    Raises:
        UsageError: a list of several texts, an object, a number.
    """
    texts = row.text(columns.text), row.text(columns.video_text), row.text(columns.audio_text)
    speech_text, speech_language = read_speech(row, columns.speech, texts)
    return Prompt(
        *texts,
        prompt_id=row.cell(columns.prompt_id),
        expected=read_expected(row, columns.expected),
        speech_text=speech_text,
        speech_language=speech_language,
    )


def text_notes(rows: Sequence[Row], columns: Columns) -> list[str]:
    """Notes on text cells of rows that can be read: counts of odd ones, with examples; empty without any."""
    texts = [column for column in (columns.text, columns.video_text, columns.audio_text) if column is not None]
    worded = (*texts, *columns.speech.values())
    missing = [f"{column}, {row.where}" for row in rows for column in worded if row.says_missing(column)]
    spoken = [*texts, *(columns.speech[name] for name in (TEXT_COLUMN,) if name in columns.speech)]
    unclosed = [f"{column}, {row.where}" for row in rows for column in spoken if has_unclosed(row.text(column))]
    notes = []
    if missing:
        say = "text cells say only None, N/A or the like and count as no prompt"
        notes.append(f"{len(missing)} {say}: {some_of(missing)}")
    if unclosed:
        say = "text cells have a tag <S> without an <E> of its own, which opens no spoken text"
        notes.append(f"{len(unclosed)} {say}: {some_of(unclosed)}")
    return notes


def read_categories(row: Row, columns: Columns) -> tuple[Category, ...]:
    """All categories of a row.

    Raises:
        UsageError: an index out of range or a malformed cell.
    """
    categories: list[Category] = []
    for column in columns.categories:
        if (cell := row.structure(column)) is None:
            continue
        location = row.location
        if index := _JAVISBENCH_INDEX.fullmatch(normalize_name(column)):
            categories.extend(javisbench_categories(int(index[1]), cell, location))
        elif aspect := _ASPECT_COLUMN.fullmatch(column):
            categories.extend(aspect_categories(aspect[1].strip() or DEFAULT_ASPECT, cell, location))
        else:
            categories.extend(parse_categories(cell, location))
    return unique(categories)


def _is_category(column: str) -> bool:
    name = normalize_name(column)
    known = name in ("category", "categories") or _JAVISBENCH_INDEX.fullmatch(name)
    return bool(known or _ASPECT_COLUMN.fullmatch(column))
