"""One clip must not cost another: bad media among good, through the runner and the command line."""

import json
import os
import subprocess
import sys

import media_bombs
import pytest
from synthetic import draw_frames, draw_sound, write_clip

from avbench import Clip, Limits, load_run, score_clips
from avbench.errors import EnvironmentProblem
from avbench.media.audio_track import decode_audio
from avbench.run.options import RunOptions

METRICS = ["sharpness", "loudness"]
MEMORY = 1_500_000_000


@pytest.fixture(scope="module")
def clips(tmp_path_factory):
    """A good clip, one whose video codec is unknown, and another good one."""
    folder = tmp_path_factory.mktemp("clips")
    for index, name in enumerate(("a_good", "b_odd", "c_good")):
        frames = draw_frames(index, seconds=0.6, size=(48, 64))
        write_clip(folder / f"{name}.mp4", frames, draw_sound(index, seconds=0.6))
    odd = folder / "b_odd.mp4"
    odd.write_bytes(odd.read_bytes().replace(b"avc1\0\0\0\0\0\0", b"zzzz\0\0\0\0\0\0"))
    return [Clip(path.stem, path) for path in sorted(folder.iterdir())]


def table(run):
    return {(row.clip_id, row.metric): row for row in run.scores.itertuples()}


@pytest.mark.parametrize("workers", [1, pytest.param(2, marks=pytest.mark.long)])
def test_a_clip_that_cannot_be_decoded_costs_no_other(clips, workers, tmp_path):
    rows = table(score_clips(clips, tmp_path / "run", metrics=METRICS, workers=workers))
    assert len(rows) == 6
    assert {key for key, row in rows.items() if row.status != "ok"} == {("b_odd", "sharpness")}
    assert "zzzz" in rows["b_odd", "sharpness"].reason


def test_limits_change_no_digest_and_refused_clips_are_tried_again(clips, tmp_path):
    def run(**limits):
        options = RunOptions(limits=Limits(**limits))
        rows = table(score_clips([clips[0]], tmp_path / "run", metrics=METRICS, options=options))
        # What was not computed again took the same time to the last digit.
        return {key: (row.status, row.reason, row.params_digest, row.seconds) for key, row in rows.items()}

    refused = run(pixels=100)
    assert refused["a_good", "sharpness"][:2] == ("error", "over the limit pixels=100: the video is 64x48")
    again = run(pixels=100)
    assert again == refused
    raised = run()
    assert raised["a_good", "sharpness"][0] == "ok"
    assert raised["a_good", "loudness"] == refused["a_good", "loudness"]
    assert raised["a_good", "sharpness"][2] == refused["a_good", "sharpness"][2]
    assert run(pixels=100) == raised  # what is known is kept


def test_packages_that_do_not_fit_end_the_run(clips, tmp_path, monkeypatch):
    monkeypatch.setattr("av.open", lambda file: file)
    with pytest.raises(EnvironmentProblem, match=r"do not fit|does not take"):
        score_clips(clips, tmp_path / "run", metrics=METRICS)


def test_a_decoder_without_memory_costs_one_clip(clips, tmp_path, monkeypatch):
    def greedy(stream, packets, *rest):
        if len(seen) == 1:
            seen.append("greedy")
            raise MemoryError
        seen.append("modest")
        return decode_audio(stream, packets, *rest)

    seen = []
    monkeypatch.setattr("avbench.media.decode.decode_audio", greedy)
    rows = table(score_clips(clips, tmp_path / "run", metrics=["loudness"]))
    assert {key[0]: row.status for key, row in rows.items()} == {"a_good": "ok", "b_odd": "error", "c_good": "ok"}
    assert rows["b_odd", "loudness"].reason == "audio cannot be decoded: out of memory"


@pytest.mark.long
def test_limits_on_the_command_line(clips, tmp_path, avbench):
    clip = clips[0].video
    done = avbench("score", clip, "-m", "sharpness", "-o", tmp_path / "run", "-q", "--limit", "pixels=100")
    assert done.returncode == 3, done.stderr
    done = avbench("clips", clip, "--json", "--limit", "pixels=100")
    assert done.returncode == 0, done.stderr
    (problem,) = json.loads(done.stdout)["problems"]
    assert problem["problem"] == "over the limit pixels=100: the video is 64x48"
    done = avbench("score", clip, "-m", "sharpness", "-o", tmp_path / "run", "-q", "--limit", "pixel=none")
    assert done.returncode == 2
    assert "unknown limit 'pixel'. Known: pixels, frames" in done.stderr


# A child's peak of memory begins with that of the process that forks it, so a small one has to.
LAUNCHER = """
import os, subprocess, sys
child = subprocess.Popen(sys.argv[1:], stdout=subprocess.DEVNULL)
_, status, usage = os.wait4(child.pid, 0)
child.returncode = os.waitstatus_to_exitcode(status)
print(child.returncode, usage.ru_maxrss)
"""


@pytest.mark.skipif(not hasattr(os, "wait4"), reason="memory of a child is read with wait4")
@pytest.mark.long
def test_bombs_cost_little(clips, tmp_path):
    bombs = tmp_path / "bombs"
    bombs.mkdir()
    for name, (make, _) in media_bombs.VIDEO.items():
        make(bombs / name)
    for name, (make, _) in media_bombs.SOUND.items():
        make(bombs / name)
        (bombs / name).with_suffix(".mp4").write_bytes(clips[0].video.read_bytes())
    (bombs / "z_good.mp4").write_bytes(clips[2].video.read_bytes())
    run = tmp_path / "run"
    score = ["score", str(bombs), "-m", ",".join(METRICS), "-o", str(run), "-q", "--no-html"]
    for command, code in ((["clips", str(bombs), "--json"], 0), (score, 3)):
        launched = [sys.executable, "-c", LAUNCHER, sys.executable, "-m", "avbench", *command]
        done = subprocess.run(launched, capture_output=True, text=True, check=True, timeout=120)
        status, kibibytes = map(int, done.stdout.split())
        assert status == code
        assert kibibytes * 1024 < MEMORY
    rows = table(load_run(run))
    assert rows["z_good.mp4", "loudness"].status == "ok"
    assert rows["billion_frames.mp4", "sharpness"].status == "error"
