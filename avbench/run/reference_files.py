"""Arrays of a reference set from .npz and .pt files: how large they become is known before memory is taken."""

from __future__ import annotations

import math
import warnings
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.lib import format as npy
from numpy.typing import NDArray

from avbench.errors import EnvironmentProblem, UsageError

MAX_BYTES = 1 << 30
"""The most that the arrays of a set may take as float32: features of 188,000 clips."""

_HEADERS = {(1, 0): npy.read_array_header_1_0, (2, 0): npy.read_array_header_2_0}


def read_npz(path: Path, wanted: Callable[[str], bool]) -> dict[str, NDArray[Any] | None]:
    """The arrays of a .npz file whose names are `wanted`; None for those that it holds besides.

    Raises:
        UsageError: not a .npz file of plain arrays, damaged, or larger than `MAX_BYTES`.
    """
    content: dict[str, NDArray[Any] | None] = {}
    try:
        with zipfile.ZipFile(path) as archive:
            members = {info.filename.removesuffix(".npy"): info for info in archive.infolist()}
            sizes = {name: _claimed_bytes(archive, members[name]) for name in members if wanted(name)}
            _check_size(path, sum(sizes.values()))
            for name, info in members.items():
                content[name] = _read_member(archive, info) if name in sizes else None
    except (MemoryError, UsageError):
        raise
    except Exception as error:
        # zipfile, zlib and numpy each have their own for damaged files.
        reason = str(error) or type(error).__name__
        raise UsageError(f"{path}: not a .npz file of plain arrays ({' '.join(reason.split())}).") from error
    return content


def _claimed_bytes(archive: zipfile.ZipFile, info: zipfile.ZipInfo) -> int:
    """What an array takes as float32 or in its own type, whichever is more."""
    with archive.open(info) as file:
        version = npy.read_magic(file)
        if version not in _HEADERS:
            raise ValueError(f"{info.filename} has the unknown version {version}")
        shape, _, kind = _HEADERS[version](file)
        begin = file.tell()
    if kind.hasobject:
        raise ValueError(f"{info.filename} holds Python objects")
    count = math.prod(shape)
    if begin + count * kind.itemsize != info.file_size:
        raise ValueError(
            f"{info.filename} is to hold {shape} of {kind}, {count * kind.itemsize:,} bytes, and has "
            f"{info.file_size - begin:,}"
        )
    return count * max(kind.itemsize, 4)


def _read_member(archive: zipfile.ZipFile, info: zipfile.ZipInfo) -> NDArray[Any]:
    with archive.open(info) as file:
        array: NDArray[Any] = npy.read_array(file, allow_pickle=False)
        # The checksum is compared at the end of the member only.
        file.read(1)
    return array


def read_pt(path: Path) -> Mapping[str, Any]:
    """The tensors of a dict in a .pt file, as float32 arrays.

    Raises:
        UsageError: not a dict of plain tensors, damaged, or larger than `MAX_BYTES`.
        EnvironmentProblem: torch is not installed.
    """
    try:
        import torch
    except ImportError as error:
        raise EnvironmentProblem(f"{path}: reading it needs torch; pip install 'avbench[models]'") from error
    try:
        stored = _stored_bytes(path)
        _check_size(path, stored)
        with warnings.catch_warnings(action="ignore"):
            content = torch.load(path, map_location="cpu", weights_only=True)
        if not isinstance(content, dict):
            raise TypeError(f"expected a dict with tensors 'video' and 'audio', got {type(content).__name__}")
        tensors = {name: value for name, value in content.items() if isinstance(value, torch.Tensor)}
        _check_size(path, sum(value.numel() * 4 for value in tensors.values()))
        return {name: _as_array(name, value, stored) for name, value in tensors.items()}
    except (MemoryError, UsageError):
        raise
    except Exception as error:
        # Whatever a damaged or hostile pickle raises, the file is of no use.
        reason = str(error).split("\n")[0] if isinstance(error, (TypeError, ValueError)) else type(error).__name__
        raise UsageError(f"{path}: not a file of plain tensors ({reason}).") from error


def _stored_bytes(path: Path) -> int:
    if not zipfile.is_zipfile(path):
        return path.stat().st_size
    with zipfile.ZipFile(path) as archive:
        return sum(info.file_size for info in archive.infolist())


def _as_array(name: str, tensor: Any, stored: int) -> NDArray[np.float32]:
    # A pickle states the size of a storage; what lies behind the end of the file's must not be read.
    if str(tensor.layout) != "torch.strided" or tensor.untyped_storage().nbytes() > stored:
        raise ValueError(f"'{name}' is no plain tensor, or the file does not hold all of it")
    array: NDArray[np.float32] = tensor.detach().float().numpy()
    return array


def _check_size(path: Path, size: int) -> None:
    if size > MAX_BYTES:
        raise UsageError(f"{path}: its arrays take {size:,} bytes; up to {MAX_BYTES:,} are read. Keep fewer rows.")
