"""The HTML report: escaping, content security policy, determinism, and what it says about odd runs."""

from __future__ import annotations

import base64
import hashlib
import json
import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

from avbench.clips import Category, Clip, clip_digest
from avbench.pages.media import Embed, MediaBundle, bundle_media
from avbench.report.clip_data import clip_media
from avbench.report.findings import attention, failures, select_clips
from avbench.report.html import write_report
from avbench.report.media_files import MediaFinder
from avbench.report.timeline import timeline
from avbench.results import ClipRow, Run, RunFolder, ScoreRow, load_run
from avbench.terminal.text import visible

NASTY = "</script><script>window.__pwned=1</script> \"quoted\" 'single' & \u2028\u2029 🎬 مرحبا <!-- ${x} {{ 7*7 }}"
METADATA = {
    "av_offset": {
        "summary": "Lag of the sound",
        "unit": "s",
        "higher_is_better": None,
        "range": [-2, 2],
        "family": "sync",
    },
    "av_align": {"summary": "IoU", "unit": "1", "higher_is_better": True, "range": [0, 1], "family": "sync"},
    "silence_share": {"unit": "1", "higher_is_better": False, "range": [0, 1], "family": "audio"},
    "loudness": {"unit": "LUFS", "higher_is_better": None, "range": [-70, None], "caveat": "<b>"},
}


def score(clip: str, metric: str, value: float | None, status: str = "ok", **other: Any) -> ScoreRow:
    facts: dict[str, Any] = {
        "schema_version": 1,
        "run_id": "r1",
        "model": None,
        "suite": "none",
        "suite_version": "1",
        "scope": "clip",
        "clip_id": clip,
        "clip_sha256": f"sha-{clip}",
        "prompt_id": None,
        "sample_index": 0,
        "metric": metric,
        "value": value,
        "status": status,
        "reason": "" if status == "ok" else "no reason given",
        "metric_version": 1,
        "params_digest": "p",
        "weights_digest": "none",
        "seconds": 0.1,
    }
    return ScoreRow(**(facts | other))


def clip(name: str, text: str | None = "a dog barks", video: str = "missing.mp4", **other: Any) -> ClipRow:
    facts: dict[str, Any] = {
        "clip_id": name,
        "model": None,
        "sample_index": 0,
        "prompt_id": None,
        "text": text,
        "video_text": None,
        "audio_text": None,
        "video_path": video,
        "audio_path": None,
        "clip_sha256": f"sha-{name}",
    }
    return ClipRow(**(facts | other))


def make_run(
    folder: Path,
    rows: list[ScoreRow],
    clips: list[ClipRow],
    labels: dict[str, tuple[Category, ...]] | None = None,
    **info: Any,
) -> Run:
    known = labels or {}
    source = [Clip(c.clip_id, Path(c.video_path), categories=known.get(c.clip_id, ())) for c in clips]
    base: dict[str, Any] = {
        "schema_version": 1,
        "run_id": "r1",
        "created": "2026-01-02T03:04:05",
        "command": "avbench score clips",
        "source": "clips",
        "source_kind": "folder",
        "suite": "none",
        "suite_version": "1",
        "metrics": METADATA,
        "environment": {"python": "3.11"},
        "notes": [],
        "n_clips": len(clips),
    }
    with RunFolder(folder) as run:
        run.write_json("run.json", base | info)
        run.write_tables(rows, clips, source)
    return load_run(folder)


def content_digest(*contents: bytes) -> str:
    return clip_digest([hashlib.sha256(content).digest() for content in contents])


CURVES = {
    "rate_wave": 50.0,
    "wave": [0.0, 0.5, 1.0] * 40,
    "onset_rate": 50.0,
    "onset": [0.1, 0.9] * 60,
    "motion_rate": 24.0,
    "motion": [0.0, 0.2, 1.0] * 20,
    "audio_start": 0.5,
    "video_start": 0.0,
    "onset_times": [0.5, 1.0],
    "offset": 0.48,
    "confidence": 0.8,
}


