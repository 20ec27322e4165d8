"""Errors of damaged run folders, and opening their entries only where they are regular files."""

from __future__ import annotations

from io import BufferedReader
from pathlib import Path

from avbench.errors import UsageError
from avbench.files import open_regular
from avbench.terminal.text import visible

RECORDS = ("scores.jsonl", "clips.jsonl")
TABLES = ("scores.parquet", "clips.parquet", "categories.parquet")
FILES = ("run.json", *RECORDS, *TABLES, "summary.json", "shard.json", "report.html", ".lock")
MISSING = "it is missing"
_QUOTED = 300


class DamagedRunError(UsageError):
    """A file of a run folder that is not what avbench writes.

    Attributes:
        name: the file, as it is called inside the folder.
        reason: what is wrong with it, on one line.
        missing: whether it is not there at all.
    """

    def __init__(self, folder: Path, name: str, reason: str) -> None:
        self.name = name
        self.reason = shown(reason)
        self.missing = reason == MISSING
        super().__init__(
            f"{visible(str(folder))} is a damaged run folder: {name}: {self.reason}. {_cure(folder, name)}"
        )


def shown(text: str) -> str:
    """A text of strangers on one line of bounded length, without a full stop."""
    line = visible(" ".join(text.split()))
    return (line if len(line) <= _QUOTED else line[: _QUOTED - 1] + "…").rstrip(". ")


def open_entry(folder: Path, name: str, *, most: int) -> BufferedReader:
    """Open a file of a run folder. A link is refused: it could name any file of this machine.

    Raises:
        DamagedRunError: it is missing, too large, may not be read, or is no regular file.
    """
    try:
        return open_regular(folder / name, most=most)
    except (OSError, ValueError) as error:
        raise DamagedRunError(folder, name, why(error)) from error


def why(error: BaseException) -> str:
    """An exception as a reason, without the path."""
    if isinstance(error, FileNotFoundError):
        return MISSING
    if isinstance(error, MemoryError):
        return "it needs more memory than there is"
    if isinstance(error, OSError) and error.strerror:
        return f"it cannot be read ({error.strerror})"
    return str(error) or type(error).__name__


def refuse_foreign_entries(folder: Path) -> None:
    """Refuse to write into a folder where links, folders or pipes lie in place of files of a run.

    Raises:
        DamagedRunError: names the entry. To append to a link would change a file elsewhere.
    """
    for name in FILES:
        path = folder / name
        if path.is_symlink() or (path.exists() and not path.is_file()):
            kind = "a link" if path.is_symlink() else "a folder" if path.is_dir() else "a pipe, device or socket"
            raise DamagedRunError(folder, name, f"it is {kind}, expected a file")
    if (folder / "features").is_symlink():
        raise DamagedRunError(folder, "features", "it is a link, expected a folder")


def _cure(folder: Path, name: str) -> str:
    try:
        recorded = (folder / "scores.jsonl").lstat().st_size > 0
    except (OSError, ValueError):
        recorded = False
    if name in RECORDS:
        return "Move that file away and run the 'avbench score' command again: it keeps what the tables hold."
    if not recorded:
        return "Score the clips again into a new folder."
    return "The 'avbench score' command of this run makes it again from scores.jsonl; try 'avbench report' as well."
