"""The validator: each kind of mistake is one problem that names file, line, column and cure."""

from __future__ import annotations

import dataclasses

import pytest
from hypothesis import given
from hypothesis import strategies as st

from avbench.errors import UsageError
from avbench.leaderboard import load_board, read_folder
from avbench.leaderboard.lines import Line, read_table
from avbench.leaderboard.rules import published_problems
from avbench.leaderboard.schema import PUBLISHED_COLUMNS, Conflict, Problem, Quantity
from avbench.terminal.text import to_csv, visible

from .conftest import FIGURES, VIEWS, figure, measured, write_measured

DESYNC = {"metric": "DeSync", "quantity": "desync", "value": "0.5", "unit": "s", "direction": "lower"}


def problems(folder):
    return [str(problem) for problem in read_folder(folder).problems]


def test_a_right_folder_has_no_problem(make_folder):
    folder = make_folder(rows=[measured()])
    assert problems(folder) == []
    board, views = load_board(folder)
    assert [view.name for view in views] == ["main", "measured"]
    assert [figure.provenance for figure in board.figures] == ["published"] * 4 + ["measured"]


@pytest.mark.parametrize(
    ("cells", "words"),
    [
        (DESYNC | {"unit": "ms"}, ["column unit", "'ms'", "expected 's'"]),
        (DESYNC | {"direction": "higher"}, ["column direction", "expected lower"]),
        (DESYNC | {"value": "2.5"}, ["column value", "outside the range", "0 to 2"]),
        ({"value": "about 2"}, ["column value", "not a number"]),
        ({"value": "1e3"}, ["column value", "not a number"]),
        ({"value": ""}, ["column value", "exactly where the status is unknown"]),
        ({"status": "unknown"}, ["column value", "exactly where the status is unknown"]),
        ({"status": "exact"}, ["column status", "exact-from-two-sources"]),
        ({"status": "exact-from-two-sources"}, ["column source", "one source"]),
        ({"status": "conflicting"}, ["column conflict", "empty"]),
        ({"status": "derived"}, ["column note", "empty"]),
        ({"source": "a | a"}, ["column source", "twice"]),
        ({"source": ""}, ["column source", "empty"]),
        ({"conflict": "C9"}, ["column conflict", "'C9'", "C1"]),
        ({"quantity": "vqq"}, ["column quantity", "Did you mean vq"]),
        ({"statistic": "mean"}, ["column statistic", "'mean'"]),
        ({"statistic": "std", "direction": "n/a", "value": "-1"}, ["column value", "not negative"]),
        ({"statistic": "setting"}, ["column quantity", "Empty the cell"]),
        ({"arxiv_id": "arXiv:1"}, ["column arxiv_id", "2605.12480"]),
        ({"backbone": ""}, ["column backbone", "base model"]),
        ({"note": " blank"}, ["note", "spaces at an end"]),
        ({"note": "two\nlines"}, ["note", "line break"]),
    ],
)
def test_a_wrong_cell_is_named_with_its_line_and_column(make_folder, cells, words):
    found = problems(make_folder(lines=[*FIGURES, figure(row="third") | cells]))
    assert any(all(word in text for word in ["published/p.csv line 6", *words]) for text in found), found
    assert all(len(text.splitlines()) == 1 for text in found)


@pytest.mark.parametrize(
    ("cells", "words"),
    [
        ({"weights": "keyed-random"}, ["column weights", "mean nothing"]),
        ({"run_digest": "xyz"}, ["column run_digest", "hexadecimal"]),
        ({"run_digest": ""}, ["column run_digest", "empty"]),
        ({"seeds": ""}, ["column seeds", "empty"]),
        ({"date": "25.11.2026"}, ["column date", "YYYY-MM-DD"]),
        ({"mode": "quick"}, ["column mode", "'quick'"]),
        ({"n": "11"}, ["column n", "more than there are"]),
        ({"low": "3"}, ["column low", "above high"]),
        ({"value": "good"}, ["column value", "not a number"]),
        ({"quantity": "desync"}, ["column quantity", "expected 'vq'"]),
        ({"unit": "%"}, ["column unit", "expected '1'"]),
    ],
)
def test_a_wrong_measured_row_is_named(make_folder, cells, words):
    found = problems(make_folder(rows=[measured(), measured(row="second", **cells)]))
    assert any(all(word in text for word in ["measured/runs.csv line 3", *words]) for text in found), found


def test_a_quantity_that_papers_read_both_ways_takes_either_direction(make_folder):
    lines = [figure(row=way, metric="PC", quantity="aq_pc", value="3", direction=way) for way in ("higher", "lower")]
    assert problems(make_folder(lines=[*FIGURES, *lines])) == []


def test_an_unknown_figure_is_allowed_with_an_empty_value(make_folder):
    assert problems(make_folder(lines=[*FIGURES, figure(row="third", value="", status="unknown")])) == []


def test_the_same_figure_twice_is_found_with_both_places(make_folder):
    found = problems(make_folder(lines=[*FIGURES, figure(value="9")]))
    assert found == ["published/p.csv line 6: base, VQ: the same figure as in published/p.csv line 2. Keep one."]


def test_a_run_that_is_added_twice_is_found(make_folder):
    folder = make_folder(rows=[measured()])
    write_measured(folder, [measured()], "again.csv")
    assert problems(folder) == [
        "measured/runs.csv line 2: mine, vq: the same run and metric as in measured/again.csv line 2. Keep one."
    ]


