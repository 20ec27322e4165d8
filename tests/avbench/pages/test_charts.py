"""Charts: what is drawn is the data, strangers' texts stay texts, and who does not see it can read it."""

from __future__ import annotations

import re
from xml.etree import ElementTree

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from avbench.pages.axes import tick_texts, ticks
from avbench.pages.charts import NO_VALUES, Labels, Series, bar_chart, line_chart
from avbench.pages.dots import Point, distribution, interval_bar, strip
from avbench.pages.scatter import matrix, scatter

LABELS = Labels("A title", "step", "a quantity")
EVIL = '</svg><script>alert(1)</script> & "quoted" \x1b[31m'
SVG = "{http://www.w3.org/2000/svg}"


def numbers(points: str) -> list[tuple[float, float]]:
    return [(float(x), float(y)) for x, y in (pair.split(",") for pair in points.split())]


def test_gaps_part_a_line_and_a_lonely_value_is_a_dot() -> None:
    values = [0.0, 0.5, None, 1.0, None, 0.25, 0.75]
    text = str(line_chart(LABELS, range(10, 17), [Series("s", values, dots=False)], (0.0, 1.0)).figure())
    lines = [numbers(points) for points in re.findall(r'points="([^"]+)"', text)]
    assert [len(line) for line in lines] == [2, 2]
    assert re.findall(r"<title>([^<]+)</title></circle>", text) == ["step 13, s: 1"]
    (x0, y0), (x1, y1), (x5, y5), (x6, y6) = lines[0] + lines[1]
    assert x5 - x0 == pytest.approx(5 * (x1 - x0), abs=0.5) and x6 - x0 == pytest.approx(6 * (x1 - x0), abs=0.6)
    height = 2 * (y0 - y1)  # from 0 to 1
    assert height > 100
    assert y5 == pytest.approx(y0 - 0.25 * height, abs=0.2) and y6 == pytest.approx(y0 - 0.75 * height, abs=0.2)


def test_a_chart_can_be_read_without_seeing_it() -> None:
    text = str(line_chart(LABELS, [0, 1], [Series("one", [0.5, 0.25]), Series("two", [None, 3.0], "s1")]).figure())
    assert "<figcaption>A title</figcaption>" in text and 'role="img" aria-label="A title: a quantity by step' in text
    assert "a quantity by step, step 0 to 1. one: first 0.5, last 0.25, lowest 0.25, highest 0.5; two: first 3" in text
    assert re.findall(r"</svg>(one|two)</li>", text) == ["one", "two"]
    assert text.count(">step</text>") == 1 and text.count(">a quantity</text>") == 1


def test_heights_of_bars_are_in_proportion() -> None:
    series = [Series("a", [4.0, None, 0.0]), Series("b", [1.0, 2.0, 3.0], "plain")]
    text = str(bar_chart(LABELS, ["x", "y", "z"], series, 8.0).figure())
    found = re.findall(r'height="([\d.]+)"><title>step (\w), (\w): ([\d.]+)<', text)
    assert [(group, name, value) for _, group, name, value in found] == [
        ("x", "a", "4"), ("x", "b", "1"), ("y", "b", "2"), ("z", "a", "0"), ("z", "b", "3"),
    ]  # fmt: skip
    unit = float(found[0][0]) / 4
    assert all(float(height) == pytest.approx(unit * float(value), abs=0.1) for height, _, _, value in found)
    assert 60 < 4 * unit < 95  # half of the 182 pixels up to the ceiling of 8


def test_a_band_follows_its_line_and_parts_where_an_end_is_missing() -> None:
    series = Series(
        "s", [1.0] * 6, dots=False, low=[0.0, 0.5, None, 0.5, 0.5, 0.0], high=[2.0, 1.5, 2.0, 1.5, 1.5, 2.0]
    )
    drawn = str(line_chart(LABELS, range(6), [series], (0.0, 2.0)).drawing())
    first, second = (numbers(points) for points in re.findall(r'<polygon class="band s0" points="([^"]+)"', drawn))
    assert [len(first), len(second)] == [4, 6]
    (line,) = (numbers(points) for points in re.findall(r'<polyline class="line s0" points="([^"]+)"', drawn))
    assert [x for x, _ in first] == [line[0][0], line[1][0], line[1][0], line[0][0]]
    top, bottom = first[0][1], first[3][1]
    assert bottom - top == pytest.approx(2 * (line[0][1] - top), abs=0.3)


