"""Which processes of a run are still there: a TCP connection of each to the first, which the kernel keeps or closes.

No sign that Python gives is needed: native code may keep it from giving any for a minute. Connections of a process that
is killed are closed by the kernel at once; those to a node that is lost end as their keep-alives go unanswered.
"""

from __future__ import annotations

import logging
import os
import secrets
import socket
from contextlib import suppress
from datetime import timedelta
from typing import Any

_LOG = logging.getLogger(__name__)
_KEY = "liveness"
_TOKEN_BYTES, _RANK_BYTES = 16, 4
_GREETING_SECONDS, _CONNECT_SECONDS = 1.0, 10.0
_GOODBYE = b"."
# A peer that answers nothing any more is gone after 10 + 6 x 5 seconds.
_KEEP_ALIVE = {"TCP_KEEPIDLE": 10, "TCP_KEEPINTVL": 5, "TCP_KEEPCNT": 6}


class Liveness:
    """The connections of this process: of the first to all others, of the others to the first.

    Args:
        rank: of this process.
        store: that all share; the first process leaves its address there.
    """

    def __init__(self, rank: int, store: Any) -> None:
        self._peers: dict[int, socket.socket] = {}
        self._server: socket.socket | None = None
        self._token = secrets.token_bytes(_TOKEN_BYTES)
        if rank == 0:
            self._server = _listener()
            store.set(_KEY, f"{_own_address()} {self._server.getsockname()[1]} {self._token.hex()}")
        else:
            self._connect(rank, store)

    def gone(self) -> int | None:
        """A process that ended without saying goodbye, among those connected to this one; looks, and does not wait."""
        if self._server is not None:
            self._welcome(self._server)
        return next((rank for rank in list(self._peers) if self._is_gone(rank)), None)

    def close(self) -> None:
        """Say goodbye: this process ends, and is not to be taken for lost."""
        for peer in self._peers.values():
            with suppress(OSError):  # it went first
                peer.sendall(_GOODBYE)
            peer.close()
        self._peers = {}
        if self._server is not None:
            self._server.close()
            self._server = None

    def _welcome(self, server: socket.socket) -> None:
        """Take the connections that wait, but for those of strangers."""
        while True:
            try:
                peer, _ = server.accept()
            except OSError:  # none waits
                return
            peer.settimeout(_GREETING_SECONDS)
            try:
                greeting = peer.recv(_TOKEN_BYTES + _RANK_BYTES, socket.MSG_WAITALL)
            except OSError:
                greeting = b""
            if secrets.compare_digest(greeting[:_TOKEN_BYTES], self._token):
                self._keep(int.from_bytes(greeting[_TOKEN_BYTES:], "big"), peer)
            else:
                peer.close()

    def _connect(self, rank: int, store: Any) -> None:
        host = port = "?"
        try:
            store.wait([_KEY], timedelta(seconds=_CONNECT_SECONDS))
            host, port, token = store.get(_KEY).decode().split(" ")
            peer = socket.create_connection((host, int(port)), timeout=_CONNECT_SECONDS)
            peer.sendall(bytes.fromhex(token) + rank.to_bytes(_RANK_BYTES, "big"))
        except (OSError, RuntimeError) as error:
            _LOG.warning(
                "process %d cannot reach process 0 at %s, port %s (%s): if one of the two is killed, the other may "
                "wait for it. Allow connections between the nodes.", rank, host, port, str(error).partition("\n")[0],
            )  # fmt: skip
            return
        self._keep(0, peer)

    def _keep(self, rank: int, peer: socket.socket) -> None:
        peer.setblocking(False)
        peer.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        for name, value in _KEEP_ALIVE.items():
            if hasattr(socket, name):  # other systems than Linux lack some, and wait for two hours
                peer.setsockopt(socket.IPPROTO_TCP, getattr(socket, name), value)
        self._peers[rank] = peer

    def _is_gone(self, rank: int) -> bool:
        try:
            said = self._peers[rank].recv(len(_GOODBYE))
        except BlockingIOError:
            return False
        except OSError:  # keep-alives went unanswered, or the connection was reset
            return True
        if said:
            self._peers.pop(rank).close()
        return not said


def _listener() -> socket.socket:
    """A socket on any port of all interfaces."""
    try:
        server = socket.create_server(("", 0), family=socket.AF_INET6, dualstack_ipv6=True, backlog=1024)
    except (OSError, ValueError):  # no IPv6 here
        server = socket.create_server(("", 0), backlog=1024)
    server.setblocking(False)
    return server


def _own_address() -> str:
    """Of this process as the others reach it: of the interface that leads to where all meet, or where they meet."""
    host, port = os.environ["MASTER_ADDR"], int(os.environ["MASTER_PORT"])
    try:
        family, kind, _, _, target = socket.getaddrinfo(host, port, type=socket.SOCK_DGRAM)[0]
        with socket.socket(family, kind) as probe:
            probe.connect(target)  # a datagram socket sends nothing by that
            address: str = probe.getsockname()[0]
    except OSError:
        return host
    # All meet on this machine, which may know itself by an address that others cannot use.
    return host if address.startswith("127.") or address == "::1" else address
