"""Clips from a manifest: a table with one row for each generated video."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from avbench.clips import Clip, Prompt, RemoteFile
from avbench.errors import UsageError
from avbench.remote.addresses import as_path, is_address
from avbench.sources.categories import parse_integer
from avbench.sources.columns import Columns, find_columns, read_categories, read_prompt, text_notes
from avbench.sources.folder import add_audio_files, relative_id
from avbench.sources.rows import Row, Table
from avbench.sources.safety import file_kind, listed_address, listed_path, printable, some_of


@dataclass
class _Reading:
    """The manifest being read, and what its rows so far have used up: ids, and samples of each prompt."""

    table: Table
    columns: Columns
    root: Path
    allow_outside: bool
    hosts: frozenset[str] | None
    taken: set[str] = field(default_factory=set)
    repeats: dict[str, int] = field(default_factory=dict)
    samples: dict[object, int] = field(default_factory=dict)
    renamed: list[str] = field(default_factory=list)


def manifest_clips(
    table: Table, root: Path, *, allow_outside: bool, hosts: frozenset[str] | None = None
) -> tuple[list[Clip], list[str]]:
    """Clips and notes for a manifest, in the order of its rows.

    Args:
        table: the rows; paths in them are taken from `root`.
        root: the resolved folder of the manifest.
        allow_outside: accept paths that lead out of it.
        hosts: hosts on private ranges that addresses may name; None to refuse all addresses.

    Raises:
        UsageError: no video column, a forbidden path, or a malformed cell; with file and line.
    """
    columns = find_columns(table)
    if columns.video is None:
        raise _no_video_column(table, columns)
    reading = _Reading(table, columns, root, allow_outside, hosts)
    clips = [_read_clip(row, reading) for row in table.rows]
    notes = _column_notes(columns)
    if reading.renamed:
        notes.append(f"{len(reading.renamed)} repeated clip ids got a suffix: {some_of(reading.renamed)}")
    notes.extend(text_notes(table.rows, columns))
    notes.extend(_missing_notes(table, clips))
    if columns.audio is None:
        # Without an audio column, the sound file beside a video counts, as it does in a folder.
        clips, beside = add_audio_files(clips, root, allow_outside=allow_outside)
        notes.extend(beside)
    return clips, notes


def _no_video_column(table: Table, columns: Columns) -> UsageError:
    names = some_of(table.columns, 12) or "none"
    if columns.has_text:
        return UsageError(
            f"{table.path}: no video column (columns: {names}); this looks like a prompt list. Give the "
            f"folder of clips as the source and this file as the prompt list (--prompts {table.path.name}), or add a "
            "column `video`."
        )
    return UsageError(
        f"{table.path}: no video column; expected one of video, video_path, path, file, filename, "
        f"pred_video_path, got {names}. Rename or add a column `video`."
    )


def _read_clip(row: Row, reading: _Reading) -> Clip:
    location, columns, root = row.location, reading.columns, reading.root
    if (cell := row.cell(columns.video)) is None:
        raise UsageError(f"{location}: column {columns.video!r} is empty. Name the video or remove the row.")
    video, remote_video = _listed(cell, location, reading)
    audio, remote_audio = None, None
    if (sound := row.cell(columns.audio)) is not None:
        audio, remote_audio = _listed(sound, location, reading)
        if remote_audio == remote_video and audio.resolve() == video.resolve():
            audio = remote_audio = None
    prompt, model = read_prompt(row, columns), row.cell(columns.model)
    index = _sample_index(row.cell(columns.sample_index), (prompt, model), reading, location)
    wanted = (row.cell(columns.clip_id) or "").strip() or relative_id(video, root)
    return Clip(
        clip_id=_unique_id(wanted, index, reading),
        video=video,
        audio=audio,
        prompt=prompt,
        categories=read_categories(row, columns),
        model=model,
        sample_index=index,
        remote_video=remote_video,
        remote_audio=remote_audio,
    )


def _listed(cell: str, location: str, reading: _Reading) -> tuple[Path, RemoteFile | None]:
    """The file that a cell names, and its address if that is what the cell holds."""
    if reading.hosts is None or not is_address(cell):
        return listed_path(cell, reading.root, location, allow_outside=reading.allow_outside), None
    return as_path(cell), listed_address(cell, location, reading.hosts)


def _sample_index(cell: str | None, owner: tuple[Prompt, str | None], reading: _Reading, location: str) -> int:
    if cell is not None:
        index = parse_integer(cell)
        if index is None or index < 0:
            raise UsageError(f"{location}: sample_index is {cell[:60]!r}; expected 0, 1, 2, ... Correct the cell.")
        return index
    prompt, model = owner
    texts = (prompt.text, prompt.video_text, prompt.audio_text, prompt.speech_text)
    key = (prompt.prompt_id if prompt.is_empty else texts, model)
    if key[0] is None:
        return 0
    reading.samples[key] = reading.samples.get(key, -1) + 1
    return reading.samples[key]


def _unique_id(wanted: str, index: int, reading: _Reading) -> str:
    if wanted not in reading.taken:
        reading.taken.add(wanted)
        return wanted
    candidate = f"{wanted}#{index}" if index else wanted
    while candidate in reading.taken:
        reading.repeats[wanted] = reading.repeats.get(wanted, 0) + 1
        candidate = f"{wanted}#{reading.repeats[wanted]}"
    reading.taken.add(candidate)
    reading.renamed.append(candidate)
    return candidate


def _column_notes(columns: Columns) -> list[str]:
    notes = []
    if columns.ground_truth:
        notes.append(
            f"column {columns.video!r} names the generated videos; {some_of(columns.ground_truth)} taken as "
            "ground truth and not used"
        )
    if columns.ignored:
        notes.append(f"{len(columns.ignored)} columns ignored: {some_of(columns.ignored, 12)}")
    return notes


def _missing_notes(table: Table, clips: list[Clip]) -> list[str]:
    videos, sounds = [], []
    for clip, row in zip(clips, table.rows, strict=True):
        if clip.remote_video is None and file_kind(clip.video) == "missing":
            videos.append(f"{clip.clip_id} ({row.where})")
        if clip.audio is not None and clip.remote_audio is None and file_kind(clip.audio) == "missing":
            sounds.append(f"{printable(clip.audio.name)} ({row.where})")
    return [
        f"{len(missing)} of {len(clips)} clips name a {what} file that does not exist: {some_of(missing)}"
        for missing, what in ((videos, "video"), (sounds, "sound"))
        if missing
    ]
