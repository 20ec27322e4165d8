"""Worker processes: one that dies or hangs costs its clip, none outlives its parent, scripts are not run again."""

from __future__ import annotations

import importlib
import multiprocessing
import subprocess
import sys
import time
from pathlib import Path

import pytest
from synthetic import draw_frames, draw_sound, write_clip

from avbench import Clip, score_clips
from avbench.errors import UsageError
from avbench.media import Limits
from avbench.metrics import base as registry_module
from avbench.run.content import read_content
from avbench.run.jobs import ClipJob, RunContext, Stopped
from avbench.run.options import RunOptions
from avbench.run.schedule import SpoolLimit
from avbench.run.worker_process import Workers
from avbench.run.workers import make_shards, run_jobs

TESTS = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Nine clips; the third is 80 pixels wide, on which metrics of `misbehaving` misbehave."""
    root = tmp_path_factory.mktemp("clips")
    for seed in range(9):
        frames = draw_frames(seed, seconds=0.5, size=(48, 80 if seed == 2 else 64))
        write_clip(root / f"c{seed}.mp4", frames, draw_sound(seed, seconds=0.5))
    return root


@pytest.fixture(autouse=True)
def misbehaving(monkeypatch):
    """Registers the metrics of tests/misbehaving.py for one test."""
    registry_module.registry()
    monkeypatch.setattr(registry_module, "_REGISTRY", dict(registry_module._REGISTRY))
    monkeypatch.delitem(sys.modules, "misbehaving", raising=False)
    return importlib.import_module("misbehaving")


def outcome(run, metric):
    rows = run.scores[run.scores["metric"] == metric].set_index("clip_id")
    assert list(rows.index) == [f"c{seed}.mp4" for seed in range(9)]
    return rows


def the_third_failed(rows, reason):
    good = rows.drop("c2.mp4")
    assert set(good["status"]) == {"ok"}, good["reason"].tolist()
    assert rows.loc["c2.mp4", "status"] == "error"
    assert reason in rows.loc["c2.mp4", "reason"]


@pytest.mark.long
def test_a_crash_of_the_decoder_costs_its_clip(folder, tmp_path):
    # The network makes shards of two clips: the neighbour of the bad clip must not go with it.
    run = score_clips(folder, tmp_path, metrics=["crashes", "mean_sound"], workers=2)
    for metric in ("crashes", "mean_sound"):
        the_third_failed(outcome(run, metric), "the process that read this clip died")
    assert not list(tmp_path.glob(".spool-*"))
    log = (tmp_path / "scores.jsonl").read_bytes()
    score_clips(folder, tmp_path, metrics=["crashes", "mean_sound"], workers=2)
    assert (tmp_path / "scores.jsonl").read_bytes() == log


@pytest.mark.long
def test_a_crash_in_a_network_costs_the_clip_that_it_was_for(folder, tmp_path):
    clips = tmp_path / "clips"
    clips.mkdir()
    for path in sorted(folder.iterdir()):
        (clips / path.name).write_bytes(path.read_bytes())
    write_clip(clips / "c2.mp4", draw_frames(2, seconds=0.5, size=(48, 64)), draw_sound(2, seconds=3.0))
    run = score_clips(clips, tmp_path / "run", metrics=["sharpness", "mean_sound"], workers=2)
    the_third_failed(outcome(run, "mean_sound"), "the process that read this clip died")
    assert set(outcome(run, "sharpness")["status"]) == {"ok"}


@pytest.mark.long
def test_a_decoder_that_hangs_is_ended(folder, tmp_path):
    options = RunOptions(workers=2, limits=Limits(seconds_per_clip=1.5))
    run = score_clips(folder, tmp_path, metrics=["hangs", "mean_sound"], options=options)
    for metric in ("hangs", "mean_sound"):
        the_third_failed(outcome(run, metric), "took longer than 1.5 s")
    assert not list(tmp_path.glob(".spool-*"))


def test_what_ends_a_worker_for_good_ends_the_run_with_its_sentence(folder, tmp_path, monkeypatch):
    @registry_module.scorer(
        "only_here", unit="1", higher_is_better=True, range=(0.0, 1.0), source="test", needs=["video"]
    )
    def only_here(media, prompt, store):
        """A metric that no import defines."""

    monkeypatch.setattr(only_here.function, "__module__", "misbehaving")
    with pytest.raises(UsageError, match="do not know the metric 'only_here': define it at the top level"):
        score_clips(folder, tmp_path, metrics=["only_here"], workers=2)


PLAIN = """\
import sys
from avbench import score_clips
print("once")
run = score_clips(sys.argv[1], sys.argv[2], metrics=["silence_share"], workers=2)
print(len(run.scores), set(run.scores["status"]))
"""


@pytest.mark.long
@pytest.mark.parametrize("way", ["file", "stdin"])
def test_a_script_without_a_main_guard_works(folder, tmp_path, way):
    script = tmp_path / "script.py"
    script.write_text(PLAIN)
    given = {"file": str(script), "stdin": "-"}[way]
    command = [sys.executable, given, str(folder), str(tmp_path / "run")]
    done = subprocess.run(command, input=PLAIN, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == ["once", "9 {'ok'}"]
    assert done.stderr == ""


OWN_METRIC = """\
import sys
from avbench import Score, score_clips, scorer