@pytest.fixture
def nasty_run(tmp_path: Path) -> Run:
    video = tmp_path / "a <b>&\"' 100%#?.mp4"
    video.write_bytes(b"not really a video")
    sha = content_digest(b"not really a video")
    clips = [
        clip("evil", NASTY, "gone.mp4", video_text=NASTY, model="<i>model</i>", clip_sha256=sha),
        clip("same <file>", None, str(video), model="other", problem="<u>broken</u>", clip_sha256=sha),
        clip("third", "plain", model="other", width=320, height=240, fps=24.0, frames=48, duration=2.0),
    ]
    rows = [
        score("evil", "av_offset", 0.48, detail=json.dumps(CURVES), model="<i>model</i>"),
        score("evil", "av_align", 0.25, model="<i>model</i>"),
        score("evil", "silence_share", 0.99, model="<i>model</i>"),
        score("same <file>", "av_offset", None, "error", reason=NASTY, model="other"),
        score("same <file>", "av_align", None, "skipped", reason="no sound", model="other"),
        score("third", "av_offset", 0.01, model="other"),
        score("third", "av_align", 0.75, model="other"),
        score("third", "loudness", -23.0, model="other"),
    ]
    labels = {
        "evil": (Category("Sound <Type>", "Speech & more"),),
        "third": (Category("Sound <Type>", "Music"),),
    }
    return make_run(tmp_path / "run", rows, clips, labels, source="<script>x</script>", notes=["<em>note</em>"])


class Page(HTMLParser):
    """Tags, attributes and the text of scripts and styles."""

    def __init__(self, text: str) -> None:
        super().__init__(convert_charrefs=True)
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.raw: list[tuple[str, dict[str, str | None], str]] = []
        self.text = ""
        self._open: tuple[str, dict[str, str | None]] | None = None
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        self._open = (tag, dict(attrs)) if tag in ("script", "style") else None

    def handle_endtag(self, tag: str) -> None:
        self._open = None

    def handle_data(self, data: str) -> None:
        if self._open:
            self.raw.append((*self._open, data))
        else:
            self.text += data

    def json(self, name: str) -> Any:
        return json.loads(next(text for tag, attrs, text in self.raw if attrs.get("id") == name))


def page_of(run: Run, **options: Any) -> tuple[str, Page]:
    text = write_report(run, **options).read_text(encoding="utf-8")
    return text, Page(text)


def test_policy_allows_exactly_the_inline_script_and_style(nasty_run: Run) -> None:
    _, page = page_of(nasty_run)
    policy = next(a["content"] for t, a in page.tags if a.get("http-equiv") == "Content-Security-Policy") or ""
    assert policy.startswith("default-src 'none'; ")
    assert "unsafe" not in policy
    assert "http" not in policy
    running = [text for tag, attrs, text in page.raw if tag == "script" and "type" not in attrs]
    styles = [text for tag, _, text in page.raw if tag == "style"]
    assert (len(running), len(styles)) == (1, 1)
    for kind, text in (("script-src", running[0]), ("style-src", styles[0])):
        digest = base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
        assert f"{kind} 'sha256-{digest}'" in policy


def test_data_stays_data(nasty_run: Run) -> None:
    text, page = page_of(nasty_run)
    assert visible(NASTY) in page.text
    assert page.json("report-data")["clips"][0]["texts"][0] == ["Prompt", visible(NASTY)]
    assert "window.__pwned=1</script>" not in text
    assert not {tag for tag, _ in page.tags} & {"i", "u", "em", "iframe", "object", "img", "base", "form"}
    assert not [a for _, attrs in page.tags for a in attrs if a.startswith("on") or a == "style"]
    assert "innerHTML" not in text
    assert all(sign not in text.split('id="report-data"')[1] for sign in "\u2028\u2029")


def test_nothing_is_loaded_from_the_network(nasty_run: Run) -> None:
    text, page = page_of(nasty_run)
    loads = [
        v for _, attrs in page.tags for k, v in attrs.items() if k in ("src", "href", "srcset", "action", "poster")
    ]
    assert all(v and v.startswith(("#", "data:,")) for v in loads)
    assert not re.search(r"https?:", text)
    assert not re.search(r"url\(|@import", text)


def test_same_run_gives_same_bytes(nasty_run: Run, tmp_path: Path) -> None:
    first = write_report(nasty_run).read_bytes()
    assert write_report(load_run(nasty_run.path), tmp_path / "run" / "again.html").read_bytes() == first


def test_what_stands_out_is_named_first(nasty_run: Run) -> None:
    groups = {group.title: group for group in attention(nasty_run)}
    assert list(groups) == ["Out of sync", "Errors", "Silent"]
    assert groups["Out of sync"].findings[0].text == "sound 0.48 s late"
    _, page = page_of(nasty_run)
    ids = [attrs["id"] for tag, attrs in page.tags if tag == "section" and "id" in attrs]
    assert ids[:2] == ["attention", "summary"]
    assert "sound 0.48 s late" in page.text
    assert "no interval: fewer than 6 prompts" in page.text
    assert "2 of 3" in page.text


