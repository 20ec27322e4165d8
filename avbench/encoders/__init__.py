"""Encoders: networks that turn views into embeddings, each loaded once and run once per clip and view."""

from avbench.encoders.base import Encoder, Network
from avbench.encoders.store import EncoderStore

__all__ = ["Encoder", "EncoderStore", "Network"]
