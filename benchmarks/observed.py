"""Networks under observation: loads, seconds per encoder, and every forward pass, which can be run again alone."""

from __future__ import annotations

import gc
import statistics
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch

from avbench.clips import Prompt
from avbench.encoders import Backbone, Encoder, EncoderStore, WeightsConfig
from avbench.encoders.cache import EmbeddingCache
from avbench.media import Media

ENTRIES = {  # network: methods through which every forward pass goes
    "imagebind": ("embed_images", "embed_mels", "embed_tokens"),
    "synchformer": ("vfeat_extractor.forward", "afeat_extractor.forward", "compare"),
    "clip_vit_b32": ("encode_image", "encode_text"),
    "clap_htsat_unfused": ("get_audio_features", "get_text_features"),
    "audiobox_aesthetics": ("forward",),
    "videoalign": ("forward",),
    "raft_things": (),  # driven by a function
}


EVERY = 8
"""One in so many passes of a shape is done once more."""


@dataclass
class Pass:
    """Forward passes through one entry of a network with inputs of one shape; the inputs of the first are kept.

    `alone` holds the seconds of those that were done once more, by themselves.
    """

    network: str
    entry: str
    rows: int
    arguments: tuple[Any, ...]
    named: dict[str, Any]
    count: int = 0
    alone: list[float] = field(default_factory=list)


@dataclass
class Ledger:
    """What networks did: passes by entry and shape, loads by network.

    While `repeating`, some passes are done once more and timed: the first of a shape, and each `EVERY`th after it.
    Alone and as part of a run they then meet the same machine, which may be a third slower some minutes later.
    """

    passes: dict[tuple[Any, ...], Pass] = field(default_factory=dict)
    backbones: dict[str, Backbone] = field(default_factory=dict)
    loads: Counter[str] = field(default_factory=Counter)
    load_seconds: float = 0.0
    repeating: bool = False
    repeat_seconds: float = 0.0

    @property
    def aside(self) -> float:
        """Seconds so far that belong to no run: of loading, and of passes done once more."""
        return self.load_seconds + self.repeat_seconds

    def run(
        self, network: str, entry: str, method: Callable[..., Any], arguments: tuple[Any, ...], named: dict[str, Any]
    ) -> Any:
        """A forward pass, counted."""
        tensors = [value for value in (*arguments, *named.values()) if isinstance(value, torch.Tensor)]
        key = (network, entry, *(tuple(tensor.shape) for tensor in tensors))
        if key not in self.passes:
            self.passes[key] = Pass(network, entry, len(tensors[0]), arguments, named)
        done, device = self.passes[key], str(tensors[0].device)
        result = method(*arguments, **named)
        if self.repeating and done.count % EVERY == 0:
            finish(device)
            start = time.perf_counter()
            method(*arguments, **named)
            finish(device)
            done.alone.append(time.perf_counter() - start)
            self.repeat_seconds += done.alone[-1]
        done.count += 1
        return result

    def rows(self, network: str) -> dict[str, int]:
        """Items that entered a network, by entry."""
        rows: Counter[str] = Counter()
        for done in self.passes.values():
            if done.network == network:
                rows[done.entry] += done.rows * done.count
        return dict(rows)


