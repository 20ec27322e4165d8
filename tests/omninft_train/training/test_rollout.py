from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from omninft_train.errors import UsageError
from omninft_train.models.latents import Condition, Latents
from omninft_train.training.rollout import CaptureWindow, Guidance, clip_seed, guide, rollout_seed, sample

LEVELS = torch.tensor([1.0, 0.9, 0.6, 0.25, 0.0])
OFF = Guidance(video=1.0, audio=1.0, stg=0.0, stg_blocks=())


@dataclass
class Network:
    """Velocities that depend on everything that they may depend on; remembers its calls."""

    calls: list[tuple[str, float, tuple[int, ...]]] = field(default_factory=list)
    recording: bool = False
    recorded: list[int] = field(default_factory=list)

    def velocity(
        self, role: str, x: Latents, t: Tensor, condition: Condition, *, skip_blocks: tuple[int, ...] = ()
    ) -> Latents:
        if self.recording:
            self.recorded.append(len(self.calls))
        self.calls.append((role, float(t[0]), skip_blocks))
        assert t.shape == (len(x),) and len(condition) == len(x)
        text = condition.video.mean(dim=(1, 2))[:, None, None]
        drive = torch.tanh(x.video.mean(dim=(1, 2)) + x.audio.mean(dim=(1, 2)))[:, None, None]
        shift = 0.3 * len(skip_blocks) + t[:, None, None]
        return Latents(torch.sin(x.video + text) + drive + shift, torch.cos(x.audio - text) - drive * shift)

    @contextmanager
    def collecting(self) -> Iterator[None]:
        self.recording = True
        yield
        self.recording = False


def noise(batch: int = 3) -> Latents:
    generator = torch.Generator().manual_seed(1)
    return Latents(torch.randn(batch, 6, 4, generator=generator), torch.randn(batch, 5, 4, generator=generator))


def condition(batch: int = 3, value: float | None = None) -> Condition:
    text = torch.arange(batch, dtype=torch.float32) if value is None else torch.full((batch,), value)
    return Condition(text[:, None, None].expand(batch, 2, 4), text[:, None, None].expand(batch, 2, 4))


def euler(network: Network, x: Latents, text: Condition) -> Latents:
    """The textbook loop on velocities."""
    for now, then in zip(LEVELS[:-1].tolist(), LEVELS[1:].tolist(), strict=True):
        v = network.velocity("old", x, torch.full((len(x),), now), text)
        x = Latents(x.video + (then - now) * v.video, x.audio + (then - now) * v.audio)
    return x


def assert_close(a: Latents, b: Latents, tolerance: float = 1e-5) -> None:
    torch.testing.assert_close(a.video, b.video, atol=tolerance, rtol=tolerance)
    torch.testing.assert_close(a.audio, b.audio, atol=tolerance, rtol=tolerance)


def test_without_guidance_it_is_an_euler_loop_of_one_pass() -> None:
    network = Network()
    found = sample(network, "old", noise(), LEVELS, condition(), guidance=OFF)
    assert [call[0] for call in network.calls] == ["old"] * 4
    assert [call[1] for call in network.calls] == LEVELS[:-1].tolist()
    assert_close(found, euler(Network(), noise(), condition()))


