"""Ranks, differences, and what takes part in neither."""

from __future__ import annotations

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from avbench.direction import Direction
from avbench.leaderboard import difference, differences, fill, load_board

from .conftest import FIGURES, figure, measured

SELECT = '[[view]]\nname = "all"\ntitle = "All"\nselect = {}\n'


def grid(folder, name="main"):
    board, views = load_board(folder)
    return fill(next(view for view in views if view.name == name), board)


def ranks(filled, column=0):
    return [row.cells[column].rank for row in filled.rows]


def lines(values, **cells):
    return [figure(row=f"r{i}", value=value, **cells) for i, value in enumerate(values)]


def test_best_and_second_follow_the_direction(make_folder):
    views = SELECT.replace("{}", '{ table = "T" }')
    folder = make_folder(lines=[*FIGURES[2:], *lines(["1.0", "3.5"])], views=views)
    assert ranks(grid(folder, "all")) == ["second", "", "best"]
    low = {"metric": "DeSync", "quantity": "desync", "unit": "s", "direction": "lower"}
    folder = make_folder(lines=[*FIGURES, *lines(["0.1", "0.3", "0.2"], table="U", **low)], views=SELECT)
    filled = grid(folder, "all")
    assert [r for row, r in zip(filled.rows, ranks(filled, 1), strict=True) if row.label.startswith("r")] == [
        "best", "", "second",
    ]  # fmt: skip


def test_equal_numbers_share_a_rank_however_they_are_printed(make_folder):
    views = SELECT.replace("{}", '{ table = "U" }')
    folder = make_folder(lines=[*FIGURES, *lines(["1.0", "1.00", "0.9", "0.9", "0.5"], table="U")], views=views)
    assert ranks(grid(folder, "all")) == ["best", "best", "second", "second", ""]


def test_a_doubtful_figure_takes_part_in_no_ranking(make_folder):
    filled = grid(make_folder())
    assert ranks(filled, 0) == ["second", "best", ""]
    assert ranks(filled, 1) == ["", "", ""], "one of the two is conflicting, and one alone is no ranking"
    assert filled.rows[1].cells[1].marks == ("C1",)


def test_figures_of_two_papers_are_not_ranked(make_folder):
    folder = make_folder(lines=[*FIGURES, figure(paper="Q", row="other", value="9")], views=SELECT)
    assert set(ranks(grid(folder, "all"))) == {""}


@pytest.mark.parametrize("change", [{"weights_digest": "dead"}, {"precision": "bf16"}, {"protocol": "javisbench-4s"}])
def test_measured_rows_are_ranked_only_within_one_computation(make_folder, change):
    view = SELECT.replace("{}", '{ provenance = "measured" }')
    rows = [measured(), measured(run_digest="aaaaaaaa", row="second", value="2.4")]
    assert ranks(grid(make_folder(rows=rows, views=view + VIEWS_C1), "all")) == ["best", "second"]
    rows[1] = measured(run_digest="aaaaaaaa", row="second", value="2.4", **change)
    assert ranks(grid(make_folder(rows=rows, views=view + VIEWS_C1), "all")) == ["", ""]


VIEWS_C1 = '[[view]]\nname = "p"\ntitle = "P"\nselect = { paper = "P" }\n'


def test_measured_figures_carry_a_mark_where_published_ones_stand(make_folder):
    filled = grid(make_folder(rows=[measured(spread="0.25")], views=SELECT), "all")
    cells = {row.label: row.cells[0] for row in filled.rows}
    assert cells["mine"].marks == ("m",)
    assert cells["mine"].text == "2.5 ± 0.25"
    assert cells["base"].marks == ("1",)


def test_unknown_cells_are_empty_and_rows_of_unknown_cells_stay(make_folder):
    filled = grid(make_folder())
    assert [row.label for row in filled.rows] == ["base", "tuned", "unknown"]
    assert [cell.text for cell in filled.rows[2].cells] == ["", ""]


def test_differences_to_the_baseline(make_folder):
    found = differences(grid(make_folder()))
    assert [row.label for row, _ in found] == ["tuned"]
    assert [cell.text for cell in found[0][1]] == ["+1.00 (+50.0 %) ▲", "-0.100 (-20.0 %) ▲"]


def test_no_difference_across_papers(make_folder):
    views = (
        '[[view]]\nname = "x"\ntitle = "X"\ncolumns = ["vq"]\nbaseline = "base"\nrows = ['
        '{ label = "base", from = [{ paper = "P", row = "base" }] },'
        '{ label = "other", from = [{ paper = "Q" }] }]\n'
    )
    folder = make_folder(lines=[*FIGURES, figure(paper="Q", row="other", value="9")], views=views)
    assert differences(grid(folder, "x")) == []


def test_a_difference_says_nothing_where_nothing_can_be_said():
    assert difference(Decimal("0.50"), Decimal("0.5"), Direction.LOWER).text == "0.00"
    assert difference(Decimal("1"), Decimal("0"), Direction.HIGHER).text == "+1 ▲"
    assert difference(Decimal("3"), Decimal("2"), Direction.NEITHER).text == "+1 (+50.0 %)"
    assert difference(Decimal("-1"), Decimal("-2"), Direction.HIGHER).text == "+1 (+50.0 %) ▲"


numbers = st.decimals(-1000, 1000, allow_nan=False, places=3)


@given(numbers, numbers, st.sampled_from([Direction.HIGHER, Direction.LOWER]))
def test_a_difference_is_exact_and_changes_sign_with_its_sides(a, b, direction):
    there, back = difference(a, b, direction), difference(b, a, direction)
    assert Decimal(there.absolute) == a - b == -Decimal(back.absolute)
    assert (there.better is None) == (a == b)
    assert a == b or there.better != back.better
