"""Rows of earlier invocations, by what they were computed from; where they lie is kept in memory, not what they say."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

from avbench.results import UNAVAILABLE, RunFolder, ScoreRow

RowKey = tuple[str, str, int, str, str]
_BITS = 32
_OF_CLIP = "clip"
Key = TypeVar("Key")


@dataclass(frozen=True)
class EarlierRow:
    """A row that the record holds: its key, its offset, and its reason where it is an error."""

    key: RowKey
    offset: int
    error: str | None


class EarlierRows:
    """Rows of earlier invocations: neither name, order nor machine matters.

    A record can have millions of rows, and most of what they hold repeats itself. So each text is kept once, under a
    number, and a row is one entry of a dictionary from two such numbers to its offset.

    Args:
        rows: with their offsets in the record, in order of writing.
        read: the row at an offset.
    """

    def __init__(self, rows: Iterable[tuple[int, ScoreRow]], read: Callable[[int], ScoreRow]) -> None:
        self._read = read
        self._contents: dict[str, int] = {}
        self._clips: dict[tuple[str | None, str, str], int] = {}
        self._metrics: dict[str, int] = {}
        self._computations: dict[tuple[str, int, str, str], int] = {}
        self._able: dict[tuple[str, int, str], dict[str, None]] = {}
        self._offsets: dict[int, int] = {}
        self._newest: dict[int, int] = {}
        self._errors: dict[int, str] = {}
        for offset, row in rows:
            self._add(offset, row)

    @classmethod
    def of_folder(cls, folder: RunFolder) -> EarlierRows:
        """Those of a run folder; rows are read from it again when they are asked for."""
        return cls(folder.scan(), lambda offset: next(folder.read_at([offset])))

    @classmethod
    def of_rows(cls, rows: Sequence[ScoreRow]) -> EarlierRows:
        """Those of a list, in order of writing."""
        return cls(enumerate(rows), rows.__getitem__)

    def _add(self, offset: int, row: ScoreRow) -> None:
        sha256, metric, version, params, weights = row.key
        number = _number(self._computations, (metric, version, params, weights))
        # Of several rows of one computation, the newest.
        self._offsets[_number(self._contents, sha256) << _BITS | number] = offset
        clip = _number(self._clips, (row.clip_id, row.scope, sha256))
        self._newest[clip << _BITS | _number(self._metrics, metric)] = number
        if weights != UNAVAILABLE:
            self._able.setdefault((metric, version, params), {})[weights] = None
        if row.status == "error":
            self._errors[offset] = row.reason

    def find(self, key: RowKey) -> EarlierRow | None:
        """The row of this computation. Where the metric cannot run here, one made where it could serves as well."""
        if key[4] == UNAVAILABLE:
            made = [self._at((*key[:4], weights)) for weights in self._able.get(key[1:4], ())]
            usable = [row for row in made if row is not None]
            if usable:
                return max(usable, key=lambda row: row.offset)
        return self._at(key)

    def _at(self, key: RowKey) -> EarlierRow | None:
        content, number = self._contents.get(key[0]), self._computations.get(key[1:])
        if content is None or number is None:
            return None
        offset = self._offsets.get(content << _BITS | number)
        return None if offset is None else EarlierRow(key, offset, self._errors.get(offset))

    def read(self, row: EarlierRow) -> ScoreRow:
        """All that a row says."""
        return self._read(row.offset)

    def holds(self, clip_id: str | None, key: RowKey, scope: str = _OF_CLIP) -> bool:
        """Whether the newest row that this clip has of the metric under its own name is of this computation.

        Args:
            clip_id: the clip; None for a set of clips.
            key: of the computation.
            scope: which set of clips.
        """
        clip, metric = self._clips.get((clip_id, scope, key[0])), self._metrics.get(key[1])
        if clip is None or metric is None:
            return False
        return self._newest.get(clip << _BITS | metric) == self._computations.get(key[1:], -1)

    def repeats(self, row: ScoreRow) -> bool:
        """Whether the newest row that its clip or set of clips has of the metric says the same."""
        if not self.holds(row.clip_id, row.key, row.scope):
            return False
        known = self._at(row.key)
        return known is not None and self.read(known).outcome == row.outcome

    def count(self, shas: Mapping[str, str], sets: Mapping[str, str]) -> int:
        """How many rows a table of these clips and sets of clips has: as many as `compact` would leave.

        Args:
            shas: content digest of each clip.
            sets: digest of each set of clips, by scope.
        """
        asked = {self._clips.get((clip_id, _OF_CLIP, sha256)) for clip_id, sha256 in shas.items()}
        asked |= {self._clips.get((None, scope, digest)) for scope, digest in sets.items()}
        return sum(key >> _BITS in asked for key in self._newest)


def _number(numbers: dict[Key, int], key: Key) -> int:
    return numbers.setdefault(key, len(numbers))
