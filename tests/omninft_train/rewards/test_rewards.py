"""Rewards: numbers equal avbench's, failures are never numbers, and what cannot work is told before training."""

from __future__ import annotations

import logging
import shutil
import weakref
from collections.abc import Callable
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest
import torch
from synthetic import SOUND_RATE, draw_frames, draw_sound, write_clip

from avbench.clips import Prompt
from avbench.config import build
from avbench.encoders import Backbone, Encoder, EncoderStore, WeightsConfig
from avbench.media import Media, Waveform
from avbench.metrics import base
from avbench.metrics.base import Score, get_scorers
from avbench.toml import Origin
from omninft_train.config import RewardSection
from omninft_train.errors import EnvironmentProblem, TrainingStopped, UsageError
from omninft_train.method.advantages import AdvantageOptions, Masked, advantages
from omninft_train.models.backbone import Decoded
from omninft_train.prompts import TrainPrompt
from omninft_train.rewards.local import find_source, make_rewards, read_clips
from omninft_train.rewards.overlap import Overlap
from omninft_train.rewards.spec import RewardSpec

JUDGES = """
import numpy as np
def brightness(frames, fps, waveform, sample_rate, text):
    assert frames.dtype == np.uint8 and frames.ndim == 4 and waveform.dtype == np.float32 and waveform.ndim == 2
    return frames.mean() / 255
def words(frames, fps, waveform, sample_rate, text):
    return len(text.split())
def facts(frames, fps, waveform, sample_rate, text):
    return fps + sample_rate
def fussy(frames, fps, waveform, sample_rate, text):
    kind = text.split()[0]
    if kind == "raise":
        raise RuntimeError("does not like this")
    return {"nan": float("nan"), "inf": float("inf"), "none": None, "huge": 1e308}.get(kind, 1.0)
def greedy(frames, fps, waveform, sample_rate, text):
    raise MemoryError
a_constant = 3
"""


@pytest.fixture(autouse=True)
def judges(tmp_path_factory, monkeypatch):
    folder = write_judges(tmp_path_factory)
    monkeypatch.syspath_prepend(folder)
    return folder


def write_judges(tmp_path_factory) -> Path:
    folder = tmp_path_factory.getbasetemp() / "judges"
    folder.mkdir(exist_ok=True)
    (folder / "judges_for_test.py").write_text(JUDGES)
    return folder


def clip(seed: int, seconds: float = 1.0) -> Decoded:
    frames = draw_frames(seed, seconds=seconds, size=(48, 64))
    return Decoded(frames, 24.0, draw_sound(seed, seconds=seconds), SOUND_RATE)


def prompt(text: str = "a ball bounces") -> TrainPrompt:
    return TrainPrompt(text, f"{text} in sight", f"{text} to be heard well")


def spec(scorer: str, route: str = "both", weight: float = 1.0, **options) -> RewardSpec:
    name = f"judges_for_test:{scorer[1:]}" if scorer.startswith(":") else scorer
    return RewardSpec(name, weight, route, **options)


def section(*specs: RewardSpec, **options) -> RewardSection:
    return RewardSection(reward=specs, **options)


def score(rewards, clips, prompts=None):
    prompts = prompts or [prompt()] * len(clips)
    return rewards.score(clips, prompts, [f"0-{i}" for i in range(len(clips))])


def test_a_judge_gets_the_clip_and_the_text_of_its_route():
    specs = [spec(":words", "video"), replace(spec(":brightness"), route="audio"), spec(":facts")]
    clips = [clip(0), clip(1)]
    scored = score(make_rewards(section(*specs)), clips, [prompt("one"), prompt("one two")])
    assert scored.values.dtype == torch.float64
    assert scored.values.shape == scored.valid.shape == (2, 3)
    assert scored.valid.all()
    assert scored.reasons == []
    assert scored.values[:, 0].tolist() == [3, 4]
    assert scored.values[:, 1].tolist() == [c.frames.mean() / 255 for c in clips]
    assert scored.values[:, 2].tolist() == [24 + SOUND_RATE] * 2


