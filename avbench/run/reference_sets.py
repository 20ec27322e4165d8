"""Reference sets: features of real clips that Fréchet and kernel distances compare with, by encoder."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np
from numpy.typing import NDArray

from avbench.encoders import Encoder
from avbench.errors import EnvironmentProblem, UsageError
from avbench.files import make_folder, writing_aside
from avbench.run.reference_files import read_npz, read_pt

Mode = Literal["fixed", "compat"]
Features = NDArray[np.float32]

COLUMNS = {"video": 400, "audio": 1024}
"""Features per clip of the pair that most files hold: I3D logits, AudioCLIP embedding."""

# The encoders of the pair, as files name them by their mode. Kept apart from the encoders themselves: a new version of
# one must not take over what an earlier version left in a file.
_PAIRS: dict[Mode, dict[str, str]] = {
    "fixed": {"video": "i3d:1", "audio": "audioclip:1"},
    "compat": {"video": "i3d_half_range:1", "audio": "audioclip_16k_4s:1"},
}
_PREFIX = "features/"
"""Start of the names of arrays in a file that hold the features of other encoders."""


def encoder_key(encoder: Encoder) -> str:
    """Key of an encoder's features, version included."""
    return f"{encoder.name}:{encoder.version}"


@dataclass(frozen=True)
class ReferenceSet:
    """Features of real clips.

    Attributes:
        features: (N, D) float32 by `encoder_key`; "video" and "audio" where a file does not say how they were made.
        source: where they come from, for messages and reports.
        ids: the prompt id of each row, so that categories can be compared; empty where the file names none.
    """

    features: Mapping[str, Features]
    source: str = ""
    ids: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if not self.features:
            raise ValueError("it holds no features")
        for name, rows in self.features.items():
            _check_rows(name, rows, self.ids)

    @classmethod
    def of_pair(
        cls, video: Features, audio: Features, mode: Mode | None, source: str = "", ids: tuple[str, ...] = ()
    ) -> ReferenceSet:
        """The set of I3D logits (N, 400) and AudioCLIP embeddings (M, 1024) that were made in a mode, or no known one.

        Raises:
            ValueError: an unknown mode, another shape, NaN, or another number of ids.
        """
        if mode is not None and mode not in _PAIRS:
            raise ValueError(f"'mode' is {mode!r}, expected one of {', '.join(get_args(Mode))}")
        for name, rows in (("video", video), ("audio", audio)):
            _check_rows(name, rows, ids, COLUMNS[name])
        names = _PAIRS[mode] if mode else {name: name for name in COLUMNS}
        return cls({names["video"]: video, names["audio"]: audio}, source, ids)

    @property
    def mode(self) -> Mode | None:
        """How the pair was made; None where there is none, or its file does not say."""
        return next((mode for mode, names in _PAIRS.items() if set(names.values()) <= set(self.features)), None)

    def rows(self, encoder: Encoder) -> Features:
        """The features (N, D) that this encoder made of the real clips.

        Raises:
            UsageError: there are none, or the file does not say what made them.
        """
        key = encoder_key(encoder)
        if key not in self.features:
            raise UsageError(self._why_not(key))
        return self.features[key]

    def digest(self, encoder: Encoder) -> str:
        """Identity of everything that can change a distance of this encoder's features, whatever the file format."""
        key, pair = encoder_key(encoder), self._pair()
        if key in self.features and key not in pair.values():
            return _digest(key, self.ids, {"features": self.features[key]})
        if pair:
            return _digest(self.mode, self.ids, {name: self.features[pair[name]] for name in COLUMNS})
        return _digest(None, self.ids, dict(sorted(self.features.items())))

    def _pair(self) -> dict[str, str]:
        """The keys of "video" and "audio"; empty without the pair."""
        if self.mode:
            return _PAIRS[self.mode]
        return {name: name for name in COLUMNS} if set(COLUMNS) <= set(self.features) else {}

    def _why_not(self, key: str) -> str:
        name = self.source or "the reference set"
        wanted = next((mode for mode, names in _PAIRS.items() if key in names.values()), None)
        if wanted and self.mode:
            cure = (
                "Take fvd_compat, kvd_compat and fad_compat, or make reference features of the real clips with avbench."
                if self.mode == "compat"
                else "Take fvd, kvd and fad, or reference features of mode 'compat', for example the released ones."
            )
            return (
                f"{name} holds features of mode {self.mode!r}, the metric is of mode {wanted!r}: pixels and sound "
                f"reached the networks in another range, and the distance would mean nothing. {cure}"
            )
        if wanted and self._pair():
            return (
                f"{name} does not say how its features were made. If they were made as metrics of mode {wanted!r} "
                f"make them, store them again with mode {wanted!r}."
            )
        held = ", ".join(sorted(self.features))
        return (
            f"{name} holds features of {held}, the metric compares those of {key}. Make them with 'avbench reference' "
            "for the metrics in question (--metrics)."
        )


