"""Declare networks (`Backbone`) and what they embed (`Encoder`); packages are imported only when one is loaded."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from typing import Any

from numpy.typing import NDArray

from avbench.clips import Prompt, TextRole
from avbench.media import AudioInfo, VideoInfo, View
from avbench.weights.config import WeightsConfig
from avbench.weights.locate import checkpoint_digest, checkpoint_licence, unusable


@dataclass(frozen=True)
class LoadContext:
    """Context of loading a network: the weights in use, a torch device string, and the precision in `setup`."""

    setup: WeightsConfig
    device: str


@dataclass(frozen=True)
class Backbone:
    """One network with its weights, loaded at most once per process and shared by the encoders that name it.

    Attributes:
        name: identity of the network.
        load: builds the network with its weights, in eval mode; the only place that imports its package.
        row: name of its checkpoint in `avbench.weights.checkpoints`, or None when the weights come inside a package.
        packaged_digest: identity of weights that come inside a package.
        packages: importable modules that `load` needs.
        extra: name of the avbench extra that installs them.
        packaged_licence: licence of weights that come inside a package.
        deferred: it is large, so clips are decoded first and then embedded network by network. False for small ones
            that run along with decoding.
        chosen: name of its checkpoint under a setup, where a run may choose among several; `row` is then the default.
    """

    name: str
    load: Callable[[LoadContext], Any]
    row: str | None = None
    packaged_digest: Callable[[], str] | None = None
    packages: tuple[str, ...] = ("torch",)
    extra: str = "models"
    packaged_licence: str = ""
    deferred: bool = True
    chosen: Callable[[WeightsConfig], str] | None = None

    def row_in(self, setup: WeightsConfig) -> str | None:
        """Name of its checkpoint under a setup."""
        return self.row if self.chosen is None else self.chosen(setup)

    @property
    def licence(self) -> str:
        """Licence of the weights."""
        return checkpoint_licence(self.row) if self.row else self.packaged_licence

    def missing(self, setup: WeightsConfig) -> str | None:
        """Why it cannot be loaded here, with the cure; None when it can."""
        absent = [name for name in self.packages if find_spec(name) is None]
        if absent:
            return f"not installed: {', '.join(absent)}; pip install 'avbench[{self.extra}]'"
        row = self.row_in(setup)
        return unusable(row, setup) if row else None

    def digest(self, setup: WeightsConfig) -> str:
        """Identity of the weights in use, with the precision they run at where it is not fp32."""
        if self.packaged_digest is not None:
            return self.packaged_digest()
        suffix = "" if setup.precision == "fp32" else f":{setup.precision}"
        row = self.row_in(setup)
        return (checkpoint_digest(row, setup) if row else self.name) + suffix


@dataclass(frozen=True)
class ClipInput:
    """Input of an encoder for one clip.

    Attributes:
        views: the arrays of the encoder's views, in its order; possibly memory-mapped, read-only.
        text: the prompt text of the encoder's role, or None.
        video, audio: metadata of the tracks; None where the encoder reads no such track.
    """

    views: tuple[NDArray[Any], ...]
    text: str | None = None
    video: VideoInfo | None = None
    audio: AudioInfo | None = None


Run = Callable[[Any, Sequence[ClipInput]], Sequence[NDArray[Any]]]
"""(network, clips) -> one array per clip, in order. Splits its work into batches with `batched`."""


@dataclass(frozen=True)
class Encoder:
    """One way of embedding a clip or a text: a backbone, what it reads, and the preprocessing.

    Attributes:
        name, version: identity; raise `version` when preprocessing changes a number.
        backbone: the network.
        run: preprocessing and forward passes for several clips at once.
        views: what it consumes of a clip; empty for a text encoder.
        text: which prompt text it consumes; None for none.
    """

    name: str
    version: int
    backbone: Backbone
    run: Run
    views: tuple[View, ...] = ()
    text: TextRole | None = None

    def text_of(self, prompt: Prompt) -> str | None:
        """The prompt text that it consumes, or None."""
        return None if self.text is None else prompt.for_role(self.text)

    def feature_space(self, setup: WeightsConfig) -> str:
        """Name for its embeddings of clips in a run folder: one for each way of computing them."""
        digest = hashlib.sha256(f"{self.version}:{self.backbone.digest(setup)}".encode()).hexdigest()[:12]
        return f"{self.name}-{digest}"
