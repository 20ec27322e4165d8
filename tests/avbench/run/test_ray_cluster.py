"""Runs on real Ray clusters of this machine: one node, three, a node killed or joining, shared GPUs, bad input."""

from __future__ import annotations

import importlib.util
import os
import re
import signal
import subprocess
import sys
import time

import pytest
from pandas.testing import assert_frame_equal
from ray_clips import command, environment, run, table, write_clips

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(importlib.util.find_spec("ray") is None, reason="needs the [ray] extra"),
]


@pytest.fixture(scope="module")
def clips(tmp_path_factory):
    """Clips, of which one is broken."""
    return write_clips(tmp_path_factory.mktemp("ray") / "clips", 12)


@pytest.fixture(scope="module")
def expected(clips, tmp_path_factory):
    """The table of one process."""
    out = tmp_path_factory.mktemp("local") / "run"
    assert run(command(clips, out)).returncode == 0
    return table(out)


@pytest.fixture
def cluster(monkeypatch):
    """Three nodes of one CPU each."""
    from ray.cluster_utils import Cluster

    monkeypatch.setenv("PYTHONPATH", environment()["PYTHONPATH"])
    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 1, "include_dashboard": False})
    for _ in range(2):
        cluster.add_node(num_cpus=1)
    yield cluster
    cluster.shutdown()


@pytest.fixture
def meeting(monkeypatch, tmp_path):
    """Starts a cluster of one node on which two processes have to meet at a clip; gives it and where they are named."""
    from ray.cluster_utils import Cluster

    folder, clusters = tmp_path / "met", []
    folder.mkdir()
    for name, value in {"MEETING": folder, "MEETING_COUNT": 2}.items():
        monkeypatch.setenv(f"AVBENCH_TEST_{name}", str(value))
    monkeypatch.setenv("PYTHONPATH", environment()["PYTHONPATH"])

    def start(**resources):
        clusters.append(Cluster(initialize_head=True, head_node_args={"include_dashboard": False, **resources}))
        return clusters[-1], folder

    yield start
    for cluster in clusters:
        cluster.shutdown()


def meet(clips, out, cluster, settings):
    """A run of the metric `meeting` on the cluster, at work."""
    text = (
        "import sys\nfrom pathlib import Path\nimport meeting\nfrom avbench import score_clips\n"
        "from avbench.run.cluster.settings import RaySettings\nfrom avbench.run.options import RunOptions\n"
        f"score_clips(*map(Path, sys.argv[1:]), metrics=['meeting'], options=RunOptions(ray=RaySettings({settings})))\n"
    )
    words = [sys.executable, "-c", text, str(clips), str(out)]
    return subprocess.Popen(words, env=environment(cluster.address), stderr=subprocess.PIPE, text=True)


def ended(process, out):
    """What the clips of a run are worth that has ended well."""
    _, errors = process.communicate(timeout=300)
    assert process.returncode == 0, errors
    return table(out)["value"].dropna().tolist()


def test_a_node_that_joins_later_is_used(clips, meeting, tmp_path):
    cluster, met = meeting(num_cpus=1)
    process = meet(clips, tmp_path / "run", cluster, "")
    while process.poll() is None and not list(met.iterdir()):
        time.sleep(0.05)
    assert process.poll() is None, process.stderr.read()
    cluster.add_node(num_cpus=1)
    assert ended(process, tmp_path / "run") == [2.0] * 12


def test_actors_share_a_gpu_by_fractions(clips, meeting, tmp_path):
    cluster, met = meeting(num_cpus=4, num_gpus=1)
    process = meet(clips, tmp_path / "run", cluster, "gpus_per_worker=0.5")
    assert ended(process, tmp_path / "run") == [2.0] * 12
    assert len(list(met.iterdir())) == 2, "room for no third one"


def test_four_local_processes_give_the_table_of_one(clips, expected, tmp_path):
    assert run(command(clips, tmp_path / "run", "--workers", 4)).returncode == 0
    assert_frame_equal(table(tmp_path / "run"), expected)


def test_one_node_gives_the_table_of_one_process(clips, expected, tmp_path):
    done = run(command(clips, tmp_path / "run", "--backend", "ray", "--workers", 2))
    assert done.returncode == 0, done.stderr
    assert_frame_equal(table(tmp_path / "run"), expected)
    log = (tmp_path / "run" / "scores.jsonl").read_bytes()
    assert run(command(clips, tmp_path / "run")).returncode == 0
    assert (tmp_path / "run" / "scores.jsonl").read_bytes() == log, "one process has nothing left to do"


