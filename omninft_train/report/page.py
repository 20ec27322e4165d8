"""The page itself: one HTML file that needs no network and no script, safe with any prompt."""

from __future__ import annotations

import base64
import hashlib
import os
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Any

from jinja2 import Environment, StrictUndefined
from markupsafe import Markup

from avbench.statistics import Interval
from omninft_train.errors import EnvironmentProblem
from omninft_train.report import curves
from omninft_train.report.charts import finite, number
from omninft_train.report.content import ClipPair, Report, ScoreRow
from omninft_train.report.heat import HeatFrame, HeatScale, heat_frames, heat_scale


@dataclass(frozen=True)
class ScoreLine:
    """A metric as shown; `verdict` in words, `tone` its colour."""

    name: str
    arrow: str
    before: str
    after: str
    change: str
    verdict: str
    tone: str
    n: int


@dataclass(frozen=True)
class Clip:
    """A clip as shown: its address on the page, None where the file is missing."""

    when: str
    source: str | None
    file: str


def write_report(report: Report, path: Path) -> Path:
    """Write the page under another name and rename it, so that a page with the right name is whole.

    Args:
        report: what is shown.
        path: of the page; missing folders are made.

    Returns:
        `path`. The same report and clips give the same bytes.

    Raises:
        EnvironmentProblem: the page cannot be written.
    """
    text = render_report(report)
    aside = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        aside.write_text(text, encoding="utf-8", errors="replace")
        aside.replace(path)
    except OSError as error:
        raise EnvironmentProblem(
            f"{path}: the page cannot be written ({error.strerror or error}). Free space, or choose another folder."
        ) from error
    finally:
        if aside.exists():
            aside.unlink()
    return path


def render_report(report: Report) -> str:
    """The page as text."""
    style = _asset("report.css")
    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    return environment.from_string(_asset("report.html.j2")).render(
        policy=_policy(style),
        style=Markup(style),  # noqa: S704 - our own file
        report=report,
        number=number,
        **_log_context(report),
        scores=_score_groups(report.scores),
        pairs=[(pair, [_clip("Before", pair.before), _clip("After", pair.after)]) for pair in report.pairs],
        pair_scores=_pair_scores,
        overlays=_overlays(report),
    )


def score_line(row: ScoreRow) -> ScoreLine:
    """A metric as shown. A change is called one where its paired 95 % interval over prompts leaves out 0."""
    before, after = finite(row.before_mean), finite(row.after_mean)
    arrow = {True: "↑", False: "↓", None: "·"}[row.higher_is_better]
    if before is None or after is None:
        return ScoreLine(row.name, arrow, number(before), number(after), "–", "no value", "", row.n)
    verdict, tone = _verdict(row.change, row.higher_is_better)
    change = _with_interval(after - before, row.change)
    return ScoreLine(row.name, arrow, number(before), number(after), change, verdict, tone, row.n)


def signed(change: float) -> str:
    """A difference with its sign."""
    return ("+" if change > 0 else "") + number(change)


def _verdict(change: Interval | None, higher_is_better: bool | None) -> tuple[str, str]:
    if change is None:
        return "one value for all clips: no interval", ""
    if change.low is None or change.mean is None:
        return f"no interval: {change.reason}", ""
    if not change.excludes_zero:
        return "no clear change", ""
    if higher_is_better is None:
        return "changed", "changed"
    return ("better", "better") if (change.mean > 0) == higher_is_better else ("worse", "worse")


def _with_interval(difference: float, change: Interval | None) -> str:
    if change is None or change.low is None or change.high is None:
        return signed(difference)
    return f"{signed(difference)} [{signed(change.low)}, {signed(change.high)}]"


def _score_groups(rows: list[ScoreRow]) -> list[tuple[str, str, list[ScoreLine]]]:
    """(heading, remark, lines): what training raised, then what it never saw."""
    groups = (("Rewarded", "training aimed at these", True), ("Held out", "not rewarded", False))
    return [(title, remark, [score_line(r) for r in rows if r.rewarded == seen]) for title, remark, seen in groups]


def _overlays(report: Report) -> list[tuple[str, HeatScale, list[HeatFrame]]]:
    scales = [heat_scale(overlay) for overlay in report.overlays]
    return [(o.prompt, scale, heat_frames(o, scale)) for o, scale in zip(report.overlays, scales, strict=True)]


def _pair_scores(pair: ClipPair) -> list[tuple[str, str, str, str]]:
    rows = []
    for name, *values in pair.scores:
        before, after = map(finite, values)
        change = "–" if before is None or after is None else signed(after - before)
        rows.append((name, number(before), number(after), change))
    return rows


def _log_context(report: Report) -> dict[str, Any]:
    log = report.log
    failed = sum(row.invalid for row in curves.reward_rows(log))
    return {
        "rewards": curves.reward_charts(log, report.config_toml),
        "reward_rows": curves.reward_rows(log),
        "ends": curves.ends_width(log),
        "conflict": curves.conflict_charts(log),
        "depth": curves.depth_charts(log),
        "depth_tables": curves.depth_tables(log),
        "optimisation": curves.optimisation_charts(log),
        "phases": curves.phase_rows(log),
        "failed": failed,
    }


def _clip(when: str, path: Path) -> Clip:
    try:
        data = base64.b64encode(path.read_bytes()).decode("ascii")
    except OSError:
        return Clip(when, None, path.name)
    return Clip(when, f"data:video/mp4;base64,{data}", path.name)


def _asset(name: str) -> str:
    return (files("omninft_train.report") / "templates" / name).read_text(encoding="utf-8")


def _policy(style: str) -> str:
    """Content security policy: this style sheet, pictures and clips inside the page, no script, no network."""
    digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode("ascii")
    parts = ("default-src 'none'", f"style-src 'sha256-{digest}'", "img-src data:", "media-src data:")
    return "; ".join((*parts, "base-uri 'none'", "form-action 'none'"))
