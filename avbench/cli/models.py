"""`avbench models`: which checkpoints there are, where they are, and how they come here."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from avbench.cli.options import AcceptOption, WeightsDirOption
from avbench.terminal.output import console, print_json, say

if TYPE_CHECKING:
    from avbench.weights.config import WeightsConfig

app = typer.Typer(help="List, download, check and find checkpoints.", no_args_is_help=True, rich_markup_mode=None)

Names = Annotated[list[str] | None, typer.Argument(help="Checkpoints, metrics or suites; all when left out.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print as JSON.")]


@app.command("list")
def list_rows(names: Names = None, weights_dir: WeightsDirOption = None, as_json: AsJson = False) -> None:
    """List checkpoints: licence, size, what needs them, and whether they are here."""
    from avbench.weights.locate import size_text

    entries = [_entry(row, _setup(weights_dir)) for row in _rows(names)]
    if as_json:
        print_json(entries)
        return
    from avbench.pages.table import Column, Table, row_of
    from avbench.pages.terminal import print_table

    columns = (
        Column("checkpoint", "checkpoint", "text"), Column("here", "here", "text"), Column("size", "size"),
        Column("licence", "licence", "text"), Column("needed", "needed by", "text"),
    )  # fmt: skip
    rows = []
    for entry in entries:
        needed = ", ".join(entry["metrics"]) or "–"
        rows.append(row_of((entry["name"], entry["state"], size_text(entry["size"]), entry["licence"], needed)))
    print_table(Table("checkpoints", columns, tuple(rows)))


@app.command("pull")
def pull_rows(
    names: Annotated[list[str], typer.Argument(help="Checkpoints, metrics or suites.")],
    weights_dir: WeightsDirOption = None,
    accept_licence: AcceptOption = None,
) -> None:
    """Download checkpoints; goes on where an earlier download stopped."""
    from avbench.weights.checkpoints import with_required
    from avbench.weights.download import pull

    rows = with_required(_rows(names))
    setup = _setup(weights_dir, accept_licence)
    with _Bar() as bar:
        done = pull(rows, setup, bar.show)
    for path in done:
        say(str(path))
    if not done:
        say("nothing to download: " + (f"{', '.join(rows)} already here" if rows else "no checkpoint is needed"))


@app.command("verify")
def verify_rows(names: Names = None, weights_dir: WeightsDirOption = None) -> None:
    """Compare checksums; exit code 4 when a file is not what it should be, or a named checkpoint is not here."""
    from avbench.errors import EnvironmentProblem
    from avbench.weights.checkpoints import CHECKPOINTS, with_required
    from avbench.weights.locate import absent_files, mismatches, unchecked

    setup = _setup(weights_dir)
    problems: list[str] = []
    for row in with_required(_rows(names)):
        absent = absent_files(row, setup)
        if len(absent) == len(CHECKPOINTS[row].files) and names is None:
            continue
        wrong = list(mismatches(row, setup))
        lacking = f"{row}: missing {', '.join(absent)}; avbench models pull {row}"
        problems += [*wrong, *([lacking] if absent else [])]
        loose = unchecked(row, setup)
        note = f" (no checksum to compare with: {', '.join(loose)})" if loose else ""
        say(f"{row}: {'wrong' if wrong else 'incomplete' if absent else 'ok'}{note}")
    if problems:
        raise EnvironmentProblem("; ".join(problems))


@app.command("where")
def where_rows(names: Names = None, weights_dir: WeightsDirOption = None, as_json: AsJson = False) -> None:
    """Print the paths of the files that are here."""
    from avbench.weights.locate import location

    setup = _setup(weights_dir)
    paths_by_row = {row: {name: str(path) for name, path in location(row, setup).paths.items()} for row in _rows(names)}
    if as_json:
        print_json(paths_by_row)
        return
    for row, paths in paths_by_row.items():
        for path in paths.values() or ["not here"]:
            say(f"{row}\t{path}")


@app.command("accept")
def accept_row(name: Annotated[str, typer.Argument(help="Checkpoint whose licence you have read and accept.")]) -> None:
    """Accept the licence of a checkpoint, once for this user account."""
    from avbench.weights.checkpoints import CHECKPOINTS
    from avbench.weights.locate import accept

    for row in (CHECKPOINTS[row] for row in _rows([name])):
        if row.must_accept:
            say(f"{row.name} is {row.licence}, see {row.page}. Your acceptance is kept in {accept(row.name)}")
        else:
            say(f"{row.name} is {row.licence}: nothing to accept")


def _setup(weights_dir: Path | None, accepted: Iterable[str] | None = None) -> WeightsConfig:
    # Not make_setup: `pull` makes the folder, and the others find nothing in one that does not exist.
    from avbench.weights.config import WeightsConfig

    return WeightsConfig(weights_dir=weights_dir, accepted=frozenset(accepted or ()))


def _entry(name: str, setup: WeightsConfig) -> dict[str, Any]:
    from avbench.weights.checkpoints import CHECKPOINTS
    from avbench.weights.locate import absent_files, is_accepted

    row = CHECKPOINTS[name]
    absent = absent_files(name, setup)
    state = "missing" if absent else "present" if is_accepted(row, setup) else "licence not accepted"
    metrics = [metric for metric, rows in _rows_of_metrics().items() if name in rows]
    return {
        "name": name,
        "state": state,
        "size": row.size,
        "licence": row.licence,
        "must_accept": row.must_accept,
        "accepted": is_accepted(row, setup),
        "page": row.page,
        "source": row.hubs[0] if row.hubs else row.files[0].url,
        "revision": row.revision,
        "files": [file.name for file in row.files],
        "missing_files": absent,
        "metrics": metrics,
        "suites": [suite for suite, members in _suites().items() if set(members) & set(metrics)],
    }


def _rows_of_metrics() -> dict[str, list[str]]:
    """Checkpoints by metric, with those that a checkpoint requires."""
    from avbench.metrics.base import registry
    from avbench.weights.checkpoints import with_required

    return {
        name: with_required(backbone.row for backbone in entry.backbones if backbone.row)
        for name, entry in registry().items()
    }


def _suites() -> dict[str, tuple[str, ...]]:
    from avbench.suites import list_suites

    return {suite.name: suite.metrics for suite in list_suites()}


def _rows(names: Iterable[str] | None) -> list[str]:
    """Checkpoints meant by names of checkpoints, metrics or suites; all for None."""
    from avbench.weights.checkpoints import CHECKPOINTS

    if names is None:
        return list(CHECKPOINTS)
    return list(dict.fromkeys(row for name in names for row in ([name] if name in CHECKPOINTS else _rows_behind(name))))


def _rows_behind(name: str) -> list[str]:
    """Checkpoints of a metric or a suite."""
    from avbench.errors import UsageError, near
    from avbench.weights.checkpoints import CHECKPOINTS

    by_metric, suites = _rows_of_metrics(), _suites()
    if name not in by_metric and name not in suites:
        hint = near(name, [*CHECKPOINTS, *by_metric, *suites])
        raise UsageError(f"unknown checkpoint, metric or suite {name!r}. {hint} See 'avbench models list'.")
    return [row for metric in suites.get(name, (name,)) for row in by_metric[metric]]


class _Bar:
    """Draws a download on stderr; nothing where that is no terminal."""

    def __init__(self) -> None:
        from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn

        into = console(err=True)
        columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TimeRemainingColumn())
        self._bar = Progress(*columns, console=into, disable=not into.is_terminal, transient=True)
        self._tasks: dict[str, Any] = {}

    def __enter__(self) -> _Bar:
        self._bar.start()
        return self

    def __exit__(self, *_: object) -> None:
        if not self._bar.disable:  # as in BarProgress: no empty line
            self._bar.stop()

    def show(self, name: str, done: int, total: int) -> None:
        """Bytes so far of a file."""
        if name not in self._tasks:
            self._tasks[name] = self._bar.add_task(name)
        self._bar.update(self._tasks[name], completed=done, total=total or None)
