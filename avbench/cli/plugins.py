"""Commands of other packages: entry points of group `avbench.commands`, each imported when it is asked for.

An entry point names a function, which becomes a command, or a `typer.Typer`, which becomes a group of commands.
"""

from __future__ import annotations

import logging
from functools import cache
from importlib.metadata import EntryPoint, entry_points
from types import FunctionType
from typing import Any

import typer
from typer.core import TyperGroup

from avbench.errors import EnvironmentProblem

GROUP = "avbench.commands"
_log = logging.getLogger(__name__)


class CommandGroup(TyperGroup):
    """Commands of avbench, and those of other packages behind them; of one name, avbench's own is taken."""

    # Contexts and commands are `Any`: their classes have another place in each release of typer.

    def list_commands(self, ctx: Any) -> list[str]:
        """Names for the help."""
        for name in _installed():
            self._load(name)
        return list(self.commands)

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        """The command of this name, or None; imports the package of that name only."""
        if cmd_name in self.commands:
            return self.commands[cmd_name]
        if cmd_name in _installed():
            self._load(cmd_name)
        else:
            self.list_commands(ctx)  # typer suggests near names among those that are loaded
        return self.commands.get(cmd_name)

    def _load(self, name: str) -> None:
        if name not in self.commands:
            self.commands[name] = _command(_installed()[name])


@cache
def _installed() -> dict[str, EntryPoint]:
    """Entry points by the name of their command."""
    return {entry.name: entry for entry in entry_points(group=GROUP)}


def _command(entry: EntryPoint) -> Any:
    """The command behind an entry point, or one that says why there is none: others must go on working."""
    holder = typer.Typer(add_completion=False, pretty_exceptions_enable=False, rich_markup_mode=None)
    holder.callback()(lambda: None)
    try:
        loaded = entry.load()
        if isinstance(loaded, typer.Typer):
            holder.add_typer(loaded, name=entry.name)
        elif isinstance(loaded, FunctionType):
            holder.command(entry.name)(loaded)
        else:
            raise TypeError(f"{entry.value} is neither a function nor a typer.Typer")
        group: Any = typer.main.get_command(holder)
    except Exception as error:  # noqa: BLE001 - code of a stranger, whatever it raises
        _log.debug("entry point %s", entry.name, exc_info=True)
        return _refusal(entry, error)
    return group.commands[entry.name]


def _refusal(entry: EntryPoint, error: Exception) -> Any:
    """A command that takes any arguments and says what is wrong with the package behind it."""
    package = entry.dist.name if entry.dist is not None else entry.module
    reason = f"it cannot be loaded from {package} ({type(error).__name__}: {error})"
    app = typer.Typer(add_completion=False, rich_markup_mode=None)
    anything = {"allow_extra_args": True, "ignore_unknown_options": True}

    @app.command(entry.name, help=f"Not available: {reason}.", context_settings=anything)
    def refuse() -> None:
        raise EnvironmentProblem(f"no command {entry.name!r}: {reason}. Reinstall {package}, or remove it.")

    return typer.main.get_command(app)
