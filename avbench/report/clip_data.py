"""One clip at a time: its row in the clip table, and the data that report.js opens it with."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from avbench.report.findings import Group
from avbench.report.media_embed import MediaBundle
from avbench.report.media_files import ClipMedia
from avbench.report.tables import NONE, format_value
from avbench.report.timeline import timeline
from avbench.terminal.text import visible_page

if TYPE_CHECKING:
    from avbench.results import Run

Record = Mapping[str, Any]
PROMPT_CHARS = 140
_TEXTS = (
    ("Prompt", "text"),
    ("Prompt for the picture", "video_text"),
    ("Prompt for the sound", "audio_text"),
)


@dataclass(frozen=True)
class TableRow:
    """One line of the clip table; `cells` holds (text, class, hint) per metric."""

    index: int
    clip_id: str
    model: str
    prompt: str
    state: str
    cells: list[tuple[str, str, str]]


@dataclass(frozen=True)
class ClipData:
    """The clips that the page shows: table rows, and what goes into its JSON."""

    rows: list[TableRow]
    details: list[dict[str, Any]]


def clip_media(run: Run, shown: Sequence[str]) -> list[ClipMedia]:
    """The files that the shown clips play, as the clip table names them."""
    rows = _records(run.clips[run.clips["clip_id"].isin(shown)])
    return [ClipMedia(row["clip_id"], row["video_path"], row["audio_path"], row["clip_sha256"]) for row in rows]


def clip_data(
    run: Run, shown: Sequence[str], metrics: Mapping[str, int], groups: Sequence[Group], media: MediaBundle
) -> ClipData:
    """Collect the shown clips, in the order of `shown`.

    Args:
        run: the run.
        shown: clip ids.
        metrics: metric names, the columns of the table, with the decimals of their values.
        groups: what stands out, for the marks on the rows.
        media: the files of these clips.
    """
    flags: dict[str, list[str]] = {}
    for group in groups:
        for finding in group.findings:
            flags.setdefault(finding.clip_id, []).append(group.title)
    clips = {str(row["clip_id"]): row for row in _records(run.clips[run.clips["clip_id"].isin(shown)])}
    scores: dict[str, dict[str, Record]] = {}
    for row in _records(run.scores[run.scores["clip_id"].isin(shown)]):
        scores.setdefault(str(row["clip_id"]), {})[str(row["metric"])] = row
    rows, details = [], []
    for index, clip_id in enumerate(shown):
        own, marks = scores.get(clip_id, {}), flags.get(clip_id, [])
        rows.append(_table_row(index, clips[clip_id], own, metrics, marks))
        details.append(_detail(clips[clip_id], own, metrics, marks, media))
    return ClipData(rows, details)


def script_json(content: Any) -> str:
    """JSON that cannot end its <script> element, open a comment, or break a line in old parsers."""
    text = json.dumps(_shown(content), ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    for sign in "<>&\u2028\u2029":
        text = text.replace(sign, f"\\u{ord(sign):04x}")
    return text


def _shown(content: Any) -> Any:
    """The same with every text visible: as JSON, a hidden sign would come back when the page reads it."""
    if isinstance(content, str):
        return visible_page(content)
    if isinstance(content, Mapping):
        return {_shown(key): _shown(value) for key, value in content.items()}
    return [_shown(value) for value in content] if isinstance(content, list | tuple) else content


def _records(frame: Any) -> Iterable[Record]:
    """Rows with None for every kind of null."""
    columns = [str(name) for name in frame.columns]
    for values in zip(*(frame[name].tolist() for name in columns), strict=True):
        # NaN, NaT and pandas.NA are the values that do not equal themselves, or not plainly.
        yield {n: v if isinstance(v, (str, int)) or v == v else None for n, v in zip(columns, values, strict=True)}


def _table_row(
    index: int, clip: Record, own: Mapping[str, Record], metrics: Mapping[str, int], marks: list[str]
) -> TableRow:
    texts = " · ".join(str(clip[key]) for _, key in _TEXTS if clip.get(key))
    prompt = texts if len(texts) <= PROMPT_CHARS else texts[:PROMPT_CHARS].rstrip() + "…"
    states = {str(row["status"]) for row in own.values()} - {"ok"}
    states |= {"flagged"} if marks else set()
    cells = [_cell(own.get(metric), metric, places, marks) for metric, places in metrics.items()]
    return TableRow(index, str(clip["clip_id"]), str(clip["model"] or ""), prompt, " ".join(sorted(states)), cells)


_MARKED = {
    "av_offset": "Out of sync",
    "silence_share": "Silent",
    "frozen_share": "Frozen",
    "black_share": "Black",
}


def _cell(row: Record | None, metric: str, places: int, marks: list[str]) -> tuple[str, str, str]:
    if row is None:
        return "", "", ""
    if row["status"] != "ok":
        return ("error" if row["status"] == "error" else NONE), str(row["status"]), str(row["reason"] or "")
    return format_value(row["value"], places), "marked" if _MARKED.get(metric) in marks else "", ""


def _detail(
    clip: Record, own: Mapping[str, Record], metrics: Mapping[str, int], marks: list[str], media: MediaBundle
) -> dict[str, Any]:
    offset = own.get("av_offset")
    video, sound = media.index[str(clip["clip_id"])]
    return {
        "id": clip["clip_id"],
        "model": clip.get("model") or "",
        "flags": marks,
        "problem": clip.get("problem") or "",
        "texts": [[label, clip[key]] for label, key in _TEXTS if clip.get(key)],
        "facts": [[label, text] for label, text in _facts(clip) if text],
        "scores": [_score(own.get(metric), places) for metric, places in metrics.items()],
        "video": video,
        "audio": sound,
        "timeline": _timeline(offset),
    }


def _score(row: Record | None, places: int) -> list[Any] | None:
    """[value, text, status, reason]; null where the metric has no row for this clip."""
    if row is None:
        return None
    return [row["value"], format_value(row["value"], places), row["status"], row["reason"] or ""]


def _timeline(row: Record | None) -> dict[str, Any] | None:
    if row is None or row["status"] == "error":
        return None
    return timeline(str(row["detail"]), "" if row["status"] == "ok" else str(row["reason"] or ""))


def _facts(clip: Record) -> list[tuple[str, str]]:
    def with_unit(key: str, unit: str, form: str = "g") -> str:
        return "" if clip.get(key) is None else f"{clip[key]:{form}} {unit}"

    size = f"{clip['width']:g} × {clip['height']:g}" if clip.get("width") and clip.get("height") else ""
    picture = [
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
        ("Picture", ", ".join(filter(None, picture))),
        ("Sound", ", ".join(filter(None, sound))),
        ("Sample", str(clip.get("sample_index") or "")),
        ("Prompt id", str(clip.get("prompt_id") or "")),
        ("Video file", str(clip["video_path"])),
        ("Sound file", str(clip.get("audio_path") or "")),
        ("SHA-256", str(clip["clip_sha256"])[:16]),
    ]
