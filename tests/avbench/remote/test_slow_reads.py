"""What is slow but comes is fetched: a reading counts as stalled by what does not come, not by how much has to."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from avbench.clips import RemoteFile
from avbench.remote import stores
from avbench.remote.fetch import Retries, fetch


class Dripping(BaseHTTPRequestHandler):
    """Sends twelve parts with pauses; all of them take longer than a reading may stall."""

    asked = 0

    def log_message(self, *_: object) -> None: ...

    def do_GET(self) -> None:
        type(self).asked += 1
        self.send_response(200)
        self.send_header("Content-Length", "12000")
        self.end_headers()
        for _ in range(12):
            self.wfile.write(bytes(1000))
            self.wfile.flush()
            time.sleep(0.06)


@pytest.fixture
def dripping() -> Iterator[str]:
    """Address of a file on a slow web server."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), Dripping)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_address[1]}/a.mp4"
    server.shutdown()
    server.server_close()


def test_a_slow_web_server_is_waited_for(dripping, tmp_path):
    file = RemoteFile(dripping, hosts=frozenset({"127.0.0.1"}))
    assert fetch(file, tmp_path / "x", 1e9, Retries(attempts=1, stall=0.5)).size == 12_000
    assert Dripping.asked == 1


@pytest.mark.parametrize(("quick", "sizes"), [(60.0, [1, 4, 1]), (-1.0, [1] + [0.25] * 20)])
def test_a_slow_store_is_asked_for_little_at_a_time(store, tmp_path, monkeypatch, quick, sizes):
    monkeypatch.setattr(stores, "_QUICK_S", quick)
    address, asked = store.write("a.mp4", bytes(6 * 2**20)), []
    read = store.files.cat_file

    def cat_file(path: str, start: int, end: int, **more: object) -> bytes:
        asked.append((end - start) / 2**20)
        return bytes(read(path, start=start, end=end, **more))

    monkeypatch.setattr(store.files, "cat_file", cat_file)
    assert fetch(RemoteFile(address), tmp_path / "x", 1e9).size == 6 * 2**20
    assert asked == sizes
