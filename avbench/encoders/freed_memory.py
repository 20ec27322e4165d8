"""What becomes of memory that tensors on a CPU free: the C library keeps it, or gives it back to the system."""

from __future__ import annotations

import ctypes
import sys
from collections.abc import Callable
from functools import cache
from itertools import count
from typing import Any

# From malloc.h of glibc.
_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3
_LARGEST_ALLOCATION, _NEVER = 2**30, 2**31 - 1


def keep_freed_memory() -> None:
    """Let this process keep memory that tensors free, but for what `give_back_freed_memory` gives back.

    glibc hands tensors over 32 MB back to the system and fetches zeroed pages for the next ones, which took 10 to 15 %
    of the time of Synchformer and of a Qwen2-VL at bf16.
    """
    if hasattr(libc := _c_library(), "mallopt"):
        libc.mallopt(_M_MMAP_THRESHOLD, _LARGEST_ALLOCATION)
        libc.mallopt(_M_TRIM_THRESHOLD, _NEVER)


def give_back_freed_memory() -> None:
    """Give memory that tensors have freed back to the system, where its C library can."""
    if hasattr(libc := _c_library(), "malloc_trim"):
        libc.malloc_trim(0)


def giving_back(every: int = 8) -> Callable[[], None]:
    """A function that gives freed memory back at its first call and at each `every`th after it.

    glibc keeps tensors of up to 32 MB, and leaves gaps between them that no later tensor fits into: with each pair of
    1280x704 frames AMT held 20 MiB more. Giving back took 5 to 8 % of the time of a pair, as pages are fetched anew.
    """
    calls = count()

    def give_back() -> None:
        if next(calls) % every == 0:
            give_back_freed_memory()

    return give_back


@cache
def _c_library() -> Any:
    return ctypes.CDLL(None) if sys.platform == "linux" else None
