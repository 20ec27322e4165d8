"""The list of mutants fits the code: a mutant that cannot be applied would test nothing."""

from __future__ import annotations

import sys
from collections import Counter
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))
from mutants import MUTANTS, PACKAGE, REPOSITORY, Mutant


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: mutant.name)
def test_the_fault_can_be_put_in_and_its_tests_are_there(mutant: Mutant) -> None:
    path = PACKAGE / mutant.file
    compile(mutant.applied(path.read_text(encoding="utf-8")), str(path), "exec")
    for test in mutant.tests:
        assert (REPOSITORY / test.partition("::")[0]).exists(), test


def test_names_differ() -> None:
    assert max(Counter(mutant.name for mutant in MUTANTS).values()) == 1


def test_a_text_that_is_not_there_once_is_refused() -> None:
    with pytest.raises(ValueError, match="appears 2 times"):
        Mutant("any", "any.py", "a", "b").applied("a a")