@pytest.mark.parametrize(("route", "count"), [("both", 1), ("video", 3), ("audio", 5)])
def test_the_route_decides_the_text(route, count):
    assert score(make_rewards(section(spec(":words", route))), [clip(0)], [prompt("one")]).values.item() == count


def test_a_value_is_clamped_and_then_scaled():
    for clamp, scale, expected in [(None, -2.0, -10.0), ((0, 3), 2.0, 6.0), ((7, 9), -1.0, -7.0)]:
        rewards = make_rewards(section(spec(":words", "audio", clamp=clamp, scale=scale)))
        assert score(rewards, [clip(0)], [prompt("one")]).values.item() == expected


def test_a_failure_is_a_reason_and_never_a_number():
    rewards = make_rewards(section(spec(":fussy", clamp=(0.0, 5.0), scale=10.0), spec(":brightness")))
    kinds = ["fine", "raise", "nan", "inf", "none", "fine"]
    scored = score(rewards, [clip(0)] * 6, [prompt(kind) for kind in kinds])
    assert scored.valid[:, 0].tolist() == [True, False, False, False, False, True]
    assert scored.valid[:, 1].all()
    assert scored.values[0].tolist() == scored.values[5].tolist() == [10.0, pytest.approx(clip(0).frames.mean() / 255)]
    assert scored.values[~scored.valid].isnan().all()
    assert len(scored.reasons) == 4
    for reason, told in zip(
        scored.reasons, ["RuntimeError: does not like this", "gave nan", "gave inf", "TypeError"], strict=True
    ):
        assert reason.startswith("judges_for_test:fussy: ")
        assert told in reason


def test_a_value_that_the_scale_makes_infinite_is_invalid():
    scored = score(make_rewards(section(spec(":fussy", scale=10.0))), [clip(0)], [prompt("huge")])
    assert not scored.valid.any()
    assert "is not finite" in scored.reasons[0]


def test_a_failure_moves_no_advantage():
    """What stands in place of a failed value is masked: the others' advantages are those without it."""
    rewards = make_rewards(section(spec(":words", "video"), spec(":fussy", "audio", weight=0.5)))
    texts = ["a b", "raise", "c d e", "f"]
    scored = score(rewards, [clip(0)] * 4, [prompt(text) for text in texts])
    options = AdvantageOptions(mode="routed")
    found = advantages(
        Masked(scored.values, scored.valid),
        torch.zeros(4, dtype=torch.long),
        torch.tensor([1.0, 0.5]),
        ["video", "audio"],
        options,
    )
    assert found.audio_valid.tolist() == [True, False, True, True]
    assert found.video_valid.all()
    assert found.audio.isfinite().all()
    assert found.audio[1] == 0


def test_too_many_failures_of_one_reward_stop_the_run_with_grouped_reasons():
    specs = [spec(":brightness"), spec(":words"), spec(":facts"), spec(":fussy")]
    rewards = make_rewards(section(*specs, max_failed_fraction=0.5))
    scored = score(rewards, [clip(0)] * 4, [prompt(kind) for kind in ("raise", "raise", "fine", "fine")])
    rewards.check(scored)  # just allowed
    scored = score(rewards, [clip(0)] * 4, [prompt(kind) for kind in ("raise", "raise", "nan", "fine")])
    with pytest.raises(TrainingStopped) as caught:
        rewards.check(scored)
    told = str(caught.value)
    assert "'judges_for_test:fussy' failed for 3 of 4 rollouts" in told
    assert "2 x judges_for_test:fussy: RuntimeError: does not like this" in told
    assert "1 x judges_for_test:fussy: gave nan" in told


