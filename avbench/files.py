"""Write files whole or not at all."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

from avbench.errors import EnvironmentProblem


def write_atomically(path: Path, data: bytes) -> None:
    """Write a whole file by temporary name and rename, so that no reader ever sees half of it.

    Raises:
        EnvironmentProblem: the folder is read-only or the disk is full; an older file stays as it was.
    """
    temporary: str | None = None
    try:
        handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
        with os.fdopen(handle, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        umask = os.umask(0)
        os.umask(umask)
        Path(temporary).chmod(0o666 & ~umask)
        Path(temporary).replace(path)
    except OSError as error:
        if temporary is not None:
            Path(temporary).unlink(missing_ok=True)
        raise EnvironmentProblem(f"cannot write {path}: {error.strerror or error}") from error
