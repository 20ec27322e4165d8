"""Reference sets: features of real clips that Fréchet and kernel distances compare with."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np
from numpy.typing import NDArray

from avbench.errors import EnvironmentProblem, UsageError
from avbench.run.reference_files import read_npz, read_pt

Mode = Literal["fixed", "compat"]
Features = NDArray[np.float32]

COLUMNS = {"video": 400, "audio": 1024}
"""Features per clip: I3D logits, AudioCLIP embedding."""


@dataclass(frozen=True)
class ReferenceSet:
    """Features of real clips.

    Attributes:
        video: I3D logits (N, 400) float32.
        audio: AudioCLIP embeddings (M, 1024) float32.
        mode: how they were made, "fixed" or "compat"; None where the file does not say.
        source: where they come from, for messages and reports.
        ids: the prompt id of each row, so that categories can be compared; empty where the file names none.
    """

    video: Features
    audio: Features
    mode: Mode | None
    source: str = ""
    ids: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if self.mode is not None and self.mode not in get_args(Mode):
            raise ValueError(f"'mode' is {self.mode!r}, expected one of {', '.join(get_args(Mode))}")
        for name in COLUMNS:
            _check_rows(name, getattr(self, name), self.ids)

    @property
    def digest(self) -> str:
        """Identity of everything that can change a distance; the same whatever the file format."""
        parts = hashlib.sha256(json.dumps([self.mode, self.ids]).encode())
        for name in COLUMNS:
            rows: Features = getattr(self, name)
            parts.update(f"{name}{rows.shape}".encode())
            parts.update(np.ascontiguousarray(rows, dtype="<f4").tobytes())
        return parts.hexdigest()[:16]


def _check_rows(name: str, rows: Features, ids: tuple[str, ...]) -> None:
    if rows.ndim != 2 or rows.shape[1] != COLUMNS[name] or not len(rows):
        raise ValueError(f"'{name}' has shape {rows.shape}, expected (N, {COLUMNS[name]}) with N of 1 or more")
    bad = int((~np.isfinite(rows)).any(axis=1).sum())
    if bad:
        raise ValueError(f"'{name}' holds NaN or infinity in {bad} of {len(rows)} rows")
    if ids and len(ids) != len(rows):
        raise ValueError(f"'ids' names {len(ids)} rows, '{name}' has {len(rows)}")


def load_reference(path: Path) -> ReferenceSet:
    """Read a reference set.

    Args:
        path: a .npz file with arrays `video` and `audio` and, if known, strings `mode` and `source` and an array of
            strings `ids`; or a .pt file as JavisBench releases it, a dict with tensors `video` and `audio`, which is
            always "compat".

    Raises:
        UsageError: no such file, another format, more bytes than are read, a missing array, a wrong shape, NaN.
        EnvironmentProblem: a .pt file without torch installed, or not enough memory.
    """
    try:
        return _load(path)
    except MemoryError as error:
        raise EnvironmentProblem(f"{path}: not enough memory to read it.") from error


def _load(path: Path) -> ReferenceSet:
    readers = {".npz": _read_npz, ".pt": _read_pt}
    if path.suffix not in readers:
        raise UsageError(f"{path}: a reference set is a .npz or a .pt file.")
    if not path.is_file():
        raise UsageError(f"{path}: no such file; a reference set was expected here.")
    content = readers[path.suffix](path)
    absent = [name for name in COLUMNS if name not in content]
    if absent:
        found = ", ".join(sorted(map(str, content))) or "nothing"
        raise UsageError(f"{path}: array {' and '.join(absent)} missing; the file holds {found}.")
    try:
        return ReferenceSet(
            video=_as_features(content["video"]),
            audio=_as_features(content["audio"]),
            mode=content.get("mode"),
            source=content.get("source", path.name),
            ids=_ids(content.get("ids")),
        )
    except (ValueError, TypeError) as error:
        raise UsageError(f"{path}: {error}.") from error


def save_reference(path: Path, reference: ReferenceSet) -> None:
    """Write a reference set as .npz: to a temporary file first, so that no half-written one is ever found.

    Raises:
        UsageError: another suffix than .npz.
    """
    if path.suffix != ".npz":
        raise UsageError(f"{path}: reference sets are written as .npz.")
    content: dict[str, Any] = {"video": reference.video, "audio": reference.audio, "source": reference.source}
    if reference.ids:
        content["ids"] = np.array(reference.ids)
    if reference.mode is not None:
        content["mode"] = reference.mode
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}.{os.getpid()}.partial")
    try:
        with partial.open("wb") as file:
            np.savez_compressed(file, **content)
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)


def check_mode(reference: ReferenceSet, metric_mode: str) -> None:
    """Refuse to compare features that were made in different ways.

    Args:
        reference: the reference set.
        metric_mode: "fixed" or "compat", as in the metric's parameters.

    Raises:
        UsageError: the set was made in the other mode, or does not say in which.
    """
    if reference.mode == metric_mode:
        return
    name = reference.source or "the reference set"
    if reference.mode is None:
        raise UsageError(
            f"{name} does not say how its features were made. If they were made as metrics of mode {metric_mode!r} "
            f"make them, store them again with mode {metric_mode!r}."
        )
    cure = (
        "Take fvd_compat, kvd_compat and fad_compat, or make reference features of the real clips with avbench."
        if reference.mode == "compat"
        else "Take fvd, kvd and fad, or reference features of mode 'compat', for example the released ones."
    )
    raise UsageError(
        f"{name} holds features of mode {reference.mode!r}, the metric is of mode {metric_mode!r}: pixels and sound "
        f"reached the networks in another range, and the distance would mean nothing. {cure}"
    )


def _read_npz(path: Path) -> Mapping[str, Any]:
    content: dict[str, Any] = dict(read_npz(path, (*COLUMNS, "mode", "source", "ids")))
    for name in ("mode", "source"):
        if name in content and (content[name].ndim or content[name].dtype.kind != "U"):
            raise UsageError(f"{path}: '{name}' is an array of {content[name].dtype}; expected one text.")
    return {name: str(value) if name in ("mode", "source") else value for name, value in content.items()}


def _read_pt(path: Path) -> Mapping[str, Any]:
    # The only features of this form are those released with JavisBench, which it made with its own preprocessing.
    return {**read_pt(path), "mode": "compat"}


def _ids(value: Any) -> tuple[str, ...]:
    if value is None:
        return ()
    names = np.asarray(value)
    if names.ndim != 1 or names.dtype.kind not in "Uiu":
        raise TypeError(f"'ids' is an array of {names.dtype} with shape {names.shape}; expected one text per row")
    return tuple(map(str, names))


def _as_features(value: Any) -> Features:
    rows = np.asarray(value)
    if rows.dtype.kind not in "fiu":
        raise TypeError(f"features of type {rows.dtype} are not numbers")
    with np.errstate(over="ignore"):
        return rows.astype(np.float32)
