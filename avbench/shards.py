"""Shards: the clips of a source dealt to machines that know nothing of each other."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterable, Sequence
from dataclasses import astuple, dataclass

from avbench.clips import Clip
from avbench.errors import UsageError


@dataclass(frozen=True)
class Shard:
    """Shard `index` of `count`, counted from 1 as it is written: 1/4, 2/4, 3/4, 4/4."""

    index: int
    count: int

    def __str__(self) -> str:
        return f"{self.index}/{self.count}"


@dataclass(frozen=True)
class Part:
    """Where the clips of one shard stand in their source.

    Attributes:
        shard: which one.
        positions: of its clips in the source, from 0, rising.
        n_clips: clips of the whole source.
        source_sha256: `source_digest` of the whole source.
        sha256: that of these clips alone.
    """

    shard: Shard
    positions: tuple[int, ...]
    n_clips: int
    source_sha256: str
    sha256: str


def parse_shard(text: str) -> Shard:
    """The shard that a text such as "3/16" names.

    Raises:
        UsageError: it has another form, or is out of range.
    """
    match = re.fullmatch(r"([0-9]{1,9})/([0-9]{1,9})", text.strip())
    if match is None:
        raise UsageError(f"shard {text!r} (--shard): expected INDEX/COUNT such as 3/16")
    shard = Shard(int(match[1]), int(match[2]))
    if not shard.count:
        raise UsageError(f"shard {text} (--shard): the number of shards must be at least 1")
    if not 1 <= shard.index <= shard.count:
        raise UsageError(
            f"shard {text} (--shard): no such shard; expected 1/{shard.count} to {shard.count}/{shard.count}"
        )
    return shard


def deal(clips: Sequence[Clip], shard: Shard) -> Part:
    """The part of a source that a shard holds.

    Clips are put into the order of the digests of their ids and dealt one by one. So shards differ by one clip at most,
    neither the order of the source nor any file is asked, and clips that lie together in a source, which often are of
    one kind and cost the same, are spread.
    """
    dealt = sorted(range(len(clips)), key=lambda i: (hashlib.sha256(_bytes(clips[i].clip_id)).digest(), i))
    positions = tuple(sorted(dealt[shard.index - 1 :: shard.count]))
    own = source_digest(clips[position] for position in positions)
    return Part(shard, positions, len(clips), source_digest(clips), own)


def source_digest(clips: Iterable[Clip]) -> str:
    """Identity of what a source says of its clips: ids, prompts, labels and their order; not where the files are."""
    digest = hashlib.sha256()
    for clip in clips:
        labels = [astuple(category) for category in clip.categories]
        line = (clip.clip_id, clip.model, clip.sample_index, astuple(clip.prompt), labels)
        digest.update(json.dumps(line).encode() + b"\n")
    return digest.hexdigest()


def _bytes(text: str) -> bytes:
    return text.encode("utf-8", "surrogatepass")  # a file name need not be valid Unicode
