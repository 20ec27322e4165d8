"""Parity with published implementations; collected only where they are installed (nox session `reference`)."""

from __future__ import annotations

from importlib.util import find_spec

INSTALLED = all(find_spec(name) for name in ("laion_clap", "imagebind", "audiobox_aesthetics"))
collect_ignore_glob = [] if INSTALLED else ["test_*.py"]