def test_a_reward_of_weight_0_may_always_fail():
    rewards = make_rewards(section(spec(":brightness"), spec(":fussy", weight=0.0), max_failed_fraction=0.0))
    scored = score(rewards, [clip(0)], [prompt("raise")])
    assert scored.valid.tolist() == [[True, False]]
    rewards.check(scored)


def test_want_of_memory_is_no_fault_of_a_clip():
    with pytest.raises(EnvironmentProblem, match="out of memory"):
        score(make_rewards(section(spec(":greedy"))), [clip(0)])


def test_metrics_of_avbench_give_the_same_numbers_here():
    names = ["av_align", "loudness", "flicker_vbench"]
    known = base.registry()
    names = [name for name in names if name in known] + ["reward_clap"]
    setup = WeightsConfig(weights="keyed-random-reduced")
    rewards = make_rewards(section(*[spec(name) for name in names], weights="keyed-random-reduced"))
    clips, prompts = [clip(i, 2.0) for i in range(3)], [prompt(f"ball {i}") for i in range(3)]
    scored = score(rewards, clips, prompts)
    assert len(names) >= 2
    assert scored.valid.all(), scored.reasons
    for i, (item, text) in enumerate(zip(clips, prompts, strict=True)):
        media = Media.from_arrays(str(i), item.frames, item.fps, item.waveform, item.sample_rate)
        asked = Prompt(text.prompt_av, text.prompt_v, text.prompt_a)
        expected = [s(media, asked, EncoderStore(setup=setup)).value for s in get_scorers(names)]
        assert scored.values[i].tolist() == pytest.approx(expected, abs=1e-6)


@pytest.fixture
def shown(monkeypatch):
    """A metric that reads what a prompt says must be seen, as VBench's do."""
    monkeypatch.setattr(base, "_REGISTRY", dict(base.registry()))

    def shown(media, prompt, store):
        """Letters of the object."""
        return Score.ok(len(prompt.expected.objects))

    facts = {"unit": "1", "higher_is_better": True, "range": (0.0, 99.0), "source": "test", "prompt_role": "objects"}
    base.scorer("shown", needs=("video", "prompt"), **facts)(shown)


def test_a_reward_reads_what_the_prompt_says_must_be_seen(shown, tmp_path, small_clip):
    """Keys of the prompt's line, or columns of a manifest; a prompt that says nothing of it has a reason."""
    stated = [{"prompt_objects": "dog and cat"}, {"prompt_color": "red"}, {}]
    prompts = [replace(prompt("a"), metadata=metadata) for metadata in stated]
    scored = score(make_rewards(section(spec("shown"))), [clip(i) for i in range(3)], prompts)
    assert scored.values[0].tolist() == [11.0]
    assert scored.valid.tolist() == [[True], [False], [False]]
    assert scored.reasons == ["shown: the prompt names no object; manifest column prompt_objects"] * 2
    manifest = tmp_path / "m.csv"
    shutil.copy(small_clip, tmp_path / "a.mp4")
    manifest.write_text("video,text,prompt_objects\na.mp4,a dog,dog\n")
    ((_, found),) = read_clips(manifest)
    assert found.metadata == {"prompt_objects": "dog"}


def test_every_metric_of_a_clip_is_a_reward_by_its_name():
    """VBench's dimensions as all others; a metric of a whole run is none."""
    for name, entry in base.registry().items():
        if entry.level == "clip":
            assert find_source(spec(name)) is entry
    with pytest.raises(UsageError, match="vbench_total' judges sets of clips"):
        find_source(spec("vbench_total"))


def test_a_clip_that_scorers_cannot_take_costs_no_other():
    broken = replace(clip(0), waveform=np.full((1, 100), np.nan, dtype=np.float32))
    short = replace(clip(0), frames=clip(0).frames[:2])
    scored = score(make_rewards(section(spec("av_align"), spec(":facts"))), [clip(1, 2.0), broken, short, clip(1, 2.0)])
    assert scored.valid.tolist() == [[True, True], [False, True], [False, True], [True, True]]
    assert scored.values[0].equal(scored.values[3])
    assert "must be finite" in scored.reasons[0]
    assert "fewer than 3 frames" in scored.reasons[1]


