"""The page of a run: what it shows is the data, it is safe with any text, and it needs nothing from outside."""

from __future__ import annotations

import base64
import hashlib
import io
import math
import re
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from avbench.pages.numbers import format_significant
from avbench.statistics import Interval
from omninft_train.errors import EnvironmentProblem
from omninft_train.evaluation import Evaluation, Metric
from omninft_train.report import ClipPair, Overlay, Report, ScoreRow, render_report, write_report
from omninft_train.report.curves import depth_charts, reward_charts, reward_names, running_mean, total_reward
from omninft_train.report.heat import heat_frames, heat_scale
from omninft_train.report.page import score_row
from omninft_train.report.scores import evaluation_charts, score_rows

EVIL = '<script>alert("x")</script> & <img src=https://example.org/a.png onerror=\'b\'> "quoted"'
WEIGHTS = {"picture": 1.0, "sync": 0.5}
VOID = {"meta", "link", "img", "br"}
TOML = """
[[rewards.reward]]
scorer = "package.judges:reward_picture"
weight = 1.0
route = "video"

[[rewards.reward]]
scorer = "sync"
weight = 0.5
route = "both"
"""


class Page(HTMLParser):
    """Checks nesting; keeps tags, addresses, texts, and tables as lists of rows."""

    def __init__(self, text: str) -> None:
        super().__init__(convert_charrefs=True)
        self.open: list[str] = []
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.words: list[str] = []
        self.scripts: list[str] = []
        self.rows: list[list[str]] = []
        self.section = ""
        self.cells: dict[str, list[list[str]]] = {}
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag in VOID:
            return
        self.open.append(tag)
        if tag == "section":
            self.section = dict(attrs)["id"] or ""
        if tag == "tr":
            self.cells.setdefault(self.section, []).append([])
        if tag in ("td", "th"):
            self.cells[self.section][-1].append("")

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self.open and self.open[-1] in ("style", "script"):
            self.scripts += [data] if self.open[-1] == "script" else []
            return
        self.words.append(data)
        if {"td", "th"} & set(self.open):
            self.cells[self.section][-1][-1] += data

    @property
    def text(self) -> str:
        return " ".join(self.words)

    def addresses(self) -> list[str]:
        names = ("src", "href", "xlink:href", "action", "poster", "srcset", "data")
        return [attributes[name] or "" for _, attributes in self.tags for name in names if name in attributes]

    def row(self, section: str, name: str) -> list[str]:
        (found,) = [cells for cells in self.cells[section] if cells[0] == name]
        return found


def make_log(steps: int) -> list[dict[str, Any]]:
    log: list[dict[str, Any]] = []
    for step in range(steps):
        row: dict[str, Any] = {"step": step, "loss": 0.5 - 0.01 * step, "kl": 0.001 * step, "gradient_norm": 2.0}
        row |= {"reward_picture_invalid": 0, "reward_picture_mean": 0.31 + 0.013 * step, "reward_picture_std": 0.125}
        row |= {"reward_sync_invalid": step % 2, "reward_sync_mean": 0.2, "reward_sync_flat_groups": 0.25}
        row |= {"conflict_share": 0.47, "conflict_correlation": -0.12, "advantage_video_std": 1.0}
        row |= {"seconds_sample": 3.0, "seconds_update": 1.0}
        log.append(row)
    if log:
        log[0]["gradient_by_depth"] = {"audio": [0.75, 0.5], "video": [0.25, 0.125]}
        log[0]["gradient_by_depth_without_surgery"] = {"audio": [1.5, 0.5], "video": [0.25, 0.375]}
        log[-1]["gradient_by_depth"] = {"audio": [0.0625, None], "video": [0.03125, 0.015625]}
    return log


@pytest.fixture
def clip(tmp_path: Path) -> Path:
    path = tmp_path / "clip.mp4"
    path.write_bytes(bytes(range(256)))
    return path


def make_overlay() -> Overlay:
    frames = [np.full((6, 8, 3), value, np.uint8) for value in (0, 255)]
    return Overlay(EVIL, frames, [np.array([[1.0, 1.25], [1.5, 1.125]]), np.ones((2, 2))], 1.5)


