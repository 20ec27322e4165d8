"""Score, Scorer and the registry: all that a new metric has to know."""

from __future__ import annotations

import hashlib
import importlib
import inspect
import json
import logging
import math
import multiprocessing
import pkgutil
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from functools import cache
from importlib.metadata import entry_points
from importlib.util import find_spec
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from avbench.clips import Prompt, TextRole
from avbench.direction import Direction
from avbench.encoders import Backbone, Encoder, EncoderStore, WeightsConfig
from avbench.errors import UsageError, near
from avbench.media import Media, View

log = logging.getLogger(__name__)

Status = Literal["ok", "skipped", "error"]
Need = Literal["video", "audio", "prompt"]


@dataclass(frozen=True)
class Score:
    """The judgement of one clip: a number, or a reason why there is none. Never both.

    `detail` is a small JSON-able mapping for reports (events, curves, counts).
    """

    value: float | None
    status: Status
    reason: str = ""
    detail: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        finite = self.value is not None and math.isfinite(self.value)
        if (self.status == "ok") != finite:
            raise ValueError(f"a score with status {self.status!r} cannot hold the value {self.value!r}")
        if self.status != "ok" and not self.reason:
            raise ValueError(f"a score with status {self.status!r} needs a reason")

    @classmethod
    def ok(cls, value: float, **detail: Any) -> Score:
        """A finite number."""
        return cls(float(value), "ok", detail=detail)

    @classmethod
    def skipped(cls, reason: str, **detail: Any) -> Score:
        """The metric does not apply to this clip, and `reason` says why."""
        return cls(None, "skipped", reason, detail)

    @classmethod
    def error(cls, reason: str) -> Score:
        """The metric should apply and failed."""
        return cls(None, "error", reason)


def no_prompt(role: TextRole | None) -> str:
    """Why a clip is skipped whose prompt lacks what metrics of this role read."""
    if role in (None, "text", "video", "audio"):
        return "no prompt; give one in a manifest or a prompt list (--prompts)"
    if role == "speech":
        return "no spoken text in the prompt; manifest column prompt_speech"
    what = {"objects": "object", "color": "colour"}.get(role, role)
    return f"the prompt names no {what}; manifest column prompt_{role}"


SetFunction = Callable[[NDArray[np.float32], NDArray[np.float32]], Score]
Level = Literal["clip", "set", "derived"]

ARGUMENTS = ("media", "prompt", "store")
_SUBSETS = (("media",), ("media", "prompt"), ("media", "store"))


