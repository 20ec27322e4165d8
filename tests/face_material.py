"""Trained MTCNN out of a package that only the session `speech` installs; its digests are checked."""

from __future__ import annotations

import hashlib
from pathlib import Path

from whisper_material import package_folder

from avbench.weights.checkpoints import CHECKPOINTS


def mtcnn() -> Path:
    """Folder with the files of the checkpoint `mtcnn`."""
    folder = package_folder("facenet_pytorch") / "data"
    for file in CHECKPOINTS["mtcnn"].files:
        assert hashlib.sha256((folder / file.name).read_bytes()).hexdigest() == file.sha256
    return folder
