"""The Ray backend without a cluster: settings, shards, comparison of nodes, what a lost node costs, bad input."""

from __future__ import annotations

import re
import sys
import threading
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from fake_ray import Lost, Nodewise, Pool, job

from avbench import score_clips
from avbench.errors import EnvironmentProblem, UsageError
from avbench.run.cluster import backend
from avbench.run.cluster.backend import RayBackend, node_line, taper
from avbench.run.cluster.node_side import Description, Handover, Inquiry, describe
from avbench.run.cluster.nodes import Node, Nodes, difference
from avbench.run.cluster.settings import RaySettings, parse_resources
from avbench.run.cluster.visibility import NeededFiles
from avbench.run.jobs import ClipResult, Stopped
from avbench.run.options import RunOptions
from avbench.run.worker_process import Opening, Workers
from avbench.run.workers import Crew, run_shards
from avbench.weights.config import WeightsConfig


def test_slots_are_what_the_scarcest_resource_gives():
    settings = RaySettings(gpus_per_worker=0.25, resources=parse_resources(["CPU=2", "fast = 1"]))
    assert settings.slots({"CPU": 16, "GPU": 1, "fast": 8}) == 4
    assert settings.slots({"CPU": 3, "GPU": 1, "fast": 8}) == 1
    assert settings.slots({"CPU": 16, "fast": 8}) == 0
    assert settings.actor_options() == {"num_cpus": 2, "num_gpus": 0.25, "resources": {"fast": 1}}
    assert (settings.device, RaySettings().device) == ("cuda:0", "cpu")


@pytest.mark.parametrize("text", ["CPU", "CPU=x", "=1", "CPU=-1", "CPU=inf", "CPU=nan"])
def test_resources_are_names_with_numbers(text):
    with pytest.raises(UsageError, match="expected NAME=NUMBER"):
        parse_resources([text])


@pytest.mark.parametrize(
    "options",
    [
        {"gpus_per_worker": 1.5},
        {"gpus_per_worker": 0.00001},
        {"workers": 0},
        {"resources": {"GPU": 1}},
        {"resources": {"CPU": 0.00001}},
        {"resources": {"object_store_memory": 1}},
    ],
)
def test_settings_that_ray_does_not_take_are_refused(options):
    with pytest.raises(UsageError):
        RaySettings(**options)


@pytest.mark.parametrize("count", [1, 3, 40])
def test_shards_hold_every_job_once_and_shrink(count):
    jobs = [job(number, "aq") for number in range(500)]
    shards = taper(jobs, count)
    assert [each for shard in shards for each in shard] == jobs
    sizes = [len(shard) for shard in shards]
    assert sizes == sorted(sizes, reverse=True)
    assert len(shards) > count
    assert all(len(shard) == 1 for shard in taper([job(n) for n in range(9)], count))


def test_a_node_that_differs_is_named_with_what_differs(tmp_path):
    here = Description({"avbench": "1", "torch": "2.11"})
    assert difference(here, Description({"avbench": "1", "torch": "2.11"})) is None
    assert "differs from this machine in torch: 2.10 there, 2.11 here" in str(
        difference(here, Description({"avbench": "1", "torch": "2.10"}))
    )
    assert "torch: not installed there" in str(difference(here, Description({"avbench": "1"})))
    assert difference(here, "avbench is not installed there") == ": avbench is not installed there"


def test_a_node_names_the_files_that_it_does_not_see(tmp_path):
    seen, other = tmp_path / "seen.mp4", tmp_path / "other.mp4"
    seen.write_bytes(b"1234")
    other.write_bytes(b"123")
    files = NeededFiles([(str(seen), 4), (str(other), 4), (str(tmp_path / "absent.mp4"), 4)])
    answer = describe(Inquiry({"loudness": "avbench.metrics"}, WeightsConfig(), files))
    assert answer.unseen == (str(other), str(tmp_path / "absent.mp4"))
    assert "weights none" in answer.identity["metric loudness"]
    assert "does not see 2 files of clips" in str(difference(answer, answer))


