"""The light description of a network; its package is imported only when it is loaded."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from typing import Any

from numpy.typing import NDArray

from avbench.media import View

Network = Callable[[Sequence[NDArray[Any]]], Sequence[NDArray[Any]]]
"""A loaded network: a batch of inputs (one view each) to one embedding each, in order."""


@dataclass(frozen=True)
class Encoder:
    """One backbone with its weights and preprocessing.

    Attributes:
        name, version: identity; raise `version` when preprocessing changes a number.
        view: what it consumes.
        load: builds the network on a device string; the only place that imports its package.
        weights_digest: identity of the checkpoint (a sha256, or package and version).
        packages: importable modules that `load` needs.
        extra: name of the avbench extra that installs them.
        licence: licence of the weights.
    """

    name: str
    version: int
    view: View
    load: Callable[[str], Network]
    weights_digest: Callable[[], str]
    packages: tuple[str, ...] = ()
    extra: str = ""
    licence: str = ""

    def missing(self) -> str | None:
        """Why it cannot be loaded here, with the cure; None when it can."""
        absent = [name for name in self.packages if find_spec(name) is None]
        if not absent:
            return None
        return f"not installed: {', '.join(absent)}; pip install 'avbench[{self.extra}]'"
