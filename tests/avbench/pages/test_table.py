"""One table, five formats: the same cells, ranks, marks and notes in each, and strangers' texts stay texts."""

from __future__ import annotations

import csv
import html
import io
import re
from dataclasses import replace
from html.parser import HTMLParser

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from markdown_it import MarkdownIt
from rich.console import Console

from avbench.direction import Direction
from avbench.pages.csv import table_csv
from avbench.pages.html import table_html
from avbench.pages.latex import table_latex
from avbench.pages.markdown import section_markdown, table_markdown
from avbench.pages.table import Cell, Column, Footnote, Row, Table, rank
from avbench.pages.terminal import table_terminal
from avbench.terminal.text import one_line, visible

ALIGN, UP = Cell("av_align"), Cell("↑")
TABLE = Table(
    "Two models",
    (
        Column("row", "", "text"),
        Column("setting", "setting", "text", optional=True),
        Column("metric", "metric", "name"),
        Column("way", "which way is better", "sign"),
        Column("vq", "VQ", direction=Direction.HIGHER),
        Column("desync", "DeSync", unit="s", direction=Direction.LOWER, detail=True),
    ),
    (
        Row((Cell("base"), Cell(), ALIGN, UP, Cell("2.0", "second", ("1",)), Cell("0.5", "best")), "one"),
        Row((Cell("tuned"), Cell(), ALIGN, UP, Cell("3.00", "best"), Cell()), "one"),
        Row((Cell("other"), Cell(), ALIGN, UP, Cell("1.0", note="no interval: one seed"), Cell()), "two"),
        Row((Cell("span"), Cell(), Cell(), Cell(), Cell("1.0 to 3.00"), Cell()), "two", summary=True),
    ),
    ("A note.",),
    (Footnote("1", "read once.", "Doubt."),),
)  # fmt: skip


def in_terminal(table: Table, width: int = 80) -> str:
    console = Console(file=io.StringIO(), width=width)
    console.print(table_terminal(table))
    return console.file.getvalue()


def test_markdown() -> None:
    assert (
        "\n\n".join(section_markdown(TABLE))
        == """\
|  | metric |  | VQ ↑ | DeSync ↓ (s) |
| --- | --- | :-: | --: | --: |
| **one** |  |  |  |  |
| base | `av_align` | ↑ | <u>2.0</u> <sup>1</sup> | **0.5** |
| tuned | `av_align` | ↑ | **3.00** | – |
| **two** |  |  |  |  |
| other | `av_align` | ↑ | 1.0 <sup>a</sup> | – |
| *span* |  |  | 1.0 to 3.00 | – |

**Best**, <u>second</u> by the printed value: neither says that a gap is more than noise.

- <sup>1</sup> **Doubt.** read once.
- <sup>a</sup> no interval: one seed

A note."""
    )


def test_latex() -> None:
    text = table_latex(TABLE)
    for part in (
        r"\begin{tabular}{@{}llcrr@{}}", r" & metric &  & VQ $\uparrow$ & DeSync $\downarrow$ (s) \\",
        r"\multicolumn{5}{l}{\textit{one}} \\",
        r"base & av\_align & $\uparrow$ & \underline{2.0}$^{\mathrm{1}}$ & \textbf{0.5} \\",
        r"tuned & av\_align & $\uparrow$ & \textbf{3.00} & -- \\", r"\textit{span} &  &  & 1.0 to 3.00 & -- \\",
        r"$^{\mathrm{a}}$~no interval: one seed\par", r"$^{\mathrm{1}}$~Doubt. read once.\par", r"A note.\par",
    ):  # fmt: skip
        assert part in text
    assert "\n\n" not in text, "an empty line would end the paragraph"


def test_csv() -> None:
    rows = list(csv.DictReader(io.StringIO(table_csv(TABLE))))
    assert list(rows[0]) == ["group", "row", "setting", "metric", "way", "vq", "desync", "marks"]
    assert [row["row"] for row in rows] == ["base", "tuned", "other"], "a row that sums up others is no data"
    assert (rows[0]["vq"], rows[0]["marks"], rows[1]["desync"]) == ("2.0", "vq:1", "")
    own = replace(TABLE, rows=(replace(TABLE.rows[0], provenance=(("paper", "P"),)), TABLE.rows[1]))
    rows = list(csv.DictReader(io.StringIO(table_csv(own))))
    assert list(rows[0])[4:7] == ["way", "paper", "vq"]
    assert [row["paper"] for row in rows] == ["P", ""]