def make_report(clip: Path, log: list[dict[str, Any]]) -> Report:
    scores = [
        ScoreRow("picture", True, 0.5125, 0.6375, Interval(0.125, 0.1, 0.15, 12), 48, True),
        ScoreRow("impact_distance", False, 1.25, 1.75, Interval(0.5, 0.25, 0.75, 12), 47, False),
        ScoreRow("motion", False, None, 3.5, Interval(None, None, None, 0, "fewer than 6 prompts"), 46, None),
    ]
    pairs = [ClipPair(EVIL, clip, clip.with_name("gone.mp4"), [("sync", 0.4321, None), ("picture", 0.25, 0.75)])]
    overlays, notes = [make_overlay()], ["A note with <b>."]
    return Report("A run", "omninft", 7, TOML, log, pairs, scores, overlays, notes, weights=WEIGHTS)


@pytest.fixture
def page(clip: Path) -> Page:
    return Page(render_report(make_report(clip, make_log(24))))


def picture(address: str) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(address.removeprefix("data:image/png;base64,")))))


def test_the_page_needs_nothing_from_outside_and_runs_only_its_own_script(page: Page) -> None:
    assert all(address.startswith(("#", "data:")) for address in page.addresses())
    assert not {"iframe", "object"} & {tag for tag, _ in page.tags}
    assert not [name for _, attributes in page.tags for name in attributes if name.startswith("on") or name == "style"]
    (policy,) = [a["content"] for tag, a in page.tags if tag == "meta" and "http-equiv" in a]
    assert policy is not None and policy.startswith("default-src 'none'") and "http" not in policy
    (script,) = page.scripts
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    assert f"script-src 'sha256-{digest}'; " in policy and "unsafe" not in policy


def test_links_inside_the_page_lead_somewhere_and_ids_are_unique(page: Page) -> None:
    ids = [attributes["id"] for _, attributes in page.tags if "id" in attributes]
    assert len(ids) == len(set(ids))
    assert {address[1:] for address in page.addresses() if address.startswith("#")} <= set(ids)
    for _, attributes in page.tags:
        assert set((attributes.get("aria-labelledby") or "").split()) <= set(ids)


def test_texts_of_others_stay_texts(clip: Path) -> None:
    log = [{"step": 0, "reward_<script>_mean": 0.5, "reward_<script>_invalid": 0}]
    report = replace(make_report(clip, log), title=EVIL, recipe=EVIL, config_toml=EVIL, notes=[EVIL])
    report = replace(
        report, scores=[ScoreRow(EVIL, True, 1.0, 1.0, Interval(0.0, None, None, 3, "fewer than 6 prompts"), 3, True)]
    )
    page = Page(render_report(report))
    assert page.text.count(EVIL) >= 7  # title twice, recipe, note, score, clip, overlay, recipe's text
    assert "Reward: <script>" in page.text
    assert "b" not in {tag for tag, _ in page.tags}
    assert len(page.scripts) == 1 and "alert" not in page.scripts[0]


def test_scores_are_those_of_the_data_and_say_what_was_rewarded(page: Page) -> None:
    assert page.row("scores", "picture") == [
        *("picture", "↑", "0.5125", "0.6375", "+0.125 [+0.1, +0.15]", "better", "48")
    ]
    row = page.row("scores", "impact_distance")
    assert row == ["impact_distance", "↓", "1.25", "1.75", "+0.5 [+0.25, +0.75]", "worse", "47"]
    assert page.row("scores", "motion") == ["motion", "·", "–", "3.5", "–", "no value", "46"]
    names = [cells[0] for cells in page.cells["scores"]]
    held = names.index("Held out: not rewarded")
    assert names.index("picture") < held < names.index("impact_distance") < names.index("motion")


@pytest.mark.parametrize(
    ("change", "higher", "verdict"),
    [
        (Interval(0.3, 0.1, 0.5, 9), True, "better"),
        (Interval(0.3, 0.1, 0.5, 9), False, "worse"),
        (Interval(-0.3, -0.5, -0.1, 9), False, "better"),
        (Interval(-0.3, -0.5, -0.1, 9), None, "changed"),
        (Interval(0.3, -0.1, 0.7, 9), True, "no clear change"),
        (Interval(0.3, None, None, 3, "fewer than 6 prompts"), True, "no interval: fewer than 6 prompts"),
        (None, True, "one value for all clips: no interval"),
    ],
)
def test_a_change_counts_where_its_interval_leaves_out_zero(
    change: Interval | None, higher: bool | None, verdict: str
) -> None:
    row = score_row(ScoreRow("m", True, 1.0, 1.0 + (change.mean or 0 if change else 0), change, 9, higher))
    assert row.cells[5].text == verdict
    assert ("[" in row.cells[4].text) == (change is not None and change.low is not None)


