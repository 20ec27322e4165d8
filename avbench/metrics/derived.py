"""Derived metrics: one number of a whole run, from the scores that its clips have of other metrics."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from avbench.clips import Clip
from avbench.metrics.base import Need, Score, Scorer, scorer


@dataclass(frozen=True)
class JudgedClip:
    """A clip with what a run says of it.

    Attributes:
        clip: names, prompt and categories.
        scores: by metric; those that the run lacks are absent.
        frames: number of frames; None where it was not decoded.
    """

    clip: Clip
    scores: Mapping[str, Score] = field(default_factory=dict)
    frames: int | None = None


DerivedFunction = Callable[[Sequence[JudgedClip]], Score]


def derived_scorer(
    name: str,
    *,
    inputs: tuple[str, ...],
    family: str,
    unit: str,
    higher_is_better: bool | None,
    range: tuple[float, float],
    source: str,
    needs: Iterable[Need] = ("video",),
    params: Mapping[str, Any] | None = None,
    version: int = 1,
    caveat: str = "",
) -> Callable[[DerivedFunction], Scorer]:
    """Register `function(clips) -> Score` as the derived metric `name`.

    It is computed at the end of a run, anew in each one, from the rows of the metrics `inputs`. The detail of its score
    may hold `clips`, the number that it rests on, and what `Interval.detail` gives: these go into the summary. `needs`
    are those of its inputs. Other arguments are those of `avbench.metrics.base.scorer`.
    """
    return scorer(
        name,
        unit=unit,
        higher_is_better=higher_is_better,
        range=range,
        source=source,
        needs=needs,
        family=family,
        version=version,
        params=params,
        caveat=caveat,
        level="derived",
        inputs=inputs,
    )