def test_terminal() -> None:
    lines = in_terminal(TABLE).splitlines()
    assert max(map(len, lines)) <= 80
    assert re.search(r"^base +av_align +↑ +2\.0 \* \(1\)", next(line for line in lines if line.startswith("base")))
    assert not any("DeSync" in line for line in lines), "details are for wider media"
    words = " ".join(" ".join(lines).split())
    assert words.endswith(
        "** best, * second by the printed value: neither says that a gap is more than noise. (1) Doubt. read once. "
        "(a) no interval: one seed A note."
    )


class Page(HTMLParser):
    """Tags with attributes, and the text of each row."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.rows: list[list[str]] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag == "tr":
            self.rows.append([])
        if tag in ("td", "th"):
            self.rows[-1].append("")

    def handle_data(self, data: str) -> None:
        if self.rows and self.rows[-1] and not data.isspace():
            self.rows[-1][-1] += data


def test_html() -> None:
    text = table_html(TABLE, anchors={"1": "mark-1"})
    page = Page(text)
    assert page.rows[0] == ["", "metric", "which way is better", "VQ ↑", "DeSync ↓ (s)"]
    assert [row[0] for row in page.rows[1:]] == ["one", "base", "tuned", "two", "other", "span"]
    assert '<span class="v second">2.0</span> <sup><a href="#mark-1">1</a></sup>' in text
    assert '<td class="num">1.0<small>no interval: one seed</small></td>' in text
    assert ("div", {"class": "scroll", "tabindex": "0", "role": "region", "aria-label": "Two models"}) in page.tags
    assert [attrs["scope"] for tag, attrs in page.tags if tag == "th"].count("row") == 4
    assert "<th" not in text.partition("<td></td>")[0].partition("<tr>")[2], "a heading without a text is no heading"


FORMATS = [table_markdown, table_latex, table_csv, table_html]


@pytest.mark.parametrize("render", [*FORMATS, in_terminal], ids=lambda render: render.__name__)
def test_an_empty_table_has_a_head(render) -> None:
    assert "metric" in render(replace(TABLE, rows=()))


hostile = st.text(st.one_of(st.sampled_from("=+-@|`*_[]()<>&#~$\\!'\"\t\n\r.1 \x1b\u202e{}%^"), st.characters()))


def strange(text: str) -> Table:
    columns = (Column("a", text, "text"), Column("b", "b", "name"), Column("c", "c"))
    cells = (Cell(text, hint=text), Cell(text), Cell(text, "best", (text,), text, link="#x"))
    return Table(text, columns, (Row(cells, text, tone="bad"),), (text,), (Footnote(text, text, text),))


@settings(deadline=None)
@given(hostile)
def test_texts_of_strangers_stay_texts_on_pages(text: str) -> None:
    page = Page(table_html(strange(text)))
    assert {tag for tag, _ in page.tags} <= {
        "div", "table", "thead", "tbody", "tr", "th", "td", "bdi", "span", "a", "sup", "small", "p", "dl", "dt", "dd",
        "strong",
    }  # fmt: skip
    assert not [name for _, attrs in page.tags for name in attrs if name.startswith("on") or name == "style"]


@settings(deadline=None)
@given(hostile)
def test_texts_of_strangers_stay_texts_in_markdown(text: str) -> None:
    shown = MarkdownIt("commonmark").enable(["table", "strikethrough"]).render(table_markdown(strange(text)))
    assert set(re.findall(r"</?(\w+)", shown)) <= {
        "table", "thead", "tbody", "tr", "th", "td", "strong", "code", "sup",
    }  # fmt: skip
    cells = re.findall(r"<td[^>]*>(.*?)</td>", shown)
    assert len(cells) % 3 == 0
    if one_line(text).strip():
        assert html.unescape(cells[-3]).strip() == one_line(text)


@settings(deadline=None)
@given(hostile)
def test_texts_of_strangers_stay_texts_in_latex_and_csv_and_on_terminals(text: str) -> None:
    lines = table_latex(strange(text)).splitlines()
    rows = [line for line in lines if line.endswith(r" \\") and r"\multicolumn" not in line]
    assert {len(re.findall(r"(?<!\\)&", row)) for row in rows} == {2}
    (row,) = csv.DictReader(io.StringIO(table_csv(strange(text)), newline=""))
    assert row["b"].removeprefix("'") == visible(text).removeprefix("'")
    assert not set(in_terminal(strange(text), 10_000)) & {"\x1b", "\u202e"}


def test_ranks_follow_the_direction_and_need_a_difference() -> None:
    assert rank([1.0, 3.0, 3.0, None, 2.0], Direction.HIGHER) == ["", "best", "best", "", "second"]
    assert rank([1.0, 3.0, 2.0], Direction.LOWER) == ["best", "", "second"]
    assert rank([1.0, 3.0], Direction.NEITHER) == ["", ""]
    assert rank([2.0, 2.0, None], Direction.HIGHER) == ["", "", ""]
