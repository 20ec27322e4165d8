"""`Source`: the clips that reading a source gives."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from avbench.clips import Clip


@dataclass(frozen=True)
class Source:
    """The clips of a source, in a stable order.

    Attributes:
        kind: "folder", "manifest", "javisbench", "vbench" or "file".
        matching: one sentence that says how prompts were assigned to clips.
        notes: things a user should look at (prompts without a clip, ignored columns, ...).
        address: where a remote source lies, without secrets; `root` then only names it.
    """

    root: Path
    kind: str
    clips: tuple[Clip, ...]
    matching: str
    notes: tuple[str, ...] = ()
    address: str | None = None
