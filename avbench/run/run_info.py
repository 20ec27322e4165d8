"""The start of a run: run.json is read or made, and a folder that was begun in another way is refused."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from avbench.doctor.environment import describe_environment
from avbench.errors import UsageError
from avbench.files import below_or_name
from avbench.metrics.base import Scorer
from avbench.results import SCHEMA_VERSION, RunFolder
from avbench.results.repair import restore_record
from avbench.results.shard import SHARD_FILE, ShardRecord, shard_of, write_shard
from avbench.run.options import RunOptions
from avbench.run.recovery import earlier_info
from avbench.run.set_metrics import network_of
from avbench.sources import Source
from avbench.suites import Suite
from avbench.weights.config import WeightsConfig


def begin_run(
    folder: RunFolder, source: Source, suite: Suite, scorers: Sequence[Scorer], options: RunOptions
) -> tuple[dict[str, Any], list[str]]:
    """Write run.json: created once, then brought up to date by each invocation. With notes on what was damaged.

    Raises:
        UsageError: the folder was begun in another way, or run.json is damaged and nothing is left to make it from.
    """
    notes = restore_record(folder)
    old, damage = earlier_info(folder, {clip.clip_id: clip.prompt for clip in source.clips}, options.setup)
    _refuse_mixture(folder.path, old, scorers, options)
    _refuse_other_shard(folder.path, source)
    now = datetime.now(UTC).isoformat(timespec="seconds")
    run_id = old.get("run_id") or new_run_id(folder.path)
    info = {
        "schema_version": SCHEMA_VERSION,
        "run_id": run_id,
        "created": old.get("created") or now,
        "command": options.command,
        "source": source.address or below_or_name(source.root, Path.cwd()),
        "source_kind": source.kind,
        "matching": source.matching,
        "suite": suite.name,
        "suite_version": suite.version,
        "metrics": old.get("metrics", {}) | {s.name: s.metadata() for s in scorers},
        "environment": describe_environment(),
        "weights": options.setup.weights,
        "precision": options.setup.precision,
        **_transcriber(old, scorers, options),
        "protocol": options.protocol.name or None,
        "reference": below_or_name(options.reference, Path.cwd()) if options.reference else None,
        "notes": [*source.notes, *_notes(options)],
        "n_clips": len(source.clips),
    }
    if changed := options.limits.changed():
        info["limits"] = changed
    # A run that has nothing to do leaves the folder as it is, byte for byte: the command alone is no news.
    if {k: v for k, v in old.items() if k != "command"} != {k: v for k, v in info.items() if k != "command"}:
        folder.write_json("run.json", info)
    return info, [*notes, *damage]


def new_run_id(path: Path) -> str:
    """An id that no other run has."""
    now = datetime.now(UTC).isoformat()
    return hashlib.sha256(f"{now}{os.getpid()}{path}".encode()).hexdigest()[:12]


def _refuse_mixture(path: Path, old: dict[str, Any], scorers: Sequence[Scorer], options: RunOptions) -> None:
    """One folder holds one way of judging: numbers that cannot be compared must not share a table unmarked.

    Raises:
        UsageError: the folder was begun with other weights, another precision, transcriber or protocol.
    """
    asked = {"weights": options.setup.weights, "precision": options.setup.precision}
    learned = any(scorer.checkpoint for scorer in scorers)
    learned_before = any(metadata.get("checkpoint") for metadata in old.get("metrics", {}).values())
    checked = (asked if learned or learned_before else {}) | {"protocol": options.protocol.name or None}
    checked |= _transcriber({}, scorers, options)
    for name, value in checked.items():
        if name in old and old[name] != value:
            raise UsageError(
                f"{path} was begun with {name} {old[name] or 'none'}, and {value or 'none'} is asked for: their "
                "numbers cannot be compared. Choose another run folder (--out)."
            )


def _refuse_other_shard(path: Path, source: Source) -> None:
    """Refuse to let a shard take the place of another one: a script that forgot the index in --out would do that.

    Raises:
        UsageError: the folder was begun as another shard.
    """
    earlier = shard_of(path) if source.part else None
    if source.part and earlier not in (None, source.part.shard):
        raise UsageError(
            f"{path} was begun as shard {earlier}, and {source.part.shard} is asked for. "
            "Choose another run folder (--out)."
        )


def record_part(
    folder: RunFolder,
    source: Source,
    scorers: Sequence[Scorer],
    missing: Mapping[str, str],
    setup: WeightsConfig,
) -> None:
    """Note in the folder of a shard what a merge has to know; a folder of whole sources has no such note.

    Args:
        folder: the run folder.
        source: its clips.
        scorers: metrics of the run.
        missing: metrics that cannot run here, with the reason.
        setup: how networks are loaded.
    """
    if source.part is None:
        (folder.path / SHARD_FILE).unlink(missing_ok=True)
        return
    able = [scorer for scorer in scorers if scorer.level == "set" and scorer.name not in missing]
    absent = {scorer.name: missing[scorer.name] for scorer in scorers if scorer.level == "set" and scorer not in able}
    networks = {scorer.name: network_of(scorer, setup) for scorer in able}
    write_shard(folder.path, ShardRecord(source.part, networks, absent))


def _transcriber(old: dict[str, Any], scorers: Sequence[Scorer], options: RunOptions) -> dict[str, Any]:
    """The checkpoint that writes down what is spoken, where a metric of this run or of an earlier one asks for it."""
    if any(backbone.chosen for scorer in scorers for backbone in scorer.backbones):
        return {"transcriber": options.setup.transcriber}
    return {name: old[name] for name in ("transcriber",) if name in old}


def _notes(options: RunOptions) -> list[str]:
    """What a reader of the tables has to know about how the run was made."""
    notes = []
    if options.setup.is_test:
        notes.append(f"TEST RUN: networks have {options.setup.weights} weights, so learned metrics mean nothing")
    if options.protocol.seconds is not None:
        notes.append(
            f"protocol {options.protocol.name}: only the first {options.protocol.seconds:g} s of video and audio are "
            "judged; nothing else is cut, and frame rates are kept"
        )
    return notes
