"""EncoderStore: each network loaded once, each (clip, encoder) embedded once."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from typing import Any

from numpy.typing import NDArray

from avbench.encoders.base import Encoder, Network
from avbench.media import Media

EmbeddingKey = tuple[str, str, int, str]


class EncoderStore:
    """Holds networks and embeddings for the clips at hand.

    Args:
        device: where networks run, for example "cpu" or "cuda:0".
        max_resident: networks kept loaded; the least recently used one leaves.
    """

    def __init__(self, device: str = "cpu", max_resident: int = 2) -> None:
        if max_resident < 1:
            raise ValueError(f"max_resident must be at least 1, got {max_resident}")
        self.device = device
        self.max_resident = max_resident
        self._networks: OrderedDict[str, Network] = OrderedDict()
        self._embeddings: dict[EmbeddingKey, NDArray[Any]] = {}

    def embed(self, encoder: Encoder, media: Media) -> NDArray[Any]:
        """The embedding of one clip, computed at most once."""
        self.prefetch(encoder, [media])
        return self._embeddings[self._key(encoder, media)]

    def prefetch(self, encoder: Encoder, batch: Sequence[Media]) -> None:
        """Embed every clip of a batch that is not embedded yet, in one forward."""
        wanted = {self._key(encoder, media): media for media in batch}
        todo = {key: media for key, media in wanted.items() if key not in self._embeddings}
        if not todo:
            return
        network = self._network(encoder)
        outputs = network([media.view(encoder.view) for media in todo.values()])
        self._embeddings.update(zip(todo, outputs, strict=True))

    def forget(self, media_key: str) -> None:
        """Drop the embeddings of a clip that is done, so that memory does not grow with the clip count."""
        for key in [key for key in self._embeddings if key[0] == media_key]:
            del self._embeddings[key]

    def _network(self, encoder: Encoder) -> Network:
        if encoder.name not in self._networks:
            while len(self._networks) >= self.max_resident:
                self._networks.popitem(last=False)
            self._networks[encoder.name] = encoder.load(self.device)
        self._networks.move_to_end(encoder.name)
        return self._networks[encoder.name]

    @staticmethod
    def _key(encoder: Encoder, media: Media) -> EmbeddingKey:
        return (media.key, encoder.name, encoder.version, encoder.weights_digest())
