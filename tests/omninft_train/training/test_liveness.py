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


def test_strangers_are_nobody(store: dist.Store) -> None:
    with closing(Liveness(0, store)) as first:
        _, port, token = store.get("liveness").decode().split(" ")
        for said in (b"GET / HTTP/1.1\r\nHost: here\r\n\r\n", b"", bytes(20), bytes.fromhex(token)[:8]):
            with socket.create_connection(("127.0.0.1", int(port))) as stranger:
                stranger.sendall(said)
            assert first.gone() is None
        assert not first._peers


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
