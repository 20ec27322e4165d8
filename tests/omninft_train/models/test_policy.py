from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from tiny_ltx2 import NAMES, Case, load_case, step_loss, stir, true_size
from torch.utils._python_dispatch import TorchDispatchMode

from omninft_train.errors import UsageError
from omninft_train.models.latents import Latents
from omninft_train.models.policy import FullPolicy, LoraPolicy, Policy
from omninft_train.models.velocity import predict

Make = Callable[[Case], Policy]


def lora(case: Case, **options: Any) -> LoraPolicy:
    return LoraPolicy(case.shallow(), case.geometry, rank=4, alpha=8, **options)


def full(case: Case) -> FullPolicy:
    return FullPolicy(case.shallow(), case.geometry)


KINDS = pytest.mark.parametrize("make", [lora, full])
VERSIONS = pytest.mark.parametrize("name", NAMES)


def velocity(policy: Policy, role: Any, case: Case, **options: Any) -> Latents:
    return policy.velocity(role, case.x, case.t, case.condition, **options)


def assert_same(a: Latents, b: Latents) -> None:
    assert torch.equal(a.video, b.video) and torch.equal(a.audio, b.audio)


def differ(a: Latents, b: Latents) -> bool:
    return bool((a.video - b.video).abs().max() > 1e-3) and bool((a.audio - b.audio).abs().max() > 1e-3)


def gradients(policy: Policy, case: Case, **options: Any) -> dict[str, torch.Tensor]:
    step_loss(velocity(policy, "policy", case, **options), case).backward()
    found = {name: p.grad.clone() for name, p in policy.trainable().items() if p.grad is not None}
    for parameter in policy.trainable().values():
        parameter.grad = None
    return found


@pytest.mark.parametrize("kind", ["lora", "full"])
@VERSIONS
def test_all_roles_start_as_the_network_itself(kind: str, name: str) -> None:
    case = load_case(name)
    policy: Policy
    if kind == "lora":
        policy = LoraPolicy(case.transformer(), case.geometry, rank=4, alpha=8)
    else:
        policy = FullPolicy(case.transformer(), case.geometry)
    for role in ("old", "reference", "policy"):
        found = velocity(policy, role, case)
        torch.testing.assert_close(found.video, case.arrays["video_out"], atol=2e-5, rtol=0)
        torch.testing.assert_close(found.audio, case.arrays["audio_out"], atol=2e-5, rtol=0)
    assert_same(velocity(policy, "policy", case), velocity(policy, "reference", case))


@KINDS
def test_only_the_policy_takes_gradients(make: Make) -> None:
    case = load_case("ltx2")
    policy = make(case)
    assert velocity(policy, "policy", case).video.requires_grad
    for role in ("old", "reference"):
        assert not velocity(policy, role, case).video.requires_grad
    policy.check_before_backward()


@KINDS
def test_roles_have_their_own_weights(make: Make) -> None:
    case = load_case("ltx23")
    policy = make(case)
    start = velocity(policy, "reference", case)
    stir(dict(policy.trainable()))
    assert differ(velocity(policy, "policy", case), start)
    assert_same(velocity(policy, "old", case), start)
    policy.update_old(0.0)
    assert_same(velocity(policy, "old", case), velocity(policy, "policy", case))
    assert_same(velocity(policy, "reference", case), start)


@KINDS
def test_passes_of_other_roles_do_not_change_gradients(make: Make) -> None:
    case = load_case("ltx2")
    policy = make(case)
    stir(dict(policy.trainable()))
    alone = gradients(policy, case)
    now = velocity(policy, "policy", case)
    velocity(policy, "old", case)
    velocity(policy, "reference", case)
    step_loss(now, case).backward()
    assert alone.keys() == policy.trainable().keys()
    assert all(torch.equal(alone[name], p.grad) for name, p in policy.trainable().items() if p.grad is not None)


