"""Suites: named, versioned sets of metrics with a protocol."""

from avbench.suites.base import Suite, get_suite, list_suites

__all__ = ["Suite", "get_suite", "list_suites"]
