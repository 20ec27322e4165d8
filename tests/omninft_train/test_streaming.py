"""Clips are sampled and judged batch by batch: what exists is not done again, and no more than a batch is held."""

from __future__ import annotations

import csv
import json
import weakref
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
import torch
from tiny_training import make, tiny_config, tiny_weights

from omninft_train import evaluate as evaluation_module
from omninft_train import generate, judging
from omninft_train.clips import save_mp4
from omninft_train.errors import EnvironmentProblem, UsageError
from omninft_train.evaluate import evaluate, group_rewards
from omninft_train.generate import Generation, Job, Trained, load_trained, sample_clips, step_number
from omninft_train.judging import clear
from omninft_train.models.backbone import Decoded
from omninft_train.rewards.local import LocalRewardBackend, make_rewards
from omninft_train.rewards.spec import Rewards, Scored, SetMetric
from omninft_train.training import checkpoint, saving
from omninft_train.training.distributed import World
from omninft_train.training.rollout import Guidance
from omninft_train.training.tracking import METRICS

HOW = Generation("policy", 2, 3, Guidance(1.0, 1.0, 0.0, ()), 5, 2)


@dataclass(frozen=True)
class Part(World):
    """A process whose others have nothing to say, run one after another."""

    def gather_objects(self, value: object) -> list[object]:
        return [value]

    def barrier(self) -> None: ...


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Trained:
    folder = tmp_path_factory.mktemp("run")
    saving.save(make(tiny_config(tiny_weights(folder / "weights")), folder), 1)
    return load_trained(folder)


@pytest.fixture
def prompts(trained: Trained) -> Any:
    from omninft_train.miniature.world import training_prompts

    return training_prompts()[:3]


