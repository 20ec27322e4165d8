"""Files of a study: complete, well formed, the same twice."""

from __future__ import annotations

import csv
import json
import xml.etree.ElementTree as ET
from pathlib import Path

import pytest
from synthetic import draw_frames, draw_sound, write_clip

from avbench.clips import Clip
from avbench.errors import EnvironmentProblem
from avbench.metrics.base import get_scorers
from avbench.sources import Source
from avbench.suites import Suite
from avbench.validity import Settings, draw_responses, render_markdown, respond, run_study, write_study
from avbench.validity.plot import MOST_LINES
from avbench.validity.statistics import MIN_CLIPS

METRICS = ("sharpness", "loudness", "av_offset")


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory):
    folder = tmp_path_factory.mktemp("clips")
    clips = []
    for seed in range(MIN_CLIPS):
        path = write_clip(
            folder / f"{seed}.mp4", draw_frames(seed, seconds=0.6, size=(48, 64)), draw_sound(seed, seconds=0.6)
        )
        clips.append(Clip(f"<clip> | {seed}", path))
    source = Source(folder, "folder", tuple(clips), "as given")
    return run_study(source, Suite("custom", "", METRICS), get_scorers(METRICS), Settings(seconds=0.5))


@pytest.fixture(scope="module")
def responses(study):
    return respond(study.rows, study.scorers)


def test_tables_hold_every_row_and_every_pair(study, responses, tmp_path):
    write_study(study, responses, tmp_path / "new" / "folder")
    out = tmp_path / "new" / "folder"
    with (out / "validity.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == len(study.rows)
    assert rows[0].keys() == {
        "clip_id", "clip_sha256", "metric", "corruption", "level", "severity", "value", "status", "reason",
    }  # fmt: skip
    assert all((row["value"] == "") == (row["status"] != "ok") for row in rows)
    assert "nan" not in (out / "validity.csv").read_text()
    with (out / "summary.csv").open(newline="") as file:
        pairs = {(row["metric"], row["corruption"]): row for row in csv.DictReader(file)}
    assert len(pairs) == len(responses) == 3 + 4 + 8
    blur = pairs["sharpness", "blur"]
    assert (blur["verdict"], blur["worse"], blur["compared"], blur["clip_rho"]) == ("gets worse", "5", "5", "-1.0")
    assert [blur[f"severity_{level}"] for level in range(5)] == ["0", "1", "2", "4", "8"]
    facts = json.loads((out / "study.json").read_text())
    assert facts["seed"] == 0
    assert len(facts["clips"]) == MIN_CLIPS
    assert facts["metrics"]["sharpness"]["weights_digest"] == "none"
    assert not list(out.glob(".*"))


def test_the_same_study_gives_the_same_bytes(study, responses, tmp_path):
    first = write_study(study, responses, tmp_path / "a")
    second = write_study(study, respond(study.rows, study.scorers), tmp_path / "b")
    assert [path.read_bytes() for path in first] == [path.read_bytes() for path in second]


def test_markdown_has_a_table_for_each_corruption_and_the_reasons(study, responses):
    text = render_markdown(study, responses)
    assert text.startswith("5 clips, the first 0.5 s of each, frames at most 256 px long.")
    for name in ("sound_shift", "blur", "low_pass"):
        assert f"### {name}\n" in text
    assert "wrong_prompt" not in text
    assert "| `sharpness` | ↑ |" in text
    assert "### Rows without a score" in text
    widths = [[line.count("|") for line in block.splitlines()] for block in text.split("\n\n") if block.startswith("|")]
    assert all(len(set(width)) == 1 for width in widths)


def test_the_plot_is_xml_with_one_cell_for_each_pair(study, responses):
    root = ET.fromstring(draw_responses(study.rows, responses))
    cells = root.findall("{*}g")
    assert len(cells) == len(responses)
    titles = [cell.findtext("{*}title") for cell in cells]
    assert any(title.startswith("sharpness, blur: gets worse.") for title in titles)
    blurred = cells[titles.index(next(title for title in titles if title.startswith("sharpness, blur")))]
    single, mean = blurred.findall("{*}path")
    assert single.get("d").count("M") == MIN_CLIPS <= MOST_LINES
    assert mean.get("class") == "line good"
    heights = [float(point.split()[1]) for point in mean.get("d")[1:].split("L")]
    assert heights == sorted(heights)  # the score falls, so the line goes down the page


def test_a_folder_that_cannot_be_made_is_said(study, responses, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(EnvironmentProblem, match="cannot make"):
        write_study(study, responses, Path(tmp_path / "file" / "below"))
