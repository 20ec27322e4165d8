"""HPSv3 over the frames of a clip, and OmniNFT's reward from it."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from avbench.clips import Prompt
from avbench.encoders import Encoder, EncoderStore
from avbench.encoders.networks.hpsv3 import HPSV3
from avbench.media import Media
from avbench.metrics.human_preference import best_mean, hpsv3, reward_hpsv3

PROMPT = Prompt("joint", "video", "audio")
RATINGS = np.array([[1.0, 9.0], [20.0, 9.0], [3.0, 9.0], [-2.0, 9.0], [8.0, 9.0]], np.float32)


class FakeStore(EncoderStore):
    def embed(self, encoder: Encoder, media: Media, prompt: Prompt | None = None) -> Any:
        return RATINGS


def clip() -> Media:
    return Media.from_arrays("clip", np.zeros((3, 8, 8, 3), np.uint8), 24.0)


def test_plain_mean_is_neither_capped_nor_picked() -> None:
    score = hpsv3(clip(), PROMPT, FakeStore())
    assert score.value == pytest.approx(6.0)
    assert score.detail["frames"] == RATINGS[:, 0].tolist()


def test_reward_is_the_capped_mean_of_the_best_two() -> None:
    assert reward_hpsv3(clip(), PROMPT, FakeStore()).value == pytest.approx((15 + 8) / 2)


@pytest.mark.parametrize(("count", "best"), [(1, 1), (3, 1), (4, 2), (5, 2), (10, 3)])
def test_share_is_rounded_up_to_whole_frames(count: int, best: int) -> None:
    means = np.arange(count, dtype=np.float32)
    assert best_mean(means) == pytest.approx(np.mean(np.arange(count)[-best:]))


def test_reads_the_video_prompt() -> None:
    assert hpsv3.prompt_text(PROMPT) == reward_hpsv3.prompt_text(PROMPT) == HPSV3.text_of(PROMPT) == "video"
