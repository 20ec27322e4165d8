"""Modules that a configuration names: rewards and trackers of the user's own."""

from __future__ import annotations

import importlib
import traceback
from types import ModuleType

from omninft_train.errors import UsageError


def import_named(what: str, module: str) -> ModuleType:
    """Import a module that somebody else wrote.

    Args:
        what: names it, for messages.
        module: with dots.

    Raises:
        UsageError: there is none, or its code fails; the message has the file, the line and the error.
    """
    try:
        return importlib.import_module(module)
    except (Exception, SystemExit) as error:  # whatever its code raises is for its author to mend
        if not _is_name(module) or (isinstance(error, ModuleNotFoundError) and error.name in _parts(module)):
            raise UsageError(
                f"{what}: {error}. Expected module:function, importable from here; for a file in this folder set "
                "PYTHONPATH=."
            ) from error
        place = traceback.extract_tb(error.__traceback__)[-1]
        where = f"{error.filename}, line {error.lineno}" if isinstance(error, SyntaxError) else ""
        told = error.msg if isinstance(error, SyntaxError) else str(error)
        raise UsageError(
            f"{what}: importing {module} fails with {type(error).__name__}: {told} "
            f"({where or f'{place.filename}, line {place.lineno}'})."
        ) from error


def _is_name(module: str) -> bool:
    return all(part.isidentifier() for part in module.split("."))


def _parts(module: str) -> set[str]:
    names = module.split(".")
    return {".".join(names[: count + 1]) for count in range(len(names))}
