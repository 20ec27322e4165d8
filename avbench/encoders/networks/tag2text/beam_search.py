"""Beam search over sequences of tokens. Imports torch.

Source: transformers 4.33, `generate` with a length penalty of 1 and without early stopping.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Protocol

import torch
from torch import Tensor


class Decoder(Protocol):
    """Gives logits (N, V) of the next token."""

    def start(self, prompt: Tensor) -> Tensor:
        """Read the same prompt (N, T) for all N texts."""

    def step(self, tokens: Tensor, rows: Tensor) -> Tensor:
        """Append tokens (N * K,) to the texts in these rows (N * K,) of those before; after `start` there are N."""


@dataclass(frozen=True)
class Rules:
    """How texts are searched.

    Attributes:
        beams: texts that are followed at a time.
        shortest: tokens, prompt included, that a text must have before it may end.
        longest: tokens, prompt included, at which a text is cut.
        end, padding: ids.
    """

    beams: int
    shortest: int
    longest: int
    end: int
    padding: int = 0


@dataclass
class _Search:
    """The search for one text: beams with their log-probability, and ended texts with theirs per token."""

    rules: Rules
    beams: list[tuple[float, list[int]]]
    ended: list[tuple[float, list[int]]] = field(default_factory=list)
    done: bool = False

    def advance(self, candidates: list[tuple[float, int, int]]) -> list[tuple[int, int]]:
        """Take the best continuations (log-probability, beam, token), best first.

        Returns:
            beam and token of each new beam; fillers once the search is done.
        """
        if self.done:
            return [(0, self.rules.padding)] * self.rules.beams
        chosen: list[tuple[float, int, int]] = []
        for rank, (score, beam, token) in enumerate(candidates):
            if token != self.rules.end:
                chosen.append((score, beam, token))
            elif rank < self.rules.beams:
                self._end(score, self.beams[beam][1])
            if len(chosen) == self.rules.beams:
                break
        self.beams = [(score, [*self.beams[beam][1], token]) for score, beam, token in chosen]
        # As far as the reference looks: a longer text could still do better.
        attainable = candidates[0][0] / len(self.beams[0][1])
        self.done = len(self.ended) == self.rules.beams and self._worst() >= attainable
        return [(beam, token) for _, beam, token in chosen]

    def best(self) -> list[int]:
        """The text with the highest log-probability per token, without its end token."""
        if not self.done:
            for score, ids in self.beams:
                self._end(score, ids)
        return sorted(self.ended, key=lambda text: text[0])[-1][1]

    def _end(self, score: float, ids: list[int]) -> None:
        per_token = score / len(ids)
        if len(self.ended) == self.rules.beams:
            if per_token <= self._worst():
                return
            self.ended.remove(min(self.ended, key=lambda text: text[0]))
        self.ended.append((per_token, ids))

    def _worst(self) -> float:
        return min(score for score, _ in self.ended)


def beam_search(decoder: Decoder, prompt: list[int], texts: int, rules: Rules, device: torch.device) -> list[list[int]]:
    """The most likely continuation of a prompt, for each of several texts.

    Returns:
        ids of each text, prompt included, end token not.
    """
    searches = [_Search(rules, [(0.0, prompt)]) for _ in range(texts)]
    logits = decoder.start(torch.tensor([prompt] * texts, device=device))  # (N, V)
    for length in range(len(prompt), rules.longest):
        candidates = _candidates(logits, searches, rules, may_end=length >= rules.shortest)
        moves = [search.advance(options) for search, options in zip(searches, candidates, strict=True)]
        if all(search.done for search in searches) or length + 1 == rules.longest:
            break
        before = len(logits) // texts
        rows = [text * before + beam for text, move in enumerate(moves) for beam, _ in move]
        tokens = [token for move in moves for _, token in move]
        logits = decoder.step(torch.tensor(tokens, device=device), torch.tensor(rows, device=device))
    return [search.best() for search in searches]


def _candidates(
    logits: Tensor, searches: list[_Search], rules: Rules, *, may_end: bool
) -> list[list[tuple[float, int, int]]]:
    """For each text twice as many continuations as it has beams, so that enough are left if all beams end."""
    steps = torch.unflatten(logits.float().log_softmax(dim=-1), 0, (len(searches), -1))  # (N, K, V)
    if not may_end:
        steps[..., rules.end] = -torch.inf
    # A search that is done has as many beams as the others, whose scores no longer matter.
    sums = torch.tensor([[score for score, _ in search.beams] for search in searches], device=logits.device)
    values, indices = (steps + sums[..., None]).flatten(1).topk(2 * rules.beams)
    words = steps.shape[-1]
    return [
        [(score, index // words, index % words) for score, index in zip(scores, flat, strict=True)]
        for scores, flat in zip(values.tolist(), indices.tolist(), strict=True)
    ]
