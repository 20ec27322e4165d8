"""A study as files: the long table, means and correlations, Markdown, a plot, and the settings to repeat it."""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import astuple, fields
from itertools import groupby
from pathlib import Path
from typing import Any

from avbench.direction import Direction
from avbench.doctor.environment import describe_environment
from avbench.files import below_or_name, make_folder, write_atomically
from avbench.pages.markdown import table_markdown
from avbench.pages.numbers import NONE, decimals_for, format_ends, format_value
from avbench.pages.table import Column, Table, row_of
from avbench.pages.table import Row as TableRow
from avbench.terminal.text import markdown_text, to_csv
from avbench.validity.corruption_scorer import Row
from avbench.validity.corruptions import CORRUPTIONS, Corruption
from avbench.validity.plot import draw_responses
from avbench.validity.statistics import Response, Verdict
from avbench.validity.study import Study

_LEVELS = max(len(corruption.labels) for corruption in CORRUPTIONS)
# Under damage a score should move against the way in which it is better.
_EXPECTED = {Direction.HIGHER: -1, Direction.LOWER: 1, Direction.NEITHER: None}
_METRIC = Column("metric", "metric", "name")
_RESPONSE = (
    Column("n", "n"), Column("rho", "ρ"), Column("clip_rho", "ρ per clip"), Column("p", "p"),
    Column("worse", "worse"), Column("verdict", "verdict", "word"),
)  # fmt: skip
GROUPS: dict[str, tuple[Verdict, ...]] = {
    "gets worse": ("gets worse",),
    "gets better": ("gets better",),
    "moves (neither direction is good)": ("rises", "falls"),
    "unclear": ("unclear",),
    "no change": ("no change",),
    "too few clips": ("too few clips",),
}
"""Headings of the overview, with the verdicts below each."""


def write_study(study: Study, responses: Sequence[Response], out: Path) -> list[Path]:
    """Write all files of a study. The same inputs give the same bytes.

    Raises:
        EnvironmentProblem: the folder cannot be written.
    """
    texts = {
        "validity.csv": to_csv((field.name for field in fields(Row)), map(astuple, study.rows)),
        "summary.csv": to_csv(_SUMMARY_COLUMNS, map(_summary_row, responses)),
        "summary.md": render_markdown(study, responses),
        "validity.svg": draw_responses(study.rows, responses),
        "study.json": json.dumps(describe_study(study), indent=2, ensure_ascii=False) + "\n",
    }
    make_folder(out)
    for name, text in texts.items():
        write_atomically(out / name, text.encode("utf-8", "replace"))
    return [out / name for name in texts]


_SUMMARY_COLUMNS = (
    "metric", "corruption", "expected", "rho", "clip_rho", "clip_rho_low", "clip_rho_high", "p", "compared", "worse",
    "n_ok", "n_skipped", "n_error", "verdict",
    *(f"{name}_{level}" for level in range(_LEVELS) for name in ("severity", "mean", "n")),
)  # fmt: skip


def _summary_row(r: Response) -> list[Any]:
    levels = [cell for level in zip(r.labels, r.means, r.counts, strict=True) for cell in level]
    return [
        r.metric, r.corruption, _EXPECTED[r.direction], r.rho, r.clip_rho, *(r.interval or (None, None)), r.p,
        r.compared, r.worse,
        *(r.statuses.get(status, 0) for status in ("ok", "skipped", "error")), r.verdict,
        *levels, *[None] * (3 * _LEVELS - len(levels)),
    ]  # fmt: skip


def describe_study(study: Study) -> dict[str, Any]:
    """What is needed to make the study again: inputs, settings, versions, weights."""
    settings = study.settings
    return {
        "source": below_or_name(study.source.root, Path.cwd()),
        "clips": study.shas,
        "suite": study.suite.name,
        "suite_version": study.suite.version,
        "seconds": settings.seconds,
        "size": settings.size,
        "seed": settings.seed,
        "device": settings.device,
        "precision": settings.setup.precision,
        "corruptions": {c.name: {"what": c.what, "unit": c.unit, "severities": c.labels} for c in CORRUPTIONS},
        "metrics": {s.name: s.metadata() | {"weights_digest": s.weights_digest(settings.setup)} for s in study.scorers},
        "passed_over": study.passed_over,
        "stopped": study.stopped,
        "environment": describe_environment(),
    }


def render_markdown(study: Study, responses: Sequence[Response]) -> str:
    """Overview, one table for each corruption, and what is missing, as GitHub Markdown."""
    frames = f"frames at most {study.settings.size} px long" if study.settings.size else "frames at full size"
    parts = [
        f"{len(study.shas)} clips, the first {study.settings.seconds:g} s of each, {frames}.",
        table_markdown(_overview_table(responses)),
    ]
    ordered = sorted(responses, key=lambda r: [c.name for c in CORRUPTIONS].index(r.corruption))
    known = {corruption.name: corruption for corruption in CORRUPTIONS}
    for name, group in groupby(ordered, key=lambda r: r.corruption):
        parts += _corruption_parts(known[name], list(group))
    return "\n\n".join(parts + _missing(study, responses)) + "\n"