def test_a_missing_mean_has_no_verdict() -> None:
    assert score_row(ScoreRow("m", True, 1.0, math.nan, None, 9, True)).cells[5].text == "no value"


def test_clips_lie_inside_the_page_and_missing_ones_are_named(page: Page, clip: Path) -> None:
    (video,) = [attributes for tag, attributes in page.tags if tag == "video"]
    head, data = (video["src"] or "").split(",")
    assert head == "data:video/mp4;base64" and base64.b64decode(data) == clip.read_bytes()
    assert "controls" in video and "muted" not in video and video["aria-label"] == f"Before: {EVIL}"
    assert "gone.mp4 is missing." in page.text
    assert page.row("clips", "sync") == ["sync", "0.4321", "–", "–"]
    assert page.row("clips", "picture") == ["picture", "0.25", "0.75", "+0.5"]


def test_reward_table_and_times_are_those_of_the_log(page: Page) -> None:
    # 24 steps: ends of 6; means 0.31 + 0.013 x 2.5 and 0.31 + 0.013 x 20.5
    assert page.row("rewards", "picture") == ["picture", "0.3425", "0.5765", "0.125", "–", "0"]
    assert page.row("rewards", "sync") == ["sync", "0.2", "0.2", "–", "0.25", "12"]
    assert page.row("time", "sample") == ["sample", "3", "72", "75.0 %"]
    assert page.row("time", "all phases") == ["all phases", "4", "96", "100 %"]
    assert page.cells["depth"][1:3] == [["0", "1.5", "0.75", "0.25", "0.25"], ["1", "0.5", "0.5", "0.375", "0.125"]]
    assert page.cells["depth"][4:] == [["0", "–", "0.0625", "–", "0.03125"], ["1", "–", "–", "–", "0.01562"]]


def test_every_dot_of_a_reward_tells_its_logged_value() -> None:
    log = make_log(12)
    text = str(reward_charts(log, WEIGHTS)[0].figure())
    told = re.findall(r"<title>step (\d+), each step: ([^<]+)</title>", text)
    assert told == [(str(row["step"]), format_significant(row["reward_picture_mean"])) for row in log]


def test_the_sum_of_rewards_uses_the_weights_of_the_recipe() -> None:
    log = make_log(3)
    assert total_reward(log, WEIGHTS) == pytest.approx([0.41, 0.423, 0.436])
    del log[1]["reward_sync_mean"]
    assert total_reward(log, WEIGHTS)[1] is None
    assert reward_charts(log, WEIGHTS)[-1].title == "Sum of rewards: picture + 0.5 sync"
    assert reward_charts(log, {"picture": 2.0})[-1].title == "Sum of rewards: picture + sync"


def test_rewards_are_found_even_where_all_their_values_failed() -> None:
    log = [{"step": 0, "reward_a_b_invalid": 4}, {"step": 1, "reward_c_mean": 0.1, "reward_c_std": 0.1}]
    assert reward_names(log) == ["a_b", "c"]
    assert "No values were logged." in reward_charts(log, {})[0].figure()


@pytest.mark.parametrize("steps", [0, 1, 2, 200])
def test_runs_of_any_length_have_a_page(clip: Path, steps: int) -> None:
    page = Page(render_report(make_report(clip, make_log(steps))))
    assert page.section == "recipe"
    assert ("No step was logged." in page.text) == (steps == 0)


def test_a_page_without_anything_says_so() -> None:
    page = Page(render_report(Report("t", "vanilla", 0, "", [], [], [], [], [])))
    for words in ("No scores were given.", "No clips were given.", "No step was logged.", "weighted no regions"):
        assert words in page.text
    assert "were not measured" in page.text


def test_no_value_of_any_kind_reaches_the_page_as_nan(clip: Path) -> None:
    bad = [None, math.nan, math.inf, "text", True]
    keys = [key for key in make_log(2)[1] if key != "step"]
    log: list[dict[str, Any]] = [{"step": step} | dict.fromkeys(keys, value) for step, value in enumerate(bad)]
    log[0]["gradient_by_depth"] = {"audio": [None, None]}
    report = replace(make_report(clip, log), scores=[ScoreRow("m", False, math.nan, None, None, 0, True)])
    text = re.sub(r'"data:[^"]*"', "", render_report(replace(report, overlays=[])))
    assert not re.search(r"\b(nan|inf|None)\b", text.partition("</style>")[2])


