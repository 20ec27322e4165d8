"""Connections to hosts that the internet at large can reach; others only where the user named them.

What is checked is the address that the connection is made to, after the name was resolved, and for each redirect anew:
a name that resolves to something else a moment later changes nothing.
"""

from __future__ import annotations

import ipaddress
import socket
from collections.abc import Collection
from ipaddress import IPv4Address, IPv6Address
from urllib.parse import urlsplit

from avbench.errors import MediaError

_NAT64 = ipaddress.ip_network("64:ff9b::/96")
_GLOBAL_IPV6 = ipaddress.ip_network("2000::/3")
# Ranges that Python takes for global in some versions: documentation, IPv4 inside local protocols, old relays.
_NOT_GLOBAL = [ipaddress.ip_network(text) for text in ("3fff::/20", "192.0.0.0/24", "192.88.99.0/24")]


class RefusedHostError(MediaError):
    """A host on a private, loopback or link-local range that nobody named."""


def host_and_port(url: str) -> tuple[str, int]:
    """Host, in lower case, and port of a web address.

    Raises:
        RefusedHostError: it has none.
    """
    try:
        parts = urlsplit(url.strip())
        host, port = parts.hostname, parts.port
    except ValueError:
        host = port = None
    if not host:
        raise RefusedHostError("the address names no host")
    return host.rstrip("."), port or (443 if parts.scheme.lower() == "https" else 80)


def is_named(host: str, port: int, named: Collection[str]) -> bool:
    """Whether the user named this host, with or without its port."""
    return host in named or f"{host}:{port}" in named


def is_public(address: str) -> bool:
    """Whether an IP address is one of the internet at large; IPv4 inside IPv6 counts as what it holds.

    Source: the registries of special addresses of IANA. Of IPv6, only 2000::/3 is given out to the internet.
    """
    ip = ipaddress.ip_address(address.partition("%")[0])
    inner = _inner(ip) if isinstance(ip, IPv6Address) else None
    if inner is not None:
        return is_public(str(inner))
    if ip.version == 6 and ip not in _GLOBAL_IPV6:
        return False
    return ip.is_global and not ip.is_multicast and not any(ip in network for network in _NOT_GLOBAL)


def _inner(ip: IPv6Address) -> IPv4Address | None:
    if ip in _NAT64:
        return IPv4Address(int(ip) & 0xFFFFFFFF)
    if ip.teredo is not None:
        return ip.teredo[1]
    return ip.ipv4_mapped or ip.sixtofour


def refuse_literal(url: str, named: Collection[str]) -> None:
    """Refuse an address whose host can be told without asking anyone: an IP address, or localhost.

    Raises:
        RefusedHostError: it is private and not named.
    """
    host, port = host_and_port(url)
    if is_named(host, port, named):
        return
    try:
        private = not is_public(host)
    except ValueError:
        private = host == "localhost" or host.endswith(".localhost")
    if private:
        raise _refused(host)


def connect(host: str, port: int, named: Collection[str], timeout: float) -> socket.socket:
    """A connection to a host; of its addresses the first that answers.

    Raises:
        RefusedHostError: one of its addresses is private, and the host is not named.
        OSError: no connection.
    """
    addresses = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    if not is_named(host, port, named) and not all(is_public(str(entry[4][0])) for entry in addresses):
        raise _refused(host)
    problem: OSError = OSError(f"{host} has no address")
    for family, kind, protocol, _, address in addresses:
        connection = socket.socket(family, kind, protocol)
        try:
            connection.settimeout(timeout)
            connection.connect(address)
            return connection
        except OSError as error:
            connection.close()
            problem = error
    raise problem


def _refused(host: str) -> RefusedHostError:
    return RefusedHostError(
        f"{host} is on a private, loopback or link-local range, and nothing is fetched from there unless the host is "
        f"named (--allow-host {host})"
    )
