"""Single clips: their rows in the clip table, and the data that report.js opens them with."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from avbench.direction import Direction
from avbench.pages.media import MediaBundle
from avbench.pages.numbers import NONE, format_value
from avbench.pages.table import Cell, Column, Row, Table
from avbench.report.face_view import face_view
from avbench.report.findings import Group
from avbench.report.media_files import ClipMedia
from avbench.report.spoken_words import spoken_characters, spoken_words
from avbench.report.timeline import timeline
from avbench.results.parquet import read_details

if TYPE_CHECKING:
    from avbench.results import Run

Record = Mapping[str, Any]
PROMPT_CHARS = 140
_TEXTS = (
    ("Prompt", "text"),
    ("Prompt for the video", "video_text"),
    ("Prompt for the audio", "audio_text"),
)
_SPOKEN = ("Spoken text", "speech_text")


@dataclass(frozen=True)
class MetricColumn:
    """A metric in the clip table; `decimals` are those of all its values."""

    name: str
    direction: Direction
    unit: str
    decimals: int


@dataclass(frozen=True)
class ClipData:
    """The clips that the page shows: its table, and what goes into its JSON."""

    table: Table
    details: list[dict[str, Any]]


def clip_media(run: Run, shown: Sequence[str]) -> list[ClipMedia]:
    """The files that the shown clips play, as the clip table names them."""
    rows = records(run.clips[run.clips["clip_id"].isin(shown)])
    return [ClipMedia(row["clip_id"], row["video_path"], row["audio_path"], row["clip_sha256"]) for row in rows]


def clip_data(
    run: Run, shown: Sequence[str], metrics: Sequence[MetricColumn], groups: Sequence[Group], media: MediaBundle
) -> ClipData:
    """Collect the shown clips, in the order of `shown`.

    Args:
        run: the run.
        shown: clip ids.
        metrics: columns of the table.
        groups: what stands out, for the marks on the rows.
        media: the files of these clips.
    """
    flags: dict[str, list[str]] = {}
    for group in groups:
        for finding in group.findings:
            flags.setdefault(finding.clip_id, []).append(group.title)
    clips = {str(row["clip_id"]): row for row in records(run.clips[run.clips["clip_id"].isin(shown)])}
    scores: dict[str, dict[str, Record]] = {}
    for row in _score_records(run, shown):
        scores.setdefault(str(row["clip_id"]), {})[str(row["metric"])] = row
    rows, details = [], []
    for index, clip_id in enumerate(shown):
        clip_scores, marks = scores.get(clip_id, {}), flags.get(clip_id, [])
        rows.append(_table_row(index, clips[clip_id], clip_scores, metrics, marks))
        details.append(_detail(clips[clip_id], clip_scores, metrics, marks, media))
    columns = [
        Column("clip", "clip", "text", data=(("key", "id"),)),
        Column("model", "model", "word", optional=True, data=(("key", "model"),)),
        Column("prompt", "prompt", "text", data=(("key", "prompt"),)),
        *(
            Column(metric.name, metric.name, direction=metric.direction, data=(("metric", str(number)),))
            for number, metric in enumerate(metrics)
        ),
    ]
    return ClipData(Table("Table of clips", tuple(columns), tuple(rows)), details)


def _score_records(run: Run, shown: Sequence[str]) -> Iterable[Record]:
    """Score rows of these clips with their details, which a slim run leaves in its table."""
    rows = run.scores[run.scores["clip_id"].isin(shown)]
    if not rows["detail"].isna().any():
        return records(rows)
    details = read_details(run.path, shown)
    return ({**row, "detail": details.get((row["clip_id"], row["metric"]), "{}")} for row in records(rows))


def records(frame: Any) -> Iterable[Record]:
    """Rows with None for every kind of null."""
    columns = [str(name) for name in frame.columns]
    for values in zip(*(frame[name].tolist() for name in columns), strict=True):
        # NaN, NaT and pandas.NA are the values that do not equal themselves, or not plainly.
        yield {n: v if isinstance(v, (str, int)) or v == v else None for n, v in zip(columns, values, strict=True)}


def prompt_line(clip: Record) -> str:
    """The prompt of a clip as a table has room for it; empty without one."""
    texts = " · ".join(clip[key] for _, key in _TEXTS if isinstance(clip[key], str) and clip[key])
    return texts if len(texts) <= PROMPT_CHARS else texts[:PROMPT_CHARS].rstrip() + "…"


def _table_row(
    index: int, clip: Record, scores: Mapping[str, Record], metrics: Sequence[MetricColumn], marks: list[str]
) -> Row:
    states = {str(row["status"]) for row in scores.values()} - {"ok"}
    states |= {"flagged"} if marks else set()
    name, anchor = str(clip["clip_id"]), f"clip-{index}"
    cells = (
        Cell(name, link=f"#{anchor}"),
        Cell(str(clip["model"] or "")),
        Cell(prompt_line(clip), tone="quiet"),
        *(_cell(scores.get(metric.name), metric, marks) for metric in metrics),
    )
    return Row(cells, anchor=anchor, data=(("row", str(index)), ("state", " ".join(sorted(states)))))


_MARKED = {
    "av_offset": "Out of sync",
    "silence_share": "Silent",
    "frozen_share": "Frozen",
    "black_share": "Black",
}


def _cell(row: Record | None, metric: MetricColumn, marks: list[str]) -> Cell:
    if row is None:
        return Cell()
    if row["status"] == "error":
        return Cell("error", tone="bad", hint=str(row["reason"] or ""))
    if row["status"] != "ok":
        return Cell(NONE, tone="quiet", hint=f"{row['status']}: {row['reason'] or 'no reason given'}")
    return Cell(format_value(row["value"], metric.decimals), tone="bad" if _MARKED.get(metric.name) in marks else "")


def _detail(
    clip: Record, scores: Mapping[str, Record], metrics: Sequence[MetricColumn], marks: list[str], media: MediaBundle
) -> dict[str, Any]:
    offset = scores.get("av_offset")
    video, sound = media.index[str(clip["clip_id"])]
    return {
        "id": clip["clip_id"],
        "model": clip.get("model") or "",
        "flags": marks,
        "problem": clip.get("problem") or "",
        "texts": [[label, clip[key]] for label, key in (*_TEXTS, _SPOKEN) if clip.get(key)],
        "words": _words(scores.get("wer"), scores.get("cer")),
        "metadata": [[label, text] for label, text in _media_metadata(clip) if text],
        "scores": [_score(scores.get(metric.name), metric.decimals) for metric in metrics],
        "video": video,
        "audio": sound,
        "timeline": _timeline(offset),
        "faces": face_view(
            _detail_text(scores.get("lse_c")),
            _detail_text(scores.get("face_ratio")),
            (clip.get("width"), clip.get("height")),
        ),
    }


def _score(row: Record | None, decimals: int) -> list[Any] | None:
    """[value, text, status, reason]; null where the metric has no row for this clip."""
    if row is None:
        return None
    return [row["value"], format_value(row["value"], decimals), row["status"], row["reason"] or ""]


def _timeline(row: Record | None) -> dict[str, Any] | None:
    if row is None or row["status"] == "error":
        return None
    return timeline(str(row["detail"]), "" if row["status"] == "ok" else str(row["reason"] or ""))


def _words(words: Record | None, characters: Record | None) -> dict[str, Any] | None:
    """Edits of words; of characters where words are not separated by blanks, and so have no number."""
    if (detail := _detail_text(words)) is not None:
        return spoken_words(detail)
    detail = _detail_text(characters)
    return None if detail is None else spoken_characters(detail)


def _detail_text(row: Record | None) -> str | None:
    """Detail of a row that has a value."""
    return str(row["detail"]) if row is not None and row["status"] == "ok" else None


def _media_metadata(clip: Record) -> list[tuple[str, str]]:
    def with_unit(key: str, unit: str, form: str = "g") -> str:
        return "" if clip.get(key) is None else f"{clip[key]:{form}} {unit}"

    size = f"{clip['width']:g} × {clip['height']:g}" if clip.get("width") and clip.get("height") else ""
    video = [
        with_unit("duration", "s", ".2f"),
        size,
        with_unit("fps", "fps", ".3g"),
        with_unit("frames", "frames"),
    ]
    sound = [
        with_unit("audio_duration", "s", ".2f"),
        with_unit("sample_rate", "Hz"),
        with_unit("channels", "channel" if clip.get("channels") == 1 else "channels"),
        str(clip.get("audio_source") or ""),
    ]
    return [
        ("Video", ", ".join(filter(None, video))),
        ("Sound", ", ".join(filter(None, sound))),
        ("Sample", str(clip.get("sample_index") or "")),
        ("Prompt id", str(clip.get("prompt_id") or "")),
        ("Video file", str(clip["video_path"])),
        ("Sound file", str(clip.get("audio_path") or "")),
        ("SHA-256", str(clip["clip_sha256"])[:16]),
    ]
