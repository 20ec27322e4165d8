"""`Source`: the clips that reading a source gives."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

from avbench.clips import Clip
from avbench.shards import Part, Shard, deal


@dataclass(frozen=True)
class Source:
    """The clips of a source, in a stable order.

    Attributes:
        kind: "folder", "manifest", "javisbench", "vbench" or "file".
        matching: one sentence that says how prompts were assigned to clips.
        notes: things a user should look at (prompts without a clip, ignored columns, ...).
        part: which clips of a larger source these are; None where they are all.
        address: where a remote source lies, without secrets; `root` then only names it.
    """

    root: Path
    kind: str
    clips: tuple[Clip, ...]
    matching: str
    notes: tuple[str, ...] = ()
    address: str | None = None
    part: Part | None = None

    def take(self, shard: Shard) -> Source:
        """The clips of one shard, in the order of the source; none where there are more shards than clips."""
        part = deal(self.clips, shard)
        clips = tuple(self.clips[position] for position in part.positions)
        note = f"shard {shard}: {len(clips)} of {part.n_clips} clips; 'avbench merge' joins the shards"
        return replace(self, clips=clips, notes=(*self.notes, note), part=part)