class ObservedStore(EncoderStore):
    """An encoder store that keeps a ledger.

    Args:
        setup, device, max_resident, cache: as for `EncoderStore`.
        like: another store, whose networks and ledger this one takes over, with none of its embeddings.
    """

    def __init__(
        self,
        setup: WeightsConfig,
        device: str,
        *,
        max_resident: int = 10,
        cache: EmbeddingCache | None = None,
        like: ObservedStore | None = None,
    ) -> None:
        super().__init__(device, max_resident, setup, cache)
        self.ledger = Ledger()
        self.encoder_seconds: Counter[str] = Counter()
        self.arrays: dict[str, np.ndarray] = {}
        if like is not None:
            self._networks, self.ledger = like._networks, like.ledger

    def network(self, backbone: Backbone) -> Any:
        """The network, loaded if need be."""
        return self._network(backbone)

    def drop_networks(self) -> None:
        """Free their memory."""
        self._networks.clear()
        self.ledger.passes.clear()

    def repeat(self, done: Pass) -> Callable[[], object]:
        """Runs the first of some passes again, unobserved; the network is loaded if need be."""
        owner, name = _owner(_module(self.network(self.ledger.backbones[done.network])), done.entry)
        method = getattr(owner, name).unobserved
        return lambda: method(*done.arguments, **done.named)

    def prefetch(self, encoder: Encoder, clips: Sequence[tuple[Media, Prompt]]) -> None:
        """As the store's; its seconds are noted, without those of loading and of passes done once more."""
        start, aside = time.perf_counter(), self.ledger.aside
        super().prefetch(encoder, clips)
        finish(self.device)
        self.encoder_seconds[encoder.name] += time.perf_counter() - start - (self.ledger.aside - aside)

    def embed(self, encoder: Encoder, media: Media, prompt: Prompt | None = None) -> np.ndarray:
        """As the store's; the last array of each encoder is kept."""
        self.arrays[encoder.name] = super().embed(encoder, media, prompt)
        return self.arrays[encoder.name]

    def _network(self, backbone: Backbone) -> Any:
        if backbone.name in self._networks:
            return super()._network(backbone)
        start = time.perf_counter()
        # An observed method and its network hold each other, so one that had to leave is freed by this alone.
        gc.collect()
        network = super()._network(backbone)
        self.ledger.load_seconds += time.perf_counter() - start
        self.ledger.loads[backbone.name] += 1
        self.ledger.backbones[backbone.name] = backbone
        for entry in ENTRIES.get(backbone.name, ("forward",)):
            _observe(_module(network), backbone.name, entry, self.ledger)
        return network


def _observe(module: torch.nn.Module, network: str, entry: str, ledger: Ledger) -> None:
    owner, name = _owner(module, entry)
    method = getattr(owner, name)

    def observed(*arguments: Any, **named: Any) -> Any:
        return ledger.run(network, entry, method, arguments, named)

    observed.unobserved = method  # type: ignore[attr-defined]
    setattr(owner, name, observed)


def _owner(module: torch.nn.Module, entry: str) -> tuple[torch.nn.Module, str]:
    path, _, name = entry.rpartition(".")
    return module.get_submodule(path), name


def _module(network: Any) -> torch.nn.Module:
    """The module of a loaded network; some come with their tokenizer."""
    return next(part for part in (network, *vars(network).values()) if isinstance(part, torch.nn.Module))


def finish(device: str) -> None:
    """Wait until the device has nothing left to do."""
    if device.startswith("cuda"):
        torch.cuda.synchronize(device)


def passes_alone(passes: Iterable[Pass]) -> Counter[str]:
    """Seconds by network of the forward passes alone, from those that were done once more during the run."""
    seconds: Counter[str] = Counter()
    for done in passes:
        seconds[done.network] += statistics.fmean(done.alone) * done.count
    return seconds


def run_alone(store: ObservedStore, passes: Sequence[Pass], rounds: int) -> Counter[str]:
    """Seconds by network when nothing but the forward passes runs.

    Passes with inputs of one shape cost the same, so each shape is run `rounds` times and its median counts as often
    as there were passes.
    """
    seconds: Counter[str] = Counter()
    with torch.inference_mode():
        for done in passes:
            again, taken = store.repeat(done), []
            for _ in range(rounds):
                start = time.perf_counter()
                again()
                finish(store.device)
                taken.append(time.perf_counter() - start)
            seconds[done.network] += statistics.median(taken) * done.count
    return seconds


@dataclass
class Log:
    """Progress of a long benchmark: lines on stderr, and values that `save` writes at once."""

    save: Callable[[], None]
    steps: list[dict[str, Any]] = field(default_factory=list)
    start: float = field(default_factory=time.perf_counter)

    def __call__(self, step: str, **values: Any) -> None:
        """One step is done."""
        elapsed = round(time.perf_counter() - self.start, 1)
        self.steps.append({"step": step, "at_s": elapsed, **values})
        shown = ", ".join(f"{name} {value}" for name, value in values.items())
        sys.stderr.write(f"[{elapsed:8.1f} s] {step}: {shown}\n")
        sys.stderr.flush()
        self.save()
