"""A process that ends without a word is noticed, one that says goodbye is not, and strangers are nobody."""

from __future__ import annotations

import logging
import socket
import time
from collections.abc import Iterator
from contextlib import ExitStack, closing

import pytest
import torch.distributed as dist

from omninft_train.training import liveness
from omninft_train.training.liveness import Liveness


@pytest.fixture
def store(monkeypatch: pytest.MonkeyPatch) -> dist.Store:
    monkeypatch.setenv("MASTER_ADDR", "127.0.0.1")
    monkeypatch.setenv("MASTER_PORT", "1")
    return dist.HashStore()


@pytest.fixture
def three(store: dist.Store) -> Iterator[list[Liveness]]:
    with ExitStack() as stack:
        yield [stack.enter_context(closing(Liveness(rank, store))) for rank in range(3)]


def gone(one: Liveness, wanted: int | None) -> bool:
    """Whether a process is taken for gone, within five seconds."""
    end = time.monotonic() + 5
    while (found := one.gone()) != wanted and time.monotonic() < end:
        time.sleep(0.02)
    return found == wanted


def kill(one: Liveness) -> None:
    """What the kernel does with the sockets of a process that is killed."""
    for peer in (*one._peers.values(), *([one._server] if one._server else [])):
        peer.close()
    one._peers, one._server = {}, None


def test_who_is_there_is_not_gone(three: list[Liveness]) -> None:
    for _ in range(3):
        assert [one.gone() for one in three] == [None] * 3
        time.sleep(0.05)


def test_the_first_notices_one_that_is_killed(three: list[Liveness]) -> None:
    assert three[0].gone() is None
    kill(three[2])
    assert gone(three[0], 2)
    assert three[1].gone() is None  # hears of it by the store


def test_it_is_noticed_even_before_it_was_welcomed(three: list[Liveness]) -> None:
    kill(three[1])
    assert gone(three[0], 1)


def test_all_notice_that_the_first_is_killed(three: list[Liveness]) -> None:
    assert three[0].gone() is None
    kill(three[0])
    assert gone(three[1], 0) and gone(three[2], 0)


def test_whoever_says_goodbye_is_not_missed(three: list[Liveness]) -> None:
    assert three[0].gone() is None
    three[1].close()
    three[0].close()
    for _ in range(5):
        assert three[2].gone() is None and three[0].gone() is None
        time.sleep(0.05)


def test_strangers_are_nobody(store: dist.Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """And do not keep the first process from looking after its own."""
    monkeypatch.setattr(liveness, "_PATIENCE", 3)
    with ExitStack() as stack:
        first = stack.enter_context(closing(Liveness(0, store)))
        _, port, token = store.get("liveness").decode().split(" ")
        words = (b"GET / HTTP/1.1\r\nHost: here\r\n\r\n", b"", bytes(20), bytes.fromhex(token)[:8])
        strangers = [stack.enter_context(socket.create_connection(("127.0.0.1", int(port)))) for _ in words]
        for stranger, said in zip(strangers, words, strict=True):
            stranger.sendall(said)
        other = stack.enter_context(closing(Liveness(5, store)))
        assert first.gone() is None and list(first._peers) == [5]
        for _ in range(3):
            assert first.gone() is None and other.gone() is None
        assert not first._strangers
        kill(other)
        assert gone(first, 5)


def test_a_greeting_may_come_in_parts(store: dist.Store) -> None:
    with closing(Liveness(0, store)) as first:
        _, port, token = store.get("liveness").decode().split(" ")
        with socket.create_connection(("127.0.0.1", int(port))) as slow:
            greeting = bytes.fromhex(token) + (4).to_bytes(4, "big")
            for part in (greeting[:7], greeting[7:18], greeting[18:]):
                assert first.gone() is None and not first._peers
                slow.sendall(part)
                time.sleep(0.05)
            assert first.gone() is None and list(first._peers) == [4]


def test_a_connection_that_was_never_welcomed_ends_nothing(store: dist.Store, caplog: pytest.LogCaptureFixture) -> None:
    """Something between the nodes took it, and closed it."""
    with socket.create_server(("127.0.0.1", 0)) as gateway:
        store.set("liveness", f"127.0.0.1 {gateway.getsockname()[1]} {bytes(16).hex()}")
        with closing(Liveness(2, store)) as one:
            gateway.accept()[0].close()
            for _ in range(250):
                assert one.gone() is None
                if not one._peers:
                    break
                time.sleep(0.02)
            assert not one._peers
    assert "process 2 cannot reach process 0" in caplog.text


def test_a_node_that_answers_nothing_is_lost_within_a_minute(three: list[Liveness]) -> None:
    """By the kernel's keep-alives."""
    assert three[0].gone() is None
    for peer in (*three[0]._peers.values(), *three[1]._peers.values()):
        assert peer.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE)
        idle, between, count = (peer.getsockopt(socket.IPPROTO_TCP, getattr(socket, n)) for n in liveness._KEEP_ALIVE)
        assert idle + between * count <= 45


def test_where_connections_are_not_allowed_it_is_said(
    store: dist.Store, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))
        store.set("liveness", f"127.0.0.1 {nobody.getsockname()[1]} {bytes(16).hex()}")
        with caplog.at_level(logging.WARNING), closing(Liveness(3, store)) as one:
            assert one.gone() is None
    assert "process 3 cannot reach process 0 at 127.0.0.1, port" in caplog.text
    assert "Allow connections between the nodes." in caplog.text


@pytest.mark.parametrize("master", ["127.0.0.1", "localhost", "no-such-host.invalid"])
def test_where_all_meet_here_the_address_is_that_of_the_meeting(monkeypatch: pytest.MonkeyPatch, master: str) -> None:
    monkeypatch.setenv("MASTER_ADDR", master)
    monkeypatch.setenv("MASTER_PORT", "29500")
    assert liveness._own_address() == master