def test_a_clip_is_opened_only_when_the_run_has_heard_so():
    handover, opened = Handover(), threading.Event()

    def work() -> None:
        handover.put(Opening("c0"))
        opened.set()
        handover.end()

    threading.Thread(target=work, daemon=True).start()
    messages = iter(handover)
    assert next(messages) == Opening("c0")
    assert not opened.wait(0.1)
    assert list(messages) == []
    assert opened.wait(5)


def reasons(with_node: int) -> dict[str, str]:
    left = [with_node]
    crew = Crew(lambda count: Pool("c1", left), 60)
    results: list[ClipResult] = list(run_shards([[job(0), job(1), job(2)]], crew, 2, Stopped()))
    assert len(results) == 3
    return {result.clip_row.clip_id: str(result.rows[0].reason) for result in results}


@pytest.mark.parametrize("with_node", [0, 1, 9])
def test_a_clip_that_takes_workers_or_whole_nodes_with_it_is_found_out(with_node):
    found = reasons(with_node)
    assert found.pop("c1") == "the process that read this clip died (crash or out of memory)"
    assert found == {"c0": "judged", "c2": "judged"}


def test_the_line_on_nodes_has_the_rate_of_all_and_of_each():
    assert node_line(Counter({"b (2)": 10, "a (1)": 30}), 20.0) == "2.00 clips/s: a (1) 1.50, b (2) 0.50"
    assert node_line(Counter(), 20.0) == "no clip yet"


def test_a_run_tells_how_quick_its_nodes_are(monkeypatch):
    class Counting(Pool):
        """Actors of one node."""

        def __init__(self, *given: Any) -> None:
            super().__init__("", [0])
            self.clips = given[-1]

        def listen(self) -> Iterator[tuple[Lost, object]]:
            for worker, message in super().listen():
                self.clips["node a"] += 1
                yield worker, message

    monkeypatch.setattr(backend, "RayPool", Counting)
    monkeypatch.setattr(backend, "_NOTE_S", 0.0)
    nodes: Any = SimpleNamespace(usable={"1": Node("1", "node a", 2)})
    lines: list[str] = []
    cluster = RayBackend(Any, nodes, RaySettings(), Workers())
    assert len(list(cluster.run([job(0), job(1), job(2)], Stopped(), lines.append))) == 3
    assert [re.sub(r"[0-9]+\.[0-9]{2}", "N", line) for line in lines] == ["N clips/s: node a N"] * 3


def raises(_answer: object) -> None:
    raise RuntimeError("first line\nno module named avbench")


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda answer: replace(answer, identity={**answer.identity, "avbench": "0.0.1"}), "in avbench: 0.0.1 there"),
        (lambda answer: replace(answer, identity={**answer.identity, "torch": "1.0"}), "in torch: 1.0 there"),
        (
            lambda answer: replace(answer, identity={**answer.identity, "metric loudness": "version 9, weights none"}),
            "in metric loudness: version 9, weights none there, version ",
        ),
        (
            lambda answer: replace(answer, unseen=("/clips/a.mp4",), n_unseen=1),
            "does not see 1 file of clips with the size that they have here: /clips/a.mp4",
        ),
        (
            lambda answer: replace(answer, refused="s3://b/a.mp4 (Access Denied)"),
            "cannot read s3://b/a.mp4 (Access Den",
        ),
        (lambda _: "it has another version (avbench 0.0.1): no describe", "has another version"),
        (lambda _: Description(problem="cannot import the metric"), ": cannot import the metric"),
        (raises, "cannot answer: no module named avbench"),
    ],
)
def test_a_node_that_differs_ends_the_run_before_it_begins(monkeypatch, small_clip, tmp_path, change, words):
    cluster = Nodewise({"head": lambda answer: answer, "odd": change})
    monkeypatch.setattr(backend, "Connection", lambda: cluster)
    monkeypatch.setattr(Nodes, "on", lambda self, node: node.name.partition(" ")[0])
    with pytest.raises(EnvironmentProblem, match=r"^node odd \(odd-id\)") as caught:
        score_clips(small_clip, tmp_path / "run", metrics=["loudness"], options=RunOptions(ray=RaySettings()))
    assert words in str(caught.value) and "\n" not in str(caught.value)
    assert not (tmp_path / "run").exists() and cluster.left


