"""Numbers: in the columns of a list, and in the names of files."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

from avbench.clips import Clip
from avbench.sources.columns import KEYS, find_columns, normalize_name
from avbench.sources.rows import Row, Table, cell_parts, is_missing
from avbench.sources.spelling import bare, with_ascii_digits, words
from avbench.sources.suffixes import without_suffix

# Columns that number the rows of a list, besides those that name clips.
NUMBERS = (
    *("index", "idx", "number", "no", "nr", "num", "#", "row", "row_id", "row_index", "row_number", "serial"),
    *("clip_index", "clip_idx", "clip_number", "clip_no", "video_index", "video_idx", "video_number", "video_no"),
    *("prompt_index", "prompt_idx", "prompt_number", "prompt_num", "prompt_no", "item_id", "sample_id"),
    # The index of a pandas table, as to_csv and to_parquet write it.
    *("unnamed:_0", "index_level_0"),
)
# Before the last of several numbers these say "which try", and before any other one "which prompt".
SAMPLE_WORDS = frozenset({"sample", "seed", "take", "try", "rep", "run", "gen"})
_INDEX_WORDS = frozenset(
    {"prompt", "p", "id", "idx", "index", "video", "vid", "clip", "item", "scene", "row", "case", "text", "caption"}
    | {"no", "nr", "number", "line", "sample"}
)

# Fewer may be in a row by chance; and so many must rise where there are gaps, as of a list that was filtered.
_FEWEST_NUMBERED = 2
_FEWEST_RISING = 3
# pandas writes an integer column with gaps as floats: "2.0".
_NUMBER = re.compile(r"\s*\+?([0-9]{1,18})(?:\.0*)?\s*")
# "2/40", "No. 2 of 40": the number of a row and that of all rows.
_OF_ALL = re.compile(r"([^0-9/]*)([0-9]{1,9}) ?(?:/|of) ?([0-9]{1,9})")
# Neither part of a decimal number ("wan2.1"), nor a size ("512x512"), nor with a unit ("24fps").
_IN_NAME = re.compile(r"(?<![0-9])(?<![0-9]\.)(?<![0-9]x)[0-9]{1,18}(?![0-9]|\.[0-9]|[^\W0-9_])")
_DATE = re.compile(
    r"(?<![0-9])(?:(?:19|20)[0-9]{2}([-_.]?)[01][0-9]\1[0-3][0-9]|[0-3][0-9]([-_.])[01][0-9]\2(?:19|20)[0-9]{2})"
    r"(?:[T_ -](?:[0-2][0-9]([-:.])[0-5][0-9](?:\3[0-5][0-9])?|[0-2][0-9](?:[0-5][0-9]){2}))?(?![0-9])"
)


@dataclass(frozen=True)
class Numbering:
    """The numbers of a column.

    Attributes:
        numbers: one for each row; None where the cell is empty or has none.
        prefix: the words before every number, or "." for names that begin with one; empty for plain numbers, None where
            rows differ in them.
        is_complete: whether every cell that is not empty has a number.
    """

    numbers: tuple[int | None, ...]
    prefix: tuple[str, ...] | None
    is_complete: bool

    def rows(self) -> dict[int, list[int]]:
        """Positions of the rows by number."""
        rows: dict[int, list[int]] = {}
        for position, number in enumerate(self.numbers):
            if number is not None:
                rows.setdefault(number, []).append(position)
        return rows

    @property
    def is_distinct(self) -> bool:
        """Whether no number is there twice."""
        known = [number for number in self.numbers if number is not None]
        return len(set(known)) == len(known)

    @property
    def is_run(self) -> bool:
        """Whether the numbers are n, n + 1, n + 2, ... in any order."""
        known = [number for number in self.numbers if number is not None]
        return self.is_distinct and bool(known) and max(known) - min(known) == len(known) - 1

    @property
    def counts(self) -> bool:
        """Whether the numbers are n, n + 1, n + 2, ... in any order, or rise with few gaps."""
        known = [number for number in self.numbers if number is not None]
        if self.is_run:
            return True
        rises = all(one < other for one, other in pairwise(known))
        return rises and len(known) >= _FEWEST_RISING and known[-1] - known[0] < 2 * len(self.numbers)


def number_columns(table: Table) -> tuple[str, ...]:
    """Columns that number the rows by their name, the likeliest first."""
    ranks = {name: rank for rank, name in enumerate(NUMBERS)}
    ranked = [(ranks[name], column) for column in table.columns if (name := normalize_name(column)) in ranks]
    return tuple(column for _, column in sorted(ranked))


def numbered_columns(table: Table) -> tuple[str, ...]:
    """Columns of other names whose cells hold a number each, no two the same; up to half may hold none."""
    columns = find_columns(table)
    known = {columns.text, columns.video_text, columns.audio_text, columns.model, *columns.categories}
    others = [c for c in table.columns if c not in known and normalize_name(c) not in (*KEYS, *NUMBERS)]
    rows = [number_cells(row, others) for row in table.rows]
    names = dict.fromkeys(name for cells in rows for name in cells)
    return tuple(name for name in names if _is_numbered([cells.get(name) for cells in rows]))


def number_cells(row: Row, columns: Sequence[str]) -> dict[str, str]:
    """Texts and numbers by column; those of a list or an object by "meta.0" and "meta.index"."""
    parts = [part for column in columns for part in cell_parts(column, row.cells.get(column))]
    return {name: cell for name, value in parts if (cell := plain_cell(value)) is not None}


def _is_numbered(cells: Sequence[str | None]) -> bool:
    numbering = read_numbers(cells)
    count = sum(number is not None for number in numbering.numbers)
    enough = count >= _FEWEST_NUMBERED and 2 * count >= len(numbering.numbers)
    return enough and numbering.prefix is not None and numbering.is_distinct


def plain_cell(value: object) -> str | None:
    """A cell as text where it holds a text or a number; None where it is missing or holds something else."""
    text = str(value) if isinstance(value, (str, int, float)) and not isinstance(value, bool) else ""
    return None if is_missing(text) else text


def read_numbers(cells: Sequence[str | None]) -> Numbering:
    """The number of each cell: "3", "0003", "3.0", or that of a name ("clip_3", "out/clip_3.mp4", "3_dog")."""
    numbers: list[int | None] = []
    prefixes, is_complete = set(), True
    cells = _without_totals([cell and bare(with_ascii_digits(cell)) for cell in cells])
    for cell in cells:
        if not cell:
            numbers.append(None)
            continue
        parsed = _cell_number(cell)
        if parsed is not None:
            prefixes.add(parsed[0])
        is_complete = is_complete and parsed is not None
        numbers.append(parsed[1] if parsed else None)
    prefix = next(iter(prefixes)) if len(prefixes) == 1 else None
    return Numbering(tuple(numbers), prefix, is_complete and bool(prefixes))


def _without_totals(cells: Sequence[str | None]) -> Sequence[str | None]:
    """The cells, without "/40" or "of 40" where all have it."""
    matches = [_OF_ALL.fullmatch(cell) for cell in cells if cell]
    parts = [(int(match[2]), int(match[3])) for match in matches if match]
    if len(parts) < len(matches) or len({total for _, total in parts}) != 1:
        return cells
    if len({number for number, _ in parts}) < len(parts) or any(number > total for number, total in parts):
        return cells
    return [_OF_ALL.sub(r"\1\2", cell) if cell else None for cell in cells]


def is_number(cell: str) -> bool:
    """Whether a cell is a number that may count: "3", "0003", "3.0"."""
    return _NUMBER.fullmatch(cell) is not None


def is_plain(numbering: Numbering) -> bool:
    """Whether a column holds plain numbers, and nothing else."""
    return numbering.is_complete and numbering.prefix == ()


def _cell_number(cell: str) -> tuple[tuple[str, ...], int] | None:
    if match := _NUMBER.fullmatch(cell):
        return (), int(match[1])
    name = without_suffix(cell.rsplit("/", 1)[-1])
    parsed = numbered_name(name)
    if not parsed.numbers or name.startswith("-") or (len(parsed.numbers) > 1 and parsed.behind):
        return None
    return words(parsed.before) or (".",), parsed.numbers[-1].value


@dataclass(frozen=True)
class NameNumber:
    """A number in a file name; `label` is the word before it, `glued` whether nothing lies between the two."""

    value: int
    label: str
    glued: bool
    followed_by_word: bool


@dataclass(frozen=True)
class NumberedName:
    """The numbers of a file name in order, without those of a date, and what stands before and behind the last."""

    numbers: tuple[NameNumber, ...]
    before: str
    behind: str

    @property
    def is_sample(self) -> bool:
        """Whether the last of several numbers is labelled as a sample ("clip_3_seed_1")."""
        return len(self.numbers) > 1 and self.numbers[-1].label in SAMPLE_WORDS

    def value(self, position: int) -> int | None:
        """The number at a position, also from the end (-1); None where the name has fewer."""
        size = len(self.numbers)
        return self.numbers[position].value if -size <= position < size else None


def numbered_name(stem: str) -> NumberedName:
    """The numbers in a file name without its suffix."""
    text = _DATE.sub("", with_ascii_digits(stem))
    matches = list(_IN_NAME.finditer(text))
    if not matches:
        return NumberedName((), text, "")
    ends = [*(match.start() for match in matches[1:]), len(text)]
    numbers = []
    for match, end in zip(matches, ends, strict=True):
        before = text[: match.start()]
        label = next((word for word in words(before)[-1:] if word.isalpha()), "")
        between = any(word.isalpha() for word in words(text[match.end() : end]))
        numbers.append(NameNumber(int(match[0]), label, before[-1:].isalpha(), between))
    return NumberedName(tuple(numbers), text[: matches[-1].start()], text[matches[-1].end() :])


def is_version(numbers: Sequence[NameNumber]) -> bool:
    """Whether a number that stands at one position of several names belongs to the name of a model, or is a seed.

    Such numbers are no prompts: "ltx2_0001", "veo 3 clip 1", "seed17_0001". "prompt3_1" and "3_1" may be.
    """
    if all(number.label in SAMPLE_WORDS - _INDEX_WORDS for number in numbers):
        return True
    same = len({number.value for number in numbers}) == 1
    named = all(number.label and number.label not in _INDEX_WORDS for number in numbers)
    return same and named and all(number.glued or number.followed_by_word for number in numbers)


def stem_of(clip: Clip) -> str:
    """The name whose numbers count: the file's, unless a manifest gives the clip a plain number as its id."""
    return clip.clip_id if _NUMBER.fullmatch(clip.clip_id) else clip.video.stem
