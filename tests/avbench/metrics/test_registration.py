"""What `scorer` takes from a function: its summary, its family and which arguments it wants."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from avbench import Prompt, Score, scorer
from avbench.direction import Direction
from avbench.encoders import EncoderStore
from avbench.media import Media
from avbench.metrics import base as registry_module

METADATA: dict[str, Any] = {
    "unit": "1", "higher_is_better": False, "range": (0.0, 1.0), "source": "test", "needs": ("video",),
}  # fmt: skip
MEDIA, PROMPT, STORE = Media("key", None, None), Prompt("a ball"), EncoderStore()


@pytest.fixture(autouse=True)
def registry(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(registry_module, "_REGISTRY", dict(registry_module.registry()))


def by_media(media: Any) -> Score:
    return Score.ok(1.0, got=[media])


def by_store(media: Any, store: Any) -> Score:
    return Score.ok(1.0, got=[media, store])


def by_prompt(media: Any, prompt: Any) -> Score:
    return Score.ok(1.0, got=[media, prompt])


def by_all(media: Any, prompt: Any, store: Any) -> Score:
    return Score.ok(1.0, got=[media, prompt, store])


def by_other_names(clip: Any, text: Any, _: Any) -> Score:
    return Score.ok(1.0, got=[clip, text, _])


@pytest.mark.parametrize(
    ("function", "expected"),
    [
        (by_media, [MEDIA]),
        (by_store, [MEDIA, STORE]),
        (by_prompt, [MEDIA, PROMPT]),
        (by_all, [MEDIA, PROMPT, STORE]),
        (by_other_names, [MEDIA, PROMPT, STORE]),
    ],
)
def test_a_function_gets_what_its_parameters_name(function: Callable[..., Score], expected: list[Any]) -> None:
    score = scorer("given", **METADATA)(function)(MEDIA, PROMPT, STORE)
    assert score.detail["got"] == expected


def test_what_is_declared() -> None:
    def sharp(media: Any) -> Score:
        """How sharp it is.

        More of it.
        """
        return Score.ok(0.0)

    entry = scorer("sharp", **METADATA)(sharp)
    assert (entry.summary, entry.family, entry.direction) == ("How sharp it is", "test_registration", Direction.LOWER)
    assert entry.metadata()["higher_is_better"] is False
    assert scorer("sharp", family="picture", **METADATA)(sharp).family == "picture"


def test_two_modules_cannot_share_a_name() -> None:
    def loudness(media: Any) -> Score:
        """Another one."""
        return Score.ok(0.0)

    with pytest.raises(ValueError, match=r"two scorers are named 'loudness': avbench\.metrics\.audio_level and "):
        scorer("loudness", **METADATA)(loudness)


def test_a_misspelt_argument_is_refused() -> None:
    with pytest.raises(TypeError, match="cavaet"):
        scorer("odd", cavaet="none", **METADATA)  # type: ignore[call-arg]