def overview(responses: Sequence[Response]) -> list[tuple[str, dict[str, str]]]:
    """(metric, corruptions by heading of `GROUPS`) in the order of `responses`; headings without any are left out."""
    rows = []
    for metric, group in groupby(responses, key=lambda r: r.metric):
        answers = list(group)
        named = {title: [r.corruption for r in answers if r.verdict in kinds] for title, kinds in GROUPS.items()}
        cells = {title: ", ".join(names) for title, names in named.items() if names}
        rows.append(
            (metric, {title: f"all {len(answers)}" for title in cells} if len(cells) == 1 < len(answers) else cells)
        )
    return rows


def overview_table(study: Study, responses: Sequence[Response]) -> Table:
    """What each metric's score does under damage, in two columns."""
    columns = (Column("metric", "metric", "name"), Column("response", "what its score does under damage", "text"))
    rows = [
        row_of((metric, "\n".join(f"{title}: {names}" for title, names in cells.items())))
        for metric, cells in overview(responses)
    ]
    return Table(f"{len(study.shas)} clips", columns, tuple(rows))


def _overview_table(responses: Sequence[Response]) -> Table:
    columns = (_METRIC, *(Column(title, title, "text", optional=True) for title in GROUPS))
    rows = [row_of((metric, *(cells.get(title, "") for title in GROUPS))) for metric, cells in overview(responses)]
    return Table("Overview", columns, tuple(rows))


def _corruption_parts(corruption: Corruption, responses: Sequence[Response]) -> list[str]:
    severities = ["with"] if corruption.binary else [f"{severity:g}" for severity in corruption.severities]
    unit = f" Severities: {corruption.unit}." if corruption.unit else ""
    parts = [f"### {corruption.name}", f"{corruption.what[0].upper()}{corruption.what[1:]}.{unit}"]
    moving = [response for response in responses if response.verdict != "no change"]
    if moving:
        levels = (Column(f"mean_{number}", label) for number, label in enumerate(["untouched", *severities]))
        columns = (_METRIC, Column("direction", "direction", "sign"), *levels, *_RESPONSE)
        parts.append(table_markdown(Table(corruption.name, columns, tuple(map(_response_row, moving)))))
    if still := [f"`{response.metric}`" for response in responses if response.verdict == "no change"]:
        parts.append(f"No change: {', '.join(still)}.")
    return parts


def _response_row(r: Response) -> TableRow:
    decimals = _decimals(r)
    counts = f"{r.counts[0]}" if len(set(r.counts)) == 1 else ", ".join(map(str, r.counts))
    texts = (
        r.metric,
        r.direction.arrow,
        *(format_value(mean, decimals) for mean in r.means),
        counts,
        format_value(r.rho, 2),
        _with_interval(r.clip_rho, r.interval),
        "<0.001" if r.p is not None and r.p < 0.001 else format_value(r.p, 3),
        NONE if r.worse is None else f"{r.worse} of {r.compared}",
        r.verdict,
    )
    return row_of(texts)


def _decimals(r: Response) -> int:
    """Decimals for the means: up to two more where they would all look the same."""
    known = [mean for mean in r.means if mean is not None]
    decimals = decimals_for(known)
    span = max(known, default=0.0) - min(known, default=0.0)
    return max(decimals, min(decimals + 2, 1 - math.floor(math.log10(span)))) if span > 0 else decimals


def _with_interval(value: float | None, interval: tuple[float, float] | None) -> str:
    text = format_value(value, 2)
    return text if value is None or interval is None else f"{text} {format_ends(interval, 2)}"


def _missing(study: Study, responses: Sequence[Response]) -> list[str]:
    """Metrics that did not take part, and scores without a number, as counts by reason."""
    parts = []
    for title, reasons in (("Passed over", study.passed_over), ("Stopped", study.stopped)):
        if reasons:
            lines = []
            for reason in dict.fromkeys(reasons.values()):
                names = ", ".join(f"`{name}`" for name, why in reasons.items() if why == reason)
                lines.append(f"- {names}: {markdown_text(reason)}")
            parts += [f"### {title}", "\n".join(lines)]
    empty = Counter({(r.metric, why): 0 for r in responses for why in r.reasons})
    for r in responses:
        empty.update({(r.metric, why): count for why, count in r.reasons.items()})
    if empty:
        columns = (_METRIC, Column("rows", "rows"), Column("reason", "reason", "text"))
        rows = [row_of((metric, str(count), why)) for (metric, why), count in empty.items()]
        parts += ["### Rows without a score", table_markdown(Table("Rows without a score", columns, tuple(rows)))]
    return parts
