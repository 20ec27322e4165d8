"""What is damaged is made again from the record where the record holds it; else one line, and never exit code 1."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from fuzz.fuzz_run_folders import DATA, METRICS, Result, run
from pandas.testing import assert_frame_equal
from synthetic import draw_frames, draw_sound, write_clip

from avbench import Clip, Prompt, load_run, score_clips
from avbench.encoders import WeightsConfig
from avbench.metrics.base import registry
from avbench.results import RunFolder, ScoreRow
from avbench.results.repair import open_run
from avbench.run.options import RunOptions
from avbench.run.protocol import PROTOCOLS
from avbench.run.recovery import UNKNOWN, recover_info
from avbench.weights.config import Transcriber

CLIPS = DATA / "clips"


@pytest.fixture(scope="module")
def scored(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("scored") / "run"
    assert run("score", CLIPS, "-o", folder, "-m", METRICS, "-q", "--no-html").code == 0
    return folder


@pytest.fixture
def good(scored: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(scored, tmp_path / "run"))


def tear(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def report(folder: Path) -> Result:
    return run("report", folder)


def score(folder: Path) -> Result:
    return run("score", CLIPS, "-o", folder, "-m", METRICS, "-q")


def assert_same(folder: Path, scored: Path) -> None:
    now, before = load_run(folder), load_run(scored)
    for name in ("scores", "clips", "categories"):
        assert_frame_equal(getattr(now, name), getattr(before, name), check_exact=True)
    assert (folder / "summary.json").read_bytes() == (scored / "summary.json").read_bytes()


@pytest.mark.parametrize("command", [report, score])
@pytest.mark.parametrize("name", ["scores.parquet", "clips.parquet", "summary.json", "run.json"])
@pytest.mark.parametrize(
    "how",
    [
        tear,
        pytest.param(lambda path: path.write_bytes(b""), marks=pytest.mark.long),
        pytest.param(lambda path: path.write_text("[3]"), marks=pytest.mark.long),
    ],
)
def test_torn_files_are_made_again(
    good: Path, scored: Path, command: Callable[[Path], Result], name: str, how: Callable[[Path], Any]
) -> None:
    how(good / name)
    done = command(good)
    assert (done.code, done.error.count("\n")) == (0, 1), done.error
    assert done.error.startswith(f"note: {name} was damaged (")
    assert_same(good, scored)
    now, before = (json.loads((folder / "run.json").read_text()) for folder in (good, scored))
    for key in ("run_id", "metrics", "suite", "suite_version", "weights", "precision", "protocol", "n_clips"):
        assert now[key] == before[key]
    again = command(good)
    assert (again.code, again.error) == (0, "")


@pytest.mark.parametrize("command", [report, score])
def test_everything_that_the_record_holds_is_made_again_at_once(
    good: Path, scored: Path, command: Callable[[Path], Result]
) -> None:
    for name in ("scores.parquet", "summary.json", "run.json"):
        tear(good / name)
    assert command(good).code == 0
    assert_same(good, scored)


def test_a_torn_category_table_needs_the_source(good: Path, scored: Path) -> None:
    tear(good / "categories.parquet")
    done = report(good)
    assert (done.code, done.error.count("\n")) == (2, 1)
    assert "categories.parquet" in done.error
    assert "'avbench score' command of this run makes it again" in done.error
    assert score(good).code == 0
    assert_same(good, scored)


def test_without_the_record_a_torn_table_is_one_line(good: Path) -> None:
    tear(good / "scores.parquet")
    (good / "scores.jsonl").unlink()
    done = report(good)
    assert (done.code, done.error.count("\n")) == (2, 1)
    assert "Score the clips again into a new folder" in done.error


def test_a_clip_that_left_the_source_is_not_made_up(good: Path) -> None:
    (good / "run.json").write_text(json.dumps(json.loads((good / "run.json").read_text()) | {"n_clips": 1}))
    tear(good / "clips.parquet")
    done = report(good)
    assert (done.code, done.error.count("\n")) == (2, 1)
    assert "clips.parquet" in done.error


@pytest.mark.parametrize("names", [["scores.jsonl"], ["clips.jsonl"], ["scores.jsonl", "clips.jsonl"]])
def test_a_lost_record_is_made_again_from_the_tables(good: Path, scored: Path, names: list[str]) -> None:
    for name in names:
        (good / name).unlink()
    done = run("score", CLIPS, "-o", good, "-m", "loudness", "-q")  # the other metrics are kept
    assert (done.code, done.error.count("\n")) == (0, len(names)), done.error
    assert_same(good, scored)


@pytest.mark.parametrize("name", ["run.json", "scores.parquet", "clips.parquet", "categories.parquet"])
def test_check_and_leaderboards_want_whole_runs(good: Path, scored: Path, name: str) -> None:
    tear(good / name)
    for arguments in (
        ("check", good, "-b", scored),
        ("check", scored, "-b", good),
        ("check", "calibrate", good, scored),
        ("leaderboard", "add", good, "--benchmark", "b", "--seeds", "0"),
    ):
        done = run(*arguments)
        assert (done.code, done.error.count("\n")) == (2, 1)
        assert name in done.error


def test_what_pandas_notes_in_a_table_is_not_read(good: Path, scored: Path) -> None:
    for name in ("scores.parquet", "clips.parquet", "categories.parquet"):
        table = pq.read_table(good / name)
        pq.write_table(table.replace_schema_metadata({b"pandas": b"[" * 100_000}), good / name)
    for done in (report(good), score(good), run("check", good, "-b", scored, "-q")):
        assert (done.code, done.error) == (0, "")


def test_a_folder_of_something_else_is_left_alone(tmp_path: Path) -> None:
    for content in ('{"my": "settings"}', "", "{"):
        (tmp_path / "run.json").write_text(content)
        done = run("score", CLIPS, "-o", tmp_path, "-m", "loudness", "-q")
        assert (done.code, done.error.count("\n")) == (2, 1)
        assert (tmp_path / "run.json").read_text() == content


def test_a_folder_that_cannot_be_written_still_gives_its_report(good: Path, tmp_path: Path) -> None:
    tear(good / "scores.parquet")
    with RunFolder(good):
        done = run("report", good, "--out", tmp_path / "page.html")
    assert done.code == 0
    assert "not written back" in done.error
    assert (tmp_path / "page.html").is_file()


def test_torn_features_are_computed_again(tmp_path: Path) -> None:
    from avbench.metrics.base import get_scorers
    from avbench.run.content import Content
    from avbench.run.jobs import ClipJob, RunContext
    from avbench.run.plan import has_features

    (scorer,) = get_scorers(["fvd"])
    job = ClipJob(
        Clip("a", tmp_path / "a.mp4"),
        Content("0" * 64),
        (),
        RunContext("r", "s", "1", WeightsConfig("keyed-random-reduced")),
    )
    space = scorer.encoders[0].feature_space(job.context.setup)
    with RunFolder(tmp_path / "run") as folder:
        import numpy as np

        folder.put_feature(space, job.media_key, np.ones(400, np.float32))
        assert has_features(folder, scorer, job)
        tear(folder.feature_path(space, job.media_key))
        assert not has_features(folder, scorer, job)


def rows_of(folder: Path) -> list[ScoreRow]:
    with RunFolder(folder) as opened:
        return opened.rows()


def test_weights_and_protocol_are_told_from_the_digests(tmp_path: Path) -> None:
    pytest.importorskip("torch")
    write_clip(tmp_path / "a.mp4", draw_frames(1, seconds=1.5, size=(48, 64)), draw_sound(1, seconds=1.5))
    options = RunOptions(
        setup=WeightsConfig("keyed-random-reduced", None, "bf16"), protocol=PROTOCOLS["javisbench-4s"], cache=None
    )
    clip = Clip("a", tmp_path / "a.mp4", prompt=Prompt("a ball"))
    score_clips([clip], tmp_path / "run", metrics=["clip_score", "loudness"], options=options)
    rows = rows_of(tmp_path / "run")
    info = recover_info(rows, {"a": clip.prompt})
    assert recover_info(iter(rows), {"a": clip.prompt}) == info  # millions of rows are never held together
    assert (info["weights"], info["precision"], info["protocol"]) == ("keyed-random-reduced", "bf16", "javisbench-4s")
    (tmp_path / "run" / "run.json").write_text("torn")
    found, notes = open_run(tmp_path / "run", recover_info)
    assert found.info["weights"] == "keyed-random-reduced"
    assert len(notes) == 1
    other = recover_info(rows, {"a": Prompt("another text")})
    assert other["protocol"] == "javisbench-4s"  # from the metrics that use no text
    unknown = recover_info([row for row in rows if row.metric == "clip_score"], {"a": Prompt("another text")})
    assert unknown["protocol"] == UNKNOWN


@pytest.mark.parametrize("transcriber", ["whisper_large_v3_turbo", "whisper_tiny_en"])
def test_the_transcriber_is_told_from_the_digests(scored: Path, transcriber: Transcriber) -> None:
    """And only where a row depends on it: a folder is not bound to a transcriber that heard nothing in it."""
    setup = WeightsConfig("keyed-random", None, "bf16", transcriber=transcriber)
    (row, *_) = rows_of(scored)
    other = replace(row, metric="wer", weights_digest=registry()["wer"].weights_digest(setup))
    info = recover_info([row, other], {})
    assert (info["weights"], info["precision"], info["transcriber"]) == ("keyed-random", "bf16", transcriber)
    assert "transcriber" not in recover_info([row], {})


def test_what_the_rows_do_not_tell_is_unknown_and_no_other_weights_are_mixed_in(good: Path) -> None:
    lines = [json.loads(line) for line in (good / "scores.jsonl").read_text().splitlines()]
    for line in lines:
        line |= {"metric": "clip_score", "weights_digest": "0123"} if line["metric"] == "sharpness" else {}
    (good / "scores.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    (good / "run.json").write_text("torn")
    (good / "scores.parquet").write_text("torn")
    done = report(good)
    assert done.code == 0
    assert "WEIGHTS UNKNOWN" in (good / "report.html").read_text()
    refused = run("leaderboard", "add", good, "--benchmark", "b", "--seeds", "0")
    assert (refused.code, refused.error.count("\n")) == (2, 1)
    assert "unknown weights" in refused.error
    (good / "run.json").write_text("torn")
    mixed = run("score", CLIPS, "-o", good, "-m", "clip_score", "-q")
    assert (mixed.code, mixed.error.count("\n")) == (2, 1)
    assert "begun with weights unknown" in mixed.error
