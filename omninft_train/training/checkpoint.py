"""Checkpoints: a folder of safetensors files and a readable meta.json, complete or not there at all.

Every file has a SHA-256, so that a flipped bit ends the next command and not the trajectory.
"""

from __future__ import annotations

import errno
import hashlib
import json
import logging
import os
import re
import shutil
from collections.abc import Container, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from omninft_train.errors import EnvironmentProblem, UsageError
from omninft_train.files import rename
from omninft_train.models.loading import OWN_READER, Node, SharedTensors
from omninft_train.models.policy import copy_part

# Format 1 had no checksums. It is read, with a warning.
FORMAT = 2
META = "meta.json"
_DIGEST = "sha256"
_NAME = re.compile(r"checkpoint-(\d+)")
_POLICY = re.compile(r"policy-(\d+)")
_PART = re.compile(r"[a-z_]+")
_LOG = logging.getLogger(__name__)
# Full disk and full quota, as the writer of safetensors words them.
_FULL = (f"os error {errno.ENOSPC}", f"os error {errno.EDQUOT}", "No space left")


@dataclass(frozen=True)
class Checkpoint:
    """Contents of a checkpoint.

    Attributes:
        step: optimiser steps done, so the number of the step to go on with.
        tensors: tensors by part ("policy", "old", "optimizer") and name, each read when it is asked for.
        meta: everything else.
    """

    path: Path
    step: int
    tensors: Mapping[str, Mapping[str, Tensor]]
    meta: dict[str, Any]

    def part(self, name: str) -> Mapping[str, Tensor]:
        """The tensors of a part.

        Raises:
            UsageError: the checkpoint has no such part.
        """
        if name not in self.tensors:
            raise _damaged(self.path / META, f"part {name!r} is missing")
        return self.tensors[name]


def save(
    folder: Path, step: int, tensors: Mapping[str, Mapping[str, Tensor]], meta: Mapping[str, Any], *, keep: int = 2
) -> Path:
    """Write `folder/checkpoint-<step>`; nothing that is there is touched before the new one is complete.

    Args:
        tensors: by part and name; each part becomes a file.
        meta: JSON-able; "backbone" and "backbone_digest" are compared when it is loaded.
        keep: how many checkpoints stay whole, this one included; of older ones the policy stays, as `policy-<step>`.

    Returns:
        The folder of the checkpoint.

    Raises:
        EnvironmentProblem: it cannot be written, for example because the disk is full; older ones stay.
    """
    target = folder / f"checkpoint-{step:06d}"
    partial = folder / f".{target.name}.partial"
    with _explained(folder, partial, tensors):
        for left in folder.glob(".checkpoint-*.partial"):  # of runs that were killed while saving
            shutil.rmtree(left)
        partial.mkdir(parents=True)
        parts = {}
        for name, named in tensors.items():
            file = partial / f"{name}.safetensors"
            _write(file, named)
            size = file.stat().st_size
            parts[name] = {"file": file.name, "bytes": size, "tensors": len(named), _DIGEST: _file_digest(file)}
        # As it will be read back: tuples become lists, and the digest must not change with that.
        content = json.loads(json.dumps({"format": FORMAT, "step": step, "parts": parts, **meta}, allow_nan=False))
        content[_DIGEST] = meta_digest(content)
        (partial / META).write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
        _sync(partial / META)
        _sync(partial)
        _rename(partial, target)
        _sync(folder)
    _thin_out(folder, step, keep)
    return target


def save_tensors(path: Path, tensors: Mapping[str, Tensor]) -> None:
    """Write one safetensors file.

    Raises:
        EnvironmentProblem: it cannot be written.
    """
    with _explained(path.parent, None, {path.name: tensors}):
        path.parent.mkdir(parents=True, exist_ok=True)
        _write(path, tensors)


def latest(folder: Path) -> Path | None:
    """The complete checkpoint of most steps in a run's folder, or None."""
    checkpoints = _numbered(folder)
    return checkpoints[max(checkpoints)] if checkpoints else None


def policies(folder: Path) -> dict[int, Path]:
    """Everything in a run's folder that holds a policy, by steps: whole checkpoints, and what stays of older ones."""
    return dict(sorted({**_numbered(folder, _POLICY), **_numbered(folder)}.items()))


def drop_policies(folder: Path, kept: Container[int]) -> None:
    """Remove what stays of older checkpoints, but for some steps."""
    for step, path in _numbered(folder, _POLICY).items():
        if step not in kept:
            shutil.rmtree(path, ignore_errors=True)


def find(folder: Path, step: int | None = None) -> Path:
    """The checkpoint of a step, or what stays of it; None for the last whole one.

    Raises:
        UsageError: there is none; the message names the steps that there are.
    """
    there = policies(folder)
    path = latest(folder) if step is None else there.get(step)
    if path is not None:
        return path
    if not there:
        raise UsageError(f"{folder} holds no checkpoint. Train first: omninft-train train --out {folder}")
    steps = ", ".join(map(str, there))
    if step is None:
        raise UsageError(f"{folder} has no whole checkpoint, but policies of steps {steps}. Name one of them (--step).")
    raise UsageError(f"{folder} has no policy of step {step}; it has those of {steps}.")


