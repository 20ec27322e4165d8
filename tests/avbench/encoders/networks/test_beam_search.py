"""Beam search against transformers 4.33 on a language where each word depends on the one before."""

from __future__ import annotations

import pytest
from vbench_goldens import golden

torch = pytest.importorskip("torch")

from avbench.encoders.networks.tag2text.beam_search import Rules, beam_search  # noqa: E402

END = 2
CASES = golden("beam_search")


class Chain:
    """Logits of the next word by the last one; remembers the texts, to check the rows that it is given."""

    def __init__(self, table):
        self.table = torch.tensor(table)
        self.texts = []

    def start(self, prompt):
        self.texts = prompt.tolist()
        return self.table[prompt[:, -1]]

    def step(self, tokens, rows):
        self.texts = [[*self.texts[row], token] for token, row in zip(tokens.tolist(), rows.tolist(), strict=True)]
        return self.table[tokens]


def without_end(ids: list[int], prompt: int) -> list[int]:
    """A sequence of the reference up to its end token; what follows is padding."""
    return ids[: ids.index(END, prompt)] if END in ids[prompt:] else ids


@pytest.mark.parametrize("number", range(len(CASES)))
def test_texts_equal_the_reference(number):
    case = CASES[number]
    rules = Rules(beams=3, shortest=case["shortest"], longest=case["longest"], end=END)
    decoder = Chain(case["table"])
    found = beam_search(decoder, case["prompt"], 1, rules, torch.device("cpu"))
    assert found == [without_end(case["sequence"], len(case["prompt"]))]
    assert len(decoder.texts[0]) <= case["longest"]


def test_texts_do_not_disturb_each_other():
    """A text that has ended waits for the others."""

    class Two(Chain):
        def start(self, prompt):
            return torch.stack([self.table[prompt[0, -1]], self.table[prompt[0, -1]].flip(0)])

        def step(self, tokens, rows):
            logits = self.table[tokens]
            half = len(tokens) // 2
            return torch.cat([logits[:half], logits[half:].flip(1)])

    table = CASES[0]["table"]
    rules = Rules(beams=3, shortest=4, longest=12, end=END)
    one, other = beam_search(Two(table), [1, 3], 2, rules, torch.device("cpu"))
    assert one == beam_search(Chain(table), [1, 3], 1, rules, torch.device("cpu"))[0]
    assert other != one
