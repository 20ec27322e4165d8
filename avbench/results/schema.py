"""The rows of a run's tables. The result schema lives here and only here."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import MISSING, dataclass, fields, replace
from typing import Literal

from avbench.clips import Expected, Prompt

SCHEMA_VERSION = 2
"""2: intervals take prompts as clusters, and say why where there is none."""
UNAVAILABLE = "unavailable"
"""`weights_digest` of rows that were skipped because this machine lacks a package or weights."""


@dataclass(frozen=True)
class ScoreRow:
    """One line of the long table. `value` is null unless `status` is "ok"; never NaN, never a stand-in 0.

    `scope` is "clip" for per-clip metrics; set metrics use "all" or "aspect/category" and no clip_id.
    `detail` is a JSON object for reports. `seconds` is the time that this metric took for this clip.
    """

    schema_version: int
    run_id: str
    model: str | None
    suite: str
    suite_version: str
    scope: str
    clip_id: str | None
    clip_sha256: str
    prompt_id: str | None
    sample_index: int
    metric: str
    value: float | None
    status: Literal["ok", "skipped", "error"]
    reason: str
    metric_version: int
    params_digest: str
    weights_digest: str
    seconds: float
    detail: str = "{}"

    @property
    def key(self) -> tuple[str, str, int, str, str]:
        """Resume key: content and computation; not name, order, rank or machine."""
        return (self.clip_sha256, self.metric, self.metric_version, self.params_digest, self.weights_digest)

    @property
    def outcome(self) -> tuple[str, float | None, str, str]:
        """What was found, without whose clip it was and how long it took."""
        return (self.status, self.value, self.reason, self.detail)


# Columns of the prompt that came after those of the media.
_LATER = ("expected", "speech_text", "speech_language")


@dataclass(frozen=True)
class ClipRow:
    """One clip as it was understood and decoded; media metadata is null where unknown."""

    clip_id: str
    model: str | None
    sample_index: int
    prompt_id: str | None
    text: str | None
    video_text: str | None
    audio_text: str | None
    video_path: str
    audio_path: str | None
    clip_sha256: str
    audio_source: str | None = None
    duration: float | None = None
    audio_duration: float | None = None
    fps: float | None = None
    frames: int | None = None
    width: int | None = None
    height: int | None = None
    sample_rate: int | None = None
    channels: int | None = None
    problem: str | None = None
    # What follows is the prompt's, though it stands behind what old folders hold.
    expected: str | None = None  # JSON of clips.Expected
    speech_text: str | None = None
    speech_language: str | None = None

    @property
    def prompt(self) -> Prompt:
        """The prompt that it was made from."""
        expected = Expected.from_json(self.expected)
        texts = self.text, self.video_text, self.audio_text
        return Prompt(*texts, self.prompt_id, expected, self.speech_text, self.speech_language)

    @property
    def is_decoded(self) -> bool:
        """Whether anything is known of its content."""
        return (self.duration, self.audio_duration, self.problem) != (None,) * 3

    def with_media_of(self, decoded: ClipRow) -> ClipRow:
        """The names and prompts of this clip, with the media metadata of another row of the same content."""
        media = [column.name for column in fields(self) if column.default is not MISSING]
        names = [name for name in media if name not in _LATER]
        return replace(self, **{name: getattr(decoded, name) for name in names})


@dataclass(frozen=True)
class LabelRow:
    """One line of the category table."""

    clip_id: str
    aspect: str
    category: str


def set_digest(shas: Iterable[str]) -> str:
    """Identity of a set of clips: digest of their sorted content digests."""
    return hashlib.sha256("\n".join(sorted(shas)).encode()).hexdigest()
