"""Rows of the table of checkpoints: files with sizes and checksums, source, licence."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class CheckpointFile:
    """One file of a checkpoint.

    Attributes:
        name: its name here, and in the result of `avbench.weights.locate.files`.
        size: bytes; 0 when not known.
        sha256: published checksum, or its first digits (16 at least) where no source gives more; None when none does.
        url: address, for files that are not on the hub.
        remote: path in the hub repository; its name when empty.
    """

    name: str
    size: int = 0
    sha256: str | None = None
    url: str = ""
    remote: str = ""

    @property
    def hub_path(self) -> str:
        """Path in the hub repository."""
        return self.remote or self.name


@dataclass(frozen=True)
class Checkpoint:
    """One checkpoint.

    Attributes:
        name: name used here.
        files: what the network needs.
        licence: licence of the weights.
        hubs: hub repository first, then names that it had earlier; empty when every file has a url.
        revision: commit of the hub repository.
        hub_type: "model" or "space".
        folders: folders of known collections that hold the files, relative to the weights folder; "" is itself.
        requires: other checkpoints without which this one is of no use.
        must_accept: the licence forbids some uses, so a person has to accept it once.
        page: where the licence and the model are described.
    """

    name: str
    files: tuple[CheckpointFile, ...]
    licence: str
    page: str
    hubs: tuple[str, ...] = ()
    revision: str | None = None
    hub_type: str = "model"
    folders: tuple[str, ...] = ()
    requires: tuple[str, ...] = ()
    must_accept: bool = False

    @property
    def size(self) -> int:
        """Bytes of all files whose size is known."""
        return sum(file.size for file in self.files)