@dataclass(frozen=True)
class Scorer:
    """A registered metric: its function and what is declared about it, which help, docs and reports read.

    Attributes:
        function: of a clip, see `arguments`; for a set metric of two sets of features (N, D) and (M, D): generated,
            reference; for a derived metric see `avbench.metrics.derived`.
        name: column name, stable, short, snake_case.
        summary: one line of what is measured.
        unit: "s", "LUFS", "1" for a plain number ...
        direction: which way is better.
        range: closed bounds of possible values.
        source: paper section, standard or reference project.
        needs: tracks and texts without which the clip is skipped.
        prompt_role: which text is used, see `Prompt.for_role`; the digest covers it.
        views: what the function asks of `Media.view`.
        encoders: networks it asks of the store; their views are declared by them.
        version: raise it whenever a number can change.
        params: constants that define the number; they enter the digest.
        family: section in tables.
        arguments: which of media, prompt and store the function takes.
        level: "clip"; "set" for a distance between all clips and a reference set, with one encoder; "derived" for what
            follows from the scores of all clips.
        inputs: metrics that a derived one is computed from.
        packages: importable modules that the function itself needs.
        caveat: what the number cannot say.
    """

    function: Callable[..., Score]
    name: str
    summary: str
    unit: str
    direction: Direction
    range: tuple[float, float]
    source: str
    needs: frozenset[Need]
    family: str
    views: tuple[View, ...] = ()
    encoders: tuple[Encoder, ...] = ()
    version: int = 1
    params: tuple[tuple[str, Any], ...] = ()
    prompt_role: TextRole | None = None
    arguments: tuple[str, ...] = ARGUMENTS
    level: Level = "clip"
    inputs: tuple[str, ...] = ()
    packages: tuple[str, ...] = ()
    caveat: str = ""

    def __call__(self, media: Media, prompt: Prompt, store: EncoderStore) -> Score:
        given = {"media": media, "prompt": prompt, "store": store}
        return self.function(*(given[name] for name in self.arguments))

    @property
    def higher_is_better(self) -> bool | None:
        """The direction as metrics declare it and run.json holds it."""
        return self.direction.higher_is_better

    @property
    def all_views(self) -> tuple[View, ...]:
        """Own views and those of its encoders."""
        return self.views + tuple(view for encoder in self.encoders for view in encoder.views)

    @property
    def backbones(self) -> tuple[Backbone, ...]:
        """The networks used, each once."""
        return tuple(dict.fromkeys(encoder.backbone for encoder in self.encoders))

    @property
    def deferred(self) -> bool:
        """Whether it waits for a large network."""
        return any(backbone.deferred for backbone in self.backbones)

    @property
    def licence(self) -> str:
        """Licence of the weights, empty without weights."""
        return ", ".join(sorted({backbone.licence for backbone in self.backbones}))

    @property
    def checkpoint(self) -> str:
        """Names of the networks used, empty without weights."""
        return ", ".join(backbone.name for backbone in self.backbones)

    def unavailable(self, setup: WeightsConfig) -> str | None:
        """Why it cannot run on this machine, with the cure; None when it can."""
        absent = [name for name in self.packages if find_spec(name) is None]
        if absent:
            return f"not installed: {', '.join(absent)}"
        return next((reason for b in self.backbones if (reason := b.missing(setup))), None)

    def weights_digest(self, setup: WeightsConfig) -> str:
        """Identity of all weights used; "none" without weights."""
        parts = sorted(f"{e.name}:{e.version}:{e.backbone.digest(setup)}" for e in self.encoders)
        return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:16] if parts else "none"

    def prompt_text(self, prompt: Prompt) -> str | None:
        """The text that this metric judges against, or None."""
        return None if self.prompt_role is None else prompt.for_role(self.prompt_role)

    def params_digest(self, prompt: Prompt, protocol: str = "") -> str:
        """Digest over parameters, the prompt text in use, and what the run did to the clip first."""
        content = {"params": dict(self.params), "prompt": self.prompt_text(prompt)}
        if protocol:
            content["protocol"] = protocol
        return hashlib.sha256(json.dumps(content, sort_keys=True, default=str).encode()).hexdigest()[:16]

    def metadata(self) -> dict[str, Any]:
        """Its entry in run.json and `avbench ls --json`; unbounded ends of the range are null."""
        return {
            "family": self.family,
            "summary": self.summary,
            "unit": self.unit,
            "higher_is_better": self.higher_is_better,
            "range": [None if abs(bound) == float("inf") else bound for bound in self.range],
            "version": self.version,
            "params": dict(self.params),
            "needs": sorted(self.needs),
            "source": self.source,
            "caveat": self.caveat,
            "checkpoint": self.checkpoint,
            "licence": self.licence,
        }


_REGISTRY: dict[str, Scorer] = {}


