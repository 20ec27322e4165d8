"""Read what a run folder holds as details of a score: a stranger may have written it."""

from __future__ import annotations

import json
import math
from typing import Any


def parse(detail: str | None) -> dict[str, Any]:
    """The object in a JSON text; empty where there is none."""
    try:
        content = json.loads(detail or "")
    except (TypeError, ValueError, RecursionError):
        return {}
    return content if isinstance(content, dict) else {}


def number(value: object) -> float | None:
    """A finite number, None for anything else."""
    if not isinstance(value, (int, float)) or isinstance(value, bool):
        return None
    try:
        converted = float(value)
    except OverflowError:  # an integer of hundreds of digits
        return None
    return converted if math.isfinite(converted) else None
