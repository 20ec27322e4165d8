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
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

_LOG = logging.getLogger(__name__)
_KEY = "liveness"
_TOKEN_BYTES, _RANK_BYTES = 16, 4
_GREETING_BYTES = _TOKEN_BYTES + _RANK_BYTES
_WELCOME, _GOODBYE = b"+", b"."
_ADDRESS_SECONDS, _CONNECT_SECONDS = 60.0, 10.0
# Strangers find open ports; those that say nothing are left after so many looks, and no more are heard at a time.
_PATIENCE, _STRANGERS = 100, 256
# A peer that answers nothing any more is gone after 10 + 6 x 5 seconds.
_KEEP_ALIVE = {"TCP_KEEPIDLE": 10, "TCP_KEEPINTVL": 5, "TCP_KEEPCNT": 6}


@dataclass
class _Stranger:
    """A connection that has not told yet whose it is."""

    peer: socket.socket
    said: bytes = b""
    looks: int = 0


class Liveness:
    """The connections of this process: of the first to all others, of the others to the first.

    Args:
        rank: of this process.
        store: that all share; the first process leaves its address there.
    """

    def __init__(self, rank: int, store: Any) -> None:
        self._rank = rank
        self._peers: dict[int, socket.socket] = {}
        self._strangers: list[_Stranger] = []
        self._welcomed = False
        self._server: socket.socket | None = None
        self._token = secrets.token_bytes(_TOKEN_BYTES)
        if rank == 0:
            self._server = _listener()
            store.set(_KEY, f"{_own_address()} {self._server.getsockname()[1]} {self._token.hex()}")
        else:
            self._connect(store)

    def gone(self) -> int | None:
        """A process that ended without saying goodbye, among those connected to this one; looks, and does not wait."""
        if self._server is not None:
            self._welcome(self._server)
        return next((rank for rank in list(self._peers) if self._is_gone(rank)), None)

    def close(self) -> None:
        """Say goodbye: this process ends, and is not to be taken for lost."""
        if self._server is not None:
            self._welcome(self._server)
            self._server.close()
            self._server = None
        for peer in (*self._peers.values(), *(one.peer for one in self._strangers)):
            with suppress(OSError):  # it went first
                peer.sendall(_GOODBYE)
            peer.close()
        self._peers, self._strangers = {}, []

    def _connect(self, store: Any) -> None:
        where = "?"
        try:
            store.wait([_KEY], timedelta(seconds=_ADDRESS_SECONDS))
            host, port, token = store.get(_KEY).decode().split(" ")
            where = f"{host}, port {port}"
            peer = socket.create_connection((host, int(port)), timeout=_CONNECT_SECONDS)
            peer.sendall(bytes.fromhex(token) + self._rank.to_bytes(_RANK_BYTES, "big"))
        except (OSError, RuntimeError) as error:
            self._warn(f"{where} ({str(error).partition(chr(10))[0]})")
            return
        self._keep(0, peer)

    def _warn(self, where: str) -> None:
        _LOG.warning(
            "process %d cannot reach process 0 at %s: if one of the two is killed, the other may wait for hours. "
            "Allow connections between the nodes.", self._rank, where,
        )  # fmt: skip

    def _welcome(self, server: socket.socket) -> None:
        """Take the connections that wait, and tell processes of the run from strangers."""
        with suppress(OSError):  # none waits
            while len(self._strangers) < _STRANGERS:
                peer, _ = server.accept()
                peer.setblocking(False)
                self._strangers.append(_Stranger(peer))
        self._strangers = [one for one in self._strangers if self._is_strange(one)]

    def _is_strange(self, one: _Stranger) -> bool:
        """Whether a connection still is a stranger's; otherwise it is a process's by now, or closed."""
        one.looks += 1
        try:
            part = one.peer.recv(_GREETING_BYTES - len(one.said))
        except BlockingIOError:
            return self._is_patient(one)
        except OSError:
            part = b""
        one.said += part
        if part and len(one.said) < _GREETING_BYTES:
            return self._is_patient(one)
        if one.said[:_TOKEN_BYTES] == self._token and len(one.said) == _GREETING_BYTES:
            with suppress(OSError):  # gone again, as the next look tells
                one.peer.sendall(_WELCOME)
            self._keep(int.from_bytes(one.said[_TOKEN_BYTES:], "big"), one.peer)
        else:
            one.peer.close()
        return False

    def _is_patient(self, one: _Stranger) -> bool:
        if one.looks < _PATIENCE:
            return True
        one.peer.close()
        return False

    def _keep(self, rank: int, peer: socket.socket) -> None:
        peer.setblocking(False)
        peer.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        for name, value in _KEEP_ALIVE.items():
            if hasattr(socket, name):  # other systems than Linux lack some, and wait for two hours
                peer.setsockopt(socket.IPPROTO_TCP, getattr(socket, name), value)
        self._peers[rank] = peer

    def _is_gone(self, rank: int) -> bool:
        try:
            while (said := self._peers[rank].recv(1)) == _WELCOME:
                self._welcomed = True
        except BlockingIOError:
            return False
        except OSError:  # keep-alives went unanswered, or the connection was reset
            said = b""
        if said == _GOODBYE:
            self._peers.pop(rank).close()
            return False
        if self._rank and not self._welcomed:  # nobody was there: something between the two closed it
            self._peers.pop(rank).close()
            self._warn("the address that it gave (the connection was closed)")
            return False
        return True


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
    return host if address == target[0] or address.startswith("127.") else address