def test_networks_give_the_table_of_one_process(clips, cluster, tmp_path):
    """To seven digits: an actor has fewer threads, and sums in another order."""
    options, metrics = ("--weights", "keyed-random-reduced"), "subject_consistency,aesthetic_quality"
    assert run(command(clips, tmp_path / "local", *options, metrics=metrics)).returncode == 0
    spread = run(command(clips, tmp_path / "ray", *options, "--backend", "ray", metrics=metrics), cluster.address)
    assert spread.returncode == 0, spread.stderr
    columns = ["clip_id", "metric", "value", "status", "reason", "params_digest", "weights_digest"]
    assert_frame_equal(table(tmp_path / "ray")[columns], table(tmp_path / "local")[columns], rtol=1e-7)


def test_a_node_that_is_killed_costs_nothing(clips, expected, cluster, tmp_path):
    out = tmp_path / "run"
    words = command(clips, out, "--backend", "ray")
    process = subprocess.Popen(
        words, env=environment(cluster.address), stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
    )
    log = out / "scores.jsonl"
    while process.poll() is None and (not log.exists() or log.read_bytes().count(b"\n") < 9):
        time.sleep(0.05)
    assert process.poll() is None, "it has to be at work"
    cluster.remove_node(next(iter(cluster.worker_nodes)), allow_graceful=False)
    _, errors = process.communicate(timeout=400)
    assert process.returncode == 0, errors
    assert_frame_equal(table(out), expected)


def test_a_clip_that_kills_its_actors_has_the_status_that_it_has_locally(cluster, tmp_path):
    script = tmp_path / "both.py"
    script.write_text(
        "import sys\nfrom pathlib import Path\nimport misbehaving\n"
        "from avbench import score_clips\nfrom avbench.run.cluster.settings import RaySettings\n"
        "from avbench.run.options import RunOptions\n"
        "for name, options in (('ray', RunOptions(ray=RaySettings())), ('local', RunOptions(workers=2))):\n"
        "    score_clips(Path(sys.argv[1]), Path(sys.argv[2], name), metrics=['crashes'], options=options)\n"
    )
    from synthetic import draw_frames, draw_sound, write_clip

    folder = write_clips(tmp_path / "clips", 3)
    write_clip(folder / "wide.mp4", draw_frames(2, seconds=0.5, size=(48, 80)), draw_sound(2, seconds=0.5))
    words = [*command(folder, tmp_path)[:1], str(script), str(folder), str(tmp_path)]
    done = run(words, cluster.address)
    assert done.returncode == 0, done.stderr
    rows = table(tmp_path / "ray")
    assert_frame_equal(rows, table(tmp_path / "local"))
    assert "the process that read this clip died" in rows.set_index("clip_id").loc["wide.mp4", "reason"]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGKILL])
def test_a_run_that_is_ended_goes_on(clips, expected, tmp_path, number):
    out = tmp_path / "run"
    words = command(clips, out, "--backend", "ray", "--workers", 1)
    process = subprocess.Popen(words, env=environment(), stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    log = out / "scores.jsonl"
    while process.poll() is None and not (log.exists() and log.read_bytes().count(b"\n") >= 3):
        time.sleep(0.05)
    process.send_signal(number)
    _, errors = process.communicate(timeout=120)
    assert process.returncode == (130 if number == signal.SIGINT else -9), errors
    assert run(words).returncode == 0
    assert_frame_equal(table(out), expected)


def test_a_node_with_another_version_is_named_and_nothing_is_begun(clips, cluster, tmp_path):
    """This machine says that it has another version, which is what its nodes then lack."""
    record = tmp_path / "packages" / "avbench-99.0.dist-info"
    record.mkdir(parents=True)
    (record / "METADATA").write_text("Metadata-Version: 2.1\nName: avbench\nVersion: 99.0\n")
    given = environment(cluster.address)
    given["PYTHONPATH"] = f"{record.parent}{os.pathsep}{given['PYTHONPATH']}"
    words = command(clips, tmp_path / "run", "--backend", "ray")
    done = subprocess.run(words, env=given, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 4
    difference = r"differs from this machine in avbench: \S+ there, 99\.0 here"
    assert re.match(rf"avbench: node \S+ \([0-9a-f]{{8}}\) {difference}", done.stderr)
    assert done.stderr.count("\n") == 1
    assert not (tmp_path / "run").exists()


def test_nobody_at_the_address_is_one_line(clips, tmp_path):
    done = run(command(clips, tmp_path / "run", "--backend", "ray"), address="127.0.0.1:1")
    assert done.returncode == 4
    assert done.stderr.startswith("avbench: no Ray cluster at 127.0.0.1:1: ")
    assert done.stderr.count("\n") == 1
    assert not (tmp_path / "run").exists()
