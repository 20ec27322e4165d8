"""ONNX files that other packages ship: found without importing those packages, run by onnxruntime."""

from __future__ import annotations

import hashlib
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any


def package_file(package: str, relative: str) -> Path:
    """Path of a data file inside an installed package; the package itself is not imported.

    Raises:
        FileNotFoundError: the package is not installed or does not hold the file.
    """
    spec = find_spec(package)
    for folder in (spec.submodule_search_locations or []) if spec else []:
        path = Path(folder) / relative
        if path.is_file():
            return path
    raise FileNotFoundError(f"{package}/{relative} is not installed; pip install 'avbench[speech]'")


@cache
def files_digest(package: str, *relatives: str) -> str:
    """sha256 over the files' bytes in this order; "absent" where they are not installed."""
    digest = hashlib.sha256()
    try:
        for relative in relatives:
            digest.update(package_file(package, relative).read_bytes())
    except FileNotFoundError:
        return "absent"
    return digest.hexdigest()


def open_session(path: Path) -> Any:
    """An onnxruntime session on one CPU thread: these networks are small and clips run in parallel."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.inter_op_num_threads = 1
    options.log_severity_level = 3  # silero's file warns about unused initializers
    return onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
