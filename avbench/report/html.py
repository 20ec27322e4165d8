"""One self-contained HTML page per run: no network, no server, safe with any prompt or file name."""

from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import Sequence
from importlib.resources import files
from pathlib import Path
from typing import Any

from jinja2 import Environment, StrictUndefined
from markupsafe import Markup

from avbench.files import write_atomically
from avbench.report.clip_data import clip_data, clip_media, script_json
from avbench.report.findings import LISTED, Group, attention, failures, select_clips
from avbench.report.media_embed import Embed, MediaBundle, bundle_media
from avbench.report.media_files import MediaFinder
from avbench.report.sections import (
    category_map,
    glossary,
    metric_decimals,
    metric_facts,
    model_table,
    summary_rows,
)
from avbench.report.tables import direction, format_unit, watermark
from avbench.results import Run
from avbench.terminal.text import visible_page


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
        max_clips: most clips shown one by one; beyond it, those that stand out and the most extreme ones.
            Means, plots and problems always cover all clips.
        folders: where media may lie, beside the run's own source and the folder that the run lies in.
        search: look below `folders` for the media under any name.

    Returns:
        The path of the page. The same run and media give the same bytes.

    Raises:
        EnvironmentProblem: the page cannot be written.
    """
    page = out or run.path / "report.html"
    finder = MediaFinder(run, folders, search=search)
    text = render_report(run, page.parent, finder, embed=embed, max_clips=max_clips)
    write_atomically(page, text.encode("utf-8", "replace"))
    return page


def render_report(run: Run, page_folder: Path, finder: MediaFinder, *, embed: Embed, max_clips: int) -> str:
    """The page as text; links to media are relative to `page_folder`."""
    groups = attention(run)
    shown = select_clips(run, groups, max_clips)
    media = bundle_media(clip_media(run, shown), finder, page_folder, embed)
    style, script = _asset("report.css"), _asset("report.js")
    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    template = environment.from_string(_asset("templates/report.html.j2"))
    page = template.render(
        policy=_policy(style, script),
        style=Markup(style),  # noqa: S704 - our own file
        script=Markup(script),  # noqa: S704 - our own file
        **_context(run, groups, shown, media),
    )
    return visible_page(page)


def _context(run: Run, groups: list[Group], shown: list[str], media: MediaBundle) -> dict[str, Any]:
    index = {clip: number for number, clip in enumerate(shown)}
    summary = summary_rows(run, index)
    metrics = [row.name for row in summary]
    decimals = metric_decimals(run)
    clips = clip_data(run, shown, {name: decimals[name] for name in metrics}, groups, media)
    models, by_model = model_table(run)
    columns = [
        {"name": m, "arrow": direction(metric_facts(run, m)), "unit": format_unit(metric_facts(run, m))}
        for m in metrics
    ]
    return {
        "info": run.info,
        "watermark": watermark(run.info),
        "name": _name(run),
        "about": _about(run),
        "counters": _counters(run, groups),
        "groups": groups,
        "listed": LISTED,
        "index": index,
        "summary": summary,
        "models": models,
        "by_model": by_model,
        "map": category_map(run),
        "columns": columns,
        "rows": clips.rows,
        "n_clips": len(run.clips),
        "has_models": bool(run.clips["model"].notna().any()),
        "errors": failures(run, "error"),
        "skipped": failures(run, "skipped"),
        "glossary": glossary(run, metrics),
        "environment": sorted((str(k), str(v)) for k, v in (run.info.get("environment") or {}).items()),
        "data": _script({"metrics": columns, "clips": clips.details, "files": _file_list(media)}),
        "files": [(number, _script(f.data)) for number, f in enumerate(media.files) if f.data is not None],
    }


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
    if not any(facts.get("checkpoint") for facts in (run.info.get("metrics") or {}).values()):
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


def _script(content: Any) -> Markup:
    return Markup(script_json(content))  # noqa: S704 - escaped by script_json


def _asset(name: str) -> str:
    return (files("avbench.report") / name).read_text(encoding="utf-8")


def _policy(style: str, script: str) -> str:
    """Content security policy: this script, this style sheet, media from here, nothing else, no network."""

    def digest(text: str) -> str:
        return base64.b64encode(hashlib.sha256(text.encode()).digest()).decode("ascii")

    return "; ".join(
        (
            "default-src 'none'",
            f"script-src 'sha256-{digest(script)}'",
            f"style-src 'sha256-{digest(style)}'",
            "img-src data:",
            "media-src 'self' file: data: blob:",
            "base-uri 'none'",
            "form-action 'none'",
        )
    )
