"""The list of suites."""

from __future__ import annotations

from avbench.errors import UsageError, near
from avbench.suites.base import Suite
from avbench.suites.javisbench import JAVISBENCH, JAVISBENCH_COMPAT
from avbench.suites.omninft import OMNINFT_PAPER, OMNINFT_REWARDS, OMNINFT_TABLES
from avbench.suites.quick import QUICK
from avbench.suites.speech import SPEECH, TALKING_COMPASS, TALKING_VABENCH, TALKING_VERSE
from avbench.suites.vbench import (
    VBENCH,
    VBENCH_COMPAT,
    VBENCH_CUSTOM,
    VBENCH_CUSTOM_COMPAT,
    VBENCH_QUALITY,
    VBENCH_QUALITY_COMPAT,
)

_SUITES = {
    suite.name: suite
    for suite in (
        QUICK, JAVISBENCH, JAVISBENCH_COMPAT, VBENCH, VBENCH_COMPAT, VBENCH_CUSTOM, VBENCH_CUSTOM_COMPAT,
        VBENCH_QUALITY, VBENCH_QUALITY_COMPAT, OMNINFT_TABLES, OMNINFT_PAPER, OMNINFT_REWARDS, SPEECH, TALKING_COMPASS,
        TALKING_VABENCH, TALKING_VERSE,
    )
}  # fmt: skip


def list_suites() -> list[Suite]:
    """All suites."""
    return list(_SUITES.values())


def get_suite(name: str) -> Suite:
    """The suite of this name.

    Raises:
        UsageError: unknown name, with near matches.
    """
    if name not in _SUITES:
        raise UsageError(f"unknown suite {name!r}. {near(name, _SUITES)} See 'avbench ls'.")
    return _SUITES[name]
