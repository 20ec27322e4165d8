"""The repository's own folder: it checks, its renderings are fresh, and its tables are those of the paper."""

from __future__ import annotations

import csv
from decimal import Decimal

import pytest

from avbench.leaderboard import differences, fill, load_board


@pytest.fixture(scope="module")
def loaded(own):
    board, views = load_board(own)
    return board, {view.name: view for view in views}


def texts(loaded, name):
    board, views = loaded
    filled = fill(views[name], board)
    return [c.label for c in filled.columns], {row.label: [c.text for c in row.cells] for row in filled.rows}


def test_check_and_build_check_pass(avbench, own):
    done = avbench("leaderboard", "check", "--folder", own)
    assert (done.returncode, done.stderr) == (0, "")
    assert "1463 published figures" in done.stdout
    done = avbench("leaderboard", "build", "--check", "--folder", own)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_table_1_has_the_rows_columns_and_gaps_of_the_paper(loaded):
    columns, rows = texts(loaded, "table1")
    assert columns == ["VQ", "AQ", "TV-IB", "TA-IB", "CLIP", "CLAP", "AV-IB", "AVHScore", "JavisScore", "DeSync"]
    assert list(rows) == ["JavisDiT", "UniVerse-1", "JavisDiT++", "LTX-2", "LTX-2+GDPO", "LTX-2+OmniNFT"]
    assert rows["JavisDiT"] == rows["UniVerse-1"] == rows["JavisDiT++"] == [""] * 10
    assert rows["LTX-2"] == ["2.038", "5.197", "", "0.170", "", "0.412", "", "0.223", "0.192", "0.569"]
    assert rows["LTX-2+GDPO"] == ["3.209", "5.523", "", "0.184", "", "0.428", "0.233", "0.223", "0.185", "0.412"]
    assert rows["LTX-2+OmniNFT"] == ["3.326", "5.715", "", "0.189", "", "0.445", "", "0.257", "0.220", "0.269"]


def test_candidates_stand_apart_from_table_1(loaded):
    _, rows = texts(loaded, "table1_candidates")
    assert rows["JavisDiT"] == [
        "1.291",
        "4.478",
        "0.263",
        "0.143",
        "0.302",
        "0.391",
        "0.197",
        "0.179",
        "0.154",
        "1.039",
    ]
    assert rows["JavisDiT++"][-1] == "0.832"


def test_table_2_shows_the_doubtful_pair_with_its_footnote_and_ranks_it_not(loaded, own):
    board, views = loaded
    filled = fill(views["table2"], board)
    place = [column.label for column in filled.columns].index("JavisScore")
    shallow, deep = (row.cells[place] for row in filled.rows[:2])
    assert (shallow.text, deep.text) == ("0.220", "0.204")
    assert shallow.marks == deep.marks == ("C1",)
    assert (shallow.rank, deep.rank) == ("", "")
    for suffix in ("md", "tex"):
        assert "No source prints the corrected label" in (own / "rendered" / f"table2.{suffix}").read_text("utf-8")
    assert [row.group for row in filled.rows].count("Region coefficient λ") == 3


def test_table_3_in_the_order_of_the_mechanisms(loaded):
    columns, rows = texts(loaded, "table3")
    assert columns == ["VQ", "AQ", "TA-IB", "AV-IB", "AVHScore", "JavisScore", "DeSync", "Time"]
    assert next(iter(rows)) == "LTX-2"
    assert [label for label in rows if label.startswith("+")] == [
        "+ vanilla RL", "+ modality-wise routing", "+ layer-wise gradient surgery", "+ region-wise reweighting (full)",
    ]  # fmt: skip
    assert rows["+ region-wise reweighting (full)"] == [
        "3.326", "5.715", "0.189", "", "0.257", "0.220", "0.269", "24.1",
    ]  # fmt: skip
    assert rows["+ modality-wise routing"][3] == "0.248"


def test_the_gains_that_the_paper_states_come_out(loaded):
    board, views = loaded
    found = {row.label: cells for row, cells in differences(fill(views["table1"], board))}["LTX-2+OmniNFT"]
    assert [found[i].percent for i in (0, 1, 9)] == ["+63.2", "+10.0", "-52.7"]
    assert found[5].absolute == "+0.033"
    assert found[9].better is True


def test_the_papers_vbench_table_waits_for_sources(loaded):
    """One change is known; nothing is filled in by guessing."""
    _, rows = texts(loaded, "omninft_vbench")
    known = {label: [text for text in cells if text] for label, cells in rows.items()}
    assert known == {"LTX-2": [], "LTX-2+GDPO": [], "LTX-2+OmniNFT": [], "OmniNFT against LTX-2": ["+10.5 %"]}


def test_vbench_has_a_quantity_for_each_dimension_and_total(loaded):
    from avbench.metrics.vbench_dimensions import DIMENSIONS

    board, views = loaded
    names = [dimension.name for dimension in DIMENSIONS]
    assert {name for name, quantity in board.quantities.items() if quantity.group == "VBench"} == {
        *names, "static_flickering", "vbench_quality", "vbench_semantic", "vbench_total",
    }  # fmt: skip
    assert list(views["omninft_vbench"].columns) == names


def test_drift_is_six_parties_and_is_not_ranked(loaded):
    board, views = loaded
    filled = fill(views["drift_ltx2"], board)
    assert len(filled.rows) == 6
    place = [column.label for column in filled.columns].index("DeSync")
    assert [row.cells[place].text for row in filled.rows] == ["0.569", "0.604", "0.430", "0.608", "0.384", "0.647"]
    assert {cell.rank for row in filled.rows for cell in row.cells} == {""}


def test_names_on_other_scales_are_other_quantities(loaded):
    board, _ = loaded
    values = [figure.number for figure in board.figures if figure.quantity == "vq" and figure.statistic == "value"]
    assert Decimal(1) < min(values) and max(values) < Decimal(5)


def test_facts_agree_with_the_metrics_of_this_project(loaded):
    from avbench.metrics.base import registry

    board, _ = loaded
    for quantity in board.quantities.values():
        if quantity.avbench:
            entry = registry()[quantity.avbench]
            ways = {True: "higher", False: "lower", None: "either"}
            assert (quantity.unit, quantity.direction) == (entry.unit, ways[entry.higher_is_better]), quantity
            low, high = (None if end is None else float(end) for end in (quantity.low, quantity.high))
            assert low is None or entry.range[0] == float("-inf") or low == entry.range[0], quantity
            assert high is None or entry.range[1] == float("inf") or high == entry.range[1], quantity


def test_every_conflict_is_explained_and_every_figure_is_in_the_long_table(loaded, own):
    board, _ = loaded
    assert [f"C{i}" for i in range(1, 15)] == list(board.conflicts)
    with (own / "rendered" / "figures.csv").open(encoding="utf-8", newline="") as file:
        assert sum(1 for _ in csv.DictReader(file)) == len(board.figures)


def test_the_readme_counts_what_is_there(own):
    text = (own / "README.md").read_text(encoding="utf-8")
    for path in (own / "published").glob("*.csv"):
        with path.open(encoding="utf-8", newline="") as file:
            count = sum(1 for _ in csv.DictReader(file))
        line = next(line for line in text.splitlines() if line.startswith(f"| `{path.name}`"))
        assert f" | {count} | " in line
