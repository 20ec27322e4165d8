"""One self-contained HTML page per run: no network, no server, safe with any prompt or file name."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from avbench.direction import Direction
from avbench.errors import UsageError
from avbench.pages.media import Embed, MediaBundle, bundle_media
from avbench.pages.shell import Kind, render, script_data, write_page
from avbench.report.clip_data import MetricColumn, clip_data, clip_media
from avbench.report.findings import LISTED, Group, attention, failures, select_clips
from avbench.report.media_files import MediaFinder
from avbench.report.other_clips import other_clips
from avbench.report.sections import (
    category_map,
    glossary,
    metric_decimals,
    metric_metadata,
    model_table,
    summarise_metrics,
)
from avbench.report.tables import format_unit, watermark
from avbench.results import Run
from avbench.statistics.summary import asked

_PLAYERS = ("'self'", "file:", "data:", "blob:")
KIND = Kind(
    "avbench.report",
    "report.html.j2",
    "report.css",
    ("clip_table.js", "timeline.js", "faces.js", "report.js"),
    _PLAYERS,
)


def write_report(
    run: Run,
    out: Path | None = None,
    *,
    embed: Embed = "auto",
    max_clips: int = 500,
    folders: Sequence[Path] = (),
    search: bool = False,
) -> Path:
    """Write the report of a run.

    Args:
        run: a run that was read back.
        out: the page; `report.html` in the run folder where None.
        embed: whether media files go inside the page: "always", "never" (links relative to the page), or
            "auto": inside while all shown clips together have at most 40 MB.
        max_clips: most clips with players and details; beyond it, those that stand out and the most extreme ones. The
            others follow in the table with their scores. Means, plots and problems always cover all clips.
        folders: where media may lie, beside the run's own source and the folder that the run lies in.
        search: look below `folders` for the media under any name.

    Returns:
        The path of the page. The same run and media give the same bytes.

    Raises:
        UsageError: the run was read from object storage, where details of its clips stay.
        EnvironmentProblem: the page cannot be written.
    """
    if run.address:
        raise UsageError(f"{run.address}: only 'avbench report' makes the page of a run in object storage.")
    page = out or run.path / "report.html"
    finder = MediaFinder(run, folders, search=search)
    write_page(page, render_report(run, page.parent, finder, embed=embed, max_clips=max_clips))
    return page


def render_report(run: Run, page_folder: Path, finder: MediaFinder, *, embed: Embed, max_clips: int) -> str:
    """The page as text; links to media are relative to `page_folder`.

    Rows of metrics that the suite does not ask of a clip stay out: where each dimension has prompts of its own, most
    rows would say nothing else.
    """
    run = replace(run, scores=asked(run.scores))
    groups = attention(run)
    shown = select_clips(run, groups, max_clips)
    media = bundle_media({clip.clip_id: finder.find(clip) for clip in clip_media(run, shown)}, page_folder, embed)
    return render(KIND, _context(run, groups, shown, media))


def _context(run: Run, groups: list[Group], shown: list[str], media: MediaBundle) -> dict[str, Any]:
    index = {clip: number for number, clip in enumerate(shown)}
    summary = summarise_metrics(run, index)
    columns = _columns(run, summary.metrics)
    clips = clip_data(run, shown, columns, groups, media)
    named = [
        {"name": one.name, "arrow": one.direction.arrow, "unit": one.unit, "decimals": one.decimals} for one in columns
    ]
    others = other_clips(run, shown, columns, groups)
    content = {
        "groups": groups,
        "listed": LISTED,
        "index": index,
        "summary": summary,
        "models": model_table(run),
        "map": category_map(run),
        "clips": clips.table,
        "n_clips": len(run.clips),
        "others": others is not None,
        "errors": failures(run, "error"),
        "skipped": failures(run, "skipped"),
        "glossary": glossary(run, summary.metrics),
        "environment": sorted((str(k), str(v)) for k, v in (run.info.get("environment") or {}).items()),
        "data": script_data({"metrics": named, "clips": clips.details, "files": _file_list(media), "others": others}),
        "files": [(number, script_data(f.data)) for number, f in enumerate(media.files) if f.data is not None],
    }
    return content | _head(run, groups) | {"sections": _sections(content)}


def _head(run: Run, groups: list[Group]) -> dict[str, Any]:
    return {
        "brand": "avbench report",
        "title": _name(run),
        "warning": watermark(run.info),
        "metadata": _about(run),
        "command": str(run.info.get("command") or ""),
        "notes": run.info.get("notes") or [],
        "counters": _counters(run, groups),
    }


def _sections(content: dict[str, Any]) -> list[tuple[str, str]]:
    """Ids and names of the sections that the page has."""
    sections = [
        ("attention", "Attention", content["groups"]),
        ("summary", "Summary", True),
        ("models", "Models", content["models"]),
        ("categories", "Categories", content["map"]),
        ("distributions", "Distributions", content["summary"].plots),
        ("clips", "Clips", True),
        ("problems", "Problems", content["errors"] or content["skipped"]),
        ("glossary", "Metrics", content["glossary"]),
    ]
    return [(name, label) for name, label, there in sections if there]


def _columns(run: Run, metrics: Sequence[str]) -> list[MetricColumn]:
    decimals = metric_decimals(run)
    metadata = {name: metric_metadata(run, name) for name in metrics}
    return [
        MetricColumn(name, Direction.of_metadata(metadata[name]), format_unit(metadata[name]), decimals[name])
        for name in metrics
    ]


def _name(run: Run) -> str:
    """The last part of the source's path, else the run's id."""
    source = str(run.info.get("source") or "").rstrip("/\\")
    return re.split(r"[/\\]", source)[-1] or str(run.info.get("run_id") or "run")


def _about(run: Run) -> list[tuple[str, str]]:
    suite = " ".join(str(run.info.get(key) or "") for key in ("suite", "suite_version")).strip()
    kind = str(run.info.get("source_kind") or "")
    source = str(run.info.get("source") or "")
    pairs = [
        ("Source", f"{source} ({kind})" if source and kind else source),
        ("Suite", suite),
        ("Networks", _networks(run)),
        ("Scored", str(run.info.get("created") or "").replace("T", " ").replace("+00:00", " UTC")),
        ("Run", str(run.info.get("run_id") or "")),
    ]
    return [(label, text) for label, text in pairs if text]


def _networks(run: Run) -> str:
    """Precision and protocol of a run with networks; empty for one without."""
    if not any(metadata.get("checkpoint") for metadata in (run.info.get("metrics") or {}).values()):
        return ""
    parts = (run.info.get("weights"), run.info.get("precision"), run.info.get("protocol"))
    return ", ".join(str(part) for part in parts if part)


def _counters(run: Run, groups: list[Group]) -> list[tuple[str, str, str]]:
    """(number, what it counts, class)."""

    def clips_with(status: str) -> int:
        return int(run.scores.loc[run.scores["status"] == status, "clip_id"].nunique())

    flagged = len({finding.clip_id for group in groups for finding in group.findings})
    failed = clips_with("error")
    return [
        (f"{len(run.clips):,}", "clip" if len(run.clips) == 1 else "clips", ""),
        (f"{run.scores['metric'].nunique():,}", "metrics", ""),
        (f"{flagged:,}", "need attention", "warn" if flagged else ""),
        (f"{failed:,}", "with errors", "bad" if failed else ""),
        (f"{clips_with('skipped'):,}", "with skipped metrics", ""),
    ]


def _file_list(media: MediaBundle) -> list[dict[str, Any]]:
    return [
        {"type": file.type, "inside": file.data is not None, "src": file.src, "note": file.note} for file in media.files
    ]
