"""Nested tables as one."""

from __future__ import annotations

from typing import Any


def flat(table: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    """Values by their keys, joined by dots."""
    found: dict[str, Any] = {}
    for key, value in table.items():
        found |= flat(value, f"{prefix}{key}.") if isinstance(value, dict) else {f"{prefix}{key}": value}
    return found
