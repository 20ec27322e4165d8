"""State of an ablation's steps on disk: a record beside the outputs of each, and a lock while it runs.

A record says "started" before the first output exists and "complete" after the last, so whatever is half written is
known as such. The lock is held by the step's own process too: after avbench was killed, a trainer that still runs keeps
others from its folder.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from avbench.errors import UsageError
from avbench.files import inheritable_lock, make_folder, write_atomically
from omninft_train.ablation.steps import Step, canonical

State = Literal["complete", "todo", "started", "stale", "damaged", "foreign"]
LOCKS = "locks"


@dataclass(frozen=True)
class Status:
    """Where a step stands. `why` says what is wrong with a stale, damaged or foreign one."""

    state: State
    why: str = ""


def record_path(out: Path, step: Step) -> Path:
    """The record of a step."""
    return out / step.folder / f"{step.record}.json"


def read_record(out: Path, step: Step) -> dict[str, Any] | None:
    """The record of a step, None where it was never started.

    Raises:
        UsageError: it cannot be read.
    """
    path = record_path(out, step)
    try:
        content: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as error:
        raise UsageError(f"{path}: not a record of a step ({error}). Remove {path.parent} to make it again.") from error
    return content


def write_record(out: Path, step: Step, content: Mapping[str, Any]) -> None:
    """Write the record of a step, whole or not at all."""
    path = record_path(out, step)
    make_folder(path.parent, "--out")
    write_atomically(path, (json.dumps(content, indent=1, sort_keys=True, allow_nan=False) + "\n").encode())


def status(out: Path, step: Step) -> Status:
    """Whether a step is done, half done, to be done, or its folder holds something else."""
    record = read_record(out, step)
    if record is None:
        existing = next(
            (out / step.folder / name for name in _roots(step) if (out / step.folder / name).exists()), None
        )
        return (
            Status("foreign", f"{existing} is there without a record of how it was made")
            if existing
            else Status("todo")
        )
    if record.get("digest") != step.digest:
        return Status("stale", difference(record.get("facts", {}), step.settings) or "other steps or another trainer")
    if record.get("state") != "complete":
        return Status("started")
    for name, size in record.get("outputs", {}).items():
        path = out / name
        if not path.is_file():
            return Status("damaged", f"{path} is gone")
        if path.stat().st_size != size:
            return Status("damaged", f"{path} has {path.stat().st_size} bytes, {size} when it was made")
    return Status("complete")


def _roots(step: Step) -> list[str]:
    """Files and folders right below the step's folder that its outputs lie in."""
    return list(dict.fromkeys(name.split("/")[0] for name in step.outputs))


def difference(old: Any, new: Any, prefix: str = "") -> str:
    """The first settings that differ, as "run.steps 40, now 60"."""
    texts = list(_differences(old, new, prefix))
    return ", ".join(texts[:3]) + (f" and {len(texts) - 3} more" if len(texts) > 3 else "")


def _differences(old: Any, new: Any, prefix: str) -> Iterator[str]:
    if isinstance(old, Mapping) and isinstance(new, Mapping):
        for key in dict.fromkeys((*old, *new)):
            yield from _differences(old.get(key), new.get(key), f"{prefix}.{key}" if prefix else str(key))
    elif _plain(old) != _plain(new):
        yield f"{prefix.removeprefix('config.')} {_plain(old)}, now {_plain(new)}"


def _plain(value: Any) -> str:
    return json.dumps(canonical(value), sort_keys=True)


def refuse_others(out: Path, steps: list[Step], *, redo: bool) -> None:
    """Refuse to work where other settings, or someone else, left something.

    Raises:
        UsageError: a step was made with other settings and `redo` is not given, or its folder holds something else.
    """
    states = [(step, status(out, step)) for step in steps]
    for _, state in states:
        if state.state == "foreign":
            raise UsageError(
                f"{state.why}: half written, or not by 'avbench ablate'. Remove it, or choose another folder (--out)."
            )
    stale = [(step, state) for step, state in states if state.state == "stale"]
    if stale and not redo:
        step, state = stale[0]
        more = f" ({len(stale)} steps in all)" if len(stale) > 1 else ""
        raise UsageError(
            f"{out / step.folder}: '{step.id}' was made with other settings: {state.why}{more}. "
            "Choose another folder (--out), or replace what is there (--redo)."
        )


@contextlib.contextmanager
def locked(out: Path, step: Step) -> Iterator[int | None]:
    """Hold a step for this process and the children that inherit the descriptor; None where another has it.

    Raises:
        EnvironmentProblem: the folder cannot be written, or has no locks.
    """
    make_folder(out / LOCKS, "--out")
    with inheritable_lock(out / LOCKS / f"{step.id.replace(' ', '-')}.lock", "--out") as held:
        yield held