def _digest(label: str | None, ids: tuple[str, ...], arrays: Mapping[str, Features]) -> str:
    parts = hashlib.sha256(json.dumps([label, ids]).encode())
    for name, rows in arrays.items():
        parts.update(f"{name}{rows.shape}".encode())
        parts.update(np.ascontiguousarray(rows, dtype="<f4").tobytes())
    return parts.hexdigest()[:16]


def _check_rows(name: str, rows: Features, ids: tuple[str, ...], columns: int | None = None) -> None:
    if rows.ndim != 2 or not len(rows) or not rows.shape[1] or columns not in (None, rows.shape[1]):
        raise ValueError(f"'{name}' has shape {rows.shape}, expected (N, {columns or 'D'}) with N of 1 or more")
    bad = int((~np.isfinite(rows)).any(axis=1).sum())
    if bad:
        raise ValueError(f"'{name}' holds NaN or infinity in {bad} of {len(rows)} rows")
    if ids and len(ids) != len(rows):
        raise ValueError(f"'ids' names {len(ids)} rows, '{name}' has {len(rows)}")


def load_reference(path: Path) -> ReferenceSet:
    """Read a reference set.

    Args:
        path: a .npz file with arrays `video` and `audio`, or `features/ENCODER:VERSION`, or both; and, if known,
            strings `mode` and `source` and an array of strings `ids`. Or a .pt file as JavisBench releases it, a dict
            with tensors `video` and `audio`, which is always "compat".

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
    others = {name.removeprefix(_PREFIX): rows for name, rows in content.items() if name.startswith(_PREFIX)}
    absent = [name for name in COLUMNS if name not in content]
    if absent and (not others or len(absent) < len(COLUMNS)):
        names = ", ".join(sorted(map(str, content))) or "nothing"
        raise UsageError(f"{path}: array {' and '.join(absent)} missing; the file holds {names}.")
    try:
        source, ids = content.get("source", path.name), _ids(content.get("ids"))
        features: dict[str, Features] = {name: _as_features(rows) for name, rows in others.items()}
        if not absent:
            video, audio = (_as_features(content[name]) for name in COLUMNS)
            features |= ReferenceSet.of_pair(video, audio, content.get("mode"), source, ids).features
        return ReferenceSet(features, source, ids)
    except (ValueError, TypeError) as error:
        raise UsageError(f"{path}: {error}.") from error


def save_reference(path: Path, reference: ReferenceSet) -> None:
    """Write a reference set as .npz, whole or not at all; the pair in the form that every version of avbench reads.

    Raises:
        UsageError: another suffix than .npz.
        EnvironmentProblem: it cannot be written.
    """
    if path.suffix != ".npz":
        raise UsageError(f"{path}: reference sets are written as .npz.")
    names = {key: name for name, key in reference._pair().items()}
    content: dict[str, Any] = {names.get(key, _PREFIX + key): rows for key, rows in reference.features.items()}
    content["source"] = reference.source
    if reference.ids:
        content["ids"] = np.array(reference.ids)
    if reference.mode is not None:
        content["mode"] = reference.mode
    make_folder(path.parent)
    with writing_aside(path) as file:
        np.savez_compressed(file, **content)


def _read_npz(path: Path) -> Mapping[str, Any]:
    known = {*COLUMNS, "mode", "source", "ids"}
    content: dict[str, Any] = dict(read_npz(path, lambda name: name in known or name.startswith(_PREFIX)))
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
