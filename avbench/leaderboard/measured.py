"""Runs of our own as measured rows: means over clips with their provenance, and the file that they are kept in."""

from __future__ import annotations

import hashlib
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import astuple, dataclass, replace
from pathlib import Path
from typing import Any

from avbench.direction import Direction
from avbench.errors import UsageError
from avbench.files import make_folder, write_atomically
from avbench.leaderboard.lines import Line, untidy
from avbench.leaderboard.read import MEASURED, Reading, read_folder
from avbench.leaderboard.rules import cross_problems, measured_problems
from avbench.leaderboard.schema import MEASURED_COLUMNS, REAL_WEIGHTS, MeasuredRow, Problem, as_figures
from avbench.leaderboard.views import view_problems
from avbench.results import Run, by_metric
from avbench.results.read import summary_of
from avbench.terminal.text import one_line, to_csv

_FILE = re.compile(r"[A-Za-z0-9][\w.-]*\.csv")
_BATCH = 65_536


@dataclass(frozen=True)
class About:
    """Provenance that a run folder does not hold: benchmark, seeds, names, machine.

    Attributes:
        benchmark: prompts and protocol, in the words that other rows of the same benchmark use.
        seeds: of the generator or of training, separated by spaces; "none" for recorded clips.
        row: name of the model; empty for the one in the clip table, or else the name of the run's folder.
        setting, backbone, method, generator_digest, note: as in `MeasuredRow`.
        machine: in words; empty for the platform that the run recorded.
    """

    benchmark: str
    seeds: str
    row: str = ""
    setting: str = ""
    backbone: str = ""
    method: str = ""
    machine: str = ""
    generator_digest: str = ""
    note: str = ""


def run_digest(run: Run) -> str:
    """Digest over the contents of a run's score table: what was computed, from what, with which result.

    It depends on neither order, names, dates nor times. 16 hexadecimal digits.
    """
    columns = ["scope", "clip_sha256", "metric", "metric_version", "params_digest", "weights_digest", "status", "value"]
    table, lines, digest = run.scores[columns], list[bytes](), hashlib.sha256()
    for start in range(0, len(table), _BATCH):  # all cells of a long run at once would take more than its lines
        rows = table.iloc[start : start + _BATCH].itertuples(index=False, name=None)
        lines += ["\t".join(map(_exact, row)).encode() for row in rows]
    lines.sort()
    for number, line in enumerate(lines):
        digest.update(b"\n" + line if number else line)
    return digest.hexdigest()[:16]


def _exact(value: Any) -> str:
    return "" if isinstance(value, float) and math.isnan(value) else str(value)


def measured_rows(run: Run, about: About) -> list[MeasuredRow]:
    """One row per metric, and per model where the run has several.

    Metrics without any value are left out, and metrics over sets where the run has several models.

    Args:
        run: a run folder that was read; a slim one is enough, and takes a tenth of the memory.
        about: what the folder does not hold.

    Raises:
        UsageError: the run has keyed-random weights, or does not say which, or has no value at all.
    """
    from avbench.statistics.summary import clusters_of, ranges_of, summarize

    _refuse_test_weights(run)
    models = sorted(str(name) for name in run.scores["model"].dropna().unique())
    if len(models) > 1:
        if about.row:
            raise UsageError(
                f"{run.name} has several models ({', '.join(models)}); leave out the name of the row (--row)."
            )
        parts = (part[part["scope"] == "clip"] for part in by_metric(run.scores))
        clusters, ranges = clusters_of(run.clips), ranges_of(run.info)
        entries = [entry for part in parts for entry in summarize(part, clusters, ranges, ["model"])]
        summaries = [(str(entry["model"]), entry) for entry in entries if entry["model"] in models]
    else:
        name = about.row or (models[0] if models else run.path.resolve().name)
        without_labels = replace(run, categories=run.categories.iloc[:0])  # their entries are not wanted
        summaries = [(name, entry) for entry in summary_of(without_labels)["overall"]]
    digest = run_digest(run)
    rows = [_row(run, about, digest, name, entry) for name, entry in summaries if entry["mean"] is not None]
    if not rows:
        raise UsageError(f"{run.name} has no value: nothing to add. 'avbench report' shows the reasons.")
    return rows


def _refuse_test_weights(run: Run) -> None:
    weights = run.info.get("weights")
    if weights != REAL_WEIGHTS:
        kind = f"{weights} weights" if weights else "weights that run.json does not name"
        raise UsageError(
            f"{run.name} was scored with {kind}: its numbers mean nothing and cannot enter a leaderboard. "
            "Score the clips again with real weights (--weights checkpoints)."
        )


