"""What all processes of a training have to agree on before it starts: configuration, run folder, checkpoint."""

from __future__ import annotations

import json
import uuid
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from omninft_train.errors import AvbenchError, EnvironmentProblem, SettingError, UsageError
from omninft_train.files import make_folder
from omninft_train.training import checkpoint
from omninft_train.training.distributed import World
from omninft_train.training.meeting import name_processes

if TYPE_CHECKING:
    from omninft_train.config import Config
    from omninft_train.models.backbone import Backbone
    from omninft_train.models.policy import Policy


def agree(config: Config, out: Path, world: World) -> None:
    """Compare the configurations of all processes, and make sure that they see one run folder.

    Called before anything is loaded, since loading takes minutes.

    Raises:
        UsageError: configurations differ, or the folder is not shared.
        EnvironmentProblem: the first process cannot write to the folder.
    """
    texts: Any = world.gather_objects(json.dumps(_flat(asdict(config)), sort_keys=True, default=str))
    odd = [rank for rank, text in enumerate(texts) if text != texts[0]]
    if odd:
        first, other = json.loads(texts[0]), json.loads(texts[odd[0]])
        keys = [key for key in {**first, **other} if first.get(key) != other.get(key)]
        raise UsageError(
            f"processes have different configurations: {name_processes(odd)} and process 0 differ in "
            f"{', '.join(keys[:5])}. Start all nodes with the same command and the same files."
        )
    check_shared(out, world)


def last_checkpoint(out: Path, world: World) -> Path | None:
    """The checkpoint to go on from, None for none: what the first process finds, see `find_checkpoint`."""
    return _agreed(out, world, checkpoint.latest)


def find_checkpoint(run: Path, step: int | None, world: World) -> Path:
    """What holds the policy of a step, None for the last one: what the first process finds, as all others have to see.

    Without this, processes that see different states of a folder would take different policies.

    Raises:
        UsageError: there is none, or a process sees another checkpoint of that name, or none.
    """
    found = _agreed(run, world, lambda folder: checkpoint.find(folder, step))
    assert found is not None
    return found


def _agreed(run: Path, world: World, find: Callable[[Path], Path | None]) -> Path | None:
    if world.size == 1:
        return find(run)
    first = find(run) if world.is_main else None
    name: str | None = world.gather_objects(first.name if first else None)[0]  # type: ignore[assignment]
    if name is None:
        return None
    seen = world.gather_objects(_identity(run / name))
    odd = [rank for rank, identity in enumerate(seen) if identity != seen[0]]
    if odd:
        raise UsageError(
            f"process 0 reads {run / name} ({seen[0]}), but {name_processes(odd)} found there: {seen[odd[0]]}. "
            "All nodes have to see one and the same run folder."
        )
    return run / name


def check_same_start(policy: Policy, world: World) -> None:
    """Make sure that all processes read one and the same LoRA to start from (`policy.init`).

    Raises:
        SettingError: a process read another one.
    """
    starts = world.gather_objects(policy.start)
    odd = [rank for rank, start in enumerate(starts) if start != starts[0]]
    if odd:
        raise SettingError(
            f"policy.init: {name_processes(odd)} and process 0 read different files. Name one that all nodes share.",
            "policy.init",
        )


def check_conditions(backbone: Backbone, prompts: Sequence[str], world: World) -> None:
    """Wait until all processes have encoded their part of the prompts, and make sure that each sees all.

    What a process did not see it would encode in the middle of a step, with the text encoder beside everything else.

    Raises:
        UsageError: a process does not see what others have encoded.
    """
    if world.size == 1:
        return
    world.barrier()
    counts: Any = world.gather_objects(len(backbone.missing(prompts)))
    blind = [rank for rank, count in enumerate(counts) if count]
    if blind:
        node = f" (node {blind[0] // world.node_size})" if world.alike else ""
        raise SettingError(
            f"backbone.cache is not shared: {name_processes(blind)}{node} lacks "
            f"{counts[blind[0]]} of the prompts, which others have encoded. Name a folder that all nodes share.",
            "backbone.cache",
        )


def _identity(folder: Path) -> str:
    """Step and digest of a checkpoint, or why it cannot be read."""
    try:
        meta = checkpoint.read_meta(folder)
    except AvbenchError as error:
        return str(error)
    return f"step {meta['step']}, digest {checkpoint.meta_digest(meta)[:16]}"


def _flat(table: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for key, value in table.items():
        flat |= _flat(value, f"{prefix}{key}.") if isinstance(value, Mapping) else {f"{prefix}{key}": value}
    return flat


def check_shared(out: Path, world: World) -> None:
    """Make sure that all processes see one output folder; it is made where there is none.

    Raises:
        UsageError: some do not see what the first one writes there.
        EnvironmentProblem: the first process cannot write to it.
    """
    if world.size == 1:
        return
    # A name that no process has looked up before: network file systems remember what was not there.
    marker = out / f".shared-{uuid.uuid4().hex}"
    first: Any = world.gather_objects((marker.name, _write(marker) if world.is_main else None))[0]
    name, problem = first
    if problem is not None:
        raise EnvironmentProblem(problem)
    blind = [rank for rank, sees in enumerate(world.gather_objects((out / name).is_file())) if not sees]
    if world.is_main:
        marker.unlink(missing_ok=True)
    if blind:
        raise UsageError(
            f"{out} (--out) is not shared: {name_processes(blind)} cannot see what process 0 writes there. Name a "
            "folder that all nodes have in common."
        )


def _write(marker: Path) -> str | None:
    """Write the marker; why that fails, or None."""
    try:
        make_folder(marker.parent, "--out")
        marker.touch()
    except EnvironmentProblem as error:
        return str(error)
    except OSError as error:
        return f"{marker.parent}: cannot be written ({error.strerror}). Choose another run folder (--out)."
    return None
