"""Text embeddings with the token count of their text, so that a score can report that the text was cut."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from torch import Tensor


def with_counts(features: Tensor, counts: Sequence[int]) -> Tensor:
    """Text features (B, D) and the token counts of the texts as float32 (B, D + 1)."""
    import torch

    column = torch.tensor(counts, dtype=torch.float32, device=features.device)[:, None]
    return torch.cat([features.float(), column], dim=1)


def split_text(embedding: NDArray[np.float32]) -> tuple[NDArray[np.float32], int]:
    """Text features (D,) and the token count of the whole text, start and end included, of an embedding (D + 1,)."""
    return embedding[:-1], int(embedding[-1])