@KINDS
def test_a_failing_pass_leaves_the_policy_in_force(make: Make) -> None:
    case = load_case("ltx2")
    policy = make(case)
    for role in ("old", "reference"):
        with pytest.raises(RuntimeError):
            policy.velocity(role, Latents(case.x.video[:, :-1], case.x.audio), case.t, case.condition)
        policy.check_before_backward()
    assert len(gradients(policy, case)) == len(policy.trainable())


@pytest.mark.parametrize("checkpointing", [False, True])
@pytest.mark.parametrize("switch", ["old", "none"])
def test_a_switch_in_force_at_backward_is_an_error(switch: str, checkpointing: bool) -> None:
    case = load_case("ltx2")
    policy = lora(case)
    network: Any = policy.transformer("policy")
    if checkpointing:
        network.enable_gradient_checkpointing()
    loss = step_loss(velocity(policy, "policy", case), case)
    if switch == "old":
        network.set_adapter("old")
    else:
        network.disable_adapters()
    with pytest.raises(RuntimeError, match=f"adapter in force: {switch}"):
        policy.check_before_backward()
    with pytest.raises(RuntimeError, match=f"adapter in force: {switch}"):
        loss.backward()
    with pytest.raises(RuntimeError, match=f"adapter in force: {switch}"):
        velocity(policy, "policy", case)


@KINDS
def test_lost_gradients_are_an_error(make: Make) -> None:
    case = load_case("ltx2")
    policy = make(case)
    name, parameter = next(iter(policy.trainable().items()))
    parameter.requires_grad_(False)
    with pytest.raises(RuntimeError, match=f"1 parameters of the policy take no gradient, for example {name}"):
        policy.check_before_backward()


@KINDS
def test_gradient_checkpointing_changes_no_gradient(make: Make) -> None:
    case = load_case("ltx23")
    policy = make(case)
    stir(dict(policy.trainable()))
    plain = gradients(policy, case)
    policy.transformer("policy").enable_gradient_checkpointing()  # type: ignore[operator]
    again = gradients(policy, case)
    assert all(torch.equal(plain[name], again[name]) for name in plain)


@KINDS
def test_names_are_shared_and_ordered(make: Make) -> None:
    policy = make(load_case("ltx2"))
    names = list(policy.trainable())
    assert names == sorted(names) == list(policy.old())
    assert not any(".policy." in name or ".old." in name for name in names)


@lru_cache
def shared(make: Make) -> Policy:
    return make(load_case("ltx2"))


@KINDS
@given(keep=st.floats(0, 1))
@settings(max_examples=10, deadline=None)
def test_old_follows_the_policy(make: Make, keep: float) -> None:
    policy = shared(make)
    before = {name: value.clone() for name, value in policy.old().items()}
    stir(dict(policy.trainable()))
    policy.update_old(keep)
    now = policy.trainable()
    for name, value in policy.old().items():
        assert torch.allclose(value, keep * before[name] + (1 - keep) * now[name], atol=1e-6)
    policy.update_old(0.0)
    assert all(torch.equal(value, now[name]) for name, value in policy.old().items())


@KINDS
def test_saved_tensors_bring_the_policy_back(make: Make) -> None:
    case = load_case("ltx2")
    policy, other = make(case), make(case)
    stir(dict(policy.trainable()))
    policy.update_old(0.5)
    other.load(policy.full(policy.trainable()), policy.full(policy.old()))
    for role in ("policy", "old"):
        assert_same(velocity(policy, role, case), velocity(other, role, case))


@KINDS
def test_tensors_of_another_policy_are_refused(make: Make) -> None:
    policy = make(load_case("ltx2"))
    tensors = policy.full(policy.trainable())
    name = next(iter(tensors))
    with pytest.raises(UsageError, match="has shape"):
        policy.load(tensors | {name: torch.zeros(1)}, tensors)
    with pytest.raises(UsageError, match="different parameters, for example"):
        policy.load({key: value for key, value in tensors.items() if key != name}, tensors)


