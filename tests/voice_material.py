"""The sound of the talking goldens, and weights out of packages that only sessions `speech` and `demo-speech` install.

`python tests/voice_material.py FOLDER` makes a weights folder of them.
"""

from __future__ import annotations

import sys
from pathlib import Path

import face_material
import numpy as np
import soundfile
from whisper_material import package_folder, tiny_en

from avbench.media import Media

GOLDENS = Path(__file__).parent / "goldens" / "speech"
RATE = 16000


def sound(name: str) -> np.ndarray:
    """Samples of a golden clip at 16 kHz, (N,)."""
    samples, rate = soundfile.read(GOLDENS / "audio" / f"{name}.flac", dtype="int16")
    assert rate == RATE
    return (samples / 32768).astype(np.float32)


def clip(name: str) -> Media:
    return as_media(name, sound(name))


def as_media(name: str, samples: np.ndarray) -> Media:
    return Media.from_arrays(name, None, 1.0, samples, RATE)


def resemblyzer_weights(target: Path) -> Path:
    """A weights folder with Resemblyzer's checkpoint, whose digest avbench checks."""
    _link(target / "resemblyzer", package_folder("resemblyzer") / "pretrained.pt")
    return target


def weights_folder(target: Path) -> Path:
    """A weights folder with the checkpoints of Whisper tiny.en, Resemblyzer, MTCNN and FaceMesh."""
    face_material.weights_folder(target)
    _link(target / "whisper_tiny_en", *tiny_en().iterdir())
    return resemblyzer_weights(target)


def _link(folder: Path, *files: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for file in files:
        (folder / file.name).unlink(missing_ok=True)
        (folder / file.name).symlink_to(file)


if __name__ == "__main__":
    weights_folder(Path(sys.argv[1]))
