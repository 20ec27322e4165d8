"""Prompts written out: JSON lines and CSV that the scorer and the trainer read, or plain lines of text."""

from __future__ import annotations

import csv
import io
import json
import string
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

from avbench.errors import UsageError
from avbench.sources.expected import COLUMNS
from avbench.sources.prompts import PromptRow
from avbench.sources.spoken import LANGUAGE_COLUMN, TEXT_COLUMN
from avbench.sources.vbench import samples_needed

Format = Literal["jsonl", "csv", "txt"]


@dataclass(frozen=True)
class Template:
    """Names of the clips that will be generated, which make a prompt list a manifest.

    Attributes:
        video: path with `{prompt_id}` and, for several samples, `{sample}`.
        samples: clips of each prompt; None for as many as VBench asks for: 5, and 25 for temporal flickering.
    """

    video: str
    samples: int | None = 1

    def __post_init__(self) -> None:
        try:
            fields = {name for _, name, _, _ in string.Formatter().parse(self.video) if name is not None}
        except ValueError as error:
            raise UsageError(f"clip names {self.video!r}: {error}. Write for example {{prompt_id}}.mp4.") from error
        if self.samples is not None and self.samples < 1:
            raise UsageError(f"{self.samples} samples of each prompt: expected 1 or more.")
        needed = {"prompt_id"} if self.samples == 1 else {"prompt_id", "sample"}
        if not needed <= fields <= {"prompt_id", "sample"}:
            wanted = " and ".join(f"{{{name}}}" for name in sorted(needed))
            raise UsageError(f"clip names {self.video!r}: expected {wanted} in them, so that no two clips share one.")


def as_records(rows: Sequence[PromptRow], template: Template | None = None) -> list[dict[str, str]]:
    """A flat record for each prompt, or for each clip to generate.

    Keys are those that both `avbench score` and `omninft_train` read: `prompt_id`, `prompt_av`, `prompt_v`, `prompt_a`
    where there is such a text, and `cat:ASPECT` with names joined by "; ". With a template there are `video` and
    `sample_index`, without one `id`, which pairs a clip of that name with its prompt also where prompts were left out.
    """
    return [record for number, row in enumerate(rows) for record in _records(row, number, template)]


def render(rows: Sequence[PromptRow], form: Format, template: Template | None = None) -> str:
    """The text of a prompt file.

    Raises:
        UsageError: plain text is asked for, and it cannot hold what there is.
    """
    records = as_records(rows, template)
    if form == "txt":
        return _lines(records, template)
    if form == "jsonl":
        return "".join(json.dumps(record, ensure_ascii=False) + "\n" for record in records)
    table = io.StringIO()
    columns = list(dict.fromkeys(key for record in records for key in record))
    # Quoted, because a reader drops spaces between a separator and a text that is not.
    writer = csv.DictWriter(table, columns, restval="", lineterminator="\n", quoting=csv.QUOTE_ALL)
    writer.writeheader()
    writer.writerows(records)
    return table.getvalue()


def _records(row: PromptRow, number: int, template: Template | None) -> Iterator[dict[str, str]]:
    prompt = row.prompt
    name = prompt.prompt_id or str(number)
    texts = {"prompt_av": prompt.text, "prompt_v": prompt.video_text, "prompt_a": prompt.audio_text}
    texts |= {TEXT_COLUMN: prompt.speech_text, LANGUAGE_COLUMN: prompt.speech_language}
    texts |= {column: getattr(prompt.expected, field) for column, field in COLUMNS.items()}
    record = {"prompt_id": name} | {key: text for key, text in texts.items() if text is not None}
    for aspect in dict.fromkeys(category.aspect for category in row.categories):
        names = [category.name for category in row.categories if category.aspect == aspect]
        record[f"cat:{aspect}"] = "; ".join(names)
    if template is None:
        yield {"id": name, **record}
        return
    for sample in range(samples_needed(row) if template.samples is None else template.samples):
        video = template.video.replace("{prompt_id}", name).replace("{sample}", str(sample))
        yield {"video": video, **record, "sample_index": str(sample)}


def _lines(records: Sequence[dict[str, str]], template: Template | None) -> str:
    if template is not None:
        raise UsageError("a list of plain lines holds no clip names. Use jsonl or csv.")
    for record in records:
        text = record.get("prompt_av", "")
        if not text.strip() or "\n" in text or "\r" in text:
            raise UsageError(
                f"prompt {record['prompt_id']} has no joint text of one line, so a list of plain lines cannot hold it. "
                "Use jsonl or csv."
            )
    return "".join(record["prompt_av"] + "\n" for record in records)
