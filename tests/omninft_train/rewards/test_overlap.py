"""Rewards while clips are still being made: the numbers of one call, its failures, and truly at the same time."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest
import torch

from omninft_train.config import RewardSection
from omninft_train.errors import EnvironmentProblem
from omninft_train.judging import judged_by
from omninft_train.models.backbone import Decoded
from omninft_train.prompts import TrainPrompt
from omninft_train.rewards import overlap as module
from omninft_train.rewards.overlap import Overlap
from omninft_train.rewards.spec import Rewards, RewardSpec, Score

SECONDS = 60  # of waiting that only a fault would use up
SPECS = (RewardSpec("any:one", 1.0, "both", scale=2.0), RewardSpec("any:two", 1.0, "video"))
Batch = tuple[list[Decoded], list[TrainPrompt], list[str]]


class Backend:
    """Says of a clip its first pixel, and fails for every fifth; notes the groups that it is given."""

    def __init__(self, first: Callable[[list[str]], object] = lambda keys: None) -> None:
        self.groups: list[list[str]] = []
        self._first = first

    def judge(self, clips: Sequence[Decoded], prompts: Sequence[TrainPrompt], keys: Sequence[str]) -> list[list[Score]]:
        self.groups.append(list(keys))
        self._first(list(keys))
        pixels = [int(clip.frames[0, 0, 0, 0]) for clip in clips]
        return [[float(pixel), "told to fail" if pixel % 5 == 4 else pixel / 7] for pixel in pixels]

    def close(self) -> None:
        pass


def batches(count: int, size: int) -> list[Batch]:
    frames = [np.full((1, 1, 1, 3), number, dtype=np.uint8) for number in range(count)]
    clips = [Decoded(frame, 1.0, np.zeros((1, 1), dtype=np.float32), 1) for frame in frames]
    prompts, keys = [TrainPrompt("a", "b", "c")] * count, [f"0-{number}" for number in range(count)]
    parts = [slice(start, start + size) for start in range(0, count, size)]
    return [(clips[part], prompts[part], keys[part]) for part in parts]


def started(backend: Backend, workers: int = 1) -> Overlap:
    return Overlap(Rewards(SPECS, backend, 1.0, workers), 8)


@pytest.mark.parametrize(("size", "workers"), [(1, 1), (3, 1), (8, 1), (19, 1), (5, 3)])
def test_numbers_reasons_and_groups_are_those_of_one_call(size: int, workers: int) -> None:
    ((clips, prompts, keys),) = batches(19, 19)
    wanted = Rewards(SPECS, Backend(), 1.0).score(clips, prompts, keys)
    backend = Backend()
    overlap = started(backend, workers)
    for _ in range(2):  # steps
        for batch in batches(19, size):
            overlap.add(*batch)
        found = overlap.finish()
        assert torch.equal(found.values.nan_to_num(-1), wanted.values.nan_to_num(-1))
        assert found.valid.equal(wanted.valid) and found.reasons == wanted.reasons
    assert sorted(backend.groups) == sorted([keys[:8], keys[8:16], keys[16:]] * 2)
    assert workers > 1 or backend.groups[:3] == [keys[:8], keys[8:16], keys[16:]]
    overlap.close()


def test_clips_are_judged_while_others_are_made() -> None:
    """The second group is not judged before the third is made: one after the other would never end."""
    made, seen = threading.Event(), []

    def first(keys: list[str]) -> None:
        if keys[0] == "0-8":
            seen.append(made.wait(SECONDS))

    overlap = started(Backend(first))
    one, two, three = batches(24, 8)
    overlap.add(*one)
    overlap.add(*two)
    made.set()
    overlap.add(*three)
    assert len(overlap.finish().values) == 24 and seen == [True]
    overlap.close()


def test_as_many_groups_side_by_side_as_there_are_workers() -> None:
    together = threading.Barrier(2)

    def first(keys: list[str]) -> None:
        if keys[0] != "0-0":
            together.wait(SECONDS)

    overlap = started(Backend(first), workers=2)
    for batch in batches(24, 8):
        overlap.add(*batch)
    assert overlap.finish().values[:, 0].tolist() == [2.0 * number for number in range(24)]
    overlap.close()


def test_the_first_group_is_judged_before_anything_goes_on() -> None:
    """It loads networks, and libraries then change defaults of the whole process."""
    backend = Backend(lambda keys: time.sleep(0.3))  # long enough to be overtaken
    overlap, (one, two) = started(backend), batches(16, 8)
    overlap.add(*one)
    assert backend.groups == [one[2]] and overlap._unfinished() == []
    overlap.add(*two)
    overlap.finish()
    overlap.close()


def test_what_is_sampled_too_fast_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    gate, waited, wait = threading.Event(), [], module.wait

    def watched(futures: list[Any], **options: Any) -> Any:
        waited.append(len(futures))
        gate.set()
        return wait(futures, **options)

    monkeypatch.setattr(module, "wait", watched)
    overlap = started(Backend(lambda keys: keys[0] == "0-0" or gate.wait(SECONDS)))
    for number, batch in enumerate(batches(32, 8)):
        overlap.add(*batch)
        assert bool(waited) == (number > 2)  # one that loads, one that is judged, one that waits
    assert waited[0] == 2
    assert len(overlap.finish().values) == 32
    overlap.close()


def test_a_reward_that_cannot_go_on_ends_the_step_with_its_own_words() -> None:
    def first(keys: list[str]) -> None:
        if keys[0] in failing:
            raise EnvironmentProblem("rewards cannot go on: out of memory")

    for failing in (["0-0"], ["0-8"], ["0-24"]):
        backend = Backend(first)
        overlap = started(backend)
        with pytest.raises(EnvironmentProblem, match=r"^rewards cannot go on: out of memory$"):
            for batch in batches(28, 8):
                overlap.add(*batch)
            overlap.finish()
        failing.clear()
        overlap.drop()
        backend.groups.clear()
        overlap.add(*batches(3, 3)[0])
        assert overlap.finish().values[:, 0].tolist() == [0.0, 2.0, 4.0]  # nothing is left of the step before
        assert backend.groups == [["0-0", "0-1", "0-2"]]
        overlap.close()


def test_an_error_is_raised_while_clips_are_still_made() -> None:
    def first(keys: list[str]) -> None:
        if keys[0] == "0-8":
            raise EnvironmentProblem("gone")

    overlap, (one, two, three) = started(Backend(first)), batches(24, 8)
    overlap.add(*one)
    with pytest.raises(EnvironmentProblem, match="gone"):
        overlap.add(*two)
        module.wait(overlap._futures)
        overlap.add(*three)
    overlap.close()


def test_closed_it_leaves_no_thread_and_judges_no_more() -> None:
    gate = threading.Event()
    backend = Backend(lambda keys: keys[0] == "0-0" or gate.wait(SECONDS))
    overlap = started(backend)
    before = set(threading.enumerate())
    for batch in batches(24, 8):
        overlap.add(*batch)
    threads = [thread for thread in threading.enumerate() if thread not in before]
    overlap.close()
    gate.set()
    for thread in threads:
        thread.join(SECONDS)
    assert threads and not any(thread.is_alive() for thread in threads)
    assert len(backend.groups) <= 2


def test_what_is_judged_does_not_depend_on_it() -> None:
    """So that a run that goes on otherwise does not evaluate again."""
    assert judged_by(RewardSection(SPECS, overlap=True)) == judged_by(RewardSection(SPECS))
    assert judged_by(RewardSection(SPECS, precision="bf16")) != judged_by(RewardSection(SPECS))
