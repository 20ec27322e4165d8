"""The few exceptions that reach a user, each with its exit code.

Exit codes: 0 ok, 1 a regression found by `check` or stale renderings, 2 wrong usage, 3 finished with failed clips
above the limit, 4 environment (packages, weights, device, disk), 5 undecided under `check --strict`, 70 a fault of
avbench itself; 130, 143 and 129 interrupted by SIGINT, SIGTERM and SIGHUP.
"""

from collections.abc import Iterable
from typing import Any

CRASH = 70
INTERRUPTED = 130


_MOST_NAMES = 60


def near(word: str, known: Iterable[str]) -> str:
    """Suggestion for an unknown name: "Did you mean ...?", or all known names where none is similar.

    Of many names none is listed.
    """
    from difflib import get_close_matches

    names = {name.casefold(): name for name in known}
    similar = [names[match] for match in get_close_matches(word.casefold(), names, n=3)]
    if similar:
        return f"Did you mean {', '.join(similar)}?"
    listed = len(names) <= _MOST_NAMES
    return f"Known: {', '.join(names.values()) or 'none'}." if listed else f"None of {len(names)} names is similar."


class AvbenchError(Exception):
    """Base class. The message says what happened, where, and what to do."""

    exit_code = 2


class UsageError(AvbenchError):
    """Wrong option, unknown metric, malformed manifest, forbidden path."""

    exit_code = 2


class SettingError(UsageError):
    """A value of a configuration that does not go with others or with what is there. Whoever read the files adds where.

    Attributes:
        keys: the values' keys, such as "run.best_by", or a path with indices.
    """

    def __init__(self, reason: str, *keys: str | tuple[str | int, ...]) -> None:
        super().__init__(reason)
        self.keys = keys

    def __reduce__(self) -> tuple[Any, ...]:
        return SettingError, (str(self), *self.keys)  # between processes


class MediaError(AvbenchError):
    """A clip that cannot be read. The runner turns it into a row; it never ends a run."""

    exit_code = 3


class NonFiniteError(AvbenchError):
    """A network gave NaN or infinity for a clip. The runner turns it into a row; it never ends a run."""

    exit_code = 3


class TooManyFailedError(AvbenchError):
    """The run finished, and more clips failed than `max_failed` allows."""

    exit_code = 3


class EnvironmentProblem(AvbenchError):  # noqa: N818 - EnvironmentError is a builtin
    """A missing package, missing weights, an unusable device, a full disk, a locked run folder."""

    exit_code = 4
