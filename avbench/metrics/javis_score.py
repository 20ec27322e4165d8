"""AVHScore and JavisScore: does each frame suit the sound around it?"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from avbench.clips import Prompt
from avbench.encoders import Encoder, EncoderStore
from avbench.encoders.networks.imagebind.encoders import IMAGEBIND_AUDIO, IMAGEBIND_AUDIO_COMPAT, IMAGEBIND_FRAMES
from avbench.encoders.networks.imagebind.geometry import OVERLAP_S, WINDOW_S, Span, frame_windows
from avbench.media import Media
from avbench.metrics.base import Score, scorer
from avbench.metrics.imagebind_score import STEP_COMPAT, TOO_SHORT, Embedding, cosine

FRACTION = 0.4

_METADATA: dict[str, Any] = {
    "family": "synchrony",
    "unit": "1",
    "higher_is_better": True,
    "range": (-1.0, 1.0),
    "needs": ["video", "audio"],
    "source": "JavisDiT eval/javisbench, calc_av_score; Liu et al., arXiv 2503.23377",
}
_WINDOWS = {"window_s": WINDOW_S, "overlap_s": OVERLAP_S, "share": FRACTION}
_AVH_CAVEAT = (
    "Frames are judged one by one against the whole sound: order and timing count for nothing. Sound of over 6 s is "
    "heard in three stretches of 2 s. Values say little alone."
)
_JAVIS_CAVEAT = (
    "Windows of 2 s: a shift of half a second hardly moves the number, since still frames are compared with 2 s of "
    "sound. A clip up to 2 s long is one window of everything. Windows drift from those of the sound when 1.5 times "
    "the frame rate is no whole number. Values say little alone."
)
_COMPARE = "Only for comparison with published numbers. "


def pair_windows(frames: int, fps: float, sounds: int) -> list[Span]:
    """Frame range of each window that has a sound window beside it.

    Args:
        frames: number of frames.
        fps: nominal frame rate.
        sounds: number of sound windows, 0 when the sound is no longer than one.

    Returns:
        One range over everything where video or audio is no longer than a window, and then the whole sound is
        meant; otherwise as many as both have.
    """
    spans = frame_windows(frames, fps)
    if sounds == 0 or spans == [(0, frames)]:
        return [(0, frames)]
    return spans[:sounds]


def lowest_mean(frames: Embedding, sounds: Embedding, spans: list[Span]) -> NDArray[np.float64] | None:
    """Mean of the 40 % lowest similarities of each window.

    Args:
        frames: (T, D).
        sounds: (W, D), one for each window.
        spans: frame range of each window, all of one length.

    Returns:
        (W,), or None when 40 % of a window is less than one frame.
    """
    lowest = int(FRACTION * (spans[0][1] - spans[0][0]))
    if lowest == 0:
        return None
    values = [
        np.sort(cosine(frames[start:stop], sound))[:lowest].mean()
        for (start, stop), sound in zip(spans, sounds, strict=True)
    ]
    return np.array(values)


def _avh(media: Media, prompt: Prompt, store: EncoderStore, audio: Encoder) -> Score:
    sounds = store.embed(audio, media, prompt)
    if not len(sounds):
        return Score.skipped(TOO_SHORT)
    frames = store.embed(IMAGEBIND_FRAMES, media, prompt)
    return Score.ok(float(cosine(frames, sounds[0]).mean()), frames=len(frames))


def _javis(media: Media, prompt: Prompt, store: EncoderStore, audio: Encoder) -> Score:
    assert media.video is not None
    sounds = store.embed(audio, media, prompt)
    if not len(sounds):
        return Score.skipped(TOO_SHORT)
    frames = store.embed(IMAGEBIND_FRAMES, media, prompt)
    spans = pair_windows(len(frames), media.video.fps, len(sounds) - 1)
    whole = spans == [(0, len(frames))]
    values = lowest_mean(frames, sounds[:1] if whole else sounds[1 : 1 + len(spans)], spans)
    if values is None:
        return Score.skipped(
            f"a window holds {spans[0][1] - spans[0][0]} frames: the lowest 40 % of fewer than 3 frames is none"
        )
    return Score.ok(float(values.mean()), frames=len(frames), windows=[round(value, 4) for value in values.tolist()])


@scorer(
    "avh_score",
    encoders=(IMAGEBIND_FRAMES, IMAGEBIND_AUDIO),
    params={"mode": "fixed"},
    caveat=_AVH_CAVEAT,
    **_METADATA,
)
def avh_score(media: Media, prompt: Prompt, store: EncoderStore) -> Score:
    """Mean similarity of each frame and the whole sound in ImageBind.

    Formula: mean over all frames of cos(frame, audio); audio as for ta_ib.
    Every sound clip is taken from the untouched sound, unlike in JavisBench.
    """
    return _avh(media, prompt, store, IMAGEBIND_AUDIO)


@scorer(
    "avh_score_compat",
    encoders=(IMAGEBIND_FRAMES, IMAGEBIND_AUDIO_COMPAT),
    params={"mode": "compat", "flags": "ib_inplace_mean"},
    caveat=_COMPARE + STEP_COMPAT + _AVH_CAVEAT,
    **_METADATA,
)
def avh_score_compat(media: Media, prompt: Prompt, store: EncoderStore) -> Score:
    """AVHScore as JavisBench computes it: the mean of each sound clip is subtracted in place.

    Formula: as avh_score, of sound clips that see the means of those before them.
    """
    return _avh(media, prompt, store, IMAGEBIND_AUDIO_COMPAT)


@scorer(
    "javis_score",
    encoders=(IMAGEBIND_FRAMES, IMAGEBIND_AUDIO),
    params={"mode": "fixed", **_WINDOWS},
    caveat=_JAVIS_CAVEAT,
    **_METADATA,
)
def javis_score(media: Media, prompt: Prompt, store: EncoderStore) -> Score:
    """Similarity of frames and sound in windows of 2 s, by the worst 40 % of each window.

    Formula: mean over windows of the mean of the int(0.4 N) lowest cos(frame, audio) among a window's N frames; windows
    overlap by 1.5 s. Windows of fewer than 3 frames have no lowest 40 %, and the clip is skipped. The detail lists the
    windows' values.
    Every window is taken from the untouched sound, unlike in JavisBench.
    """
    return _javis(media, prompt, store, IMAGEBIND_AUDIO)


@scorer(
    "javis_score_compat",
    encoders=(IMAGEBIND_FRAMES, IMAGEBIND_AUDIO_COMPAT),
    params={"mode": "compat", "flags": "ib_inplace_mean", **_WINDOWS},
    caveat=_COMPARE + STEP_COMPAT + _JAVIS_CAVEAT,
    **_METADATA,
)
def javis_score_compat(media: Media, prompt: Prompt, store: EncoderStore) -> Score:
    """JavisScore as JavisBench computes it: the mean of each sound window is subtracted in place.

    Formula: as javis_score, of windows that see the means of all before them.
    """
    return _javis(media, prompt, store, IMAGEBIND_AUDIO_COMPAT)
