"""Dummy sources: files with a few bytes, never opened by what is tested."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

Touch = Callable[..., Path]


@pytest.fixture
def clips(tmp_path: Path) -> Path:
    """An empty folder called `clips`, beside which a test can put outside files."""
    folder = tmp_path / "clips"
    folder.mkdir()
    return folder


@pytest.fixture
def touch(clips: Path) -> Touch:
    """Create dummy files below `clips`; returns the folder."""

    def create(*names: str) -> Path:
        for name in names:
            path = clips / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(b"dummy")
        return clips

    return create


@pytest.fixture
def write(clips: Path) -> Touch:
    """Write a text file below `clips`; returns its path."""

    def create(name: str, text: str) -> Path:
        path = clips / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(text.encode())
        return path

    return create