@settings(max_examples=30, deadline=None)
@given(st.lists(st.floats(0.01, 0.99), min_size=0, max_size=6, unique=True), st.integers(0, 1000))
def test_a_straight_path_ends_at_its_clean_latents_whatever_the_levels(inner: list[float], seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    x0 = Latents(torch.randn(2, 6, 4, generator=generator), torch.randn(2, 5, 4, generator=generator))
    start = noise(2)

    class Straight:
        def velocity(self, *_: object, skip_blocks: tuple[int, ...] = ()) -> Latents:
            return Latents(start.video - x0.video, start.audio - x0.audio)

    levels = torch.tensor([1.0, *sorted(inner, reverse=True), 0.0], dtype=torch.float64)
    assert_close(sample(Straight(), "old", start, levels, condition(2), guidance=OFF), x0)


def test_a_batch_equals_its_rollouts_one_by_one() -> None:
    options = Guidance(1.5, 3.0, 1.0, (1,))
    negative = condition(1, -1.0)
    whole = sample(Network(), "old", noise(), LEVELS, condition(), negative=negative, guidance=options)
    parts = [
        sample(Network(), "old", noise()[[i]], LEVELS, condition()[[i]], negative=negative, guidance=options)
        for i in range(3)
    ]
    assert_close(whole, Latents.cat(parts), 1e-6)


def test_guidance_follows_its_formula() -> None:
    def clean(video: float, audio: float) -> Latents:
        return Latents(torch.full((1, 1, 1), video), torch.full((1, 1, 1), audio))

    estimates = {"conditional": clean(1.0, 2.0), "negative": clean(0.5, 1.0), "stg": clean(0.75, 4.0)}
    found = guide(estimates, Guidance(video=1.5, audio=3.0, stg=2.0))
    assert found.video.item() == pytest.approx(1.0 + 0.5 * 0.5 + 2.0 * 0.25)
    assert found.audio.item() == pytest.approx(2.0 + 2.0 * 1.0 + 2.0 * -2.0)


@pytest.mark.parametrize(
    ("options", "passes"),
    [
        (OFF, ("conditional",)),
        (Guidance(1.0, 3.0, 0.0), ("conditional", "negative")),
        (Guidance(1.5, 1.0, 0.0), ("conditional", "negative")),
        (Guidance(1.0, 1.0, 1.0), ("conditional", "stg")),
        (Guidance(), ("conditional", "negative", "stg")),
    ],
)
def test_only_the_passes_that_are_needed_run(options: Guidance, passes: tuple[str, ...]) -> None:
    network = Network()
    sample(network, "old", noise(), LEVELS, condition(), negative=condition(1, 0.5), guidance=options)
    assert options.passes == passes
    assert len(network.calls) == 4 * len(passes)
    assert any(call[2] for call in network.calls) == ("stg" in passes)


def test_attention_is_collected_in_the_window_and_in_the_passes_asked_for() -> None:
    negative, options = condition(1, 0.5), Guidance()
    network = Network()
    window = CaptureWindow(1, 2)
    arguments = ("old", noise(), LEVELS, condition())
    sample(network, *arguments, negative=negative, guidance=options, capture=network, window=window)
    assert network.recorded == [3, 6]  # three passes per step, the conditional one first
    network = Network()
    window = CaptureWindow(1, 2, "all")
    sample(network, *arguments, negative=negative, guidance=options, capture=network, window=window)
    assert network.recorded == [3, 4, 5, 6, 7, 8]
    network = Network()
    sample(network, *arguments, guidance=OFF, window=CaptureWindow(0, 3))
    assert network.recorded == []


def test_nothing_of_the_loop_is_kept_for_a_backward_pass() -> None:
    start = noise()
    start.video.requires_grad_()
    assert not sample(Network(), "old", start, LEVELS, condition(), guidance=OFF).video.requires_grad


def test_what_the_guidance_misses_is_told() -> None:
    with pytest.raises(UsageError, match="negative prompt"):
        sample(Network(), "old", noise(), LEVELS, condition())
    with pytest.raises(UsageError, match="stg_blocks"):
        sample(Network(), "old", noise(), LEVELS, condition(), guidance=Guidance(1.0, 1.0, 1.0, ()))


@pytest.mark.parametrize("levels", [[1.0], [0.0, 1.0], [1.0, 0.5, 0.5, 0.0], [1.0, -0.1]])
def test_levels_have_to_fall(levels: list[float]) -> None:
    with pytest.raises(ValueError, match="fall from 1 to 0"):
        sample(Network(), "old", noise(), torch.tensor(levels), condition(), guidance=OFF)


def test_seeds_of_a_long_run_are_all_different() -> None:
    seeds = {rollout_seed(s, step, g, m) for s in range(2) for step in range(500) for g in range(8) for m in range(8)}
    assert len(seeds) == 2 * 500 * 8 * 8
    assert all(0 <= seed < 2**63 for seed in seeds)


def test_the_derivation_of_seeds_stays() -> None:
    """A run that was begun with an earlier version has to go on with the same noise."""
    assert rollout_seed(0, 0, 0, 0) == 8662518681111019217
    assert rollout_seed(1, 23, 4, 5) != rollout_seed(12, 3, 4, 5)


def test_clips_share_no_noise_with_rollouts() -> None:
    rollouts = {rollout_seed(0, step, group, member) for step in range(50) for group in range(8) for member in range(8)}
    assert rollouts.isdisjoint(clip_seed(0, prompt, index) for prompt in range(64) for index in range(8))


def test_seeds_of_one_step_differ_in_the_bits_that_torch_keeps() -> None:
    draws = [rollout_seed(0, 0, group, member) % 2**32 for group in range(4) for member in range(8)]
    assert len(set(draws)) == 32