@scorer("one", unit="1", higher_is_better=True, range=(0.0, 1.0), source="test", needs=["video"])
def one(media, prompt, store):
    "One."
    return Score.ok(1.0)

"""


def run_script(text, folder, tmp_path):
    script = tmp_path / "script.py"
    script.write_text(OWN_METRIC + text)
    command = [sys.executable, str(script), str(folder), str(tmp_path / "run")]
    return subprocess.run(command, capture_output=True, text=True, timeout=300)


@pytest.mark.long
def test_a_script_that_defines_a_metric_needs_a_main_guard_and_is_told_so(folder, tmp_path):
    done = run_script("score_clips(sys.argv[1], sys.argv[2], metrics=['one'], workers=2)\n", folder, tmp_path)
    assert done.returncode == 1
    assert done.stderr.count("Traceback") == 1
    last = done.stderr.strip().splitlines()[-1]
    assert 'put the call below `if __name__ == "__main__":`, or use workers=1' in last
    assert "in use" not in done.stderr


@pytest.mark.long
def test_a_script_that_defines_a_metric_works_with_a_main_guard(folder, tmp_path):
    text = (
        "if __name__ == '__main__':\n"
        "    run = score_clips(sys.argv[1], sys.argv[2], metrics=['one'], workers=2)\n"
        "    print(set(run.scores['status']))\n"
    )
    done = run_script(text, folder, tmp_path)
    assert (done.returncode, done.stdout, done.stderr) == (0, "{'ok'}\n", "")


HANGING = f"""\
import sys
sys.path.insert(0, {str(TESTS)!r})
import misbehaving
from avbench import score_clips
score_clips(sys.argv[1], sys.argv[2], metrics=["hangs", "mean_sound"], workers=2)
"""


def members(group):
    """Processes of a process group that have not ended."""
    lines = subprocess.run(["ps", "-eo", "pgid=,stat=,args="], capture_output=True, text=True).stdout.splitlines()
    rows = [line.split(None, 2) for line in lines]
    return [row for row in rows if row[0] == str(group) and not row[1].startswith("Z")]


def test_workers_end_with_their_parent_even_in_native_code(folder, tmp_path):
    command = [sys.executable, "-c", HANGING, str(folder), str(tmp_path / "run")]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, start_new_session=True)
    log, deadline = tmp_path / "run" / "clips.jsonl", time.monotonic() + 60
    # All other clips are done: one worker hangs, and the other has nothing to do.
    while not log.exists() or len(log.read_text().splitlines()) < 7:
        assert time.monotonic() < deadline
        assert process.poll() is None, process.stderr.read()
        time.sleep(0.05)
    assert len(members(process.pid)) >= 3
    process.kill()
    process.communicate(timeout=5)  # waits for all that hold its stderr
    deadline = time.monotonic() + 5
    while members(process.pid):
        assert time.monotonic() < deadline, members(process.pid)
        time.sleep(0.1)


def jobs_for(folder, *metrics):
    clips = [Clip(path.name, path) for path in sorted(folder.iterdir())]
    return [ClipJob(clip, read_content(clip), metrics, RunContext("run", "custom", "1")) for clip in clips]


@pytest.mark.parametrize(("count", "sizes"), [(2, [2, 2, 2, 2, 1]), (4, [1] * 9), (1, [3, 3, 3])])
def test_shards_are_contiguous_and_leave_nobody_idle_for_long(folder, count, sizes):
    jobs = jobs_for(folder, "mean_sound", "sharpness")
    shards = make_shards(jobs, count)
    assert [len(shard) for shard in shards] == sizes
    assert [job for shard in shards for job in shard] == jobs


def test_without_a_large_network_every_clip_is_a_shard(folder):
    jobs = jobs_for(folder, "sharpness")
    assert make_shards(jobs, 2) == [[job] for job in jobs]
    assert make_shards([], 2) == []


@pytest.mark.parametrize("count", [1, 2])
def test_what_stops_a_metric_in_a_worker_is_known_to_the_parent(folder, tmp_path, count):
    stopped = Stopped()
    workers = Workers(count=count, spool=SpoolLimit(tmp_path))
    results = list(run_jobs(jobs_for(folder, "unloadable", "sharpness"), workers, stopped))
    assert stopped.reason("unloadable") == "stopped: EnvironmentProblem: no such device"
    assert stopped.reason("sharpness") is None
    rows = [row for result in results for row in result.rows]
    assert {row.metric for row in rows} == {"sharpness"} and len(rows) == 9
    assert sum(result.first for result in results) == sum(result.last for result in results) == 9
    assert list(tmp_path.iterdir()) == []


def test_closing_ends_the_processes_and_their_folders(folder, tmp_path):
    results = run_jobs(jobs_for(folder, "mean_sound"), Workers(count=2, spool=SpoolLimit(tmp_path)), Stopped())
    next(results)
    assert multiprocessing.active_children()
    results.close()
    assert not [child for child in multiprocessing.active_children() if child.name == "avbench worker"]
    assert list(tmp_path.iterdir()) == []
