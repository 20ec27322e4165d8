"""Suites: named, versioned sets of metrics. One file per benchmark."""

from avbench.suites.base import Suite
from avbench.suites.catalogue import get_suite, list_suites

__all__ = ["Suite", "get_suite", "list_suites"]