def _row(run: Run, about: About, digest: str, name: str, entry: Mapping[str, Any]) -> MeasuredRow:
    info, metric = run.info, str(entry["metric"])
    metadata = (info.get("metrics") or {}).get(metric, {})
    environment = info.get("environment") or {}
    direction = Direction.of_metadata(metadata)
    digests = run.scores.loc[(run.scores["metric"] == metric) & (run.scores["status"] == "ok"), "weights_digest"]
    return MeasuredRow(
        benchmark=about.benchmark,
        row=name,
        setting=about.setting,
        backbone=about.backbone,
        method=about.method,
        metric=metric,
        quantity=metric.removesuffix("_compat"),
        mode=str((metadata.get("params") or {}).get("mode", "fixed")),
        value=_number(entry["mean"]),
        spread="",
        low=_number(entry["low"]),
        high=_number(entry["high"]),
        n=str(entry["n_ok"]),
        n_of=str(entry["n"]),
        unit=str(metadata.get("unit") or "1"),
        direction="n/a" if direction is Direction.NEITHER else direction.value,
        run_digest=digest,
        weights_digest=" ".join(sorted(set(digests))) or "none",
        weights=REAL_WEIGHTS,
        precision=str(info.get("precision") or "fp32"),
        protocol=str(info.get("protocol") or ""),
        generator_digest=about.generator_digest,
        seeds=" ".join(about.seeds.replace(",", " ").split()),
        machine=one_line(about.machine or str(environment.get("platform", ""))),
        date=str(info.get("created", ""))[:10],
        avbench_version=str(environment.get("avbench", "")),
        command=one_line(str(info.get("command") or "")),
        note=about.note,
    )


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:.6g}"


def append_measured(folder: Path, rows: Sequence[MeasuredRow], file: str = "runs.csv") -> int:
    """Add rows to a table of measured/, whole or not at all; rows that are there already are left alone.

    Args:
        folder: the leaderboards folder; its tables must be without problems.
        rows: rows of `measured_rows`, or others of that form.
        file: name of the table below measured/.

    Returns:
        How many rows were new.

    Raises:
        UsageError: a row or the folder has a problem, or the file's name is a path.
        EnvironmentProblem: the file cannot be written.
    """
    if not _FILE.fullmatch(file):
        raise UsageError(f"{file!r} is not the name of a table below {MEASURED}/, such as runs.csv.")
    reading = read_folder(folder)
    if reading.problems:
        raise UsageError(f"{folder}/{reading.problems[0]} Fix it before you add rows.")
    held = {(r.run_digest, r.row, r.metric) for r in reading.board.measured}
    fresh = {key: row for row in rows if (key := (row.run_digest, row.row, row.metric)) not in held}
    for row in fresh.values():
        if wrong := _problems(row, file, reading):
            where = f"{wrong[0].column}: " if wrong[0].column else ""
            raise UsageError(f"cannot add {row.row}, {row.metric}: {where}{wrong[0].message}")
    if not fresh:
        return 0
    _refuse_what_disagrees(list(fresh.values()), file, reading)
    target = folder / MEASURED / file
    make_folder(target.parent)
    kept = target.read_text(encoding="utf-8") if target.exists() else to_csv(MEASURED_COLUMNS, [])
    added = to_csv(MEASURED_COLUMNS, [astuple(row) for row in fresh.values()]).split("\n", 1)[1]
    write_atomically(target, (kept + ("" if kept.endswith("\n") else "\n") + added).encode())
    return len(fresh)


def _problems(row: MeasuredRow, file: str, reading: Reading) -> list[Problem]:
    """What a reader of the row would object to."""
    line = Line(file, 0, dict(zip(MEASURED_COLUMNS, astuple(row), strict=True)))
    return untidy(line) or measured_problems(line, reading.board.quantities)


def _refuse_what_disagrees(rows: Sequence[MeasuredRow], file: str, reading: Reading) -> None:
    """Read the folder as it would be with the rows in it."""
    board, name = reading.board, f"{MEASURED}/{file}"
    figures = (*board.figures, *(figure for row in rows for figure in as_figures(row, name, 0)))
    added = replace(board, figures=figures, measured=(*board.measured, *rows))
    if wrong := cross_problems(figures) or view_problems(list(reading.views), added):
        raise UsageError(f"cannot add these rows: {wrong[0].message}")
