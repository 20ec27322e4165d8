"""`Opened`: a remote file that is being read."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

CHUNK = 4 * 2**20
"""Bytes that are asked for at a time, at most."""
REPLACED = "it was replaced after it was listed or while it was read"


@dataclass
class Opened:
    """A remote file that is being read.

    Attributes:
        size: bytes that it has, as stated; None where the server does not say.
        identity: what tells one state of the file from another; empty if unknown.
        chunks: its bytes, from the first to the last.
    """

    size: int | None
    identity: str
    chunks: Iterator[bytes]