@VERSIONS
def test_skipped_blocks_change_the_answer_and_nothing_after(name: str) -> None:
    case = load_case(name)
    policy = lora(case)
    before = velocity(policy, "old", case)
    away = velocity(policy, "old", case, skip_blocks=(1,))
    assert differ(away, before)
    assert differ(away, velocity(policy, "old", case, skip_blocks=(0,)))
    assert_same(velocity(policy, "old", case), before)
    with pytest.raises(UsageError, match="block 2 cannot be skipped for guidance: the network has 2 blocks"):
        velocity(policy, "old", case, skip_blocks=(2,))


def test_masked_text_is_not_read() -> None:
    case = load_case("ltx2")
    policy = lora(case)
    mask = torch.ones(case.condition.video.shape[:2])
    mask[:, -2:] = 0
    other = case.condition.video.clone()
    other[:, -2:] += 1
    found = [
        policy.velocity("old", case.x, case.t, type(case.condition)(video, case.condition.audio, mask))
        for video in (case.condition.video, other)
    ]
    assert_same(*found)
    assert differ(velocity(policy, "old", case), found[0])


def test_adapters_start_from_the_seed_alone() -> None:
    case = load_case("ltx2")
    network = case.shallow()
    state = torch.get_rng_state()
    first = LoraPolicy(network, case.geometry, rank=4, alpha=8, seed=3)
    assert torch.equal(torch.get_rng_state(), state)
    second = LoraPolicy(case.shallow().to(torch.bfloat16), case.geometry, rank=4, alpha=8, seed=3)
    third = lora(case, seed=4)
    drawn, again, old, other = first.trainable(), second.trainable(), first.old(), third.trainable()
    for name, value in drawn.items():
        assert value.dtype == again[name].dtype == torch.float32
        assert torch.equal(value, again[name])
        assert torch.equal(value, old[name])
        assert torch.equal(value, other[name]) == (".lora_B." in name)
    spread = torch.cat([value.flatten() for name, value in drawn.items() if ".lora_A." in name])
    assert float(spread.detach().std()) == pytest.approx(1 / 4, rel=0.05)


def test_adapters_are_scaled_by_alpha_over_rank() -> None:
    case = load_case("ltx2")
    found = []
    for rank, alpha in ((4, 8), (4, 4)):
        policy = LoraPolicy(case.shallow(), case.geometry, rank=rank, alpha=alpha)
        for name, value in policy.trainable().items():
            if ".lora_B." in name:
                value.data.fill_(0.02 if alpha == 8 else 0.04)
        found.append(velocity(policy, "policy", case))
    torch.testing.assert_close(found[0].video, found[1].video, atol=2e-5, rtol=1e-4)


@pytest.mark.parametrize("autocast", [False, True])
def test_adapters_stay_in_float32_on_a_network_in_bfloat16(autocast: bool) -> None:
    case = load_case("ltx23")
    exact = lora(case)
    network = case.shallow() if autocast else case.shallow().to(torch.bfloat16)
    policy = LoraPolicy(network, case.geometry, rank=4, alpha=8)
    for each in (exact, policy):
        stir(dict(each.trainable()), 0.05)
    with torch.autocast("cpu", torch.bfloat16, enabled=autocast):
        with torch.no_grad():
            velocity(policy, "policy", case)  # a pass without gradients must not spoil those of the next
        found = gradients(policy, case)
    wanted = gradients(exact, case)
    assert found.keys() == wanted.keys()
    assert all(value.dtype == torch.float32 for value in found.values())
    rough, fine = (torch.cat([value.flatten() for value in each.values()]) for each in (found, wanted))
    assert float(torch.nn.functional.cosine_similarity(rough, fine, dim=0)) > 0.99


@pytest.mark.slow
@pytest.mark.parametrize("name", (*NAMES, "ltx25"))
def test_true_sizes(name: str) -> None:
    policy = LoraPolicy(true_size(name), load_case("ltx2").geometry, rank=32, alpha=64)
    trainable = policy.trainable()
    layers = {key.rpartition(".lora_")[0] for key in trainable}
    blocks = {key.split(".")[1] for key in layers}
    assert len(blocks) == 48
    assert len(layers) == 48 * 28 == 1344
    assert len(trainable) == len(policy.old()) == 2 * 1344
    assert sum(p.numel() for p in trainable.values()) == pytest.approx(308.3e6, abs=0.05e6)
    assert all(key.startswith("transformer_blocks.") and "gate" not in key for key in layers)
    assert sum(p.requires_grad for p in policy.transformer("policy").parameters()) == 2 * 1344