def test_failures_are_grouped_by_reason(nasty_run: Run) -> None:
    (error,) = failures(nasty_run, "error")
    assert (error.reason, error.clip_ids, error.metrics, error.rows) == (
        NASTY,
        ("same <file>",),
        ("av_offset",),
        1,
    )
    assert [f.reason for f in failures(nasty_run, "skipped")] == ["no sound"]


def test_one_file_is_embedded_once_and_linked_when_told(nasty_run: Run, tmp_path: Path) -> None:
    clips = nasty_run.clips.copy()
    clips.loc[0, "video_path"] = clips.loc[1, "video_path"]
    run = Run(nasty_run.path, nasty_run.info, nasty_run.scores, clips, nasty_run.categories)
    _, page = page_of(run)
    data = page.json("report-data")
    assert [c["video"] for c in data["clips"]] == [0, 0, 1]
    assert data["files"][0] == {"type": "video/mp4", "inside": True, "src": None, "note": ""}
    assert data["files"][1]["inside"] is False
    assert base64.b64decode(page.json("file-0")) == b"not really a video"
    _, page = page_of(run, embed="never")
    linked = page.json("report-data")["files"][0]
    assert linked["src"] == "./../a%20%3Cb%3E%26%22%27%20100%25%23%3F.mp4"
    assert not [a for _, a in page.tags if str(a.get("id", "")).startswith("file-")]


def test_auto_embeds_up_to_a_limit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("avbench.pages.media.AUTO_BYTES", 100)

    def bundle(sound: bytes, embed: Embed = "auto") -> MediaBundle:
        (tmp_path / "a.mp4").write_bytes(b"x" * 60)
        (tmp_path / "b.wav").write_bytes(sound)
        clips = [clip("one", video="a.mp4", audio_path="b.wav", clip_sha256=content_digest(b"x" * 60, sound))]
        run = make_run(tmp_path / "run", [], clips)
        finder = MediaFinder(run, [], search=False)
        return bundle_media({one.clip_id: finder.find(one) for one in clip_media(run, ["one"])}, tmp_path, embed)

    assert bundle(b"y" * 40).embedded
    linked = bundle(b"y" * 41)
    assert not linked.embedded
    assert [file.src for file in linked.files] == ["./a.mp4", "./b.wav"]
    assert bundle(b"y" * 41, "always").embedded


@pytest.mark.parametrize(
    "rows",
    [
        [],
        [score("one", "av_offset", 0.5)],
        [score("one", "av_align", None, "skipped", reason="no sound")],
        [score("one", metric, None, "error", reason="cannot decode") for metric in METADATA],
        [score("one", "unknown_metric", 1e-7)],
        [score("one", "av_offset", 0.5, detail="not json"), score("one", "av_align", 0.0)],
    ],
    ids=["no rows", "one value", "only skipped", "only errors", "unknown metric", "broken detail"],
)
def test_poor_runs_still_give_a_page(tmp_path: Path, rows: list[ScoreRow]) -> None:
    run = make_run(tmp_path / "run", rows, [clip("one", None)])
    _, page = page_of(run)
    assert "1 clip" in page.text
    if rows and all(row.status != "ok" for row in rows):
        assert "0 of 1" in page.text
        assert "–" in page.text


def test_run_without_clips(tmp_path: Path) -> None:
    _, page = page_of(make_run(tmp_path / "run", [], [], metrics={}))
    assert page.json("report-data")["clips"] == []


def test_more_clips_than_fit(tmp_path: Path) -> None:
    names = [f"clip{i:04}" for i in range(400)]
    rows = [score(name, "av_align", 0.5 + (i % 7) / 1000) for i, name in enumerate(names)]
    rows[123] = score(names[123], "av_align", 0.99)
    rows += [
        score(names[300], "av_offset", None, "error", reason="bad"),
        score(names[301], "av_offset", -0.3),
    ]
    rows += [score(name, "loudness", None, "skipped", reason="no sound") for name in names]
    run = make_run(tmp_path / "run", rows, [clip(name) for name in names])
    assert select_clips(run, attention(run), 3) == [names[123], names[300], names[301]]
    text, page = page_of(run, max_clips=3)
    assert "With players and details: 3 of 400 clips" in page.text
    data = page.json("report-data")
    assert [each["id"] for each in data["clips"]] == [names[123], names[300], names[301]]
    others = data["others"]
    assert others["ids"] == [name for name in names if name not in (names[123], names[300], names[301])]
    scores = dict(zip([metric["name"] for metric in data["metrics"]], others["scores"], strict=True))
    assert scores["av_align"][:3] == [0.5, 0.5, 0.5]
    assert scores["loudness"] == ["s"] * 397
    assert scores["av_offset"] == [None] * 397
    assert others["flags"] == {}
    assert "and 300 more clips" in page.text
    assert len(text) < 120_000


