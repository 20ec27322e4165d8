"""Stores other than S3: the package that reads each, what is said where it is absent, and a hub of this machine."""

from __future__ import annotations

import hashlib
import json
import re
import sys
import threading
from collections import Counter
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib.metadata import requires
from pathlib import PurePosixPath
from types import ModuleType
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

import pandas as pd
import pytest

from avbench.api import score_clips
from avbench.errors import EnvironmentProblem
from avbench.remote.addresses import STORES
from avbench.remote.stores import file_system

fsspec = pytest.importorskip("fsspec")

CLASSES = {
    "gs": ("gcsfs", "GCSFileSystem"),
    "gcs": ("gcsfs", "GCSFileSystem"),
    "az": ("adlfs", "AzureBlobFileSystem"),
    "abfs": ("adlfs", "AzureBlobFileSystem"),
    "hf": ("huggingface_hub", "HfFileSystem"),
    "s3": ("s3fs", "S3FileSystem"),
}
SAME = ["clip_id", "metric", "value", "status", "reason", "clip_sha256", "detail"]


@pytest.fixture
def unasked() -> Iterator[None]:
    """fsspec as it is before any file system was asked for."""
    known = sys.modules["fsspec.registry"]._registry  # type: ignore[attr-defined]
    before = dict(known)
    known.clear()
    yield
    known.clear()
    known.update(before)


@pytest.mark.parametrize("scheme", CLASSES)
def test_each_address_is_read_with_its_package(scheme: str, unasked: None, monkeypatch: pytest.MonkeyPatch) -> None:
    module, name = CLASSES[scheme]
    made = type(name, (fsspec.AbstractFileSystem,), {"protocol": scheme})
    package = ModuleType(module)
    package.__version__ = "2026.1"  # type: ignore[attr-defined]
    setattr(package, name, made)
    monkeypatch.setitem(sys.modules, module, package)
    assert type(file_system(f"{scheme}://bucket/clips")) is made


@pytest.mark.parametrize("scheme", CLASSES)
def test_a_package_that_is_absent_is_one_line(scheme: str, unasked: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, CLASSES[scheme][0], None)
    with pytest.raises(EnvironmentProblem) as caught:
        file_system(f"{scheme}://bucket/clips")
    package = CLASSES[scheme][0].replace("_", "-")
    assert str(caught.value) == (
        f"{scheme}:// is read with the package {package}, which is not installed: pip install 'avbench[remote]'"
    )


def test_the_extra_has_the_package_of_each_scheme() -> None:
    extra = [text for text in requires("avbench") or () if 'extra == "remote"' in text.replace("'", '"')]
    names = {re.split(r"[<>=!~;\s]", text)[0] for text in extra}
    assert CLASSES.keys() == STORES.keys()
    assert names >= set(STORES.values())


class Hub:
    """A server with one data set, `me/clips`: as much of the hub as listing and reading take.

    `files` are its contents by path; `sent` counts bytes that were read, by path.
    """

    def __init__(self) -> None:
        self.files: dict[str, bytes] = {}
        self.sent: Counter[str] = Counter()
        handler = type("Handler", (_Handler,), {"hub": self})
        self.server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
        self.url = f"http://127.0.0.1:{self.server.server_address[1]}"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def entry(self, path: str) -> dict[str, Any]:
        content = self.files[path]
        return {"type": "file", "path": path, "size": len(content), "oid": hashlib.sha1(content).hexdigest()}

    def tree(self, folder: str, deep: bool) -> list[dict[str, Any]]:
        start = f"{folder}/" if folder else ""
        below = [path for path in sorted(self.files) if path.startswith(start)]
        direct = [self.entry(path) for path in below if deep or "/" not in path.removeprefix(start)]
        parents = {str(parent) for path in below for parent in PurePosixPath(path).parents}
        inside = [name for name in sorted(parents) if name.startswith(start) and name != "."]
        folders = [name for name in inside if deep or "/" not in name.removeprefix(start)]
        return direct + [{"type": "directory", "path": name, "size": 0, "oid": "0" * 40} for name in folders]