def test_a_spread_needs_its_mean_and_a_row_one_model(make_folder):
    std = figure(row="alone", setting="std over 3 seeds", statistic="std", direction="n/a", value="0.1")
    other = figure(metric="DeSync 2", quantity="aq_pc", value="2", method="RL")
    found = problems(make_folder(lines=[*FIGURES, std, other]))
    assert any("line 6" in text and "has no mean" in text for text in found)
    assert any("line 7" in text and "M / RL here and M / base in published/p.csv line 2" in text for text in found)


def test_a_spread_is_found_under_the_mean_of_its_setting(make_folder):
    lines = [
        figure(row="r", setting="mean over 3 seeds"),
        figure(row="r", setting="std over 3 seeds", statistic="std", direction="n/a", value="0.1"),
    ]
    assert problems(make_folder(lines=[*FIGURES, *lines])) == []


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ("paper,", "papers,", ["line 1", "missing paper", "unknown papers"]),
        ("P,2605.12480,", "P,2605.12480,,", ["line 2", "19 cells, expected 18"]),
        ("the paper", '"the paper', ["not CSV"]),
    ],
)
def test_a_malformed_file_is_named(make_folder, old, new, words):
    folder = make_folder()
    path = folder / "published" / "p.csv"
    path.write_text(path.read_text().replace(old, new, 1))
    found = problems(folder)
    assert any(all(word in text for word in ["published/p.csv", *words]) for text in found), found


def test_bytes_that_are_not_utf8_are_named(make_folder):
    folder = make_folder()
    (folder / "published" / "q.csv").write_bytes(b"paper\xff")
    assert problems(folder)[0] == "published/q.csv: not UTF-8 at byte 5. Save it as UTF-8."


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ('columns = ["vq",', 'columns = ["vqq",', ["line 4, view main: unknown quantity 'vqq'", "vq"]),
        ('columns = ["vq",', "columns = [1,", ["line 4, view main: view[0].columns[0] = 1: expected a text"]),
        ("rows = [", 'rows = ["x",', ['view[0].rows[0] = "x": expected a table']),
        ('row = "tuned"', 'row = "gone"', ["line 8, view main: row tuned", "fits 0 rows"]),
        (', row = "tuned"', "", ["row tuned", "fits 2 rows"]),
        ('baseline = "base"', 'baseline = "bass"', ["'bass'", "Did you mean base"]),
        ('name = "measured"', 'name = "main"', ["two views"]),
        ('name = "measured"', 'name = "../up"', ["file name"]),
        ('title = "Measured"', 'titel = "Measured"', ["unknown key 'view[1].titel'", "Did you mean title"]),
        ('select = { provenance = "measured" }', "", ["either rows or select"]),
        ("[[view]]", "view = 3\n[[vie]]", ["view = 3: expected a list of tables"]),
        ("[[view]]", "[[view", ["not a TOML file"]),
        ("[[view]]", "view = " + "[" * 100_000, ["not a TOML file"]),
    ],
)
def test_a_wrong_view_is_named(make_folder, old, new, words):
    views = VIEWS if "vie]]" not in new else "view = 3\n"
    found = problems(make_folder(views=views.replace(old, new, 1)))
    assert any(all(word in text for word in ["views.toml", *words]) for text in found), found


def test_a_conflict_that_nothing_names_is_found(make_folder):
    found = problems(make_folder(conflicts='[C1]\ntitle = "a"\ntext = "b"\n[C2]\ntitle = "a"\ntext = "b"\n'))
    assert found == ["conflicts.toml, entry C2: named by no figure and no view. Remove it, or name it."]


def test_loading_a_wrong_folder_says_how_many_problems_there_are(make_folder, tmp_path):
    folder = make_folder(lines=[*FIGURES, figure(row="a", unit="s"), figure(row="b", unit="s")])
    with pytest.raises(UsageError, match=r"line 6, column unit.*\(1 more; 'avbench leaderboard check'"):
        load_board(folder)
    with pytest.raises(UsageError, match="not a leaderboards folder"):
        load_board(tmp_path)


@given(st.dictionaries(st.sampled_from(PUBLISHED_COLUMNS), st.text(max_size=12), max_size=4))
def test_any_cells_give_problems_and_no_exception(cells):
    line = Line("f.csv", 3, figure() | cells)
    found = published_problems(line, {"vq": Quantity("vq", "VQ", "g", "1", "higher")}, {"C1": Conflict("C1", "", "")})
    assert all(problem.line == 3 and problem.file == "f.csv" for problem in found)


@given(st.lists(st.lists(st.text(st.characters(exclude_categories=("Cs", "Cc"))), min_size=2, max_size=2), max_size=6))
def test_tables_come_back_with_the_line_that_they_start_on(tmp_path_factory, rows):
    path = tmp_path_factory.mktemp("t") / "t.csv"
    path.write_text(to_csv(("a", "b"), rows), encoding="utf-8", newline="")
    found: list[Problem] = []
    lines = read_table(path, "t.csv", ("a", "b"), found)
    shown = [[visible(cell) for cell in row] for row in rows]
    assert [(line.number, list(line.cells.values())) for line in lines] == [(i + 2, row) for i, row in enumerate(shown)]


def test_every_field_of_a_measured_row_is_described(own):
    from avbench.leaderboard import MeasuredRow

    text = (own / "measured" / "README.md").read_text(encoding="utf-8")
    assert [f.name for f in dataclasses.fields(MeasuredRow) if f"`{f.name}`" not in text] == []
