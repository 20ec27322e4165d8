"""Training whose clips are judged while others are sampled: the same run, bit by bit, and truly at the same time."""

from __future__ import annotations

import sys
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from tiny_training import assert_equal, log, make, run, tensors, tiny_config, tiny_weights

from omninft_train.errors import EnvironmentProblem, TrainingStopped, UsageError
from omninft_train.models.latents import Latents
from omninft_train.recipe import load
from omninft_train.training import experience
from omninft_train.training.device_sharing import judged_together, overlaps
from omninft_train.training.trainer import train

JUDGES = """
import threading
import numpy as np
import torch
calls, sampled, waited = [], threading.Event(), []
def random(frames, fps, waveform, sample_rate, text):
    return float(torch.rand(()) + np.random.rand())
def moody(frames, fps, waveform, sample_rate, text):
    if frames[0, 0, 0, 0] % 2:
        raise RuntimeError("no reward today")
    return frames.mean() / 255
def broken(frames, fps, waveform, sample_rate, text):
    raise RuntimeError("never a reward")
def greedy(frames, fps, waveform, sample_rate, text):
    calls.append(text)
    if len(calls) > 9:
        raise MemoryError
    return 1.0
def patient(frames, fps, waveform, sample_rate, text):
    calls.append(text)
    if len(calls) == 9:
        waited.append(sampled.wait(60))
    return frames.mean() / 255
"""
# Ten rollouts in batches of three, judged five at a time: their ends are not those of batches.
TEN = ("prompts.group_size=5", "sampling.batch=3", "rewards.max_failed_fraction=1.0")


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_weights(tmp_path_factory.mktemp("pretraining"))