@pytest.fixture
def sampled(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Sizes of the batches that are sampled."""
    sizes: list[int] = []
    real = generate.sample

    def counted(policy: Any, role: Any, noise: Any, *arguments: Any, **options: Any) -> Any:
        sizes.append(len(noise))
        return real(policy, role, noise, *arguments, **options)

    monkeypatch.setattr(generate, "sample", counted)
    return sizes


def stream_all(trained: Trained, prompts: Any) -> Any:
    """All clips of some prompts, in batches."""
    return generate.stream(trained.backbone, trained.policy, prompts, HOW, generate.jobs_of(prompts, HOW))


def frames_of(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.glob("*.mp4")}


def test_sampling_goes_on_where_it_stopped(
    trained: Trained, prompts: Any, sampled: list[int], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    manifest = sample_clips(tmp_path / "whole", trained, prompts, HOW)
    rows = list(csv.DictReader(manifest.read_text().splitlines()))
    assert [row["clip_id"] for row in rows] == [f"0000{prompt}-{index}" for prompt in range(3) for index in range(2)]
    assert rows[3]["text"] == prompts[1].prompt_av and rows[3]["model"] == "policy-step-1"

    def full(clip: Decoded, path: Path) -> Path:
        if path.name == "00001-1.mp4":
            raise EnvironmentProblem("no space left")
        return save_mp4(clip, path)

    with monkeypatch.context() as patch:
        patch.setattr(generate, "save_mp4", full)
        with pytest.raises(EnvironmentProblem):
            sample_clips(tmp_path / "clips", trained, prompts, HOW)
    assert not (tmp_path / "clips" / "manifest.csv").exists()
    sampled.clear()
    sample_clips(tmp_path / "clips", trained, prompts, replace(HOW, batch=1))  # how they are batched does not matter
    assert sampled == [1, 1, 1]
    assert frames_of(tmp_path / "clips").keys() == frames_of(tmp_path / "whole").keys()
    assert (tmp_path / "clips" / "manifest.csv").read_bytes() == manifest.read_bytes()
    sampled.clear()
    sample_clips(tmp_path / "clips", trained, prompts, HOW)
    assert sampled == []
    (tmp_path / "clips" / "00001-0.mp4").write_bytes(b"")  # as a loss of power may leave it
    sample_clips(tmp_path / "clips", trained, prompts, HOW)
    assert sampled == [1] and b"" not in frames_of(tmp_path / "clips").values()


def test_clips_of_other_settings_are_refused(trained: Trained, prompts: Any, tmp_path: Path) -> None:
    sample_clips(tmp_path, trained, prompts[:1], HOW)
    before = frames_of(tmp_path)
    for other, key in ((replace(HOW, seed=6), "seed"), (replace(HOW, role="old"), "role")):
        with pytest.raises(UsageError, match=rf"holds clips of other settings \({key}\)"):
            sample_clips(tmp_path, trained, prompts[:1], other)
    with pytest.raises(UsageError, match=r"other settings \(prompts\)"):
        sample_clips(tmp_path, trained, prompts[1:2], HOW)
    with pytest.raises(UsageError, match=r"other settings \(checkpoint\)"):
        sample_clips(tmp_path, replace(trained, digest="another"), prompts[:1], HOW)
    assert frames_of(tmp_path) == before


def test_clips_that_nobody_knows_are_replaced(trained: Trained, prompts: Any, tmp_path: Path) -> None:
    (tmp_path / "00000-0.mp4").write_text("of an older version")
    sample_clips(tmp_path, trained, prompts[:1], HOW)
    assert (tmp_path / "00000-0.mp4").read_bytes()[4:8] == b"ftyp"


def test_judging_goes_on_where_it_stopped(
    trained: Trained, prompts: Any, sampled: list[int], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    wanted = group_rewards(trained, prompts, HOW, tmp_path / "whole.json")
    real, calls = Rewards.score, [0]

    def down(self: Rewards, *arguments: Any) -> Scored:
        calls[0] += 1
        if calls[0] == 3:
            raise EnvironmentProblem("rewards cannot go on")
        return real(self, *arguments)

    out = tmp_path / "found.json"
    with monkeypatch.context() as patch:
        patch.setattr(Rewards, "score", down)
        with pytest.raises(EnvironmentProblem):
            group_rewards(trained, prompts, HOW, out)
    (journal,) = tmp_path.glob(".found.json.*")
    with journal.open("a") as file:
        file.write("[2, 0, [0.1")  # killed while writing
    sampled.clear()
    assert group_rewards(trained, prompts, HOW, out) == wanted
    assert sampled == [2]
    assert wanted is not None and wanted["groups"] == [0, 0, 1, 1, 2, 2]
    sampled.clear()
    group_rewards(trained, prompts, replace(HOW, seed=6), out)  # other settings: nothing of it is used
    assert sampled == [2, 2, 2]
    clear(out)
    assert not list(tmp_path.glob(".found.json.*"))


def test_an_interrupted_evaluation_ends_as_a_whole_one(
    trained: Trained, prompts: Any, sampled: list[int], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With a metric of the whole set: what it takes of each clip is kept with the clip's rewards."""
    wanted = evaluate(trained, prompts, HOW, tmp_path / "whole.json")
    judged: list[Job] = []
    real = judging.judge

    def watched(rewards: Rewards, clips: Sequence[tuple[Job, Decoded]], *rest: Any) -> Any:
        if len(judged) == 2:
            raise KeyboardInterrupt
        judged.extend(job for job, _ in clips)
        return real(rewards, clips, *rest)

    with monkeypatch.context() as patch:
        patch.setattr(judging, "judge", watched)
        with pytest.raises(KeyboardInterrupt):
            evaluate(trained, prompts, HOW, tmp_path / "found.json")
    sampled.clear()
    assert evaluate(trained, prompts, HOW, tmp_path / "found.json") == wanted
    assert sampled == [2, 2]
    assert wanted is not None and wanted.sets.keys() == {"impact_distance"}


def test_a_metric_of_the_set_gets_the_statistics_of_all_clips_in_their_order(
    trained: Trained, prompts: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A part comes from the journal of another process."""
    seen: list[Any] = []

    def of_set(statistics: Sequence[Sequence[float]], texts: Sequence[Any]) -> float:
        seen.append((list(statistics), [text.prompt_av for text in texts]))
        return 0.25

    loud = SetMetric(lambda clip, text: [float(clip.waveform.std()), len(text.prompt_av) / 3], of_set)
    monkeypatch.setattr(evaluation_module, "_set_metrics", lambda kind: {"loud": loud})
    assert evaluate(trained, prompts, HOW, tmp_path / "found.json", Part(1, 2)) is None
    found = evaluate(trained, prompts, HOW, tmp_path / "found.json")
    assert found is not None and found.sets["loud"] == 0.25
    clips = [clip for batch in stream_all(trained, prompts) for _, clip in batch]
    texts = [prompt for prompt in prompts for _ in range(HOW.samples)]
    (statistics, order) = seen[0]
    assert statistics == [pytest.approx(loud.of_clip(*pair)) for pair in zip(clips, texts, strict=True)]
    assert order == [text.prompt_av for text in texts]


def test_a_policy_of_an_earlier_step_is_sampled(trained: Trained, prompts: Any, tmp_path: Path) -> None:
    training = make(trained.config, tmp_path / "run")
    first = next(iter(training.policy.trainable().values()))
    for step in (1, 2, 3):
        with torch.no_grad():
            first.add_(0.1)
        saving.save(training, step)
    early, last = (load_trained(tmp_path / "run", step=step) for step in (1, None))
    weights = [next(iter(one.policy.trainable().values())) for one in (early, last)]
    torch.testing.assert_close(weights[1] - weights[0], torch.full_like(first, 0.2))
    assert (early.step, last.step) == (1, 3) and early.digest != last.digest
    sample_clips(tmp_path / "clips", early, prompts[:1], HOW)
    assert "policy-step-1" in (tmp_path / "clips" / "manifest.csv").read_text()
    with pytest.raises(UsageError, match="old policy of step 1 was not kept"):
        sample_clips(tmp_path / "old", early, prompts[:1], replace(HOW, role="old"))
    sample_clips(tmp_path / "old", last, prompts[:1], replace(HOW, role="old"))


def test_the_best_policy_stays_and_is_found(trained: Trained, tmp_path: Path) -> None:
    settings = ("run.keep_policies=best", "run.best_by=reward_sync_mean", "run.keep_checkpoints=1")
    with pytest.raises(UsageError, match="best_by has to name a logged value"):
        make(tiny_config(Path(trained.config.backbone.path), settings[0]), tmp_path)
    training = make(tiny_config(Path(trained.config.backbone.path), *settings), tmp_path)
    for step, value in enumerate((0.1, 0.7, 0.3, 0.2), 1):
        with (tmp_path / METRICS).open("a") as file:
            file.write(json.dumps({"step": step - 1, "reward_sync_mean": value}) + "\n")
        saving.save(training, step)
    assert list(checkpoint.policies(tmp_path)) == [2, 4]  # the best, and the last, to go on from
    assert step_number(tmp_path, "best") == 2 and step_number(tmp_path, "4") == 4
    assert step_number(tmp_path, "last") is None
    with pytest.raises(UsageError, match="expected a number of steps, 'best' or 'last'"):
        step_number(tmp_path, "first")


def test_failures_stay_with_their_clips(
    trained: Trained, prompts: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    broken = '{scorer = "test_streaming_judges:moody", weight = 1.0, route = "both"}'
    (tmp_path / "test_streaming_judges.py").write_text(
        "def moody(frames, fps, waveform, rate, text):\n    raise ValueError(text[:7])\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    config = tiny_config(tmp_path, f"rewards.reward=[{broken}]")
    found = group_rewards(replace(trained, config=config), prompts[:1], HOW, tmp_path / "out.json")
    assert found is not None and found["values"] == [[None], [None]] and found["valid"] == [[False], [False]]
    lines = [json.loads(line) for path in tmp_path.glob(".out.json.*") for line in path.read_text().splitlines()[1:]]
    assert all(prompts[0].prompt_av[:7] in line[3][0] and len(line[3]) == 1 for line in lines) and len(lines) == 2


@pytest.mark.parametrize("command", [group_rewards, evaluate])
def test_no_more_than_a_batch_is_held(
    trained: Trained, prompts: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, command: Any
) -> None:
    """Twenty-four clips in batches of four: at most two batches live at a time, the one judged and the one before.

    Also where metrics of the whole set are computed.
    """
    seen: list[weakref.ref[Decoded]] = []
    most = [0]
    real = Rewards.score

    def counted(self: Rewards, clips: Sequence[Decoded], *arguments: Any) -> Scored:
        seen.extend(map(weakref.ref, clips))
        most[0] = max(most[0], sum(reference() is not None for reference in seen))
        return real(self, clips, *arguments)

    monkeypatch.setattr(Rewards, "score", counted)
    command(trained, prompts, replace(HOW, samples=8, steps=1, batch=4), tmp_path / "out.json")
    assert len(seen) == 24 and 4 <= most[0] <= 8


def test_all_processes_make_equally_many_passes(
    trained: Trained, prompts: Any, sampled: list[int], tmp_path: Path
) -> None:
    """Six clips over four processes: networks that are spread over processes need all of them in every pass."""
    for rank in (1, 2, 3, 0):
        sampled.clear()
        part, out = Part(rank, 4), tmp_path / str(rank) / "found.json"
        if rank:
            assert group_rewards(trained, prompts, replace(HOW, batch=1), out, part) is None
        else:
            with pytest.raises(UsageError, match="4 clips, is missing"):
                group_rewards(trained, prompts, replace(HOW, batch=1), out, part)
        assert sampled == [1, 1]
    lines = [path.read_text().splitlines()[1:] for path in sorted(tmp_path.glob("*/.found.json.*"))]
    jobs = [tuple(json.loads(line)[:2]) for part_lines in lines for line in part_lines]
    assert len(jobs) == 8 and set(jobs) == {(prompt, index) for prompt in range(3) for index in range(2)}


@pytest.mark.parametrize(
    ("changes", "sizes"),
    [((), [2, 2, 2]), (("rewards.offload=true",), [4, 2]), (("backbone.offload=true",), [4, 2])],
)
def test_networks_that_come_and_go_judge_many_clips_at_once(
    trained: Trained,
    prompts: Any,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    changes: tuple[str, ...],
    sizes: list[int],
) -> None:
    """Each call of a backend loads them; more clips than the bound do not wait, and rewards stay as they are."""
    config = tiny_config(Path(trained.config.backbone.path), *changes)
    wanted = group_rewards(trained, prompts, HOW, tmp_path / "whole.json")
    calls: list[int] = []
    real = LocalRewardBackend.judge

    def counted(self: LocalRewardBackend, clips: Sequence[Decoded], *arguments: Any) -> Any:
        calls.append(len(clips))
        return real(self, clips, *arguments)

    monkeypatch.setattr(LocalRewardBackend, "judge", counted)
    monkeypatch.setattr(judging, "_HELD", 3)
    assert group_rewards(replace(trained, config=config), prompts, HOW, tmp_path / "found.json") == wanted
    assert calls == sizes


def test_files_are_judged_a_few_at_a_time(
    trained: Trained, prompts: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With the numbers of judging them at once, each by its own prompt."""
    manifest = sample_clips(tmp_path, trained, prompts, HOW)
    rewards = make_rewards(trained.config.rewards)
    texts, wanted = judging.judged_files(manifest, rewards)
    assert [text.prompt_av for text in texts] == [prompt.prompt_av for prompt in prompts for _ in range(2)]
    seen: list[weakref.ref[Decoded]] = []
    most, real = [0], Rewards.score

    def counted(self: Rewards, clips: Sequence[Decoded], *arguments: Any) -> Scored:
        seen.extend(map(weakref.ref, clips))
        most[0] = max(most[0], sum(reference() is not None for reference in seen))
        return real(self, clips, *arguments)

    monkeypatch.setattr(Rewards, "score", counted)
    monkeypatch.setattr(judging, "_HELD", 1)
    assert judging.judged_files(manifest, rewards) == (texts, wanted)
    assert len(seen) == 6 and most[0] <= 2