def read_meta(folder: Path) -> dict[str, Any]:
    """Contents of a checkpoint's meta.json.

    Raises:
        UsageError: it is missing, damaged or of another format.
    """
    path = folder / META
    try:
        meta = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise UsageError(f"{path}: cannot be read ({error.strerror}); {folder} is no complete checkpoint.") from error
    except ValueError as error:
        raise _damaged(path, str(error)) from error
    if not isinstance(meta, dict) or not isinstance(meta.get("parts"), dict) or not isinstance(meta.get("step"), int):
        raise _damaged(path, "no step or no parts")
    if meta.get("format") not in (1, FORMAT):
        raise UsageError(f"{path}: format {meta.get('format')!r}, this version reads 1 and {FORMAT}.")
    if meta["format"] == 1:
        _LOG.warning(
            "%s has no checksums (an older version wrote it): damage to its tensors would go unnoticed", folder
        )
    elif meta.get(_DIGEST) != meta_digest(meta):
        raise _damaged(path, "its checksum differs")
    return meta


def load(folder: Path, backbone: str, digest: str, node: Node = OWN_READER) -> Checkpoint:
    """Open a checkpoint of the backbone at hand, and check its files.

    Args:
        backbone, digest: its kind, and the identity of its architecture.
        node: processes that load it together; one of them reads the files.

    Raises:
        UsageError: it is of another backbone, or a file is missing or damaged.
    """
    meta = read_meta(folder)
    saved = (meta.get("backbone"), meta.get("backbone_digest"))
    if saved != (backbone, digest):
        raise UsageError(
            f"{folder} is of backbone '{saved[0]}' (architecture {saved[1]}), this run has '{backbone}' (architecture "
            f"{digest}). Choose another run folder (--out), or the recipe that it was trained with."
        )
    kept = ["policy"] if _POLICY.fullmatch(folder.name) else list(meta["parts"])
    files, problem = _opened(folder, meta, kept) if node.reads else ({}, None)
    problem = node.tell(problem)
    if problem is not None:
        raise UsageError(problem)
    tensors = {name: SharedTensors(files.get(name), folder / f"{name}.safetensors", node) for name in kept}
    return Checkpoint(folder, meta["step"], tensors, meta)


def _opened(folder: Path, meta: Mapping[str, Any], names: Sequence[str]) -> tuple[dict[str, Any], str | None]:
    """The open file of each part, or what is wrong with one."""
    try:
        return {name: _open_part(folder, meta, name) for name in names}, None
    except UsageError as error:
        return {}, str(error)


def read_part(folder: Path, meta: Mapping[str, Any], name: str) -> dict[str, Tensor]:
    """Tensors of one part, checked.

    Args:
        name: "policy", "old" or "optimizer".

    Raises:
        UsageError: there is no such part, or it is damaged.
    """
    return dict(SharedTensors(_open_part(folder, meta, name), folder / f"{name}.safetensors", OWN_READER))


def _open_part(folder: Path, meta: Mapping[str, Any], name: str) -> Any:
    """The file of a part: the one that `save` writes. A name from elsewhere could lead out of the folder."""
    if name not in meta["parts"]:
        raise _damaged(folder / META, f"part {name!r} is missing")
    part, path = meta["parts"][name], folder / f"{name}.safetensors"
    if not _PART.fullmatch(name) or not isinstance(part, dict) or part.get("file") != path.name:
        file = part.get("file") if isinstance(part, dict) else part
        raise _damaged(folder / META, f"part {name!r} names {file!r}, expected '<part>.safetensors' of this folder")
    if not path.is_file():
        raise UsageError(f"{path} is missing. {_cure(path.parent)}")
    if path.stat().st_size != part.get("bytes"):
        raise _damaged(path, f"{path.stat().st_size} bytes, expected {part.get('bytes')}")
    try:
        if meta["format"] != 1 and _file_digest(path) != part.get(_DIGEST):
            raise _damaged(path, "its checksum differs")
        return safe_open(path, framework="pt")
    except (SafetensorError, OSError) as error:
        raise _damaged(path, str(error)) from error