@VERSIONS
def test_a_lora_to_start_from_is_what_all_roles_begin_as(name: str) -> None:
    case = load_case(name)
    trained = lora(case)
    stir(dict(trained.trainable()))
    policy = lora(case, start=trained.full(trained.trainable()))
    wanted = velocity(trained, "policy", case)
    for role in ("policy", "old", "reference"):
        assert_same(velocity(policy, role, case), wanted)
    assert differ(wanted, velocity(trained, "reference", case))
    # From here on only the policy moves, and the old policy follows; the reference stays what it was.
    assert gradients(policy, case).keys() == trained.trainable().keys()
    stir(dict(policy.trainable()))
    policy.update_old(0.0)
    assert differ(velocity(policy, "policy", case), wanted)
    assert_same(velocity(policy, "old", case), velocity(policy, "policy", case))
    assert_same(velocity(policy, "reference", case), wanted)
    assert not velocity(policy, "reference", case).video.requires_grad
    assert list(policy.old()) == list(policy.trainable()) == list(trained.trainable())


@VERSIONS
@pytest.mark.parametrize("half", [False, True])
def test_roles_are_those_that_peft_switches_to(name: str, half: bool) -> None:
    case = load_case(name)
    policy, other = (LoraPolicy(changed(case, half), case.geometry, rank=4, alpha=8) for _ in range(2))
    for each in (policy, other):
        stir(dict(each.trainable()))
        each.update_old(0.3)
    network: Any = other.transformer("policy")
    inputs = (other.geometry, case.x, case.t, case.condition)
    switches: dict[Any, Callable[[], None]] = {
        "policy": lambda: network.set_adapter("policy"),
        "old": lambda: network.set_adapter("old"),
        "reference": network.disable_adapters,
    }
    for role, switch in switches.items():
        switch()
        with torch.no_grad():
            wanted = Latents(*predict(network, *inputs, skip_blocks=()))
            found = velocity(policy, role, case)
        assert_same(found, wanted)


def changed(case: Case, half: bool) -> Any:
    return case.shallow().to(torch.bfloat16 if half else torch.float32)


class Casts(TorchDispatchMode):
    """Counts tensors that are turned from bfloat16 into float32."""

    def __init__(self) -> None:
        super().__init__()
        self.count = 0

    def __torch_dispatch__(self, function: Any, types: Any, arguments: Any = (), named: Any = None) -> Any:
        result = function(*arguments, **(named or {}))
        if function is torch.ops.aten._to_copy.default and arguments[0].dtype == torch.bfloat16:
            self.count += result.dtype == torch.float32
        return result


def test_inputs_of_adapters_are_not_cast_there_and_back() -> None:
    case = load_case("ltx23")
    policy = LoraPolicy(changed(case, True), case.geometry, rank=4, alpha=8)
    stir(dict(policy.trainable()), 0.05)
    layers = [part for part in policy.transformer("policy").modules() if hasattr(part, "cast_input_dtype_enabled")]
    found, counts = [], []
    for cast in (False, True):
        for layer in layers:
            layer.cast_input_dtype_enabled = cast
        with Casts() as casts:
            now = velocity(policy, "policy", case).map(torch.Tensor.detach)
        counts.append(casts.count)
        found.append((now, gradients(policy, case)))
    assert_same(found[0][0], found[1][0])
    assert all(torch.equal(value, found[1][1][name]) for name, value in found[0][1].items())
    assert len(layers) == 2 * 28
    assert counts[1] - counts[0] == len(layers)  # peft's own way: once for each layer
    fresh = LoraPolicy(changed(case, True), case.geometry, rank=4, alpha=8)
    with Casts() as casts:
        velocity(fresh, "policy", case)
    assert casts.count == counts[0]
