"""Resume, workers, statuses, locks, full disks: what a run folder must survive."""

from __future__ import annotations

import errno
import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from filelock import FileLock
from pandas.testing import assert_frame_equal
from synthetic import draw_frames, draw_sound, write_clip

from avbench import Clip, Prompt, load_run, score_clips
from avbench.errors import EnvironmentProblem, UsageError
from avbench.metrics import Score, get_scorers, scorer
from avbench.metrics import base as registry_module

METRICS = "av_align,silence_share,sharpness,av_offset"
VOLATILE = ["seconds", "run_id"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Twelve drawn clips, each of its own content."""
    root = tmp_path_factory.mktemp("clips")
    for seed in range(12):
        write_clip(
            root / f"c{seed:02}.mp4",
            draw_frames(seed, seconds=2.2, size=(48, 64)),
            draw_sound(seed, seconds=2.2),
        )
    return root


@pytest.fixture(scope="module")
def expected(folder, tmp_path_factory):
    return table(score_clips(folder, tmp_path_factory.mktemp("expected"), metrics=METRICS.split(",")))


def table(run):
    return run.scores.drop(columns=VOLATILE)


def test_two_workers_give_the_same_table(folder, expected, tmp_path):
    assert_frame_equal(
        table(score_clips(folder, tmp_path, metrics=METRICS.split(","), workers=2)),
        expected,
        check_exact=True,
    )


def test_a_complete_run_is_not_computed_again(folder, tmp_path):
    score_clips(folder, tmp_path, metrics=["loudness"])
    log = (tmp_path / "scores.jsonl").read_bytes()
    stamp = (tmp_path / "scores.parquet").stat().st_mtime_ns
    again = score_clips(folder, tmp_path, metrics=["loudness"])
    assert (tmp_path / "scores.jsonl").read_bytes() == log
    assert (tmp_path / "scores.parquet").stat().st_mtime_ns == stamp
    assert len(again.scores) == 12


def test_a_clip_that_is_again_what_it_was_has_its_old_scores(folder, tmp_path):
    clips = tmp_path / "clips"
    clips.mkdir()
    contents = [(folder / name).read_bytes() for name in ("c00.mp4", "c01.mp4", "c00.mp4")]
    seen = []
    for content in contents:
        (clips / "a.mp4").write_bytes(content)
        run = score_clips(clips, tmp_path / "run", metrics=["loudness"])
        seen.append((run.clips["clip_sha256"].item(), run.scores["clip_sha256"].item(), run.scores["value"].item()))
    assert seen[2] == seen[0] != seen[1]
    assert len((tmp_path / "run" / "scores.jsonl").read_text().splitlines()) == 2, "it was known"


def test_tables_follow_a_manifest_whose_labels_and_prompts_change(folder, tmp_path):
    manifest, runs = folder / "list.csv", []
    for kind, model, text in (("big", "m", "a"), ("small", "m", "a"), ("small", "n", "a"), ("small", "n", "b")):
        manifest.write_text(f"video,categories,model,text\nc00.mp4,Size: {kind},{model},{text}\n")
        runs.append(score_clips(manifest, tmp_path / "run", metrics=["loudness"]))
    manifest.unlink()
    assert [run.categories["category"].tolist() for run in runs] == [["big"], ["small"], ["small"], ["small"]]
    assert [run.clips["model"].item() for run in runs] == ["m", "m", "n", "n"]
    assert [run.clips["text"].item() for run in runs] == ["a", "a", "a", "b"]
    summary = json.loads((tmp_path / "run" / "summary.json").read_text())
    assert [entry["category"] for entry in summary["categories"]] == ["small"]
    assert len((tmp_path / "run" / "scores.jsonl").read_text().splitlines()) == 1


def test_a_metric_added_later_is_the_only_one_computed(folder, tmp_path):
    score_clips(folder, tmp_path, metrics=["loudness"])
    before = (tmp_path / "scores.jsonl").read_text().splitlines()
    run = score_clips(folder, tmp_path, metrics=["loudness", "true_peak"])
    new = (tmp_path / "scores.jsonl").read_text().splitlines()[len(before) :]
    assert len(new) == 12
    assert all('"true_peak"' in line for line in new)
    assert set(run.scores["metric"]) == {"loudness", "true_peak"}


def test_a_renamed_clip_keeps_its_score_and_a_changed_one_does_not(folder, tmp_path):
    clips = tmp_path / "clips"
    clips.mkdir()
    (clips / "a.mp4").write_bytes((folder / "c00.mp4").read_bytes())
    first = score_clips(clips, tmp_path / "run", metrics=["loudness"]).scores
    (clips / "a.mp4").rename(clips / "b.mp4")
    (clips / "a.mp4").write_bytes((folder / "c01.mp4").read_bytes())
    second = score_clips(clips, tmp_path / "run", metrics=["loudness"]).scores.set_index("clip_id")
    assert second.loc["b.mp4", "value"] == first.loc[0, "value"]
    assert second.loc["b.mp4", "seconds"] == first.loc[0, "seconds"]
    assert second.loc["a.mp4", "value"] != first.loc[0, "value"]


def kill_series(folder, tmp_path, expected, moments):
    for index, moment in enumerate(moments):
        out = tmp_path / f"run{index}"
        command = [
            sys.executable,
            "-m",
            "avbench",
            "score",
            str(folder),
            "-o",
            str(out),
            "-m",
            METRICS,
            "--quiet",
            "--no-html",
        ]
        process = subprocess.Popen(command, stderr=subprocess.PIPE)
        time.sleep(moment)
        process.send_signal(signal.SIGKILL)
        process.wait()
        done = subprocess.run(command, capture_output=True, text=True, timeout=120)
        assert done.returncode == 0, done.stderr
        assert_frame_equal(table(load_run(out)), expected, check_exact=True)


@pytest.mark.long
def test_killed_runs_end_with_the_same_table(folder, tmp_path, expected):
    kill_series(folder, tmp_path, expected, [1.4, 2.1])


@pytest.mark.slow
def test_killed_at_ten_random_moments(folder, tmp_path, expected):
    generator = random.Random(7)
    kill_series(folder, tmp_path, expected, [generator.uniform(0.3, 5.0) for _ in range(10)])


def test_a_torn_last_line_is_cut(folder, tmp_path):
    complete = table(score_clips(folder, tmp_path, metrics=["loudness"]))
    log = tmp_path / "scores.jsonl"
    log.write_bytes(log.read_bytes()[:-40])
    assert_frame_equal(table(score_clips(folder, tmp_path, metrics=["loudness"])), complete, check_exact=True)


def test_a_second_run_into_the_same_folder_is_refused(folder, tmp_path):
    tmp_path.joinpath(".lock").touch()
    with FileLock(tmp_path / ".lock"), pytest.raises(EnvironmentProblem, match="in use by another"):
        score_clips(folder, tmp_path, metrics=["loudness"])


def test_an_unwritable_output_is_a_clear_error(folder, tmp_path, avbench):
    (tmp_path / "file").write_text("not a folder")
    done = avbench("score", folder, "-o", tmp_path / "file", "-m", "loudness")
    assert done.returncode == 4
    assert "cannot write to" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_read_only_folder_is_a_clear_error(folder, tmp_path, avbench):
    # root writes through permission bits, but not into /proc.
    parent = Path("/proc/self") if os.geteuid() == 0 else tmp_path
    if parent == tmp_path:
        tmp_path.chmod(0o500)
    done = avbench("score", folder, "-o", parent / "run", "-m", "loudness")
    if parent == tmp_path:
        tmp_path.chmod(0o700)
    assert done.returncode == 4
    assert "cannot write to" in done.stderr
    assert "Traceback" not in done.stderr


class _FullDisk:
    """A log file on a disk with room for so many bytes."""

    def __init__(self, file, room):
        self.file, self.room = file, room

    def write(self, data):
        if self.room <= 0:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        written = self.file.write(data[: self.room])
        self.room -= written
        return written

    def close(self):
        self.file.close()


def test_a_full_disk_stops_the_run_and_loses_nothing(folder, tmp_path, expected, monkeypatch):
    from avbench.results import RunFolder

    opened = RunFolder.__enter__

    def enter(self):
        opened(self)
        self._logs["scores.jsonl"] = _FullDisk(self._logs["scores.jsonl"], 4000)
        return self

    monkeypatch.setattr(RunFolder, "__enter__", enter)
    with pytest.raises(EnvironmentProblem, match="No space left"):
        score_clips(folder, tmp_path, metrics=METRICS.split(","))
    monkeypatch.undo()
    assert (tmp_path / "scores.jsonl").stat().st_size == 4000
    with pytest.raises(UsageError, match="unfinished run"):
        load_run(tmp_path)
    assert_frame_equal(table(score_clips(folder, tmp_path, metrics=METRICS.split(","))), expected, check_exact=True)


@pytest.fixture
def extra_metric(monkeypatch):
    """Registers metrics for one test."""
    get_scorers(["loudness"])
    monkeypatch.setattr(registry_module, "_REGISTRY", dict(registry_module._REGISTRY))

    def register(name, function, **facts):
        fixed = {
            "unit": "1",
            "higher_is_better": True,
            "range": (0.0, 1.0),
            "source": "test",
            "needs": ["video"],
        }
        function.__doc__ = "A metric for a test."
        return scorer(name, **(fixed | facts))(function)

    return register


def test_a_scorer_that_raises_costs_one_row(folder, tmp_path, extra_metric):
    def sometimes(media, prompt, store):
        if media.key[0] < "8":
            raise RuntimeError("bad luck")
        return Score.ok(0.5)

    extra_metric("sometimes", sometimes)
    run = score_clips(folder, tmp_path, metrics=["sometimes", "loudness"])
    scores = run.scores.set_index("metric")
    assert (scores.loc["loudness", "status"] == "ok").all()
    bad = scores.loc["sometimes"]
    bad = bad[bad["status"] == "error"]
    assert len(bad)
    assert (bad["reason"] == "RuntimeError: bad luck").all()
    assert bad["value"].isna().all()


def test_a_number_that_is_not_finite_is_an_error_row(folder, tmp_path, extra_metric):
    extra_metric("not_a_number", lambda media, prompt, store: Score.ok(float("nan")))
    run = score_clips(folder, tmp_path, metrics=["not_a_number"])
    assert set(run.scores["status"]) == {"error"}
    assert run.scores["value"].isna().all()


def test_out_of_memory_stops_the_metric_not_the_run(folder, tmp_path, extra_metric):
    calls = []

    def hungry(media, prompt, store):
        calls.append(media.key)
        raise MemoryError

    extra_metric("hungry", hungry)
    run = score_clips(folder, tmp_path, metrics=["hungry", "loudness"])
    assert len(calls) == 1
    hungry_rows = run.scores.query("metric == 'hungry'")
    assert len(hungry_rows) == 12
    assert hungry_rows["reason"].str.contains("MemoryError").all()
    assert hungry_rows["value"].isna().all()
    assert (run.scores.query("metric == 'loudness'")["status"] == "ok").all()


def test_prompts_are_optional_and_needed_by_some(folder, tmp_path, extra_metric):
    def length(media, prompt, store):
        return Score.ok(len(prompt.for_video))

    extra_metric("prompt_length", length, needs=["video", "prompt"], prompt_role="video", range=(0.0, 99.0))
    clips = [
        Clip("with", folder / "c00.mp4", prompt=Prompt(text="four")),
        Clip("without", folder / "c00.mp4"),
        Clip("other", folder / "c00.mp4", prompt=Prompt(text="sixsix")),
    ]
    scores = score_clips(clips, tmp_path, metrics=["prompt_length"]).scores.set_index("clip_id")
    assert scores.loc["with", "value"] == 4.0
    assert scores.loc["other", "value"] == 6.0
    assert scores.loc["without", "status"] == "skipped"
    assert "prompt" in scores.loc["without", "reason"]


def test_a_missing_package_is_a_skip_that_a_better_machine_redoes(folder, tmp_path, extra_metric):
    extra_metric("needs_it", lambda media, prompt, store: Score.ok(1.0), packages=("no_such_package_here",))
    run = score_clips(folder, tmp_path, metrics=["needs_it"])
    assert set(run.scores["status"]) == {"skipped"}
    assert run.scores["reason"].str.contains("not installed").all()
    extra_metric("needs_it", lambda media, prompt, store: Score.ok(1.0))
    assert set(score_clips(folder, tmp_path, metrics=["needs_it"]).scores["status"]) == {"ok"}


def test_scores_cannot_be_both_number_and_failure():
    for value, status in ((None, "ok"), (float("inf"), "ok"), (0.0, "skipped"), (0.0, "error")):
        with pytest.raises(ValueError, match="cannot hold"):
            Score(value, status, "reason")
    with pytest.raises(ValueError, match="needs a reason"):
        Score(None, "error")


def test_the_same_content_under_two_names_is_complete_at_once(folder, tmp_path):
    clips = [Clip("first", folder / "c00.mp4"), Clip("second", folder / "c00.mp4")]
    score_clips(clips, tmp_path, metrics=["loudness"])
    log = (tmp_path / "scores.jsonl").read_bytes()
    run = score_clips(clips, tmp_path, metrics=["loudness"])
    assert (tmp_path / "scores.jsonl").read_bytes() == log
    assert list(run.scores["clip_id"]) == ["first", "second"]


def test_a_lesser_machine_keeps_the_scores_of_a_better_one(folder, tmp_path, extra_metric):
    extra_metric("needs_it", lambda media, prompt, store: Score.ok(1.0))
    score_clips(folder, tmp_path, metrics=["needs_it"])
    extra_metric("needs_it", lambda media, prompt, store: Score.ok(1.0), packages=("no_such_package_here",))
    assert set(score_clips(folder, tmp_path, metrics=["needs_it"]).scores["status"]) == {"ok"}
