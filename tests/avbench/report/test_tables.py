"""Summary entries as text."""

from __future__ import annotations

import io
from typing import Any

import pytest

from avbench.direction import Direction
from avbench.pages.html import table_html
from avbench.pages.latex import table_latex
from avbench.pages.markdown import below_markdown, table_markdown
from avbench.pages.numbers import format_value
from avbench.pages.terminal import table_terminal
from avbench.report.tables import format_mean, format_problems, summary_table


def entry(**changes: Any) -> dict[str, Any]:
    base: dict[str, Any] = {
        "metric": "av_align",
        "n": 14,
        "n_ok": 12,
        "n_skipped": 1,
        "n_error": 1,
        "mean": 0.43,
        "low": 0.4,
        "high": 0.46,
        "median": 0.42,
        "reasons": {"no [bold]sound[/bold] | <b>": 1, "cannot decode\nline two": 1},
    }
    return base | changes


EMPTY = entry(n_ok=0, n_error=0, n_skipped=14, mean=None, low=None, high=None, median=None, reasons={"no sound": 14})
METADATA = {
    "av_align": {"unit": "1", "higher_is_better": True},
    "loudness": {"unit": "LUFS", "higher_is_better": None},
}


@pytest.mark.parametrize(
    ("given", "text"),
    [
        (entry(), "0.43 [0.40, 0.46] (12 of 14)"),
        (entry(low=None, high=None, n_ok=1), "0.43 (1 of 14)"),
        (EMPTY, "– (0 of 14)"),
        (entry(mean=-23.04, low=-25.0, high=-21.0), "-23.0 [-25.0, -21.0] (12 of 14)"),
        (entry(mean=11.6, low=11.59, high=11.61), "11.60 [11.59, 11.61] (12 of 14)"),
        (entry(mean=0.0, low=-0.001, high=0.001), "0.0000 [-0.0010, 0.0010] (12 of 14)"),
        (entry(mean=44100.0, low=44100.0, high=44100.0), "44100 [44100, 44100] (12 of 14)"),
    ],
)
def test_a_mean_comes_with_its_count(given: dict[str, Any], text: str) -> None:
    assert format_mean(given) == text


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, "–"),
        (float("nan"), "–"),
        (float("inf"), "–"),
        (0.0, "0.00"),
        (-0.0, "0.00"),
        (0.0123, "0.012"),
        (123.4, "123"),
    ],
)
def test_numbers(value: float | None, text: str) -> None:
    assert format_value(value) == text


def test_direction_and_problems() -> None:
    assert [Direction.of_metadata({"higher_is_better": h}).arrow for h in (True, False, None)] == ["↑", "↓", "·"]
    assert Direction.of_metadata(None) is Direction.NEITHER
    assert format_problems(entry(n_skipped=0, n_error=0)) == ""
    assert format_problems(EMPTY) == "14 skipped: no sound"
    text = format_problems(entry(reasons={"a" * 199: 3, "b": 2, "c": 1}))
    assert text == f"1 error, 1 skipped: {'a' * 99}… (3); b (2); 1 more reasons"


def test_terminal_table_shows_markup_as_text() -> None:
    from rich.console import Console

    out = io.StringIO()
    table = table_terminal(summary_table([entry(), EMPTY | {"metric": "loudness"}], METADATA, "demo [red]"))
    Console(file=out, width=200).print(table)
    text = out.getvalue()
    assert "[bold]sound[/bold]" in text
    assert "demo [red]" in text
    assert "0.43 [0.40, 0.46]" in text
    assert "12 of 14" in text
    assert "LUFS" in text


def test_markdown_table_keeps_its_columns() -> None:
    table = summary_table([entry(metric="a_b | <c>"), EMPTY], METADATA, "<demo>")
    lines = table_markdown(table).splitlines()
    assert "a\\_b \\| &lt;c&gt;" in lines[2]
    assert lines[3].startswith("| `av_align` | ↑ | – | – | 0 of 14 |")
    assert all(line.replace("\\|", "").count("|") == 8 for line in lines)
    assert "1 × no \\[bold\\]sound\\[/bold\\] \\| &lt;b&gt; (a\\_b \\| &lt;c&gt;)" in below_markdown(table)


def test_an_interval_that_is_missing_for_a_reason_says_so_in_every_format() -> None:
    from rich.console import Console

    few = [entry(low=None, high=None, no_interval="too few prompts", reasons={})]
    table = summary_table(few, METADATA, "demo")
    assert "| 0.43 <sup>a</sup> |" in table_markdown(table)
    assert "- <sup>a</sup> no interval: too few prompts" in below_markdown(table)
    assert '<td class="num">0.43<small>no interval: too few prompts</small></td>' in table_html(table)
    assert r"0.43$^{\mathrm{a}}$" in table_latex(table)
    assert r"$^{\mathrm{a}}$~no interval: too few prompts\par" in table_latex(table)
    out = io.StringIO()
    Console(file=out, width=80).print(table_terminal(table))
    assert "0.43 (a)" in out.getvalue()
    assert "(a) no interval: too few prompts" in out.getvalue()
