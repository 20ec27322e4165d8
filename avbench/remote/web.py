"""Files on web servers: one GET for each, redirects followed by hand so that every host is checked.

Without fsspec: its HTTP file system resolves names and follows redirects inside a library that leaves no place for the
check of addresses. Proxies of the environment are not used, as they would resolve names themselves.
"""

from __future__ import annotations

import ssl
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from http.client import HTTPConnection, HTTPResponse, HTTPSConnection
from urllib.parse import quote, urljoin, urlsplit

from avbench.clips import RemoteFile
from avbench.remote.addresses import WEB, scheme_of
from avbench.remote.base import CHUNK, REPLACED, Opened
from avbench.remote.hosts import RefusedHostError, connect, host_and_port

_REDIRECTS = (301, 302, 303, 307, 308)
_MOST_REDIRECTS = 5
_KEPT = "/%:=&?~#+!$,;'@()*[]"  # what an address may hold as it is


class _Plain(HTTPConnection):
    named: Collection[str] = ()

    def connect(self) -> None:
        self.sock = connect(self.host, self.port, self.named, float(self.timeout or 0) or 60.0)


class _Secure(HTTPSConnection):
    named: Collection[str] = ()

    def connect(self) -> None:
        plain = connect(self.host, self.port, self.named, float(self.timeout or 0) or 60.0)
        self.sock = ssl.create_default_context().wrap_socket(plain, server_hostname=self.host)


@contextmanager
def open_web(file: RemoteFile, timeout: float) -> Iterator[Opened]:
    """Open a file, or the part of it that is meant, for one reading.

    Raises:
        FileNotFoundError, PermissionError: the server says so.
        RefusedHostError: see `hosts`.
        OSError, HTTPException: whatever else fails.
    """
    with _responding(file.url, "GET", file.hosts, timeout, _range(file)) as response:
        size, identity = response.length, _identity(response)
        if file.size is not None and response.status != 206:
            raise OSError("the server sends no parts of files, which a tar archive is read by")
        if file.size is not None and file.identity and identity and identity != file.identity:
            raise OSError(REPLACED)

        def chunks() -> Iterator[bytes]:
            # What has come, and not until so much has: a server that is slow but sends is not one that stalls.
            while data := response.read1(CHUNK):
                yield data

        yield Opened(size, identity, chunks())


def look_at_web(file: RemoteFile, timeout: float) -> str:
    """What tells one state of the file from another; empty where the server states nothing.

    Raises:
        OSError, HTTPException, RefusedHostError: as `open_web`.
    """
    with _responding(file.url, "HEAD", file.hosts, timeout, {}) as response:
        return _identity(response)


def _range(file: RemoteFile) -> dict[str, str]:
    return {} if file.size is None else {"Range": f"bytes={file.start}-{file.start + file.size - 1}"}


@contextmanager
def _responding(
    url: str, method: str, named: Collection[str], timeout: float, headers: dict[str, str]
) -> Iterator[HTTPResponse]:
    for _ in range(_MOST_REDIRECTS + 1):
        connection = _connection(url, named, timeout)
        try:
            parts = urlsplit(url.strip())
            target = quote((parts.path or "/") + (f"?{parts.query}" if parts.query else ""), safe=_KEPT)
            connection.request(method, target, headers={"Accept-Encoding": "identity"} | headers)
            response = connection.getresponse()
            if response.status in _REDIRECTS and (location := response.getheader("Location")):
                url = _redirected(url, location)
                continue
            _require_success(response.status)
            yield response
            return
        finally:
            connection.close()
    raise OSError(f"more than {_MOST_REDIRECTS} redirects")


def _connection(url: str, named: Collection[str], timeout: float) -> HTTPConnection:
    host, port = host_and_port(url)
    kind = _Secure if scheme_of(url) == "https" else _Plain
    connection = kind(host, port, timeout=timeout)
    connection.named = named
    return connection


def _redirected(url: str, location: str) -> str:
    target = urljoin(url, location)
    if scheme_of(target) not in WEB or (scheme_of(url) == "https" and scheme_of(target) != "https"):
        raise RefusedHostError(f"a redirect from https to {scheme_of(target)!r:.20} is not followed")
    return target


def _require_success(status: int) -> None:
    if status in (404, 410):
        raise FileNotFoundError(f"the server answers {status}: no such file")
    if status in (401, 403):
        raise PermissionError(f"the server answers {status}: no permission")
    if status not in (200, 206):
        raise OSError(f"the server answers {status}")


def _identity(response: HTTPResponse) -> str:
    tag = response.getheader("ETag") or response.getheader("Last-Modified")
    whole = (response.getheader("Content-Range") or "").rpartition("/")[2] or response.getheader("Content-Length")
    return f"{tag} {whole}" if tag else ""