def test_gradients_by_depth_show_both_probes_and_live_without_surgery() -> None:
    charts = [str(chart.figure()) for chart in depth_charts(make_log(5))]
    titles = [re.findall(r"<figcaption>([^<]+)<", chart)[0] for chart in charts]
    assert titles == [f"{stream} stream, step {step}" for stream in ("Audio", "Video") for step in (0, 4)]
    assert "block 0, without surgery: 1.5" in charts[0] and "block 0, with surgery: 0.75" in charts[0]
    assert "block 0, gradient: 0.0625" in charts[1] and "without surgery" not in charts[1]
    heights = [float(re.findall(r'height="([\d.]+)"><title>block 0', chart)[0]) for chart in charts[:2]]
    assert heights[0] == pytest.approx(24 * heights[1], rel=0.05)  # 1.5 / 0.0625, on one scale


@given(st.lists(st.one_of(st.none(), st.floats(-1e6, 1e6)), max_size=30), st.integers(1, 11))
def test_a_running_mean_keeps_gaps_and_stays_inside_its_window(values: list[float | None], width: int) -> None:
    smooth = running_mean(values, width)
    assert [value is None for value in smooth] == [value is None for value in values]
    for place, value in enumerate(smooth):
        near = [v for v in values[max(0, place - width // 2) : place + width // 2 + 1] if v is not None]
        assert value is None or min(near) - 1e-6 <= value <= max(near) + 1e-6


def test_a_running_mean_by_hand() -> None:
    assert running_mean([1.0, 2.0, None, 6.0], 3) == [1.5, 1.5, None, 6.0]


def test_heat_covers_the_pixels_of_its_region_and_grows_with_the_weight() -> None:
    overlay = make_overlay()
    scale = heat_scale(overlay)
    assert (scale.low, scale.high) == (1.0, 1.5)
    dark, bright = heat_frames(overlay, scale)
    assert (dark.low, dark.high, bright.low, bright.high) == (1.0, 1.5, 1.0, 1.0)
    plain, heat = picture(dark.plain), picture(dark.heat)
    assert plain.shape == heat.shape == (108, 144, 3) and not plain.any()  # 8 pixels wide, times 18
    quarters = [heat[y : y + 54, x : x + 72] for y in (0, 54) for x in (0, 72)]
    assert all((quarter == quarter[0, 0]).all() for quarter in quarters)
    lightness = [quarter[0, 0].astype(int).sum() for quarter in quarters]
    assert lightness[0] < lightness[3] < lightness[1] < lightness[2]  # 1, 1.125, 1.25, 1.5
    assert (
        picture(bright.heat).astype(int).sum() > picture(dark.heat)[:54, :72].astype(int).sum()
    )  # pixels shine through
    strip = picture(scale.picture)[0, [0, -1]].astype(int)
    over_black = np.stack([quarters[0][0, 0], quarters[2][0, 0]]).astype(int)  # lowest and largest weight
    assert np.ptp(strip - over_black) <= 1  # the same colours over another grey


def test_regions_need_not_divide_the_frame() -> None:
    overlay = Overlay("p", [np.zeros((4, 8, 3), np.uint8)], [np.array([[1.0, 2.0, 3.0]])], 3.0)
    (frame,) = heat_frames(overlay, heat_scale(overlay))
    shown = picture(frame.heat)
    assert shown.shape == (72, 144, 3) and (shown == shown[:1]).all()
    assert np.flatnonzero((np.diff(shown[0].astype(int), axis=0) != 0).any(axis=1)).tolist() == [47, 95]


@pytest.mark.parametrize("maximum", [1.0, 0.5])
def test_weights_without_a_span_are_all_lowest(maximum: float) -> None:
    overlay = Overlay("p", [np.full((4, 600, 3), 9, np.uint8)], [np.ones((1, 3))], maximum)
    (frame,) = heat_frames(overlay, heat_scale(overlay))
    shown = picture(frame.heat)
    assert shown.shape == (2, 300, 3) and (shown == shown[0, 0]).all()


def test_every_frame_needs_its_weights() -> None:
    overlay = replace(make_overlay(), weights=[np.ones((2, 2))])
    with pytest.raises(ValueError, match="shorter"):
        heat_frames(overlay, heat_scale(overlay))


def test_the_page_is_written_whole_and_the_same_each_time(clip: Path, tmp_path: Path) -> None:
    report = make_report(clip, make_log(4))
    path = tmp_path / "new" / "report.html"
    assert write_report(report, path) == path
    first = path.read_bytes()
    assert first.decode() == render_report(report)
    write_report(report, path)
    assert path.read_bytes() == first
    assert [found.name for found in path.parent.iterdir()] == ["report.html"]


def test_a_page_that_cannot_be_written_is_told_and_leaves_nothing(clip: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(EnvironmentProblem, match=r"cannot make .*file"):
        write_report(make_report(clip, []), tmp_path / "file" / "report.html")
    (tmp_path / "taken.html").mkdir()
    with pytest.raises(EnvironmentProblem, match=r"cannot write .*taken\.html"):
        write_report(make_report(clip, []), tmp_path / "taken.html")
    assert sorted(found.name for found in tmp_path.iterdir()) == ["clip.mp4", "file", "taken.html"]


def test_half_characters_in_a_prompt_do_not_stop_the_page(clip: Path, tmp_path: Path) -> None:
    report = replace(make_report(clip, []), title="half \ud800 a character")
    assert r"half \ud800 a character" in write_report(report, tmp_path / "r.html").read_text(encoding="utf-8")


def make_evaluation(step: int, picture: float, align: float) -> Evaluation:
    rng = np.random.default_rng(step)
    values = {name: mean + 0.02 * rng.standard_normal(16) for name, mean in (("picture", picture), ("align", align))}
    metrics = {name: Metric(name == "picture", tuple(row.tolist())) for name, row in values.items()}
    metrics["speed"] = Metric(False, (None, *range(15)), None)
    prompts = tuple(f"prompt {number}" for number in range(8))
    return Evaluation("policy", step, 0, 2, 4, prompts, metrics, {"distance": 0.1 * step}, ())


EVALUATIONS = [make_evaluation(0, 0.5, 0.4), make_evaluation(10, 0.7, 0.3), make_evaluation(20, 0.8, 0.2)]


def test_evaluations_are_curves_with_held_out_metrics_apart(clip: Path) -> None:
    report = replace(make_report(clip, make_log(24)), evaluations=EVALUATIONS, warnings=[f"align fell {EVIL}"])
    page = Page(render_report(report))
    assert page.text.count(f"align fell {EVIL}") == 2  # at the top, and beside the curves
    rewarded, held_out = (evaluation_charts(EVALUATIONS, rewarded=seen) for seen in (True, False))
    assert [chart.title for chart in rewarded] == ["picture ↑"]
    assert [chart.title for chart in held_out] == ["align ↑", "speed ·", "distance"]
    for step, one in zip((0, 10, 20), EVALUATIONS, strict=True):
        assert f"<title>step {step}, mean of clips" in str(rewarded[0].figure())
        assert format_significant(one.mean("picture").mean) in str(rewarded[0].figure())
    assert "band" in str(rewarded[0].figure()) and "band" not in str(held_out[-1].figure())
    assert page.row("evaluations", "picture")[-2:] == ["better", "16"]
    assert page.row("evaluations", "align")[-2:] == ["worse", "16"]
    none = "no interval: all values, or all but those of one prompt, are equal"
    assert page.row("evaluations", "speed")[1:] == ["·", "7", "7", "0", none, "15"]
    assert "Step 20 against step 0" in page.text


def test_evaluations_of_other_prompts_are_not_compared(clip: Path) -> None:
    """A run whose evaluations were changed on the way shows those that are like the last one."""
    other = replace(EVALUATIONS[0], prompts=EVALUATIONS[0].prompts[:4], metrics={})
    page = Page(render_report(replace(make_report(clip, []), evaluations=[other, *EVALUATIONS[1:]])))
    assert "Step 20 against step 10" in page.text and "No held-out metric got worse" in page.text
    page = Page(render_report(replace(make_report(clip, []), evaluations=[other])))
    assert "Step 20" not in page.text
    assert "was not evaluated while it was trained" in Page(render_report(make_report(clip, []))).text


def test_rows_of_scores_pair_clips_and_pass_over_what_only_one_evaluation_has() -> None:
    before, after = EVALUATIONS[0], EVALUATIONS[2]
    short = replace(after, metrics={name: after.metrics[name] for name in ("picture", "speed")}, sets={})
    picture, speed, distance = score_rows(before, short)
    values = [np.array(one.metrics["picture"].values, float) for one in (before, short)]
    assert picture.change is not None and picture.change.mean == pytest.approx(float((values[1] - values[0]).mean()))
    assert (picture.n, picture.change.clusters, speed.n, speed.higher_is_better) == (16, 8, 15, None)
    assert (distance.name, distance.before_mean, distance.after_mean, distance.change) == ("distance", 0.0, None, None)
