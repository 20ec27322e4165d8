"""Numbers of reference implementations on clips that talk."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np

FOLDER = Path(__file__).parent / "goldens" / "speech"


def golden(name: str) -> Any:
    """Content of one JSON file."""
    return json.loads((FOLDER / f"{name}.json").read_text())


def arrays(name: str) -> Any:
    """Arrays of one file by name."""
    return np.load(FOLDER / f"{name}.npz")