@pytest.fixture
def judges(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    (tmp_path / "overlap_judges.py").write_text(JUDGES)
    monkeypatch.syspath_prepend(tmp_path)
    sys.modules.pop("overlap_judges", None)
    import overlap_judges

    return overlap_judges


def reward(name: str, route: str = "both") -> str:
    module = "overlap_judges" if name in JUDGES else "omninft_train.miniature.judges"
    return f'{{scorer = "{module}:{name}", weight = 1.0, route = "{route}"}}'


def rewards(*names: str) -> str:
    return f"rewards.reward=[{', '.join(reward(name) for name in names)}]"


def both(weights: Path, folder: Path, *changes: str) -> tuple[Path, Path]:
    """Runs with and without it, from the same random state of the process."""
    outs = []
    for overlap in ("true", "false"):
        torch.manual_seed(3)
        np.random.seed(3)
        outs.append(folder / overlap)
        run(tiny_config(weights, *TEN, *changes, f"rewards.overlap={overlap}"), outs[-1])
    return outs[0], outs[1]


@pytest.mark.usefixtures("judges")
@pytest.mark.long
def test_the_trajectory_stays_as_it_is(weights: Path, tmp_path: Path) -> None:
    """With rewards that fail, and one that draws from the generators of the process: sampling draws from none."""
    one, other = both(weights, tmp_path, rewards("picture", "sync", "moody", "random"), "run.eval_every=2")
    assert_equal(tensors(one), tensors(other))
    assert log(one) == log(other)
    assert 0 < log(one)[0]["reward_moody_invalid"] < 10
    assert log(one)[0]["reward_random_std"] > 0
    judged, wanted = (path / "evaluations" / "step-000002" / "evaluation.json" for path in (one, other))
    assert judged.read_bytes() == wanted.read_bytes()


@pytest.mark.long
def test_interrupted_and_resumed_otherwise_is_the_same(weights: Path, tmp_path: Path) -> None:
    straight = run(tiny_config(weights, *TEN), tmp_path / "straight")
    run(tiny_config(weights, *TEN, "run.steps=1", "rewards.overlap=true"), tmp_path / "halves")
    assert_equal(run(tiny_config(weights, *TEN), tmp_path / "halves"), straight)
    assert log(tmp_path / "halves") == log(tmp_path / "straight")


def test_clips_are_judged_while_others_are_sampled(
    weights: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, judges: Any
) -> None:
    """A reward of the second group waits until clips of the third are there."""
    batches, sample = [], experience.sample

    def watched(*arguments: Any, **options: Any) -> Latents:
        found = sample(*arguments, **options)
        batches.append(threading.current_thread())
        if len(batches) == 3:
            judges.sampled.set()
        return found

    monkeypatch.setattr(experience, "sample", watched)
    config = tiny_config(
        weights, "prompts.group_size=12", "sampling.batch=8", "run.steps=1", rewards("patient"), "rewards.overlap=true"
    )
    train(make(config, tmp_path))
    assert judges.waited == [True]
    assert set(batches) == {threading.main_thread()} and len(batches) == 3


@pytest.mark.usefixtures("judges")
def test_what_stops_a_run_stops_it_in_the_same_words(weights: Path, tmp_path: Path) -> None:
    texts = []
    for overlap in ("true", "false"):
        strict = ("rewards.max_failed_fraction=0.5", f"rewards.overlap={overlap}")
        with pytest.raises(TrainingStopped) as caught:
            run(tiny_config(weights, *TEN, rewards("picture", "broken"), *strict), tmp_path / overlap)
        texts.append(str(caught.value))
    assert texts[0] == texts[1] and "10 x overlap_judges:broken: RuntimeError: never a reward" in texts[0]


def test_a_reward_that_cannot_go_on_ends_the_run(weights: Path, tmp_path: Path, judges: Any) -> None:
    with pytest.raises(EnvironmentProblem, match=r"^rewards cannot go on: out of memory$"):
        run(tiny_config(weights, *TEN, rewards("greedy"), "rewards.overlap=true"), tmp_path)
    assert len(judges.calls) == 10
    assert not any(thread.name.startswith("rewards") and thread.is_alive() for thread in ended())


def ended() -> list[threading.Thread]:
    """Threads of rewards, after each had time to end."""
    threads = [thread for thread in threading.enumerate() if thread.name.startswith("rewards")]
    for thread in threads:
        thread.join(60)
    return threads


@pytest.mark.parametrize(
    ("settings", "device", "wanted"),
    [
        ((), "cuda:0", False),  # "cuda" is the generator's own
        (("rewards.device=cuda:1",), "cuda:0", True),
        (("rewards.device=cuda:1",), "cuda:1", False),
        (("rewards.device=cpu",), "cuda:0", True),
        (("rewards.backend=ray",), "cuda:0", True),
        (("rewards.device=cuda:1", "rewards.offload=true"), "cuda:0", False),
        (("rewards.device=cpu",), "cpu", False),
        (("rewards.device=cpu", "rewards.backend=ray"), "cpu", True),
        (("rewards.device=cpu", "rewards.overlap=true"), "cpu", True),
        (("rewards.overlap=true",), "cuda:0", True),
        (("rewards.backend=ray", "rewards.overlap=false"), "cuda:0", False),
        (("rewards.device=cuda:1", "backbone.offload=true"), "cuda:0", True),
        (("backbone.offload=true",), "cuda:0", False),
    ],
)
def test_it_is_on_where_rewards_have_a_device_of_their_own(
    settings: tuple[str, ...], device: str, wanted: bool
) -> None:
    assert overlaps(load("omninft", "ltx2", settings), torch.device(device)) == wanted


@pytest.mark.parametrize(("processes", "wanted"), [(1, 8), (2, 8), (4, 4), (8, 2), (16, 1), (32, 1)])
def test_at_most_half_of_the_clips_of_a_process_are_judged_together(processes: int, wanted: int) -> None:
    """Or the others could not be sampled meanwhile; whether they are changes nothing."""
    for overlap in ("true", "false"):
        assert judged_together(load("omninft", "ltx2", [f"rewards.overlap={overlap}"]), processes) == wanted


def test_what_it_does_not_go_with(weights: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"rewards\.overlap with backbone\.offload"):
        overlaps(load("omninft", "ltx2", ["rewards.overlap=true", "backbone.offload=true"]), torch.device("cuda:0"))
    with pytest.raises(UsageError, match=r"rewards\.offload with rewards\.overlap"):
        make(tiny_config(weights, "rewards.overlap=true", "rewards.offload=true"), tmp_path)
