"""All renderings of a leaderboards folder: written, or compared byte for byte with what is there."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from avbench.files import make_folder, write_atomically
from avbench.leaderboard.grid import fill
from avbench.leaderboard.page import render_page
from avbench.leaderboard.read import RENDERED, load_board
from avbench.leaderboard.schema import Board
from avbench.leaderboard.sheet import all_figures_csv, figures_csv
from avbench.leaderboard.view_tables import difference_table, grid_table, settings_table, view_latex, view_markdown
from avbench.leaderboard.views import ViewSpec
from avbench.pages.csv import table_csv
from avbench.terminal.text import markdown_text

PAGE, INDEX, ALL = "leaderboards.html", "README.md", "figures.csv"
_SUFFIXES = (".md", ".tex", ".csv", ".html")


@dataclass(frozen=True)
class Stale:
    """A rendering that is not what `build` would write. `why` is "missing", "differs" or "left over"."""

    name: str
    why: str
    line: int = 0

    def __str__(self) -> str:
        return f"{self.name}: {self.why}" + (f" from line {self.line}" if self.line else "")


def render_all(folder: Path) -> dict[str, bytes]:
    """Every rendering by file name; the same folder gives the same bytes on every machine.

    Raises:
        UsageError: the folder has a problem.
    """
    board, views = load_board(folder)
    texts = {PAGE: render_page(board, views), INDEX: _index(views), ALL: all_figures_csv(board)}
    for view in views:
        texts |= _render(view, board)
    return {name: texts[name].encode() for name in sorted(texts)}


def build(folder: Path) -> list[str]:
    """Write all renderings into the folder's rendered/.

    Returns:
        Names of files that changed. Files of rendered/ that no view makes any more are left; `stale` names them.

    Raises:
        UsageError: the folder has a problem; nothing is written then.
        EnvironmentProblem: a file cannot be written.
    """
    content = render_all(folder)
    target = folder / RENDERED
    make_folder(target)
    changed = [name for name, data in content.items() if _present(target / name) != data]
    for name in changed:
        write_atomically(target / name, content[name])
    return changed


def stale(folder: Path) -> list[Stale]:
    """Renderings that differ from what the tables give, are missing, or are no longer made.

    Raises:
        UsageError: the folder has a problem.
    """
    content = render_all(folder)
    target = folder / RENDERED
    outdated = []
    for name, data in content.items():
        old = _present(target / name)
        if old is None:
            outdated.append(Stale(name, "missing"))
        elif old != data:
            outdated.append(Stale(name, "differs", _first_difference(old, data)))
    if target.is_dir():
        extra = sorted(p.name for p in target.iterdir() if p.suffix in _SUFFIXES and p.name not in content)
        outdated += [Stale(name, "left over; delete it") for name in extra]
    return outdated


def _render(view: ViewSpec, board: Board) -> dict[str, str]:
    """The three renderings of one view."""
    if view.kind == "settings":
        selector = view.select or {}
        figures = [
            figure
            for figure in board.figures
            if figure.statistic == "setting" and all(getattr(figure, key) == value for key, value in selector.items())
        ]
        shown = settings_table(view, figures, board)
        texts = (view_markdown(view, [shown]), view_latex(shown), figures_csv(figures))
    else:
        grid = fill(view, board)
        shown = grid_table(grid, board)
        tables = [shown, *filter(None, [difference_table(grid)])]
        texts = (view_markdown(view, tables), view_latex(shown), table_csv(shown))
    return {f"{view.name}{suffix}": text for suffix, text in zip((".md", ".tex", ".csv"), texts, strict=True)}


def _index(views: tuple[ViewSpec, ...]) -> str:
    lines = [
        "# Tables",
        "",
        "Written by `avbench leaderboard build`; do not edit.",
        f"[{PAGE}]({PAGE}): one page to sort and filter. [{ALL}]({ALL}): every figure with its provenance.",
        "",
        "| table | files |",
        "|---|---|",
    ]
    for view in views:
        links = ", ".join(f"[{kind}]({view.name}.{kind})" for kind in ("md", "tex", "csv"))
        lines.append(f"| {markdown_text(view.title)} | {links} |")
    return "\n".join(lines) + "\n"


def _present(path: Path) -> bytes | None:
    return path.read_bytes() if path.is_file() else None


def _first_difference(old: bytes, new: bytes) -> int:
    """Number of the first line that differs, from 1."""
    before, after = old.split(b"\n"), new.split(b"\n")
    same = next((i for i, pair in enumerate(zip(before, after, strict=False)) if pair[0] != pair[1]), None)
    return 1 + (min(len(before), len(after)) if same is None else same)
