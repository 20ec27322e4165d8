"""Renderings: escaped, whole, the same bytes every time; and what is stale is named."""

from __future__ import annotations

import csv
import io
import os
import re
import subprocess
import sys
from html.parser import HTMLParser

import pytest

from avbench.errors import UsageError
from avbench.leaderboard import build, render_all, stale

from .conftest import FIGURES, VIEWS, figure, measured

EVIL = "</script><script>window.__pwned=1</script><img src=x onerror='window.__pwned=1'> 🎬 مرحبا"
SELECT = '[[view]]\nname = "all"\ntitle = "All & <more>"\nselect = {}\n'


def rendered(folder, name):
    return render_all(folder)[name].decode()


def test_markdown_has_ranks_marks_gaps_footnotes_and_differences(make_folder):
    text = rendered(make_folder(rows=[measured()]), "main.md")
    assert "| base | <u>2.0</u> <sup>1</sup> | 0.50 <sup>1</sup> |" in text
    assert "| tuned | **3.00** <sup>1</sup> | 0.400 <sup>C1</sup> |" in text
    assert "| unknown | – | – |" in text
    assert "- <sup>C1</sup> **A doubtful label.** Two readings disagree." in text
    assert "| tuned | +1.00 (+50.0 %) ▲ | -0.100 (-20.0 %) ▲ |" in text
    assert "From: P (arXiv 2605.12480)" in text


def test_latex_is_booktabs_with_best_bold_and_second_underlined(make_folder):
    text = rendered(make_folder(), "main.tex")
    for part in (r"\toprule", r"\midrule", r"\bottomrule", r"\begin{tabular}{@{}lrr@{}}", r"\end{tabular}"):
        assert text.count(part) == 1
    assert r"base & \underline{2.0}$^{\mathrm{1}}$ & 0.50$^{\mathrm{1}}$ \\" in text
    assert r"tuned & \textbf{3.00}$^{\mathrm{1}}$ & 0.400$^{\mathrm{C1}}$ \\" in text
    assert r"unknown & -- & -- \\" in text


def test_every_latex_rendering_is_balanced_and_has_full_rows(own):
    for path in (own / "rendered").glob("*.tex"):
        lines = [line for line in path.read_text(encoding="utf-8").splitlines() if not line.startswith("%")]
        text = re.sub(r"\\.", "", "\n".join(lines))
        assert text.count("{") == text.count("}"), path.name
        assert text.count("$") % 2 == 0, path.name
        columns = [re.fullmatch(r"\\begin\{tabular\}\{@\{\}([lr]+)@\{\}\}", line) for line in lines]
        width = next((len(match[1]) for match in columns if match), 0)
        rows = [line for line in lines if line.endswith(r" \\") and r"\multicolumn" not in line]
        assert {len(re.findall(r"(?<!\\)&", row)) for row in rows} <= {width - 1}, path.name
        assert set("\n".join(lines)) <= {chr(i) for i in range(32, 127)} | {"\n"}, path.name


def test_special_signs_are_escaped_everywhere(make_folder):
    odd = figure(row="a|b_c*d <e> 100% [f] $g$ \\h {i} #j", value="9")
    folder = make_folder(lines=[*FIGURES, odd], views=SELECT)
    content = render_all(folder)
    markdown, latex, sheet = (content[f"all.{kind}"].decode() for kind in ("md", "tex", "csv"))
    assert r"| a\|b\_c\*d &lt;e&gt; 100% \[f\] \$g\$ \\h {i} #j |" in markdown
    assert r"a$|$b\_c{*}d $<$e$>$ 100\% {[}f] \$g\$ \textbackslash{}h \{i\} \#j &" in latex
    assert odd["row"] in [line["row"] for line in csv.DictReader(io.StringIO(sheet))]
    assert "# All &amp; &lt;more&gt;" in markdown


def test_a_csv_names_provenance_and_leaves_unknown_cells_empty(make_folder):
    folder = make_folder(rows=[measured(spread="0.1")], views=SELECT + VIEWS)
    lines = list(csv.DictReader(io.StringIO(rendered(folder, "all.csv"))))
    assert [(line["row"], line["provenance"], line["vq"]) for line in lines] == [
        ("base", "published", "2.0"),
        ("tuned", "published", "3.00"),
        ("mine", "measured", "2.5 ± 0.1"),
    ]
    assert lines[2]["marks"] == "vq:m"
    unknown = list(csv.DictReader(io.StringIO(rendered(folder, "main.csv"))))[2]
    assert (unknown["row"], unknown["vq"], unknown["desync"]) == ("unknown", "", "")
    long = list(csv.DictReader(io.StringIO(rendered(folder, "figures.csv"))))
    assert [line["provenance"] for line in long] == ["published"] * 4 + ["measured"] * 2