def optimizer_tensors(optimizer: torch.optim.Optimizer, parameters: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """State of AdamW as named tensors, "<parameter>.<entry>"; empty before the first step.

    Args:
        parameters: what it optimises, by name.
    """
    return {
        f"{name}.{entry}": value if isinstance(value, Tensor) else torch.tensor(float(value))
        for name, parameter in parameters.items()
        for entry, value in optimizer.state.get(parameter, {}).items()
    }


def load_optimizer(
    optimizer: torch.optim.Optimizer, parameters: Mapping[str, Tensor], tensors: Mapping[str, Tensor]
) -> None:
    """Put back what `optimizer_tensors` gave; sharded parameters get their shard.

    Raises:
        UsageError: a parameter is missing, unknown or of another shape.
    """
    state: dict[str, list[str]] = {}
    for key in tensors:
        name, _, entry = key.rpartition(".")
        state.setdefault(name, []).append(entry)
    if not state:
        optimizer.state.clear()
        return
    odd = sorted(set(state) ^ set(parameters))
    if odd:
        some = ", ".join(odd[:3]) + (" ..." if len(odd) > 3 else "")
        raise UsageError(f"the checkpoint's optimiser state and the policy differ in {len(odd)} names: {some}.")
    for name, parameter in parameters.items():
        optimizer.state[parameter] = {
            entry: _placed(key := f"{name}.{entry}", tensors[key], parameter) for entry in state[name]
        }


def _placed(key: str, value: Tensor, parameter: Tensor) -> Tensor:
    if key.endswith(".step"):
        return value.cpu().clone()  # the count of steps stays on the CPU
    if value.shape != parameter.shape:
        raise UsageError(f"optimiser state {key} has shape {tuple(value.shape)}, expected {tuple(parameter.shape)}.")
    state = torch.zeros_like(parameter)
    copy_part(state, value)
    return state


def _numbered(folder: Path, name: re.Pattern[str] = _NAME) -> dict[int, Path]:
    """Complete checkpoints by step. A folder gets its name when it is complete."""
    if not folder.is_dir():
        return {}
    matches = [(name.fullmatch(path.name), path) for path in folder.iterdir()]
    return {int(match[1]): path for match, path in matches if match and path.is_dir()}


def _thin_out(folder: Path, step: int, keep: int) -> None:
    """Of older checkpoints, leave the policy: the optimiser and the old policy are only needed to go on from them."""
    older = sorted((number, path) for number, path in _numbered(folder).items() if number < step)
    for number, path in older[: max(len(older) - max(keep, 1) + 1, 0)]:
        goal = folder / f"policy-{number:06d}"
        shutil.rmtree(goal, ignore_errors=True)
        with suppress(OSError):
            rename(path, goal)
    for path in _numbered(folder, _POLICY).values():  # also what a killed run did not come to
        for part in path.glob("*.safetensors"):
            if part.name != "policy.safetensors":
                part.unlink(missing_ok=True)


def _rename(partial: Path, target: Path) -> None:
    """Give the new one its name; one of the same step makes way only then."""
    aside = partial.with_name(f".{target.name}.replaced")
    shutil.rmtree(aside, ignore_errors=True)
    if target.exists():
        rename(target, aside)
    rename(partial, target)
    shutil.rmtree(aside, ignore_errors=True)


def _write(path: Path, tensors: Mapping[str, Tensor]) -> None:
    # The format refuses views of one storage; what shares memory with another tensor is copied.
    kept: dict[str, Tensor] = {}
    storages: set[int] = set()
    for name, tensor in tensors.items():
        own = tensor.detach().cpu().contiguous()
        storage = own.untyped_storage()
        if storage.data_ptr() in storages or storage.nbytes() != own.nbytes:
            own = own.clone()
        storages.add(own.untyped_storage().data_ptr())
        kept[name] = own
    save_file(kept, path)
    _sync(path)


def _file_digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def meta_digest(meta: Mapping[str, Any]) -> str:
    """SHA-256 of everything in meta.json but itself; the checksums of all files are part of it."""
    content = {key: value for key, value in meta.items() if key != _DIGEST}
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def _sync(path: Path) -> None:
    """Make a file or a folder's names safe against power loss."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


@contextmanager
def _explained(folder: Path, partial: Path | None, tensors: Mapping[str, Mapping[str, Tensor]]) -> Iterator[None]:
    """Turns failures of writing into a message, and clears away what was begun."""
    try:
        yield
    except (OSError, SafetensorError) as error:
        if partial is not None:
            shutil.rmtree(partial, ignore_errors=True)
        raise EnvironmentProblem(_failure(folder, error, tensors)) from error


def _failure(folder: Path, error: Exception, tensors: Mapping[str, Mapping[str, Tensor]]) -> str:
    last = latest(folder)
    stays = f" The last good checkpoint stays: {last}." if last else ""
    full = getattr(error, "errno", None) in (errno.ENOSPC, errno.EDQUOT) or any(text in str(error) for text in _FULL)
    if not full:
        cure = "Choose another run folder (--out) or fix the folder, then run again."
        return f"{folder}: cannot be written ({error}).{stays} {cure}"
    need = sum(tensor.numel() * tensor.element_size() for named in tensors.values() for tensor in named.values())
    return f"{folder}: no space left; {need / 1e6:,.1f} MB are needed.{stays} Make room and run the same command again."


def _damaged(path: Path, why: str) -> UsageError:
    return UsageError(f"{path} is damaged ({why}). {_cure(path.parent)}")


def _cure(folder: Path) -> str:
    """What to do without one checkpoint of a run: by what else the run has."""
    others = {step: path for step, path in _numbered(folder.parent).items() if path != folder}
    if others:
        return f"Delete {folder} to go on from {others[max(others)].name}."
    kept = ", ".join(str(step) for step, path in policies(folder.parent).items() if path != folder)
    kept = f" What can still be sampled and exported are the policies of steps {kept}." if kept else ""
    return f"The run has no other checkpoint to go on from: train in another folder (--out).{kept}"
