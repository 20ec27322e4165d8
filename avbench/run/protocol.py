"""Protocols: preprocessing that every clip of a run gets before it is scored."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Protocol:
    """Preprocessing of every clip before it is scored.

    Attributes:
        name: name of the protocol; empty for none.
        seconds: only this much from the start of each track; None for everything.
    """

    name: str = ""
    seconds: float | None = None

    def media_key(self, sha256: str) -> str:
        """Identity of what is embedded: the content of a clip, and what the protocol leaves of it."""
        return f"{sha256}:{self.name}" if self.name else sha256


PROTOCOLS = {protocol.name: protocol for protocol in (Protocol("javisbench-4s", 4.0),)}
