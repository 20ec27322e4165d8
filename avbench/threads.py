"""Calls that wait for disks or servers, side by side."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

_BATCH = 1024

Item = TypeVar("Item")
Result = TypeVar("Result")


def map_in_threads(function: Callable[[Item], Result], items: Sequence[Item], threads: int) -> Iterator[Result]:
    """The results for all items, in order."""
    with ThreadPoolExecutor(threads) as pool:
        for start in range(0, len(items), _BATCH):  # all at once would be as many waiting tasks as items
            yield from pool.map(function, items[start : start + _BATCH])
