"""What a prompt says must be spoken: columns, fields of benchmarks, and Ovi's tags inside a prompt."""

from __future__ import annotations

import json
from collections.abc import Mapping

from avbench.errors import UsageError
from avbench.sources.languages import language_code
from avbench.sources.rows import Row, says_missing
from avbench.sources.spoken_tags import joined, tagged, untagged

TEXT_COLUMN = "prompt_speech"
LANGUAGE_COLUMN = "prompt_language"
# Verse-Bench: an object with the key `text`; T2AV-Compass: a list of such objects, one for each speaker.
BENCHMARK_COLUMN = "speech_prompt"
COLUMNS = (TEXT_COLUMN, LANGUAGE_COLUMN, BENCHMARK_COLUMN)


def read_speech(row: Row, columns: Mapping[str, str], texts: tuple[str | None, ...]) -> tuple[str | None, str | None]:
    """The words that must be spoken, and their language; None where nothing says so.

    A column `prompt_speech` counts first, then the field of a benchmark, then Ovi's tags in the first text that has
    some. Quotation marks say nothing: what stands in them may be a sign, a title or a thought. Of a `prompt_speech`
    with tags only what is tagged counts.

    Args:
        row: of a manifest or prompt list.
        columns: name in the file of each column of `COLUMNS` that it has.
        texts: the prompt's texts, joint text first.

    Raises:
        UsageError: a cell that is no text; a field of another form than the two benchmarks'; a language without code.
    """
    spoken = row.text(columns[TEXT_COLUMN]) if TEXT_COLUMN in columns else None
    spoken = None if spoken is None else untagged(spoken)
    if spoken is None and BENCHMARK_COLUMN in columns:
        spoken = _field(row, columns[BENCHMARK_COLUMN])
    if spoken is None:
        spoken = next((words for text in texts if (words := tagged(text))), None)
    return spoken, _language(row, columns.get(LANGUAGE_COLUMN))


def _field(row: Row, column: str) -> str | None:
    cell = None if row.says_missing(column) else row.structure(column)
    try:
        content = json.loads(cell) if cell else None
        parts = content if isinstance(content, list) else [content] if content else []
        return joined([_words(part) for part in parts])
    except (ValueError, TypeError, KeyError, RecursionError) as error:
        raise UsageError(
            f"{row.location}: {column} is {cell:.80}; expected an object with the key `text`, or a list of such. "
            f"Write plain words into a column {TEXT_COLUMN}."
        ) from error


def _words(part: Mapping[str, object]) -> str:
    text = part["text"]
    if text is not None and not isinstance(text, str):
        raise TypeError("the spoken text is no text")
    return "" if text is None or says_missing(text) else text


def _language(row: Row, column: str | None) -> str | None:
    cell = row.text(column)
    code = None if cell is None else language_code(cell)
    if cell is not None and code is None:
        raise UsageError(
            f"{row.location}: {column} is {cell:.40}; expected a code of ISO 639 such as en, de or zh. Correct it."
        )
    return code
