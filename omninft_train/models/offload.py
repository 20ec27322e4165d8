"""Networks that wait in main memory while others need the GPU."""

from __future__ import annotations

import gc
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import torch
from torch import nn


@contextmanager
def moved(networks: Sequence[nn.Module], during: torch.device | str, after: torch.device | str) -> Iterator[None]:
    """Networks on a device meanwhile, and on another one afterwards, also after a failure.

    Parameters stay the same objects, so optimisers and adapters go on knowing them.
    """
    try:
        _move(networks, during)
        yield
    finally:
        _move(networks, after)


def _move(networks: Sequence[nn.Module], device: torch.device | str) -> None:
    for network in networks:
        network.to(device)
    free_device_memory()


def free_device_memory() -> None:
    """Give what is no longer used back to the GPU: torch keeps it for itself, in pieces of the wrong sizes."""
    gc.collect()
    if torch.cuda.is_initialized():  # type: ignore[no-untyped-call]
        torch.cuda.empty_cache()
