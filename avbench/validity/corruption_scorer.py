"""Score one clip under every corruption, with metrics that share their networks."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

from avbench.clips import Prompt
from avbench.encoders import Encoder, EncoderStore, WeightsConfig
from avbench.media import Media, View, Waveform
from avbench.metrics.base import Need, Score, Scorer
from avbench.run.jobs import ClipJob, Stopped
from avbench.run.score_clip import ClipScores
from avbench.validity.corruptions import USUAL, Corruption, Inapplicable, Variant, corrupt, seed_of
from avbench.validity.decoding import Case, open_arrays


@dataclass(frozen=True)
class Row:
    """One score: clip x metric x corruption x level. Level 0 is the clip as it was decoded."""

    clip_id: str
    clip_sha256: str
    metric: str
    corruption: str
    level: int
    severity: str
    value: float | None
    status: Literal["ok", "skipped", "error"]
    reason: str


class TrackStore(EncoderStore):
    """Embeds what a corruption leaves alone from the untouched clip, so that it is embedded once for all severities."""

    untouched: Media | None = None
    touches: Need = "prompt"

    def embed(self, encoder: Encoder, media: Media, prompt: Prompt | None = None) -> Any:
        """See `EncoderStore.embed`."""
        if self.untouched is not None and self.touches not in {_track(view) for view in encoder.views}:
            media = self.untouched
        return super().embed(encoder, media, prompt)


def _track(view: View) -> Need:
    return "audio" if isinstance(view, Waveform) else "video"


class CorruptionScorer:
    """Scores clips with some metrics; their networks stay loaded.

    Args:
        scorers: metrics of single clips.
        device: where networks run.
        setup: weights and precision.
        seed: of noise and of the choice of dropped frames.
        stopped: metrics that could not go on; written here.
        corruptions: what is done to clips.
    """

    def __init__(
        self,
        scorers: Sequence[Scorer],
        device: str,
        setup: WeightsConfig,
        seed: int,
        stopped: Stopped,
        corruptions: Sequence[Corruption] = USUAL,
    ) -> None:
        self.scorers = scorers
        self.corruptions = corruptions
        self.seed = seed
        self.stopped = stopped
        networks = {backbone.name for scorer in scorers for backbone in scorer.backbones}
        self.store = TrackStore(device, max(1, len(networks)), setup)

    def score(self, case: Case) -> Iterator[Row]:
        """All rows of one clip. The untouched clip is scored once and is level 0 of every corruption."""
        media = open_arrays(case.media)
        self.store.untouched = None
        baseline = self._judge(case.job, media, self.scorers)
        self.store.untouched = media
        clip = case.job.clip
        for corruption in self.corruptions:
            noticing = [scorer for scorer in self.scorers if corruption.concerns(scorer.needs)]
            self.store.touches = corruption.touches
            for level, severity in enumerate(corruption.labels if noticing else ()):
                scores = self._at_severity(case, media, corruption, level, noticing) if level else baseline
                for name in (scorer.name for scorer in noticing):
                    value, status, reason = scores[name].value, scores[name].status, scores[name].reason
                    yield Row(
                        clip.clip_id, case.job.sha256, name, corruption.name, level, severity, value, status, reason
                    )  # fmt: skip
        self.store.forget(media.key)

    def _at_severity(
        self, case: Case, media: Media, corruption: Corruption, level: int, scorers: Sequence[Scorer]
    ) -> dict[str, Score]:
        key = f"{media.key}:{corruption.name}:{level}"
        seed = seed_of(self.seed, case.job.sha256, corruption.name)
        variant = Variant(corruption.severities[level - 1], seed, open_arrays(case.donor) if case.donor else None)
        try:
            job = _with_wrong_prompt(case) if corruption.touches == "prompt" else case.job
            damaged = corrupt(corruption, media, variant, key)
        except Inapplicable as reason:
            return {scorer.name: Score.skipped(str(reason)) for scorer in scorers}
        scores = self._judge(job, damaged, scorers)
        self.store.forget(key)
        return scores

    def _judge(self, job: ClipJob, media: Media, scorers: Sequence[Scorer]) -> dict[str, Score]:
        scores = ClipScores(job)
        results: dict[str, Score] = {}
        for scorer in scorers:
            if reason := self.stopped.reason(scorer.name):
                results[scorer.name] = Score.error(reason)
                continue
            scores.score(scorer, media, self.store)
            row = scores.rows[-1]
            results[scorer.name] = Score(row.value, row.status, row.reason)
            self.stopped.add(scores.stopped)
        return results


def _with_wrong_prompt(case: Case) -> ClipJob:
    if case.prompt is None:
        raise Inapplicable("no other clip of this source has another prompt")
    return replace(case.job, clip=replace(case.job.clip, prompt=case.prompt))
