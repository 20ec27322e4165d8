"""Signals: one line, an exit code, a run that goes on, and nothing left of it."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pandas as pd
import pytest
from pandas.testing import assert_frame_equal
from synthetic import draw_frames, draw_sound, write_clip

from avbench.terminal.interrupts import Interrupted, ending_in_order, interruptible

LINE = "avbench: interrupted. Scores so far are kept; the same command goes on from here.\n"
METRICS = ["av_align", "sharpness", "held_back"]
HELD_BACK = """
import os, time
from pathlib import Path
from avbench import Score, scorer

@scorer("held_back", family="picture", unit="1", higher_is_better=None, range=(0.0, 1.0), source="a test", needs=())
def held_back(media):
    "Waits on all clips but the short one until the gate is taken away."
    while media.video.duration > 1.5 and Path(os.environ["HELD_BACK_GATE"]).exists():
        time.sleep(0.02)
    return Score.ok(0.5)
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Eight small clips; the first one is shorter than the others."""
    root = tmp_path_factory.mktemp("clips")
    for seed in range(8):
        write_clip(
            root / f"c{seed}.mp4", draw_frames(seed, seconds=2.0 if seed else 1.0, size=(48, 64)), draw_sound(seed)
        )
    return root


@pytest.fixture
def gate(tmp_path, monkeypatch):
    """While this file exists, a run of METRICS in a process of its own comes no further than the short clip."""
    package = tmp_path / "package"
    (info := package / "held_back-1.0.dist-info").mkdir(parents=True)
    (package / "held_back.py").write_text(HELD_BACK)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: held-back\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[avbench.scorers]\nheld_back = held_back\n")
    monkeypatch.setenv(
        "PYTHONPATH", os.pathsep.join([str(package), os.environ.get("PYTHONPATH", "")]).rstrip(os.pathsep)
    )
    file = tmp_path / "gate"
    file.touch()
    monkeypatch.setenv("HELD_BACK_GATE", str(file))
    return file


def start(arguments, out: Path):
    """A run in a process group of its own, with one row on disk."""
    process = subprocess.Popen(
        [sys.executable, *arguments], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True,
        start_new_session=True,
    )  # fmt: skip
    deadline = time.monotonic() + 120
    while not (out / "scores.jsonl").exists() or not (out / "scores.jsonl").stat().st_size:
        assert process.poll() is None, process.stderr.read()
        assert time.monotonic() < deadline
        time.sleep(0.01)
    return process


@pytest.mark.parametrize(
    ("number", "workers", "whole_group"),
    [
        pytest.param(signal.SIGINT, 1, True, marks=pytest.mark.long),
        pytest.param(signal.SIGINT, 2, True, marks=pytest.mark.long),
        pytest.param(signal.SIGTERM, 2, False, marks=pytest.mark.long),
        pytest.param(signal.SIGHUP, 2, True, marks=pytest.mark.long),
    ],
    ids=["int-1", "int-2", "term-2", "hup-2"],
)
def test_a_signal_ends_a_run_that_goes_on_later(avbench, folder, gate, tmp_path, number, workers, whole_group):
    out = tmp_path / "run"
    command = ["score", folder, "-m", ",".join(METRICS), "-w", workers, "-q", "--no-html", "-o"]
    process = start(["-m", "avbench", *map(str, command), str(out)], out)
    for _ in range(3):  # a key that is held down
        (os.killpg if whole_group else os.kill)(process.pid, number)
        time.sleep(0.02)
    _, stderr = process.communicate(timeout=120)  # waits for all that hold its stderr
    assert stderr == LINE
    assert process.returncode == 128 + number
    assert not list(out.glob(".spool-*"))
    done = (out / "scores.jsonl").read_bytes()
    assert done.count(b"\n") == len(METRICS), "it was interrupted after the first clip"
    gate.unlink()
    assert avbench(*command, out).returncode == 0
    assert (out / "scores.jsonl").read_bytes().startswith(done)
    scores = pd.read_parquet(out / "scores.parquet")
    assert scores["clip_id"].value_counts().to_dict() == {f"c{seed}.mp4": len(METRICS) for seed in range(8)}
    if workers == 1:
        assert avbench(*command, tmp_path / "whole").returncode == 0
        whole, volatile = pd.read_parquet(tmp_path / "whole" / "scores.parquet"), ["seconds", "run_id"]
        assert_frame_equal(scores.drop(columns=volatile), whole.drop(columns=volatile), check_exact=True)


@pytest.mark.long
def test_a_terminated_script_leaves_nothing_either(folder, gate, tmp_path):
    text = "import sys; from avbench import score_clips\nscore_clips(*sys.argv[1:3], metrics=sys.argv[3:], workers=2)"
    out = tmp_path / "run"
    process = start(["-c", text, str(folder), str(out), *METRICS], out)
    process.terminate()
    _, stderr = process.communicate(timeout=120)
    assert (process.returncode, stderr) == (-signal.SIGTERM, "")
    assert not list(out.glob(".spool-*"))


def test_an_interrupt_that_is_dropped_on_its_way_comes_again():
    with pytest.raises(Interrupted) as caught, interruptible():
        with contextlib.suppress(BaseException):  # as C code does, and imports that may fail
            signal.raise_signal(signal.SIGTERM)
        time.sleep(10)
    assert caught.value.exit_code == 143


def test_clearing_up_is_not_interrupted():
    steps = []
    with pytest.raises(Interrupted), interruptible():
        try:
            signal.raise_signal(signal.SIGTERM)
        finally:
            signal.raise_signal(signal.SIGTERM)
            signal.raise_signal(signal.SIGINT)
            steps.append("cleared up")
    assert steps == ["cleared up"]


def test_signals_that_others_handle_or_ignore_stay_theirs():
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)}
    seen = []
    try:
        signal.signal(signal.SIGHUP, signal.SIG_IGN)
        signal.signal(signal.SIGTERM, lambda *_: seen.append("theirs"))
        with interruptible():
            signal.raise_signal(signal.SIGHUP)
            signal.raise_signal(signal.SIGTERM)
        with ending_in_order():
            signal.raise_signal(signal.SIGTERM)
        assert seen == ["theirs", "theirs"]
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
    with interruptible():
        assert signal.getsignal(signal.SIGINT) is not before[signal.SIGINT]
    assert {number: signal.getsignal(number) for number in before} == before


def test_other_threads_get_no_handler():
    before, seen = signal.getsignal(signal.SIGINT), []

    def body():
        with interruptible():
            seen.append(signal.getsignal(signal.SIGINT))

    thread = threading.Thread(target=body)
    thread.start()
    thread.join()
    assert seen == [before]
