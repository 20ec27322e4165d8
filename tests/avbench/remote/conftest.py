"""Fixtures: a store in memory with faults to order, and a web server on this machine."""

from __future__ import annotations

import threading
import time
import uuid
from collections import Counter
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from avbench.remote import fetch
from avbench.remote.fetch import Retries

fsspec = pytest.importorskip("fsspec")


class Store:
    """fsspec's file system in memory below a folder of its own, with faults of reads to order.

    `faults` maps the end of a path to what its next reads do: "fail", "short", "slow", "empty", "refused" or
    "ok"; the last one stays. `reads` counts bytes that were read, by path; `asked` counts ranges and looks at objects.
    """

    def __init__(self) -> None:
        self.files = fsspec.filesystem("memory")
        self.url = f"memory://{uuid.uuid4().hex}"
        self.faults: dict[str, list[str]] = {}
        self.reads: dict[str, int] = {}
        self.asked: Counter[str] = Counter()
        self._read, self._info = self.files.cat_file, self.files.info

    def put(self, folder: Path, below: str = "clips") -> str:
        """Copy a folder; returns its address."""
        for path in sorted(folder.rglob("*")):
            if path.is_file():
                self.files.pipe_file(f"{self.url}/{below}/{path.relative_to(folder).as_posix()}", path.read_bytes())
        return f"{self.url}/{below}"

    def write(self, name: str, content: bytes) -> str:
        self.files.pipe_file(f"{self.url}/{name}", content)
        return f"{self.url}/{name}"

    def cat_file(self, path: str, start: int | None = None, end: int | None = None, **more: Any) -> bytes:
        data: bytes = self._read(path, start=start, end=end, **more)
        self.asked["ranges"] += 1
        fault = self._fault(path)
        if fault == "fail":
            raise ConnectionResetError("reset by peer at https://host/x?X-Amz-Signature=secret")
        if fault == "refused":
            raise PermissionError("Access Denied")
        if fault == "slow":
            time.sleep(3)
        if fault == "empty":
            return b""
        if fault == "short":
            data = data[: len(data) // 2] if start == 0 else b""
        self.reads[path] = self.reads.get(path, 0) + len(data)
        return data

    def info(self, path: str, **more: Any) -> Any:
        self.asked["looks"] += 1
        return self._info(path, **more)

    def _fault(self, path: str) -> str:
        for end, faults in self.faults.items():
            if path.endswith(end):
                return faults.pop(0) if len(faults) > 1 else faults[0]
        return "ok"


@pytest.fixture
def store(monkeypatch: pytest.MonkeyPatch) -> Iterator[Store]:
    """A store in memory; reads are tried again at once."""
    made = Store()
    # Of the class: fsspec makes another file system for each thread.
    for name, method in (("cat_file", made.cat_file), ("info", made.info)):
        monkeypatch.setattr(type(made.files), name, staticmethod(method), raising=False)
    monkeypatch.setattr(fetch, "RETRIES", Retries(attempts=3, wait=0.01, stall=1.0))
    yield made
    if made.files.exists(made.url):
        made.files.rm(made.url, recursive=True)


class _Quiet(SimpleHTTPRequestHandler):
    redirects: dict[str, str]
    asked: list[str]

    def log_message(self, *_: object) -> None: ...

    def do_GET(self) -> None:
        self.asked.append(self.path)
        if target := self.redirects.get(self.path):
            self.send_response(302)
            self.send_header("Location", target)
            self.end_headers()
            return
        if (wanted := self.headers["Range"]) and (path := Path(self.translate_path(self.path))).is_file():
            self._send_range(path, *map(int, wanted.removeprefix("bytes=").split("-")))
            return
        super().do_GET()

    def _send_range(self, path: Path, start: int, end: int) -> None:
        content, time_of_change = path.read_bytes(), self.date_time_string(path.stat().st_mtime)
        part = content[start : end + 1]
        self.send_response(206)
        self.send_header("Content-Range", f"bytes {start}-{start + len(part) - 1}/{len(content)}")
        self.send_header("Content-Length", str(len(part)))
        self.send_header("Last-Modified", time_of_change)
        self.end_headers()
        self.wfile.write(part)


class Web:
    """A web server on this machine; `redirects` maps paths to addresses, `asked` lists what was asked for."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.redirects: dict[str, str] = {}
        self.asked: list[str] = []
        handler = type("Handler", (_Quiet,), {"redirects": self.redirects, "asked": self.asked})
        self.server = ThreadingHTTPServer(("127.0.0.1", 0), partial(handler, directory=str(folder)))
        self.port = int(self.server.server_address[1])
        self.url = f"http://127.0.0.1:{self.port}"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()


@pytest.fixture
def web(tmp_path: Path) -> Iterator[Web]:
    """A web server with an empty folder."""
    folder = tmp_path / "web"
    folder.mkdir()
    made = Web(folder)
    yield made
    made.server.shutdown()
    made.server.server_close()