def test_no_node_with_room_ends_the_run_before_it_begins(monkeypatch, small_clip, tmp_path):
    monkeypatch.setattr(backend, "Connection", lambda: Nodewise({"head": lambda answer: answer}))
    options = RunOptions(ray=RaySettings(gpus_per_worker=0.5))
    with pytest.raises(EnvironmentProblem, match=r"no node .* can hold a worker \(CPU=1, GPU=0\.5\)"):
        score_clips(small_clip, tmp_path / "run", metrics=["loudness"], options=options)
    assert not (tmp_path / "run").exists()


def test_resources_that_ray_refuses_end_the_run_before_it_begins(monkeypatch, small_clip, tmp_path):
    cluster = Nodewise({"head": lambda answer: answer})
    cluster.refusal = "TPU was set to 1.5,\nwhich is not supported"
    monkeypatch.setattr(backend, "Connection", lambda: cluster)
    options = RunOptions(ray=RaySettings(resources={"TPU": 1.5}))
    with pytest.raises(UsageError, match=r"^Ray refuses .*: TPU was set to 1\.5, which is not supported$"):
        score_clips(small_clip, tmp_path / "run", metrics=["loudness"], options=options)
    assert not (tmp_path / "run").exists() and cluster.left


def test_actors_have_cache_and_weights_at_the_paths_that_they_have_here(monkeypatch, tmp_path):
    monkeypatch.setattr(backend, "Connection", lambda: Nodewise({"head": lambda answer: answer}))
    monkeypatch.setattr(Nodes, "on", lambda self, node: node.name.partition(" ")[0])
    monkeypatch.chdir(tmp_path)
    workers = Workers(cache=Path("cache"), setup=WeightsConfig(weights_dir=Path("weights")))
    with backend.open_cluster(RaySettings(), workers, [], []) as cluster:
        assert cluster.workers.cache == tmp_path / "cache"
        assert cluster.workers.setup.weights_dir == tmp_path / "weights"


def test_without_ray_nothing_is_begun(monkeypatch, small_clip, tmp_path):
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(EnvironmentProblem, match=r"not installed: pip install 'avbench\[ray\]'"):
        score_clips(small_clip, tmp_path / "run", metrics=["loudness"], options=RunOptions(ray=RaySettings()))
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("address", "kind", "words"),
    [
        ("127.0.0.1:1", EnvironmentProblem, r"^no Ray cluster at 127\.0\.0\.1:1: .*Check RAY_ADDRESS"),
        ("ray://head:10001", UsageError, "Ray's client cannot stream results"),
        ("head", UsageError, "expected HOST:PORT"),
        ("127.0.0.1:²", UsageError, "expected HOST:PORT"),
    ],
)
def test_an_address_without_a_cluster_is_one_line(monkeypatch, small_clip, tmp_path, address, kind, words):
    class Ray:
        """As much of Ray as is asked before a cluster is joined."""

        @staticmethod
        def is_initialized() -> bool:
            return False

    monkeypatch.setitem(sys.modules, "ray", Ray)
    monkeypatch.setenv("RAY_ADDRESS", address)
    with pytest.raises(kind, match=words):
        score_clips(small_clip, tmp_path / "run", metrics=["loudness"], options=RunOptions(ray=RaySettings()))
    assert not (tmp_path / "run").exists()