@dataclass
class Calls:
    """A network that remembers how it was called: its embedding of a clip is the sum of the sound."""

    batches: list[int]
    loads: int = 0
    loaded: Callable[[], object] = lambda: None


@pytest.fixture
def counted(monkeypatch):
    calls = Calls([])

    def load(context):
        calls.loads += 1
        network = torch.nn.Identity()
        calls.loaded = weakref.ref(network)
        return network

    def run(network, inputs):
        calls.batches.append(len(inputs))
        return [np.array([given.views[0].sum()]) for given in inputs]

    view = Waveform(mono=False)
    encoder = Encoder("heard_for_test", 1, Backbone("network_for_test", load, packages=()), run, views=(view,))
    base.registry()
    monkeypatch.setattr(base, "_REGISTRY", dict(base._REGISTRY))
    facts = {"unit": "1", "higher_is_better": True, "range": (-1e9, 1e9), "source": "", "needs": ["audio"]}
    for name, sign in (("heard_for_test", 1), ("unheard_for_test", -1)):

        def judge(media, prompt, store, sign=sign):
            return Score.ok(sign * float(store.embed(encoder, media)[0]))

        base.scorer(name, encoders=(encoder,), **facts)(judge)
    return calls


def test_a_network_is_loaded_once_runs_in_batches_and_sees_each_clip_once(counted):
    rewards = make_rewards(section(spec("heard_for_test"), spec("unheard_for_test", "audio")))
    clips = [clip(i, 0.5) for i in range(10)]
    sums = [float(c.waveform.sum()) for c in clips]
    for turn in range(3):
        scored = score(rewards, clips)
        assert counted.batches == [8, 2] * (turn + 1)
        assert scored.values[:, 0].tolist() == pytest.approx(sums, abs=1e-4)
        assert scored.values[:, 1].tolist() == pytest.approx([-s for s in sums], abs=1e-4)
    assert counted.loads == 1
    assert counted.loaded() is not None


def test_how_many_clips_are_judged_together_can_be_said(counted):
    specs = (spec("heard_for_test"), spec("unheard_for_test", "audio"))
    clips = [clip(i, 0.5) for i in range(10)]
    wanted = score(make_rewards(section(*specs)), clips)
    counted.batches.clear()
    assert score(make_rewards(section(*specs), 4), clips).values.equal(wanted.values)
    assert counted.batches == [4, 4, 2]


def test_a_network_without_room_is_loaded_for_each_step_and_dropped(counted):
    specs = (spec("heard_for_test"), spec("unheard_for_test", "audio"))
    kept, dropped = (make_rewards(section(*specs, offload=offload)) for offload in (False, True))
    clips = [clip(i, 0.5) for i in range(10)]
    wanted = score(kept, clips)
    for turn in range(2):
        assert score(dropped, clips).values.equal(wanted.values)
        assert counted.loads == 2 + turn
        assert counted.batches == [8, 2] * (2 + turn)
        assert counted.loaded() is None


def test_room_is_made_while_clips_are_judged_and_no_longer():
    rewards, steps = make_rewards(section(spec(":brightness"))), []

    @contextmanager
    def room():
        steps.append("left")
        yield
        steps.append("back")

    rewards.room = room
    judge = rewards._backend.judge
    rewards._backend.judge = lambda *arguments: steps.append("judged") or judge(*arguments)
    score(rewards, [clip(0)])
    assert steps == ["left", "judged", "back"]


