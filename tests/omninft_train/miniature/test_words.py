"""The fixed embedding tells all prompts apart, and says which word it does not know."""

from __future__ import annotations

import pytest
import torch

from omninft_train.errors import UsageError
from omninft_train.miniature.words import FEATURES, LENGTH, VOCABULARY, embed
from omninft_train.miniature.world import describe, split_words, subjects

PROMPTS = [text for s in subjects() for text in (describe(s).prompt_av, describe(s).prompt_v, describe(s).prompt_a)]


def test_every_prompt_of_the_world_is_embedded():
    condition = embed(PROMPTS)
    assert condition.video.shape == (len(PROMPTS), LENGTH, FEATURES)
    assert torch.equal(condition.video, condition.audio)
    assert condition.mask is None
    assert set(VOCABULARY) == {word for text in PROMPTS for word in split_words(text)}


def test_different_prompts_are_far_apart():
    whole = embed([describe(subject).prompt_av for subject in subjects()]).video.flatten(1)
    distances = torch.cdist(whole, whole) + 1e9 * torch.eye(len(whole))
    assert distances.min() > FEATURES**0.5  # one word is about sqrt(2 x features) from another


def test_the_embedding_is_the_same_on_every_call_and_in_every_batch():
    state = torch.random.get_rng_state()
    alone = torch.cat([embed([text]).video for text in PROMPTS[:5]])
    assert torch.equal(alone, embed(PROMPTS[:5]).video)
    assert torch.equal(torch.random.get_rng_state(), state)


def test_an_empty_prompt_is_zero_and_places_count():
    assert not embed([""]).video.any()
    first, second, *rest = embed(["red red"]).video[0]
    assert first.any() and not any(row.any() for row in rest)
    # Attention does not see the order of its keys, so the same word differs by its place, but less than other words do.
    blue = embed(["blue"]).video[0, 0]
    assert 0 < (first - second).norm() < 0.7 * (first - blue).norm()


def test_case_and_punctuation_do_not_count():
    assert torch.equal(embed(["A small, red circle!"]).video, embed(["a small red circle"]).video)


@pytest.mark.parametrize(("word", "near"), [("purple", None), ("circel", "circle"), ("Bounce", "bounces"), ("1", None)])
def test_an_unknown_word_is_named_with_a_near_one(word: str, near: str | None):
    with pytest.raises(UsageError) as caught:
        embed(["a red circle", f"a red {word}"])
    told = str(caught.value)
    assert f"no word '{word.lower()}'" in told and f"a red {word}" in told
    assert (f"Did you mean {near}" in told) if near else ("Did you mean" not in told and "Known: a, blue," in told)


def test_too_many_words_are_counted():
    embed([" ".join(["red"] * LENGTH)])
    with pytest.raises(UsageError, match=f"has {LENGTH + 1} words; the miniature takes {LENGTH}"):
        embed([" ".join(["red"] * (LENGTH + 1))])
