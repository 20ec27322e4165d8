"""The start of a run: run.json is read or made, and a folder that was begun in another way is refused."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from avbench.doctor.environment import describe_environment
from avbench.errors import UsageError
from avbench.files import below_or_name
from avbench.metrics.base import Scorer
from avbench.results import SCHEMA_VERSION, RunFolder
from avbench.results.repair import restore_record
from avbench.run.options import RunOptions
from avbench.run.recovery import earlier_info
from avbench.sources import Source
from avbench.suites import Suite


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
    now = datetime.now(UTC).isoformat(timespec="seconds")
    run_id = old.get("run_id") or hashlib.sha256(f"{now}{os.getpid()}{folder.path}".encode()).hexdigest()[:12]
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
        "protocol": options.protocol.name or None,
        "reference": below_or_name(options.reference, Path.cwd()) if options.reference else None,
        "notes": [*source.notes, *_notes(options)],
        "n_clips": len(source.clips),
    }
    # A run that has nothing to do leaves the folder as it is, byte for byte: the command alone is no news.
    if {k: v for k, v in old.items() if k != "command"} != {k: v for k, v in info.items() if k != "command"}:
        folder.write_json("run.json", info)
    return info, [*notes, *damage]


def _refuse_mixture(path: Path, old: dict[str, Any], scorers: Sequence[Scorer], options: RunOptions) -> None:
    """One folder holds one way of judging: numbers that cannot be compared must not share a table unmarked.

    Raises:
        UsageError: the folder was begun with other weights, another precision or another protocol.
    """
    asked = {"weights": options.setup.weights, "precision": options.setup.precision}
    learned = any(scorer.checkpoint for scorer in scorers)
    learned_before = any(metadata.get("checkpoint") for metadata in old.get("metrics", {}).values())
    checked = (asked if learned or learned_before else {}) | {"protocol": options.protocol.name or None}
    for name, value in checked.items():
        if name in old and old[name] != value:
            raise UsageError(
                f"{path} was begun with {name} {old[name] or 'none'}, and {value or 'none'} is asked for: their "
                "numbers cannot be compared. Choose another run folder (--out)."
            )


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