def scorer(
    name: str,
    *,
    unit: str,
    higher_is_better: bool | None,
    range: tuple[float, float],
    source: str,
    needs: Iterable[Need],
    family: str = "",
    views: tuple[View, ...] = (),
    encoders: tuple[Encoder, ...] = (),
    version: int = 1,
    params: Mapping[str, Any] | None = None,
    prompt_role: TextRole | None = None,
    packages: tuple[str, ...] = (),
    caveat: str = "",
    level: Level = "clip",
    inputs: tuple[str, ...] = (),
) -> Callable[[Callable[..., Score]], Scorer]:
    """Register `function(media, prompt, store) -> Score` as the metric `name`; it leaves out what it does not use.

    The first line of the function's docstring is the summary; its module's name is the family unless one is given. The
    arguments are the attributes of `Scorer`, with `higher_is_better` as None where neither direction is good.

    Raises:
        ValueError: two scorers with one name.
    """

    def register(function: Callable[..., Score]) -> Scorer:
        entry = Scorer(
            function=function,
            name=name,
            summary=(function.__doc__ or "").strip().split("\n")[0].rstrip("."),
            unit=unit,
            direction=Direction.of(higher_is_better),
            range=range,
            source=source,
            needs=frozenset(needs),
            family=family or function.__module__.rsplit(".", 1)[-1],
            views=views,
            encoders=encoders,
            version=version,
            params=tuple(sorted((params or {}).items())),
            prompt_role=prompt_role,
            arguments=_arguments(function),
            level=level,
            inputs=inputs,
            packages=packages,
            caveat=caveat,
        )
        known = _REGISTRY.get(name)
        if known is not None and known.function.__module__ != function.__module__:
            raise ValueError(f"two scorers are named {name!r}: {known.function.__module__} and {function.__module__}")
        _REGISTRY[name] = entry
        return entry

    return register


def _arguments(function: Callable[..., Score]) -> tuple[str, ...]:
    """Which of media, prompt and store a function takes, by the names of its parameters; all for other names."""
    names = tuple(inspect.signature(function).parameters)
    return names if names in _SUBSETS else ARGUMENTS


def set_scorer(
    name: str,
    *,
    encoder: Encoder,
    unit: str,
    higher_is_better: bool | None,
    range: tuple[float, float],
    source: str,
    needs: Iterable[Need],
    family: str = "",
    version: int = 1,
    params: Mapping[str, Any] | None = None,
    packages: tuple[str, ...] = (),
    caveat: str = "",
) -> Callable[[SetFunction], Scorer]:
    """Register `function(generated (N, D), reference (M, D)) -> Score` as the set metric `name`.

    It judges all clips of a run against the features that a reference set holds of `encoder`, and so each category of
    clips. The other arguments are those of `scorer`.
    """
    return scorer(
        name,
        unit=unit,
        higher_is_better=higher_is_better,
        range=range,
        source=source,
        needs=needs,
        family=family,
        encoders=(encoder,),
        version=version,
        params=params,
        packages=packages,
        caveat=caveat,
        level="set",
    )


_BROKEN: dict[str, str] = {}


@cache
def _load_all() -> None:
    """Import every file of this package, then the entry points of group `avbench.scorers`."""
    import avbench.metrics as package

    for module in pkgutil.iter_modules(package.__path__):
        importlib.import_module(f"{package.__name__}.{module.name}")
    for entry in entry_points(group="avbench.scorers"):
        try:
            entry.load()
        except Exception as error:
            name = entry.dist.name if entry.dist is not None else entry.module
            _BROKEN[name] = f"{type(error).__name__}: {error}"
            if multiprocessing.parent_process() is None:  # else each worker would say so, too
                log.warning("the metrics of %s cannot be loaded (%s)", name, _BROKEN[name])
            log.debug("entry point %s", entry.name, exc_info=True)


def broken_packages() -> dict[str, str]:
    """Installed packages whose metrics cannot be loaded, with the reason."""
    _load_all()
    return dict(_BROKEN)


def registry() -> dict[str, Scorer]:
    """All scorers by name, sorted by family and name."""
    _load_all()
    return dict(sorted(_REGISTRY.items(), key=lambda item: (item[1].family, item[0])))


def get_scorers(names: Iterable[str]) -> list[Scorer]:
    """The scorers with these names, in this order, without repetition.

    Raises:
        UsageError: an unknown name; the message lists near matches.
    """
    known = registry()
    chosen = list(dict.fromkeys(names))
    for name in chosen:
        if name not in known:
            broken = "".join(f" The metrics of {p} cannot be loaded ({why})." for p, why in _BROKEN.items())
            raise UsageError(f"unknown metric {name!r}. {near(name, known)} See 'avbench ls'.{broken}")
    return [known[name] for name in chosen]
