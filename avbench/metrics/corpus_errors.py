"""Word and character errors of a whole run: all edits over all words, beside the mean over clips."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from avbench.metrics.base import Score
from avbench.metrics.derived import JudgedClip, derived_scorer
from avbench.statistics.intervals import jackknife_interval

_METADATA: dict[str, Any] = {
    "family": "speech",
    "unit": "1",
    "higher_is_better": False,
    "range": (0.0, math.inf),
    "needs": ("audio",),
    "version": 2,
    "source": "speech recognition's usual error rate of a corpus",
    "caveat": "Long texts weigh more than in the mean over clips; clips without a score are not in it.",
}


def corpus_rate(clips: Sequence[JudgedClip], metric: str) -> Score:
    """Sum of errors over the sum of lengths of the references, with an interval over prompts.

    The detail counts the clips, those asked, and those in which nobody spoke, and has the mean of the clips' rates.
    """
    asked = [each for each in clips if each.clip.prompt.speech_text]
    if len({each.clip.model for each in asked}) > 1:
        return Score.skipped("clips of several models: score each model into a run of its own")
    scored = [(each, each.scores[metric]) for each in asked if metric in each.scores]
    ok = [(each, score) for each, score in scored if score.value is not None]
    if not ok:
        return Score.skipped(f"no clip has a {metric}")
    counts = [[score.detail[name] for name in ("substitutions", "deletions", "insertions", "hits")] for _, score in ok]
    edits = np.asarray(counts, dtype=np.float64)  # (N, 4)
    errors, lengths = edits[:, :3].sum(axis=1), edits[:, [0, 1, 3]].sum(axis=1)
    whole = float(errors.sum() / lengths.sum())
    prompts = [each.clip.prompt_key for each, _ in ok]
    interval = jackknife_interval(lambda use: float(errors[use].sum() / lengths[use].sum()), whole, prompts)
    return Score.ok(
        whole,
        clips=len(ok),
        asked=len(asked),
        without_speech=sum(not score.detail["speech"] for _, score in ok),
        errors=int(errors.sum()),
        length=int(lengths.sum()),
        mean_of_clips=float(np.mean([score.value for _, score in ok])),
        **interval.within(0.0, math.inf).detail(),
    )


@derived_scorer("wer_corpus", inputs=("wer",), **_METADATA)
def wer_corpus(clips: Sequence[JudgedClip]) -> Score:
    """Word error rate of all clips together: all edits over all words of the references.

    Formula: sum of substitutions, deletions and insertions / sum of words. The mean of wer over clips differs from it.
    """
    return corpus_rate(clips, "wer")


@derived_scorer("cer_corpus", inputs=("cer",), **_METADATA)
def cer_corpus(clips: Sequence[JudgedClip]) -> Score:
    """Character error rate of all clips together: all edits over all characters of the references.

    Formula: as wer_corpus, over characters.
    """
    return corpus_rate(clips, "cer")