def test_nothing_of_a_step_is_remembered(counted):
    rewards = make_rewards(section(spec("heard_for_test")))
    first = score(rewards, [clip(0), clip(1)])
    second = score(rewards, [clip(1), clip(0)])  # the same keys
    assert second.values.equal(first.values.flip(0))
    with pytest.raises(ValueError, match="different keys"):
        rewards.score([clip(0), clip(1)], [prompt()] * 2, ["same", "same"])


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("av_aling", "Did you mean av_align"),
        ("clap", "reward_clap"),
        ("fvd", "judges sets of clips"),
        ("no_such_module_at_all:x", "No module named"),
        (":brigthness", "Did you mean brightness"),
        (":a_constant", "no function 'a_constant'"),
        ("judges_for_test:", "no function ''"),
        (":", "no function ''"),
    ],
)
def test_a_reward_that_is_not_there_is_wrong_usage(name, told):
    with pytest.raises(UsageError) as caught:
        make_rewards(section(spec(name)))
    assert told in str(caught.value)


def test_missing_weights_are_told_with_the_command_that_gets_them(tmp_path, monkeypatch):
    monkeypatch.setenv("AVBENCH_WEIGHTS", str(tmp_path / "none"))
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "none"))
    with pytest.raises(EnvironmentProblem, match=r"reward 'reward_clap' cannot run here: .*avbench models pull clap"):
        make_rewards(section(spec("av_align"), spec("reward_clap"), weights_dir=str(tmp_path)))


@pytest.mark.parametrize(
    ("row", "told"),
    [
        ({"scorer": "av_align", "weight": 1.0}, "missing route"),
        ({"scorer": "av_align", "weight": 1.0, "route": "picture"}, "route"),
        ({"scorer": "av_align", "weight": float("nan"), "route": "both"}, "must be finite"),
        ({"scorer": "av_align", "weight": 1.0, "route": "both", "clamp": [1.0, 0.0]}, "expected [lower, upper]"),
        ({"scorer": "av_align", "weight": 1.0, "rout": "both"}, "Did you mean route?"),
    ],
)
def test_a_reward_of_a_recipe_that_lacks_something_is_refused(row, told):
    with pytest.raises(UsageError) as caught:
        build(RewardSpec, row, Origin("a recipe"))
    assert told in str(caught.value)


def test_a_route_is_checked_without_a_recipe_too():
    with pytest.raises(UsageError, match="expected video, audio or both"):
        spec("av_align", "picture")


def test_no_rewards_and_two_of_one_name_are_refused():
    with pytest.raises(UsageError, match="no rewards"):
        make_rewards(section())
    with pytest.raises(UsageError, match="two rewards are named words"):
        make_rewards(section(spec(":words"), spec(":words", "video")))


def test_raising_a_metric_that_is_better_when_lower_is_warned_of(caplog):
    lower = next(s.name for s in base.registry().values() if s.higher_is_better is False and not s.encoders)
    with caplog.at_level(logging.WARNING):
        make_rewards(section(spec(lower, scale=-1.0)))
        assert "better when lower" not in caplog.text
        make_rewards(section(spec(lower)))
    assert "better when lower" in caplog.text


def test_clips_on_disk_are_read_with_their_prompts(tmp_path):
    rows = ["video,prompt,prompt_video,prompt_audio"]
    for seed in range(2):
        write_clip(tmp_path / f"{seed}.mp4", draw_frames(seed, seconds=2.0), draw_sound(seed, seconds=2.0))
        rows.append(f"{seed}.mp4,a ball bounces,a ball,a bounce")
    (tmp_path / "manifest.csv").write_text("\n".join(rows))
    clips, prompts = zip(*read_clips(tmp_path / "manifest.csv"), strict=True)
    assert len(clips) == len(prompts) == 2
    assert all(c.frames.dtype == np.uint8 and c.waveform.ndim == 2 for c in clips)
    assert all(p.prompt_av.strip() and p.prompt_v.strip() and p.prompt_a.strip() for p in prompts)
    scored = score(make_rewards(section(spec("av_align"))), clips, prompts)
    assert scored.valid.all(), scored.reasons


