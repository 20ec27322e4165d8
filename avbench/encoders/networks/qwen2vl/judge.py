"""A judge: network, tokenizer and template together, and its answers to clips. Imports torch."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from avbench.encoders.networks.qwen2vl.inputs import patches, tokens_of
from avbench.encoders.networks.qwen2vl.network import RewardNetwork
from avbench.encoders.networks.qwen2vl.prompts import SPECIAL, VOCABULARY, Tokenize, prompt_ids


@dataclass(frozen=True)
class Judge:
    """A loaded judge: network, tokenizer, template.

    Attributes:
        network: in eval mode, on its device.
        tokenize: text -> token ids.
        template: what the user says, with the placeholder {text_prompt} for the caption.
        pad: token that stands for a piece of image or of video.
        answers: number of tokens at which the head is read; they end the vocabulary.
    """

    network: RewardNetwork
    tokenize: Tokenize
    template: str
    pad: str
    answers: int

    def rate(self, media: Sequence[NDArray[np.uint8]], caption: str) -> Tensor:
        """Outputs of the reward head for images or videos of one size with one caption.

        Args:
            media: each uint8 (k, H, W, 3), all of one shape.
            caption: text that the image should show.

        Returns:
            (B, answers, K) float32.
        """
        device = self.network.model.embed_tokens.weight.device
        rows, grids = zip(*(patches(frames, device) for frames in media), strict=True)
        ids = prompt_ids(self.tokenize, self.pad, tokens_of(grids[0]), self.template.format(text_prompt=caption))
        batch = torch.tensor([ids] * len(media), device=device)
        hidden = self.network(batch, torch.cat(rows), torch.tensor(grids, device=device), SPECIAL[self.pad])
        return self.network.rewards(hidden, batch, VOCABULARY, self.answers)