def test_a_chart_without_values_says_so_on_pages_and_in_files() -> None:
    for chart in (
        line_chart(LABELS, [0, 1], [Series("s", [None, None])]),
        bar_chart(LABELS, ["x"], [Series("s", [None])]),
    ):
        assert NO_VALUES in chart.figure() and "<svg" not in chart.figure()
        assert NO_VALUES in chart.standalone().decode()


@pytest.mark.parametrize(
    "chart",
    [
        line_chart(Labels(EVIL, EVIL, EVIL), [0, 1], [Series(EVIL, [0, 1]), Series("b", [1, None], "s1")]),
        bar_chart(Labels(EVIL, EVIL, EVIL), [EVIL, "y"], [Series(EVIL, [0, 1]), Series("b", [1, None], "plain")]),
        distribution(EVIL, 1.0, EVIL, [Point(1.0, EVIL), Point(2.0, EVIL, 1)]),
        strip(EVIL, [(1.0, EVIL), (2.0, EVIL)]),
        scatter(EVIL, (EVIL, EVIL), [(1.0, -1.0)], EVIL),
        matrix(EVIL, [EVIL, "b"], [[1.0, None], [None, 1.0]]),
    ],
    ids=["lines", "bars", "distribution", "strip", "scatter", "matrix"],
)  # fmt: skip
def test_files_are_xml_that_needs_nothing_and_hold_strangers_texts_as_texts(chart) -> None:
    text = chart.standalone().decode()
    root = ElementTree.fromstring(text)
    assert root.tag == f"{SVG}svg" and not list(root.iter(f"{SVG}script"))
    assert root.findtext(f"{SVG}title") == EVIL.replace("\x1b", "\\x1b")
    assert "var(" not in text and "light-dark" not in text, "programs beside browsers know neither"
    assert "<script" not in chart.figure()


def test_distribution_draws_dots_for_few_and_bars_for_many() -> None:
    few = distribution("m<", 1.0, (0.5, 1.5), [Point(1.0, "<c>", 7)] * 3).figure()
    assert few.count("<circle") == 3
    assert 'data-clip="7"' in few
    assert "&lt;c&gt;" in few
    assert "m&lt;" in few and "m<" not in few
    many = distribution("m", 0.5, (0.4, 0.6), [Point(i / 500, "c") for i in range(500)]).figure()
    assert many.count("<circle") == 0
    assert 20 < many.count("<rect") < 60


def test_charts_say_why_there_is_no_interval() -> None:
    points = [Point(1.0, "a"), Point(2.0, "b")]
    for chart in (
        distribution("m", 1.5, "too few <prompts>", points),
        interval_bar("m", 1.5, "too few <prompts>", [1, 2], ()),
    ):
        assert "no interval: too few &lt;prompts&gt;" in chart.drawing()
        assert '<p class="quiet">no interval: too few &lt;prompts&gt;</p>' in chart.figure()
        assert 'class="ci"' not in chart.drawing() and 'class="area"' not in chart.drawing()


def test_ticks_are_round_numbers() -> None:
    assert ticks(-0.31, 0.52) == [-0.2, 0.0, 0.2, 0.4]
    assert ticks(1.0, 1.0) == [1.0]


@settings(deadline=None)
@given(st.floats(-1e6, 1e6), st.floats(1e-6, 1e6), st.integers(3, 8))
def test_ticks_lie_on_the_axis_at_equal_distances(low: float, span: float, about: int) -> None:
    high = low + span
    found = ticks(low, high, about)
    slack = 1e-6 * max(abs(low), abs(high), span)
    assert all(low - slack <= tick <= high + slack for tick in found)
    assert len(found) <= 2 * about + 1
    if span > 1e-5 * abs(low):
        gaps = np.diff(found)
        assert len(found) >= 2 and gaps.min() > 0 and np.allclose(gaps, gaps[0], rtol=1e-3)


@settings(deadline=None)
@given(st.floats(-1e4, 1e4), st.floats(1e-3, 1e4))
def test_ticks_can_be_told_apart(low: float, span: float) -> None:
    texts = tick_texts(ticks(low, low + span))
    assert len(set(texts)) == len(texts)
    assert len({text.partition(".")[2].__len__() for text in texts}) == 1, "all have the same decimals"
