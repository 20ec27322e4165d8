"""The list of suites."""

from __future__ import annotations

from avbench.errors import UsageError, near
from avbench.metrics.base import registry
from avbench.suites.base import Suite
from avbench.suites.javisbench import JAVISBENCH, JAVISBENCH_COMPAT
from avbench.suites.omninft import OMNINFT_REWARDS, OMNINFT_TABLES


def list_suites() -> list[Suite]:
    """All suites.

    `quick` is every metric whose networks, if any, come inside an installable package: nothing to download.
    """
    quick = tuple(
        name
        for name, entry in registry().items()
        if entry.function.__module__.startswith("avbench.") and not any(b.row for b in entry.backbones)
    )
    return [
        Suite("quick", "Everything that needs no checkpoint: sync, sound, picture, integrity, speech.", quick),
        JAVISBENCH,
        JAVISBENCH_COMPAT,
        OMNINFT_TABLES,
        OMNINFT_REWARDS,
    ]


def get_suite(name: str) -> Suite:
    """The suite of this name.

    Raises:
        UsageError: unknown name, with near matches.
    """
    suites = {suite.name: suite for suite in list_suites()}
    if name not in suites:
        raise UsageError(f"unknown suite {name!r}. {near(name, suites)} See 'avbench ls'.")
    return suites[name]
