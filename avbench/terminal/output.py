"""The standard streams: printing never fails, never decides an exit code, and shows text of strangers escaped.

Only the command lines print, and they print by these functions.
"""

from __future__ import annotations

import codecs
import errno
import io
import json
import logging
import os
import select
import sys
from contextlib import suppress
from typing import TYPE_CHECKING, Any, BinaryIO, TextIO, cast

from avbench.terminal.text import visible

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

_REPLACE = "avbench.replace"
# Signs of our own tables, each with one of the same width, so that columns stay in line.
_STAND_INS = str.maketrans("–—−·×↑↓…“”‘’≥≤", "---.x^v~\"\"''><")
_WIDE = 100_000
"""Columns of a table that is piped: as many as it needs."""


def prepare_streams() -> None:
    """Make stdout and stderr of this process forgiving, once, at the start of a command line.

    A stream that is closed, full, broken or of a small character set changes nothing but what can be read there.
    """
    codecs.register_error(_REPLACE, _replace)
    _fill_closed()
    # A stream that other code put there, as tests do, is left alone.
    if sys.stdout is sys.__stdout__:
        sys.stdout = _forgiving(sys.stdout, 1)
    if sys.stderr is sys.__stderr__:
        sys.stderr = _forgiving(sys.stderr, 2)


def lost_output() -> str:
    """Why stdout could not be written; empty where all was, or where the reader had enough (`| head`)."""
    raw = getattr(getattr(sys.stdout, "buffer", None), "raw", None)
    failure = raw.failure if isinstance(raw, _ForgivingFile) else None
    return "" if failure is None or failure.errno == errno.EPIPE else str(failure.strerror or failure)


class _ForgivingFile(io.RawIOBase):
    """A file that takes everything; what it could not write is lost, and the first reason is kept."""

    def __init__(self, raw: BinaryIO) -> None:
        self._raw = raw
        self.failure: OSError | None = None

    def writable(self) -> bool:
        return True

    def fileno(self) -> int:
        return self._raw.fileno()

    def isatty(self) -> bool:
        return self._raw.isatty()

    def write(self, data: Any) -> int:
        size = memoryview(data).nbytes
        while self.failure is None:
            try:
                written = cast("int | None", self._raw.write(data))
                if written is not None:
                    return written
                select.select([], [self._raw], [])  # a pipe that does not block, and is full at the moment
            except OSError as error:
                self.failure = error
        return size


def _forgiving(stream: TextIO | None, descriptor: int) -> TextIO:
    if stream is None:  # closed when Python started
        file = io.BufferedWriter(_ForgivingFile(cast("BinaryIO", io.FileIO(descriptor, "w", closefd=False))))
        return io.TextIOWrapper(file, "utf-8", _REPLACE)
    with suppress(OSError):  # what was printed before is lost
        stream.flush()
    file = io.BufferedWriter(_ForgivingFile(getattr(stream.buffer, "raw", stream.buffer)))
    by_line = bool(getattr(stream, "line_buffering", False))
    through = bool(getattr(stream, "write_through", False))
    return io.TextIOWrapper(file, stream.encoding, _REPLACE, line_buffering=by_line, write_through=through)


def _fill_closed() -> None:
    """Open descriptors 0 to 2 where they are closed."""
    # Else the next file to be opened would be one of them, and what a library prints would land in it.
    for descriptor in (0, 1, 2):
        try:
            os.fstat(descriptor)
        except OSError:
            null = os.open(os.devnull, os.O_RDWR)
            if null != descriptor:
                os.dup2(null, descriptor)
                os.close(null)
            os.set_inheritable(descriptor, True)  # workers too


def _replace(error: UnicodeError) -> tuple[str, int]:
    if not isinstance(error, UnicodeEncodeError):
        raise error
    lost = error.object[error.start : error.end]
    shown = "".join(char.translate(_STAND_INS) for char in lost)
    return shown.encode("ascii", "backslashreplace").decode("ascii"), error.end


def say(line: str, *, err: bool = False) -> None:
    """Print one line; control characters, line breaks too, are shown escaped. A tab between columns stays."""
    stream = sys.stderr if err else sys.stdout
    stream.write(visible(line, keep="\t") + "\n")
    stream.flush()


def print_json(content: Any) -> None:
    """Print JSON in ASCII: valid whatever the encoding of stdout, and without effect on a terminal."""
    sys.stdout.write(json.dumps(content, indent=2).replace("\x7f", "\\u007f") + "\n")
    sys.stdout.flush()


def print_data(text: str) -> None:
    """Print the text of a data file: escaped on a terminal; else in UTF-8, byte for byte what a file would hold."""
    if sys.stdout.isatty():
        sys.stdout.write(visible(text, keep="\n\t"))
    else:
        sys.stdout.flush()
        sys.stdout.buffer.write(text.encode("utf-8", "backslashreplace"))
    sys.stdout.flush()


def console(*, err: bool = False) -> Console:
    """A console of rich on one of the streams. It wraps on a terminal only."""
    from rich.console import Console

    # By name: else rich takes any stream for one of UTF-8.
    result = Console(file=sys.stderr if err else sys.stdout, highlight=False)
    if not result.is_terminal:  # COLUMNS says nothing then: a shell of Python's exports it to its children
        result.width = _WIDE
    return result


def cell(text: str) -> Text:
    """Text for a table of rich: no markup, nothing that reaches the terminal but signs and line breaks."""
    from rich.text import Text

    return Text(visible(text, keep="\n"))


def show(table: Table) -> None:
    """Print a table of rich; title and caption as lines of their own, which need not be as narrow as the table."""
    into = console()
    title, caption = table.title, table.caption
    table.title = table.caption = None
    for part in (title, table, caption):
        if part:
            into.print(part, markup=False, emoji=False)


class LogFormatter(logging.Formatter):
    """Log records with control characters escaped; the lines of a traceback stay lines."""

    def format(self, record: logging.LogRecord) -> str:
        """The record as text."""
        return visible(super().format(record), keep="\n\t")
