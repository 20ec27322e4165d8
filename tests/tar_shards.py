"""Tar archives as WebDataset writes them."""

from __future__ import annotations

import io
import tarfile


def archive(members: dict[str, bytes]) -> bytes:
    """An archive with these members, in order."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        for name, content in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))
    return buffer.getvalue()
