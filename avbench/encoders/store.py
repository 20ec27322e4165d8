"""EncoderStore: each network loaded once, each (clip, encoder) and each (text, encoder) embedded once."""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from collections.abc import Collection, Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from avbench.clips import Prompt
from avbench.encoders.base import Backbone, ClipInput, Encoder, LoadContext
from avbench.encoders.cache import EmbeddingCache
from avbench.errors import EnvironmentProblem, NonFiniteError
from avbench.media import Media
from avbench.weights.config import WeightsConfig

EmbeddingKey = tuple[str, str, int, str]

# Clips handed to an encoder at a time: enough to fill batches, few enough that finished scores are written often.
GROUP = 8
# Texts repeat over the samples of a prompt, so their embeddings stay: 4 kB each, 16 MB at most.
_TEXTS_KEPT = 4096


class EncoderStore:
    """Holds networks, and embeddings of the clips at hand.

    Args:
        device: where networks run, for example "cpu" or "cuda:0".
        max_resident: networks kept loaded; the least recently used one leaves.
        setup: weights and precision.
        cache: embeddings on disk; None for none.
    """

    def __init__(
        self,
        device: str = "cpu",
        max_resident: int = 2,
        setup: WeightsConfig | None = None,
        cache: EmbeddingCache | None = None,
    ) -> None:
        if max_resident < 1:
            raise ValueError(f"max_resident must be at least 1, got {max_resident}")
        self.device = device
        self.max_resident = max_resident
        self.setup = setup or WeightsConfig()
        self.cache = cache
        self._networks: OrderedDict[str, Any] = OrderedDict()
        self._embeddings: dict[EmbeddingKey, NDArray[Any]] = {}
        self._texts: OrderedDict[EmbeddingKey, NDArray[Any]] = OrderedDict()
        self._failures: dict[EmbeddingKey, Exception] = {}
        self._digests: dict[str, str] = {}

    def embed(self, encoder: Encoder, media: Media, prompt: Prompt | None = None) -> NDArray[Any]:
        """The embedding of one clip, or of its prompt text; computed at most once.

        Raises:
            EnvironmentProblem: the network cannot be loaded or run at all.
            Exception: what went wrong with this clip.
        """
        prompt = prompt or Prompt()
        key = self._key(encoder, media.key, prompt)
        if not self._known(key):
            self.prefetch(encoder, [(media, prompt)])
        if key in self._failures:
            raise self._failures[key]
        return self._texts[key] if key in self._texts else self._embeddings[key]

    def has(self, encoder: Encoder, media_key: str, prompt: Prompt) -> bool:
        """Whether the embedding is at hand or on disk, so that the clip need not be decoded for it."""
        key = self._key(encoder, media_key, prompt)
        return key in self._embeddings or key in self._texts or bool(self.cache and self.cache.has_array(key))

    def prefetch(self, encoder: Encoder, clips: Sequence[tuple[Media, Prompt]]) -> None:
        """Embed every clip that is not embedded yet, several in one forward. Failures wait for `embed`.

        Raises:
            EnvironmentProblem: the network cannot be loaded or run at all.
        """
        todo: dict[EmbeddingKey, tuple[Media, Prompt]] = {}
        for media, prompt in clips:
            key = self._key(encoder, media.key, prompt)
            if not self._known(key) and not self._recall(encoder, key):
                todo[key] = (media, prompt)
        inputs: dict[EmbeddingKey, ClipInput] = {}
        for key, (media, prompt) in todo.items():
            try:
                inputs[key] = clip_input(encoder, media, prompt)
            except Exception as error:  # noqa: BLE001 - a view that failed; raised to whoever asks for this clip
                self._failures[key] = error
        for key, value in self._run(encoder, inputs):
            if isinstance(value, Exception):
                self._failures[key] = value
            elif not np.isfinite(value).all():
                self._failures[key] = NonFiniteError(f"non-finite: {encoder.name} gave NaN or infinite values")
            else:
                self._keep(encoder, key, value)
                if self.cache is not None:
                    self.cache.put_array(key, value)

    def forget(self, media_key: str, keep: Collection[str] = ()) -> None:
        """Drop the embeddings of a clip that is done, so that memory does not grow with the clip count.

        Args:
            media_key: the clip.
            keep: names of encoders whose embeddings are still needed.
        """
        for table in (self._embeddings, self._failures):
            for key in [key for key in table if key[0].split("|")[0] == media_key and key[1] not in keep]:
                del table[key]

    def _run(
        self, encoder: Encoder, inputs: dict[EmbeddingKey, ClipInput]
    ) -> Iterator[tuple[EmbeddingKey, NDArray[Any] | Exception]]:
        """Group by group; when a group fails, each of its clips alone, so that one bad clip costs no other."""
        keys = list(inputs)
        for start in range(0, len(keys), GROUP):
            group = keys[start : start + GROUP]
            network = self._network(encoder.backbone)
            try:
                yield from zip(group, encoder.run(network, [inputs[key] for key in group]), strict=True)
                continue
            except (EnvironmentProblem, MemoryError):
                raise
            except Exception as error:  # noqa: BLE001 - kept, and raised to whoever asks for this clip
                if len(group) == 1:
                    yield group[0], _as_avbench_error(error, encoder)
                    continue
            for key in group:
                yield from self._run(encoder, {key: inputs[key]})

    def _network(self, backbone: Backbone) -> Any:
        if backbone.name not in self._networks:
            while len(self._networks) >= self.max_resident:
                self._networks.popitem(last=False)
            try:
                self._networks[backbone.name] = backbone.load(LoadContext(self.setup, self.device))
            except RuntimeError as error:
                if "out of memory" not in str(error).lower():
                    raise EnvironmentProblem(f"{backbone.name} cannot be loaded: {error}") from error
                raise EnvironmentProblem(
                    f"{backbone.name} does not fit on {self.device}. Keep one network loaded (max_resident 1), "
                    "take precision bf16, or another device."
                ) from error
        self._networks.move_to_end(backbone.name)
        return self._networks[backbone.name]

    def _known(self, key: EmbeddingKey) -> bool:
        return key in self._embeddings or key in self._texts or key in self._failures

    def _recall(self, encoder: Encoder, key: EmbeddingKey) -> bool:
        value = self.cache.array(key) if self.cache is not None else None
        if value is None:
            return False
        self._keep(encoder, key, value)
        return True

    def _keep(self, encoder: Encoder, key: EmbeddingKey, value: NDArray[Any]) -> None:
        if encoder.views:
            self._embeddings[key] = value
            return
        self._texts[key] = value
        while len(self._texts) > _TEXTS_KEPT:
            self._texts.popitem(last=False)

    def _key(self, encoder: Encoder, media_key: str, prompt: Prompt) -> EmbeddingKey:
        text = encoder.text_of(prompt)
        parts = [media_key] if encoder.views else []
        if encoder.text is not None:
            parts.append("text " + hashlib.sha256((text or "").encode()).hexdigest())
        backbone = encoder.backbone
        if backbone.name not in self._digests:  # looks at files; a store outlives no change of weights
            self._digests[backbone.name] = backbone.digest(self.setup)
        return ("|".join(parts), encoder.name, encoder.version, self._digests[backbone.name])


def clip_input(encoder: Encoder, media: Media, prompt: Prompt) -> ClipInput:
    """The encoder's input for a clip.

    Raises:
        LookupError: the clip lacks a track that the encoder reads.
    """
    return ClipInput(
        tuple(media.view(view) for view in encoder.views), encoder.text_of(prompt), media.video, media.audio
    )


def _as_avbench_error(error: Exception, encoder: Encoder) -> Exception:
    if type(error).__name__ == "OutOfMemoryError":
        return EnvironmentProblem(f"{encoder.name} runs out of memory on one clip. Take precision bf16.")
    return error
