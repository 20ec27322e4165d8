"""Clip, Prompt and Category: frozen values, no I/O."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Literal

TextRole = Literal[
    "text", "video", "audio", "speech", "language", "objects", "color", "relation", "scene", "style", "action"
]
"""Which text of a prompt a metric or encoder reads: the joint one, another caption, or a field of `Expected`."""

PERSON_IS = "person is "
"""What stands before the action in VBench's prompts: "A person is riding a bike"."""


@dataclass(frozen=True)
class Expected:
    """What a clip of this prompt must show, in words that a detector or classifier knows; None where not stated.

    Attributes:
        objects: a class of COCO, or two: "dog", "dog and cat".
        color: colour of the object: "red".
        relation: two classes and where the first is: "bicycle | on the left of | car".
        scene: kind of place: "botanical garden".
        style: how it is drawn: "Van Gogh style".
        action: a label of Kinetics-400: "riding a bike".
    """

    objects: str | None = None
    color: str | None = None
    relation: str | None = None
    scene: str | None = None
    style: str | None = None
    action: str | None = None

    def as_json(self) -> str | None:
        """What is stated, as a JSON object with sorted keys; None where nothing is."""
        stated = {name: value for name, value in asdict(self).items() if value is not None}
        return json.dumps(stated, sort_keys=True, ensure_ascii=False) if stated else None

    @classmethod
    def from_json(cls, text: str | None) -> Expected:
        """The value of `as_json`; keys that a later version added are left out.

        Raises:
            ValueError: no JSON object of texts.
        """
        stated = json.loads(text) if text else {}
        if not isinstance(stated, dict) or not all(isinstance(value, str) for value in stated.values()):
            raise ValueError(f"{text!r:.60} is not a JSON object of texts")
        return cls(**{name: value for name, value in stated.items() if name in cls.__dataclass_fields__})


@dataclass(frozen=True)
class Prompt:
    """The texts that a clip was generated from, and what it must show and say.

    A joint prompt alone is common; benchmarks with separate captions for video and audio fill the
    other two. Each text is None where the source gives none.

    Attributes:
        text, video_text, audio_text: joint prompt, caption of the video, caption of the audio.
        prompt_id: names the prompt in its list.
        expected: what must be seen.
        speech_text: the words that must be spoken, in order and nothing else. Never guessed from quotation marks.
        speech_language: Whisper's code of their language, mostly ISO 639-1: "de".
    """

    text: str | None = None
    video_text: str | None = None
    audio_text: str | None = None
    prompt_id: str | None = None
    expected: Expected = Expected()
    speech_text: str | None = None
    speech_language: str | None = None

    @property
    def for_video(self) -> str | None:
        """Text that judges the video: `video_text`, else the joint text."""
        return self.video_text or self.text

    @property
    def for_audio(self) -> str | None:
        """Text that judges the sound: `audio_text`, else the joint text."""
        return self.audio_text or self.text

    def for_role(self, role: TextRole) -> str | None:
        """The text that a metric with this role reads.

        With a colour come the object that must have it and the joint text, which may name that object, and with the
        spoken words their language where one is stated: identities, not sentences. An action that is not stated is
        named by a text for the video with "person is" in it.
        """
        if role == "color":
            expected = self.expected
            return expected.color and " | ".join([expected.color, expected.objects or "", self.text or ""])
        if role == "action":
            return self.expected.action or self._text_of_a_person
        if role == "speech" and self.speech_text and self.speech_language:
            return f"{self.speech_language}: {self.speech_text}"
        texts = {
            "text": self.text, "video": self.for_video, "audio": self.for_audio,
            "speech": self.speech_text, "language": self.speech_language,
        }  # fmt: skip
        return texts[role] if role in texts else getattr(self.expected, role)

    @property
    def _text_of_a_person(self) -> str | None:
        return self.for_video if PERSON_IS in (self.for_video or "").lower() else None

    @property
    def is_empty(self) -> bool:
        """Whether no text at all is known, and no words to be spoken."""
        return not (self.text or self.video_text or self.audio_text or self.speech_text)


@dataclass(frozen=True, order=True)
class Category:
    """One label of a clip under one aspect, for example ("Sound Type", "Speech sounds")."""

    aspect: str
    name: str


@dataclass(frozen=True)
class RemoteFile:
    """A file in object storage or on a web server, or a part of one. It is fetched for the time that it is read.

    Attributes:
        url: its address; never shown as it is, because signed links carry secrets.
        start: first byte that is meant.
        size: bytes that are meant; None for all from `start` on.
        identity: what told its state when it was listed; empty if unknown. A part is of that state, or cannot be read.
        hosts: hosts that the user named, which may be on private ranges.
    """

    url: str = field(repr=False)
    start: int = 0
    size: int | None = None
    identity: str = ""
    hosts: frozenset[str] = frozenset()


@dataclass(frozen=True)
class Clip:
    """One generated video with sound, as the source names it. Nothing here has been opened yet.

    Attributes:
        clip_id: unique within a source and stable between runs.
        video: the video file (with the sound, where `audio` is None).
        audio: a sound file that replaces the embedded track, or None.
        sample_index: which of n generations for the same prompt.
        remote_video, remote_audio: where the files are if not on this machine; `video` and `audio` then only name them.
    """

    clip_id: str
    video: Path
    audio: Path | None = None
    prompt: Prompt = field(default_factory=Prompt)
    categories: tuple[Category, ...] = ()
    model: str | None = None
    sample_index: int = 0
    remote_video: RemoteFile | None = None
    remote_audio: RemoteFile | None = None

    @property
    def local_files(self) -> tuple[Path, ...]:
        """Its files on this machine."""
        named = ((self.video, self.remote_video), (self.audio, self.remote_audio))
        return tuple(path for path, remote in named if path is not None and remote is None)

    @property
    def is_remote(self) -> bool:
        """Whether a file of it has to be fetched."""
        return self.remote_video is not None or self.remote_audio is not None

    @property
    def prompt_key(self) -> PromptKey:
        """Key of its prompt; samples of one prompt have equal keys."""
        prompt = self.prompt
        return prompt_key(
            self.clip_id, prompt.prompt_id, prompt.text, prompt.video_text, prompt.audio_text, prompt.speech_text
        )


PromptKey = tuple[str | None, ...]
"""Key of a prompt; clips with equal keys are samples of one prompt."""


def prompt_key(clip_id: str, prompt_id: str | None, *texts: str | None) -> PromptKey:
    """The prompt of a clip: its id, else its texts, spoken words among them; a clip without prompt is its own."""
    if prompt_id is not None:
        return ("id", prompt_id)
    return ("texts", *texts) if any(texts) else ("clip", clip_id)


PROMPT_COLUMNS = ("prompt_id", "text", "video_text", "audio_text", "speech_text")
"""Columns of the clip table that `prompt_key` takes, in its order."""


def clip_digest(files: Iterable[bytes]) -> str:
    """`clip_sha256`: sha256 over the sha256 digests of the clip's files, video first, then its sound file if any."""
    return hashlib.sha256(b"".join(files)).hexdigest()