def test_clips_that_cannot_be_scored_are_named(tmp_path, small_clip):
    with pytest.raises(UsageError, match="nowhere"):
        list(read_clips(tmp_path / "nowhere"))
    with pytest.raises(UsageError, match=r"small\.mp4: has no prompt"):
        list(read_clips(small_clip))


@pytest.fixture(scope="module")
def ray_cluster(tmp_path_factory):
    ray = pytest.importorskip("ray")
    # Workers import judges by name, so they have to find the module as this process does. It lies there before they
    # start: Python remembers that a folder of its path was missing.
    folder = write_judges(tmp_path_factory)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", str(folder))
        ray.init(num_cpus=4, object_store_memory=100 * 2**20, include_dashboard=False, log_to_driver=False)
        yield ray
        ray.shutdown()


@pytest.mark.slow
def test_ray_gives_the_same_numbers_and_the_same_failures(ray_cluster):
    specs = (spec("av_align"), spec(":fussy", "audio"), spec(":words", "video"), spec("reward_clap", scale=2.0))
    clips = [clip(i, 1.0) for i in range(11)]
    prompts = [prompt("raise" if i == 9 else f"ball {i}") for i in range(11)]
    options = section(*specs, weights="keyed-random-reduced")
    here = score(make_rewards(options), clips, prompts)
    rewards = make_rewards(replace(options, backend="ray"))
    there = score(rewards, clips, prompts)
    assert there.valid.equal(here.valid)
    assert there.valid.tolist()[9] == [True, False, True, True]
    assert torch.equal(there.values.nan_to_num(-1), here.values.nan_to_num(-1))
    assert there.reasons == here.reasons
    rewards.close()


@pytest.mark.slow
def test_ray_judges_while_clips_are_sampled_and_gives_the_same_numbers(ray_cluster):
    options = section(spec("av_align"), spec(":fussy", "audio"), spec("reward_clap"), weights="keyed-random-reduced")
    clips = [clip(i, 1.0) for i in range(11)]
    prompts = [prompt("raise" if i == 9 else f"ball {i}") for i in range(11)]
    here = score(make_rewards(options, 3), clips, prompts)
    rewards = make_rewards(replace(options, backend="ray"), 3)
    assert rewards.workers == 2
    overlap = Overlap(rewards, 3)
    for start in range(0, 11, 4):
        part = slice(start, start + 4)
        overlap.add(clips[part], prompts[part], [f"0-{i}" for i in range(11)][part])
    there = overlap.finish()
    assert there.valid.equal(here.valid) and there.reasons == here.reasons
    assert torch.equal(there.values.nan_to_num(-1), here.values.nan_to_num(-1))
    overlap.close()
    greedy = make_rewards(section(spec(":greedy"), backend="ray"), 1)
    with pytest.raises(EnvironmentProblem, match="out of memory"):
        Overlap(greedy, 1).add(clips[:1], prompts[:1], ["0-0"])


@pytest.mark.slow
def test_ray_tells_what_is_missing_before_training_and_what_dies_during_it(ray_cluster, tmp_path):
    with pytest.raises(EnvironmentProblem, match=r"on a Ray worker: .*avbench models pull clap"):
        make_rewards(section(spec("reward_clap"), weights_dir=str(tmp_path), backend="ray"))
    with pytest.raises(EnvironmentProblem, match="out of memory"):
        score(make_rewards(section(spec(":greedy"), backend="ray")), [clip(0)])
    with pytest.raises(EnvironmentProblem, match="no GPU"):
        make_rewards(section(spec(":words"), backend="ray", device="cuda"))


def test_ray_that_is_not_installed_is_told_with_its_cure(monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "ray", None)
    with pytest.raises(EnvironmentProblem, match=r"pip install 'avbench\[ray\]'"):
        make_rewards(section(spec(":words"), backend="ray"))
