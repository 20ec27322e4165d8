"""VQ, MQ and OmniNFT's reward from VideoAlign's logits."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from avbench.clips import Prompt
from avbench.encoders import Encoder, EncoderStore
from avbench.encoders.networks.videoalign import VIDEOALIGN, VIDEOALIGN_24
from avbench.media import Media
from avbench.metrics.base import Scorer
from avbench.metrics.video_quality import mq, normalised, reward_videoalign, vq

LOGITS = {VIDEOALIGN.name: (3.0, -1.0, 2.0), VIDEOALIGN_24.name: (1.4281, 5.0, 5.3226)}
PROMPT = Prompt("joint", "video", "audio")


class FakeStore(EncoderStore):
    def embed(self, encoder: Encoder, media: Media, prompt: Prompt | None = None) -> Any:
        return np.array(LOGITS[encoder.name], np.float32)


def clip(frames: int) -> Media:
    return Media.from_arrays("clip", np.zeros((frames, 8, 8, 3), np.uint8), 24.0)


@pytest.mark.parametrize(("scorer", "value"), [(vq, 3.0), (mq, -1.0)])
def test_javisbench_takes_logits_as_they_are(scorer: Scorer, value: float) -> None:
    assert scorer(clip(2), PROMPT, FakeStore()).value == value
    assert scorer.prompt_text(PROMPT) == VIDEOALIGN.text_of(PROMPT) == "joint"


def test_reward_is_the_mean_of_normalised_looks_and_fit() -> None:
    """(1.4281 - 3.6757) / 2.2476 = -1 and (5.3226 - 2.8105) / 2.5121 = 1; motion is left out."""
    score = reward_videoalign(clip(2), PROMPT, FakeStore())
    assert score.value == pytest.approx(0.0, abs=1e-6)
    assert score.detail["VQ"] == pytest.approx(-1.0, abs=1e-6)
    assert score.detail["TA"] == pytest.approx(1.0, abs=1e-6)
    assert reward_videoalign.prompt_text(PROMPT) == VIDEOALIGN_24.text_of(PROMPT) == "video"
    assert normalised("MQ", 1.1646 + 1.3811) == pytest.approx(1.0)


@pytest.mark.parametrize("scorer", [vq, mq, reward_videoalign])
def test_one_frame_is_no_video(scorer: Scorer) -> None:
    score = scorer(clip(1), PROMPT, FakeStore())
    assert score.status == "skipped"
    assert "2 frames" in score.reason