def test_a_view_without_rows_says_so(make_folder):
    folder = make_folder()
    assert "No rows yet." in rendered(folder, "measured.md")
    assert "No rows yet." in rendered(folder, "measured.tex")
    assert len(rendered(folder, "measured.csv").splitlines()) == 1


@pytest.mark.long
def test_the_same_folder_gives_the_same_bytes_in_any_process(own):
    code = (
        "import hashlib, sys; from pathlib import Path; from avbench.leaderboard import render_all;"
        "c = render_all(Path(sys.argv[1])); print(hashlib.sha256(b'\\0'.join(c.values())).hexdigest())"
    )
    digests = {
        subprocess.run(
            [sys.executable, "-c", code, str(own)],
            env={**os.environ, "PYTHONHASHSEED": seed, "LC_ALL": locale, "TZ": zone},
            capture_output=True,
            check=True,
        ).stdout
        for seed, locale, zone in (("1", "C", "UTC"), ("2", "C.UTF-8", "Asia/Tokyo"))
    }
    assert len(digests) == 1


def test_build_writes_what_changed_and_stale_names_what_is_not_right(make_folder):
    folder = make_folder()
    assert {one.why for one in stale(folder)} == {"missing"}
    assert "main.md" in build(folder)
    assert build(folder) == []
    assert stale(folder) == []
    page = folder / "rendered" / "main.md"
    page.write_text(page.read_text().replace("3.00", "3.01"))
    (folder / "rendered" / "main.tex").unlink()
    (folder / "rendered" / "old.md").write_text("x")
    assert [str(one) for one in stale(folder)] == [
        "main.md: differs from line 6", "main.tex: missing", "old.md: left over; delete it",
    ]  # fmt: skip
    assert build(folder) == ["main.md", "main.tex"]


def test_nothing_is_written_where_a_table_is_wrong(make_folder):
    folder = make_folder(lines=[*FIGURES, figure(row="x", unit="s")])
    with pytest.raises(UsageError, match="column unit"):
        build(folder)
    assert not (folder / "rendered").exists()


class Page(HTMLParser):
    """Tags and attributes of a page, and the text of its scripts."""

    def __init__(self):
        super().__init__()
        self.tags, self.policy = [], ""

    def handle_starttag(self, tag, attributes):
        self.tags.append((tag, dict(attributes)))
        if dict(attributes).get("http-equiv") == "Content-Security-Policy":
            self.policy = dict(attributes)["content"]


def parsed(text):
    page = Page()
    page.feed(text)
    return page


def test_the_page_needs_no_network_and_runs_only_its_own_script(own):
    page = parsed((own / "rendered" / "leaderboards.html").read_text(encoding="utf-8"))
    assert page.policy.startswith("default-src 'none'; script-src 'sha256-")
    assert "unsafe" not in page.policy
    for tag, attributes in page.tags:
        assert "src" not in attributes, tag
        assert "style" not in attributes, tag
        assert not any(name.startswith("on") for name in attributes), tag
        assert attributes.get("href", "#").startswith(("#", "data:,")), attributes


def test_texts_of_tables_are_escaped_in_the_page(make_folder):
    odd = figure(row=EVIL, benchmark=EVIL, backbone=EVIL, source=EVIL, note=EVIL, paper=EVIL)
    text = rendered(
        make_folder(lines=[*FIGURES, odd], conflicts=f'[C1]\ntitle = "{EVIL}"\ntext = "{EVIL}"\n'), "leaderboards.html"
    )
    assert "<script>window" not in text
    assert "<img" not in text
    assert sum(tag == "script" for tag, _ in parsed(text).tags) == 2


def test_the_page_has_every_row_its_marks_and_all_footnotes(make_folder):
    text = rendered(make_folder(rows=[measured()]), "leaderboards.html")
    assert text.count('data-provenance="published"') == 2
    assert text.count('data-provenance="measured"') == 1
    assert '<span class="v">2.5</span> <sup><a href="#mark-m">m</a></sup>' in text
    assert 'id="C1"' in text and "Two readings disagree." in text
