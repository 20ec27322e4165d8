"""What nodes have to see of the clips before a run on a cluster, and of which clips they are asked."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest
from fake_ray import Nodewise, Pool

from avbench import Clip, score_clips
from avbench.clips import RemoteFile
from avbench.errors import EnvironmentProblem
from avbench.remote import fetch
from avbench.run.cluster import backend, node_side
from avbench.run.cluster.nodes import Nodes
from avbench.run.cluster.settings import RaySettings
from avbench.run.cluster.visibility import NeededFiles, needed_files, refused_files
from avbench.run.options import RunOptions
from avbench.sources import load_source

RAY = RunOptions(ray=RaySettings())


class Buckets:
    """As much of a store as is looked at: each bucket answers, unless it is `closed`. Counts what was looked at."""

    def __init__(self) -> None:
        self.closed: set[str] = set()
        self.seen: list[str] = []

    def info(self, url: str, **_: Any) -> dict[str, Any]:
        self.seen.append(url)
        if url.split("/")[2] in self.closed:
            raise PermissionError("Access Denied for https://host/x?sig=secret")
        return {"ETag": "1", "size": 1}


@pytest.fixture
def buckets(monkeypatch: pytest.MonkeyPatch) -> Buckets:
    made = Buckets()
    monkeypatch.setattr(fetch, "file_system", lambda url: made)
    return made


def clip(name: str) -> Clip:
    return Clip(name, Path(name), remote_video=RemoteFile(name))


def test_one_file_of_each_bucket_that_answers_here_is_needed(buckets: Buckets) -> None:
    buckets.closed = {"closed"}
    names = ["s3://a/1.mp4", "s3://a/2.mp4", "s3://b/1.mp4", "gs://a/1.mp4", "s3://closed/1.mp4",
             "hf://datasets/me/one/1.mp4", "hf://datasets/me/one/2.mp4", "hf://datasets/me/two/1.mp4"]  # fmt: skip
    needed = needed_files([clip(name) for name in names])
    assert [file.url for file in needed.remote] == [names[index] for index in (0, 2, 3, 5, 7)]
    assert sorted(buckets.seen) == sorted(names[index] for index in (0, 2, 3, 4, 5, 7))
    buckets.closed = {"b"}
    assert refused_files(needed) == ["s3://b/1.mp4 (Access Denied for https://host/x)"]


def test_a_web_server_is_asked_for_no_content(web: Any, small_clip: Path) -> None:
    shutil.copy(small_clip, web.folder / "a.mp4")
    file = RemoteFile(f"{web.url}/a.mp4", hosts=frozenset({"127.0.0.1"}))
    assert needed_files([Clip("a", Path("a"), remote_video=file)]).remote == [file]
    assert not web.asked  # which lists what was sent


@pytest.fixture
def cluster(monkeypatch: pytest.MonkeyPatch) -> Nodewise:
    """Two nodes that answer as this machine does."""
    made = Nodewise({"head": lambda answer: answer, "poor": lambda answer: answer})
    monkeypatch.setattr(backend, "Connection", lambda: made)
    monkeypatch.setattr(backend, "RayPool", lambda *_: Pool("", [0]))
    monkeypatch.setattr(Nodes, "on", lambda self, node: node.name.partition(" ")[0])
    return made


def test_a_node_without_access_to_the_bucket_is_named_before_the_run(
    cluster: Nodewise, monkeypatch: pytest.MonkeyPatch, store: Any, small_clip: Path, tmp_path: Path
) -> None:
    source = load_source(store.write("clips/a.mp4", small_clip.read_bytes()))
    get = cluster.get

    def info(*_: Any, **__: Any) -> Any:
        raise PermissionError("Access Denied")

    def poor(reference: Any) -> Any:
        with monkeypatch.context() as patch:
            if reference[0] == "poor":
                patch.setattr(type(store.files), "info", info)  # each thread has one of its own
            return get(reference)

    monkeypatch.setattr(cluster, "get", poor)
    with pytest.raises(EnvironmentProblem, match=r"^node poor \(poor-id\) cannot read memory://.*Access Denied"):
        score_clips(source, tmp_path / "run", metrics=["loudness"], options=RAY)
    assert not (tmp_path / "run").exists()


def test_a_run_that_goes_on_asks_for_the_clips_that_are_left(
    cluster: Nodewise, monkeypatch: pytest.MonkeyPatch, small_clip: Path, tmp_path: Path
) -> None:
    asked: list[list[str]] = []

    def unseen(needed: NeededFiles) -> list[str]:
        asked.append([Path(name).name for name, _ in needed.local])
        return []

    monkeypatch.setattr(node_side, "unseen_files", unseen)
    folder = tmp_path / "clips"
    folder.mkdir()
    for name in ("a.mp4", "b.mp4"):
        shutil.copy(small_clip, folder / name)

    def files_asked_for() -> list[list[str]]:
        """In a run; of the driver, which asks itself first, and both nodes."""
        asked.clear()
        score_clips(folder, tmp_path / "run", metrics=["loudness"], options=RAY)
        return asked

    assert files_asked_for() == [[], ["a.mp4", "b.mp4"], ["a.mp4", "b.mp4"]]
    score_clips(folder, tmp_path / "run", metrics=["loudness"])
    assert files_asked_for() == [[], [], []]
    (folder / "b.mp4").write_bytes(b"changed")
    assert files_asked_for() == [[], [], [], ["b.mp4"], ["b.mp4"]]