class _Handler(BaseHTTPRequestHandler):
    hub: Hub

    def log_message(self, *_: object) -> None: ...

    def do_GET(self) -> None:
        url = urlsplit(self.path)
        path, query = unquote(url.path), parse_qs(url.query)
        if path in ("/api/datasets/me/clips", "/api/datasets/me/clips/revision/main"):
            self._json({"id": "me/clips", "sha": "0" * 40})
        elif path.startswith("/api/datasets/me/clips/tree/main"):
            folder = path.removeprefix("/api/datasets/me/clips/tree/main").strip("/")
            self._json(self.hub.tree(folder, query.get("recursive", [""])[0].lower() == "true"))
        elif path.startswith("/datasets/me/clips/resolve/main/"):
            self._content(path.removeprefix("/datasets/me/clips/resolve/main/"))
        else:
            self._answer(404, b"", {"X-Error-Code": "RepoNotFound"})

    def do_POST(self) -> None:
        asked = parse_qs(self.rfile.read(int(self.headers["Content-Length"])).decode())
        self._json([self.hub.entry(path) for path in asked["paths"] if path in self.hub.files])

    def _content(self, path: str) -> None:
        content = self.hub.files[path]
        start, end = map(int, self.headers["Range"].removeprefix("bytes=").split("-"))
        part = content[start : end + 1]
        self.hub.sent[path] += len(part)
        self._answer(206, part, {"Content-Range": f"bytes {start}-{start + len(part) - 1}/{len(content)}"})

    def _json(self, content: object) -> None:
        self._answer(200, json.dumps(content).encode(), {"Content-Type": "application/json"})

    def _answer(self, status: int, body: bytes, headers: dict[str, str]) -> None:
        self.send_response(status)
        for name, value in {**headers, "Content-Length": str(len(body))}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    """A hub of this machine in place of the one on the internet."""
    pytest.importorskip("huggingface_hub")
    made = Hub()
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.setitem(fsspec.config.conf, "hf", {"endpoint": made.url, "token": False})
    yield made
    made.server.shutdown()
    made.server.server_close()


@pytest.mark.slow
def test_a_data_set_of_the_hub(hub, small_clip, golden_clips, tmp_path):
    video, other = small_clip.read_bytes(), next(iter(sorted(golden_clips.glob("*.mp4")))).read_bytes()
    hub.files |= {"README.md": b"# Clips", "made/a.mp4": video, "made/b/c.mp4": video}
    for name in ("a.mp4", "b/c.mp4"):
        (tmp_path / "local" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "local" / name).write_bytes(video)
    local = score_clips(tmp_path / "local", tmp_path / "there", metrics=["loudness"]).scores
    url, run = "hf://datasets/me/clips/made", tmp_path / "run"
    pd.testing.assert_frame_equal(score_clips(url, run, metrics=["loudness"]).scores[SAME], local[SAME])
    assert hub.sent == {"made/a.mp4": len(video), "made/b/c.mp4": len(video)}, "each byte once"
    score_clips(url, run, metrics=["loudness"])
    assert hub.sent.total() == 2 * len(video), "what is scored is not fetched again"
    hub.files["made/a.mp4"] = other
    changed = score_clips(url, run, metrics=["loudness"]).scores.set_index("clip_id")["clip_sha256"]
    assert hub.sent["made/a.mp4"] == len(video) + len(other)
    assert changed["a.mp4"] != changed["b/c.mp4"] == local["clip_sha256"][0]


@pytest.mark.slow
def test_tar_shards_of_the_hub_are_read_where_clips_lie(hub, small_clip, tmp_path):
    import io
    import tarfile

    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        for name in ("0.mp4", "0.npy"):
            info = tarfile.TarInfo(name)
            content = small_clip.read_bytes() if name == "0.mp4" else bytes(2**22)
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))
    hub.files["shards/s-0.tar"] = buffer.getvalue()
    scores = score_clips("hf://datasets/me/clips/shards", tmp_path / "run", metrics=["loudness"]).scores
    assert scores["status"].tolist() == ["ok"]
    assert hub.sent["shards/s-0.tar"] < small_clip.stat().st_size + 2**16, "not what lies between"
