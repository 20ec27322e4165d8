"""Ovi's tags in a text: what is said stands between `<S>` and `<E>`."""

from __future__ import annotations

import re

_TAG = re.compile(r"<\s*[SE]\s*>", re.IGNORECASE)
_OPENING = re.compile(r"<\s*S\s*>", re.IGNORECASE)
# No further tag inside: behind a forgotten <E> lies the scene, and what is said there next.
_SPAN = re.compile(r"<\s*S\s*>((?:(?!<\s*[SE]\s*>).)*)<\s*E\s*>", re.IGNORECASE | re.DOTALL)


def tagged(text: str | None) -> str | None:
    """What stands between the tags, joined in order: `<S>Hello.<E> A pause. <S>You there?<E>`; None without any.

    Lower case and blanks inside a tag make no difference. An opening tag without an end of its own opens nothing.
    """
    return joined(_SPAN.findall(text or ""))


def untagged(text: str) -> str | None:
    """The spoken part of a text that is meant as spoken: what is tagged, or all of it without stray tags."""
    if not _TAG.search(text):
        return text
    return tagged(text) or joined(_TAG.split(text))


def has_unclosed(text: str | None) -> bool:
    """Whether an opening tag has no end before the next one."""
    return len(_OPENING.findall(text or "")) > len(_SPAN.findall(text or ""))


def joined(parts: list[str]) -> str | None:
    """Parts with single blanks between words; None where nothing is said."""
    return " ".join(" ".join(part.split()) for part in parts if part.strip()) or None
