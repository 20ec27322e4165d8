"""Encoders: networks that turn views into embeddings, each loaded once and run once per clip and view."""

from avbench.encoders.base import Backbone, ClipInput, Encoder, LoadContext
from avbench.encoders.cache import EmbeddingCache
from avbench.encoders.store import EncoderStore
from avbench.weights.config import WeightsConfig

Setup = WeightsConfig
"""The name that plug-ins and scripts know `WeightsConfig` by."""

__all__ = [
    "Backbone",
    "ClipInput",
    "EmbeddingCache",
    "Encoder",
    "EncoderStore",
    "LoadContext",
    "Setup",
    "WeightsConfig",
]