def test_clips_without_details_keep_their_prompts_models_marks_and_errors(tmp_path: Path) -> None:
    rows = [score("a", "av_offset", -0.9), score("b", "av_offset", 0.5), score("c", "av_offset", None, "error")]
    rows += [score("d", "av_offset", -0.001)]
    long = "word " * 60
    clips = [clip("a"), clip("b", model="one", text=long), clip("c", model="two", text=NASTY), clip("d", model="one")]
    _, page = page_of(make_run(tmp_path / "run", rows, clips), max_clips=1)
    others = page.json("report-data")["others"]
    assert others["ids"] == ["a", "b", "d"]  # an error comes first
    assert [others["models"][index] for index in others["model"]] == ["", "one", "one"]
    assert others["texts"][others["text"][1]] == long[:140].rstrip() + "…"
    assert others["flags"] == {"Out of sync": [0, 1]}
    assert others["scores"] == [[-0.9, 0.5, 0.0]]


def test_a_page_has_no_clips_beyond_what_a_browser_opens(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("avbench.report.other_clips.MOST_OTHERS", 2)
    names = ["a", "b", "c", "d"]
    run = make_run(tmp_path / "run", [score(name, "av_align", 0.5) for name in names], [clip(name) for name in names])
    _, page = page_of(run, max_clips=1)
    assert page.json("report-data")["others"] is None
    assert "Shown: 1 of 4 clips" in page.text
    _, page = page_of(run, max_clips=2)
    assert page.json("report-data")["others"]["ids"] == ["c", "d"]


def test_a_slim_run_has_the_same_page(nasty_run: Run, tmp_path: Path) -> None:
    whole = write_report(nasty_run, tmp_path / "whole.html").read_bytes()
    slim = write_report(load_run(nasty_run.path, slim=True), tmp_path / "slim.html").read_bytes()
    assert slim == whole


def test_categories_and_models_appear_where_there_are_any(nasty_run: Run, tmp_path: Path) -> None:
    _, page = page_of(nasty_run)
    ids = {attrs.get("id") for _, attrs in page.tags}
    assert {"models", "categories"} <= ids
    assert "Speech & more" in page.text
    _, page = page_of(make_run(tmp_path / "plain", [score("one", "av_align", 0.1)], [clip("one")]))
    assert not {"models", "categories"} & {attrs.get("id") for _, attrs in page.tags}


def test_timeline_puts_curves_and_onsets_on_one_axis() -> None:
    line = timeline(json.dumps(CURVES))
    assert line is not None
    assert [lane["kind"] for lane in line["lanes"]] == ["wave", "onset", "motion"]
    assert line["label"] == "sound 0.48 s late (confidence 0.80)"
    assert line["late"]
    scale = (line["right"] - line["left"]) / (line["last"] - line["first"])
    assert line["onsets"][0] == pytest.approx(line["left"] + 1.0 * scale, abs=0.06)
    assert line["onsets"][0] - line["matched"][0] == pytest.approx(0.48 * scale, abs=0.11)


def test_timeline_claims_no_offset_for_a_skipped_row() -> None:
    line = timeline(json.dumps(CURVES), "confidence too low")
    assert line is not None
    assert (line["label"], line["matched"], line["late"]) == ("no offset: confidence too low", [], False)


@pytest.mark.parametrize(
    "detail", ["", "[]", "{}", "nan", '{"wave": "x", "rate_wave": 50}', '{"wave": [1], "rate_wave": 0}']
)
def test_timeline_without_curves_is_nothing(detail: str) -> None:
    assert timeline(detail) is None


def test_timeline_of_a_long_clip_stays_small() -> None:
    detail = json.dumps({"rate_wave": 50, "wave": [0.5] * 50_000, "audio_start": None, "offset": float("nan")})
    line = timeline(detail)
    assert line is not None
    assert len(json.dumps(line, allow_nan=False)) < 25_000


@pytest.mark.parametrize(("form", "shown"), [("split", [["equal", "你好", "你好"]]), ("basic", None)])
def test_without_word_errors_the_page_shows_those_of_characters(tmp_path: Path, form: str, shown: Any) -> None:
    detail = {"form": form, "reference": "你 好", "hypothesis": "你 好", "operations": [["equal", 0, 2, 0, 2]]}
    rows = [score("a", "cer", 0.0, detail=json.dumps(detail)), score("a", "wer", None, "skipped", reason="see cer")]
    _, page = page_of(make_run(tmp_path, rows, [clip("a")]))
    (data,) = page.json("report-data")["clips"]
    assert (data["words"] and data["words"]["edits"]) == shown
