"""run.json made again from score rows: which weights, precision, transcriber and protocol give their digests."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import replace
from itertools import chain, product
from typing import Any, get_args

from avbench.clips import Prompt
from avbench.errors import AvbenchError
from avbench.metrics.base import registry
from avbench.results import SCHEMA_VERSION, UNAVAILABLE, RunFolder, ScoreRow
from avbench.results.damage import DamagedRunError
from avbench.results.info import read_info
from avbench.results.repair import made_again
from avbench.run.protocol import PROTOCOLS
from avbench.statistics.summary import NOT_ASKED
from avbench.weights.config import Precision, Transcriber, Weights, WeightsConfig

UNKNOWN = "unknown"
"""`weights`, `precision` or `protocol` of a run whose run.json is lost and whose rows do not tell."""
_NO_WEIGHTS = ("none", UNAVAILABLE, NOT_ASKED)
_MOST_TRIES = 10_000
"""Rows whose protocol is looked for: where none of so many tells it, prompts were changed, and the others would not."""
_NOTE = "run.json was damaged and was made again from the score rows; source, command and environment are lost"


def earlier_info(
    folder: RunFolder, prompts: Mapping[str, Prompt], setup: WeightsConfig
) -> tuple[dict[str, Any], list[str]]:
    """The content of run.json, remade from score rows where it is damaged; empty for a new folder. With notes.

    Args:
        folder: the run.
        prompts: of the clips, by id.
        setup: how networks are loaded now; the first guess at how they were.

    Raises:
        UsageError: it is of a newer avbench, or damaged without a row to make it from.
    """
    present = (folder.path / "run.json").exists()
    try:
        return (read_info(folder.path), []) if present or next(folder.scan(), None) else ({}, [])
    except DamagedRunError as error:
        rows = (row for _, row in folder.scan())  # one at a time: a long run has millions
        if (first := next(rows, None)) is None:
            raise
        return recover_info(chain([first], rows), prompts, [setup]), [made_again(error)]


def recover_info(
    rows: Iterable[ScoreRow], prompts: Mapping[str, Prompt], setups: Sequence[WeightsConfig] = ()
) -> dict[str, Any]:
    """run.json as far as score rows tell it.

    Weights, precision, transcriber and protocol are those that give the digests in the rows; `UNKNOWN` where none does.

    Args:
        rows: at least one, in order of writing; they are gone through once.
        prompts: of the clips, by id.
        setups: ways of loading networks to try first, such as one with a folder of weights of its own.
    """
    known = registry()
    versions: dict[str, int] = {}
    learned: set[tuple[str, str]] = set()
    protocol = _ProtocolSearch(prompts)
    for row in rows:
        versions[row.metric] = row.metric_version
        if row.weights_digest not in _NO_WEIGHTS:
            learned.add((row.metric, row.weights_digest))
        protocol.see(row)
    setup = _find_setup(learned, setups)
    return {
        "schema_version": SCHEMA_VERSION,
        "run_id": row.run_id,
        "suite": row.suite,
        "suite_version": row.suite_version,
        "metrics": {n: known[n].metadata() for n, v in versions.items() if n in known and known[n].version == v},
        "weights": setup.weights if setup else UNKNOWN,
        "precision": setup.precision if setup else UNKNOWN,
        **({"transcriber": setup.transcriber} if setup and _is_chosen(learned) else {}),
        "protocol": protocol.name,
        "notes": [_NOTE],
    }


def _is_chosen(learned: Iterable[tuple[str, str]]) -> bool:
    """Whether a metric lets the run choose its checkpoint; else the transcriber moves no digest."""
    known = registry()
    return any(backbone.chosen for name, _ in learned if name in known for backbone in known[name].backbones)


def _find_setup(learned: Collection[tuple[str, str]], setups: Sequence[WeightsConfig]) -> WeightsConfig | None:
    """A way of loading networks under which metrics have these digests; None where none does.

    Args:
        learned: metric and digest of its weights.
        setups: to try first.
    """
    known = registry()
    if not all(name in known for name, _ in learned):
        return None
    guesses = (*setups, *(WeightsConfig(w, None, p) for w, p in product(get_args(Weights), get_args(Precision))))
    others = get_args(Transcriber) if _is_chosen(learned) else ()
    for setup in (*guesses, *(replace(guess, transcriber=other) for guess, other in product(guesses, others))):
        try:
            if all(known[name].weights_digest(setup) == digest for name, digest in learned):
                return setup
        except AvbenchError:
            continue
    return None


class _ProtocolSearch:
    """The first protocol that gives the parameter digest of a row that was seen.

    One row is enough: digests of other rows differ where their prompt was another one.
    """

    def __init__(self, prompts: Mapping[str, Prompt]) -> None:
        self._prompts = prompts
        self._left = ("", *PROTOCOLS)
        self._tries = _MOST_TRIES
        self.name: str | None = UNKNOWN

    def see(self, row: ScoreRow) -> None:
        """Look whether a row was scored by a protocol that comes before the one that was found."""
        if not self._left or not self._tries:
            return
        prompt, scorer = self._prompts.get(row.clip_id or ""), registry().get(row.metric)
        if prompt is None or scorer is None or scorer.version != row.metric_version:
            return
        self._tries -= 1
        for index, name in enumerate(self._left):
            if scorer.params_digest(prompt, name) == row.params_digest:
                self.name, self._left = name or None, self._left[:index]
                return
