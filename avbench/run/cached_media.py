"""Cache of track metadata beside the embeddings, so that a clip whose embeddings are cached is not decoded again."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

import numpy as np

from avbench.encoders import EmbeddingCache
from avbench.media import AudioInfo, Media, VideoInfo


def cached_media(cache: EmbeddingCache | None, media_key: str) -> Media | None:
    """The clip's tracks without any array; None where they are not known, or were kept in another form."""
    content = cache.metadata(_key(media_key)) if cache is not None else None
    try:
        return None if content is None else _from_json(media_key, content)
    except (KeyError, TypeError, ValueError, AttributeError):  # of another version, or damaged: the clip is decoded
        return None


def keep_media(cache: EmbeddingCache | None, media: Media) -> None:
    """Remember the tracks of a decoded clip."""
    # A problem may be gone next time: limits can be raised, and memory or packages can be added.
    if cache is not None and not media.problems:
        cache.put_metadata(_key(media.key), _to_json(media))


def _key(media_key: str) -> tuple[Any, ...]:
    return "facts", 1, media_key


def _to_json(media: Media) -> dict[str, Any]:
    video = None if media.video is None else asdict(media.video) | {"times": media.video.times.tolist()}
    return {"video": video, "audio": media.audio and asdict(media.audio), "problems": media.problems}


def _from_json(key: str, content: dict[str, Any]) -> Media:
    video = content["video"] and VideoInfo(**content["video"] | {"times": np.array(content["video"]["times"])})
    audio = content["audio"] and AudioInfo(**content["audio"] | {"gaps": tuple(map(tuple, content["audio"]["gaps"]))})
    return Media(key, video, audio, dict(content["problems"]))
