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

import pytest
from pandas.testing import assert_frame_equal
from synthetic import draw_frames, draw_sound, write_clip

from avbench import score_clips
from avbench.terminal.interrupts import Interrupted, ending_in_order, interruptible

LINE = "avbench: interrupted. Scores so far are kept; the same command goes on from here.\n"
METRICS = ["av_align", "sharpness"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Eight clips that take longer to score than a signal takes to arrive."""
    root = tmp_path_factory.mktemp("clips")
    for seed in range(8):
        write_clip(root / f"c{seed}.mp4", draw_frames(seed, seconds=3.0, size=(96, 128)), draw_sound(seed, seconds=3.0))
    return root


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
    [(signal.SIGINT, 1, True), (signal.SIGINT, 2, True), (signal.SIGTERM, 2, False), (signal.SIGHUP, 2, True)],
    ids=["int-1", "int-2", "term-2", "hup-2"],
)
def test_a_signal_ends_a_run_that_goes_on_later(folder, tmp_path, number, workers, whole_group):
    command = ["-m", "avbench", "score", folder, "-o", tmp_path, "-m", ",".join(METRICS), "-w", workers, "-q"]
    process = start([*map(str, command), "--no-html"], tmp_path)
    for _ in range(3):  # a key that is held down
        (os.killpg if whole_group else os.kill)(process.pid, number)
        time.sleep(0.02)
    _, stderr = process.communicate(timeout=30)  # waits for all that hold its stderr
    assert stderr == LINE
    assert process.returncode == 128 + number
    assert not list(tmp_path.glob(".spool-*"))
    done = (tmp_path / "scores.jsonl").read_bytes()
    assert done.count(b"\n") < 16, "it was interrupted"
    run = score_clips(folder, tmp_path, metrics=METRICS)
    assert (tmp_path / "scores.jsonl").read_bytes().startswith(done)
    assert run.scores["clip_id"].value_counts().to_dict() == {f"c{seed}.mp4": 2 for seed in range(8)}
    if workers == 1:
        whole = score_clips(folder, tmp_path / "whole", metrics=METRICS)
        volatile = ["seconds", "run_id"]
        assert_frame_equal(run.scores.drop(columns=volatile), whole.scores.drop(columns=volatile), check_exact=True)


def test_a_terminated_script_leaves_nothing_either(folder, tmp_path):
    text = "import sys; from avbench import score_clips\nscore_clips(*sys.argv[1:3], metrics=sys.argv[3:], workers=2)"
    process = start(["-c", text, str(folder), str(tmp_path), *METRICS], tmp_path)
    process.terminate()
    _, stderr = process.communicate(timeout=30)
    assert (process.returncode, stderr) == (-signal.SIGTERM, "")
    assert not list(tmp_path.glob(".spool-*"))


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
