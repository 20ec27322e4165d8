from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import torch
from tiny_ltx2 import NAMES, Case, load_case, step_loss, stir, true_size
from torch import Tensor

from omninft_train.errors import UsageError
from omninft_train.models.hooks import AttentionCapture, Surgery, attention_modules, column_sums
from omninft_train.models.latents import Latents
from omninft_train.models.policy import FullPolicy, LoraPolicy, Policy
from omninft_train.models.responses import BothWays, ResponseCapture

VERSIONS = pytest.mark.parametrize("name", NAMES)
SETS = pytest.mark.parametrize("which", ["none", "context_release_like", "kv_literal", "kv_keep10"])
# Fractions of the shallow network's blocks: with one that passes nothing, and with one that is left alone.
KEEPS = ([0.0, 0.3], [0.1, 1.0])
KEEP = KEEPS[0]


def policy_of(case: Case, **changes: Any) -> FullPolicy:
    """Of all blocks, as the reference numbers."""
    return FullPolicy(case.transformer(**changes), case.geometry)


def shallow_of(case: Case) -> FullPolicy:
    return FullPolicy(case.shallow(), case.geometry)


def lora_of(case: Case) -> LoraPolicy:
    policy = LoraPolicy(case.shallow(), case.geometry, rank=4, alpha=8)
    stir(dict(policy.trainable()))
    return policy


def velocity(policy: Policy, case: Case, role: Any = "policy") -> Latents:
    return policy.velocity(role, case.x, case.t, case.condition)


def backward(policy: Policy, case: Case) -> dict[str, Tensor]:
    """Gradients of the video stream's loss."""
    for parameter in policy.trainable().values():
        parameter.grad = None
    (velocity(policy, case).video * case.arrays["loss_coef_video"]).sum().backward()
    return {name: p.grad.clone() for name, p in policy.trainable().items() if p.grad is not None}


@contextmanager
def operated(policy: Policy, keep: list[float], where: Any = "context", direction: Any = "a2v") -> Iterator[Surgery]:
    surgery = Surgery(policy.transformer("policy"), keep, where, direction)
    surgery.attach()
    with surgery.enabled():
        yield surgery
    surgery.remove()


def equal(a: dict[str, Tensor], b: dict[str, Tensor]) -> bool:
    return a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)


@VERSIONS
@SETS
def test_surgery_against_reference_gradients(name: str, which: str) -> None:
    case = load_case(name)
    facts = case.facts["surgery"][which]
    policy = policy_of(case)
    untouched = velocity(policy, case)
    keep = [float(facts["keep_by_block"].get(str(block), 1.0)) for block in range(6)]
    with operated(policy, keep, facts["where"]):
        assert torch.equal(velocity(policy, case).video, untouched.video)
        assert torch.equal(velocity(policy, case).audio, untouched.audio)
        found = backward(policy, case)
    wanted = case.arrays[f"{which}/grad_audio_proj_in"]
    torch.testing.assert_close(found["audio_proj_in.weight"], wanted, atol=2e-5, rtol=1e-4)
    layers = {
        "grad_norm_to_k": "audio_to_video_attn.to_k",
        "grad_norm_to_v": "audio_to_video_attn.to_v",
        "grad_norm_audio_self_to_q": "audio_attn1.to_q",
        "grad_norm_video_self_to_q": "attn1.to_q",
    }
    for key, layer in layers.items():
        norms = [float(found[f"transformer_blocks.{block}.{layer}.weight"].norm()) for block in range(6)]
        assert norms == pytest.approx(facts[key], rel=1e-4)


@pytest.mark.parametrize("where", ["context", "kv"])
@pytest.mark.parametrize("direction", ["a2v", "v2a"])
def test_keeping_everything_is_no_surgery(where: str, direction: str) -> None:
    case = load_case("ltx23")
    policy = lora_of(case)
    plain = backward(policy, case)
    with operated(policy, [1.0] * 2, where, direction):
        assert equal(backward(policy, case), plain)
    with operated(policy, KEEP, where, direction) as surgery:
        assert not equal(backward(policy, case), plain)
    surgery.attach()  # on, but not enabled
    assert equal(backward(policy, case), plain)
    surgery.remove()
    with surgery.enabled():
        assert equal(backward(policy, case), plain)


def test_kv_surgery_scales_the_adapters_of_keys_and_values_exactly_once() -> None:
    case = load_case("ltx2")
    policy = lora_of(case)
    plain = backward(policy, case)
    with operated(policy, [1.0, 0.1], "kv"):
        found = backward(policy, case)
    for name, value in found.items():
        last = name.startswith("transformer_blocks.1.")
        scaled = last and ("audio_to_video_attn.to_k" in name or "audio_to_video_attn.to_v" in name)
        if scaled:
            torch.testing.assert_close(value, 0.1 * plain[name], rtol=1e-4, atol=1e-6)
        elif last and "audio" not in name:
            assert torch.equal(value, plain[name])


def test_context_surgery_leaves_keys_and_values_their_gradients() -> None:
    case = load_case("ltx2")
    policy = lora_of(case)
    plain = backward(policy, case)
    with operated(policy, [1.0, 0.0]):
        found = backward(policy, case)
    for name, value in found.items():
        if name.startswith("transformer_blocks.1."):
            # Nothing but A2V hands the video's gradient to the last block's audio layers.
            stream = "audio_attn" in name
            assert torch.equal(value, torch.zeros_like(value) if stream else plain[name])


def test_v2a_surgery_works_on_the_other_stream() -> None:
    case = load_case("ltx2")
    policy = shallow_of(case)
    with operated(policy, [0.0] * 2, direction="v2a"):
        step = velocity(policy, case)
        (step.audio * case.arrays["loss_coef_audio"]).sum().backward()
    video = policy.trainable()["proj_in.weight"].grad
    audio = policy.trainable()["audio_proj_in.weight"].grad
    assert video is not None and audio is not None
    assert not video.any() and audio.any()


@pytest.mark.parametrize("where", ["context", "kv"])
@pytest.mark.parametrize("make", [shallow_of, lora_of])
def test_surgery_under_gradient_checkpointing(where: str, make: Callable[[Case], Policy]) -> None:
    case = load_case("ltx23")
    policy = make(case)
    network: Any = policy.transformer("policy")
    for keep in KEEPS:
        network.disable_gradient_checkpointing()
        with operated(policy, keep, where):
            plain = backward(policy, case)
            network.enable_gradient_checkpointing()
            assert equal(backward(policy, case), plain)


def test_hooks_below_later_adapters_are_an_error() -> None:
    case = load_case("ltx2")
    network = case.shallow()
    surgery = Surgery(network, KEEP, "kv")
    surgery.attach()
    policy = LoraPolicy(network, case.geometry, rank=4, alpha=8)
    with surgery.enabled(), pytest.raises(RuntimeError, match="to_k was wrapped after attach"):
        velocity(policy, case)
    surgery.attach()
    with surgery.enabled():
        velocity(policy, case)


def test_passes_without_gradients_are_left_alone() -> None:
    case = load_case("ltx2")
    policy = lora_of(case)
    surgery = Surgery(policy.transformer("policy"), [0.0] * 2)
    surgery.attach()
    plain = velocity(policy, case, "old")
    with surgery.enabled():
        assert torch.equal(velocity(policy, case, "old").video, plain.video)


@VERSIONS
def test_responses_against_reference(name: str) -> None:
    case = load_case(name)
    policy = policy_of(case)
    plain = velocity(policy, case, "old")
    capture = ResponseCapture(policy.transformer("old"))
    with pytest.raises(RuntimeError, match="no response was measured"):
        capture.take()
    with capture.collecting():
        seen = [velocity(policy, case, "old") for _ in range(2)]
    velocity(policy, case, "old")
    assert all(torch.equal(one.video, plain.video) and torch.equal(one.audio, plain.audio) for one in seen)
    found, parts = capture.take(), (("video", "a2v"), ("audio", "v2a"))
    for stream, direction in parts:
        wanted = case.arrays[f"{direction}_response_norm"]  # (blocks, B, L)
        torch.testing.assert_close(getattr(found, stream), wanted.mean(dim=0), atol=2e-5, rtol=0)
        torch.testing.assert_close(getattr(found, f"{stream}_blocks"), wanted.mean(dim=2).T, atol=2e-5, rtol=0)


def test_fractions_of_both_directions_follow_what_is_set() -> None:
    case = load_case("ltx2")
    policy = shallow_of(case)
    both = BothWays(policy.transformer("policy"))
    for keep in (*KEEPS, [1.0] * 2, KEEP[::-1]):
        both.keep(keep, KEEP)
        with both.enabled():
            found = backward(policy, case)
        outside = backward(policy, case)
        with operated(policy, keep, "kv", "a2v"), operated(policy, KEEP, "kv", "v2a"):
            both.keep([1.0] * 2, [1.0] * 2)
            assert equal(found, backward(policy, case))
        assert equal(outside, backward(policy, case)) and not equal(outside, found)


@VERSIONS
@pytest.mark.parametrize("rope", [True, False])
def test_column_sums_against_reference(name: str, rope: bool) -> None:
    case = load_case(name)
    policy = policy_of(case)
    plain = velocity(policy, case, "old")
    wanted = case.arrays["v2a_column_sum_rope" if rope else "v2a_column_sum_norope"]
    for blocks in ([0], [5], [2, 3, 4], list(range(6))):
        capture = AttentionCapture(policy.transformer("old"), blocks, rope=rope)
        with capture.collecting():
            seen = velocity(policy, case, "old")
        torch.testing.assert_close(capture.take(), wanted[blocks].mean(dim=0), atol=2e-5, rtol=0)
        capture.remove()
        assert torch.equal(seen.video, plain.video) and torch.equal(seen.audio, plain.audio)


@pytest.mark.parametrize("kind", ["split", "interleaved"])
def test_captured_probabilities_are_those_of_the_attention(kind: str) -> None:
    """With keys as values, probabilities times values give the module's own output before its output projection."""
    case = load_case("ltx2")
    policy = policy_of(case, rope_type=kind)
    attention: Any = attention_modules(policy.transformer("old"), "v2a")[1]
    seen: dict[str, Any] = {}
    attention.norm_q.register_forward_hook(lambda _, __, output: seen.update(q=output))
    attention.norm_k.register_forward_hook(lambda _, __, output: seen.update(k=output))
    attention.register_forward_hook(lambda _, __, named, ___: seen.update(named), with_kwargs=True)
    capture = AttentionCapture(policy.transformer("old"), [1])
    # Values that are 1 at one video token and 0 elsewhere make the output that token's column of probabilities.
    tokens, width = case.geometry.video_tokens, attention.inner_kv_dim
    columns = []
    with torch.no_grad(), capture.collecting():
        velocity(policy, case, "old")
    for token in range(tokens):
        picked = torch.zeros(len(case.x), tokens, width)
        picked[:, token] = 1
        value = attention.to_v.register_forward_hook(lambda _, __, ___, picked=picked: picked)
        heads = attention.to_out[0].register_forward_pre_hook(lambda _, given: seen.update(heads=given[0]))
        velocity(policy, case, "old")
        value.remove()
        heads.remove()
        columns.append(seen["heads"].mean(dim=-1).sum(dim=-1))  # heads share a width, so this is their mean
    torch.testing.assert_close(capture.take(), torch.stack(columns, dim=-1), atol=2e-6, rtol=1e-5)
    found = column_sums(attention, seen["q"], seen["k"], (seen["query_rotary_emb"], seen["key_rotary_emb"]))
    assert float(found.sum(dim=-1).mean()) == pytest.approx(case.geometry.audio_frames, rel=1e-5)


def test_passes_and_roles_are_averaged_and_taken_once() -> None:
    case = load_case("ltx2")
    policy = lora_of(case)
    stir(policy.old(), 0.3)
    capture = AttentionCapture(policy.transformer("old"), range(2))
    each = []
    for role in ("old", "reference"):
        with capture.collecting():
            velocity(policy, case, role)
        each.append(capture.take())
    assert not torch.allclose(*each, atol=1e-3)
    for role in ("old", "reference"):
        with capture.collecting():
            velocity(policy, case, role)
        velocity(policy, case, role)  # not to be seen
    together = capture.take()
    torch.testing.assert_close(together, (each[0] + each[1]) / 2)
    assert together.shape == (2, case.geometry.video_tokens) and together.dtype == torch.float32
    with pytest.raises(RuntimeError, match="no attention was collected"):
        capture.take()


def test_more_heads_than_fit_at_once() -> None:
    case = load_case("ltx2")
    network = case.transformer(
        audio_num_attention_heads=6, num_attention_heads=6, cross_attention_dim=48, audio_cross_attention_dim=24
    )
    attention: Any = attention_modules(network, "v2a")[0]
    query, key = torch.randn(2, 5, 24), torch.randn(2, 7, 24)
    by_head = [part.unflatten(-1, (6, 4)).transpose(1, 2).double() for part in (query, key)]
    wanted = (by_head[0] @ by_head[1].mT / 2).softmax(-1).mean(1).sum(1)
    torch.testing.assert_close(column_sums(attention, query, key, (None, None)), wanted.float(), atol=1e-6, rtol=1e-6)


def test_capture_in_bfloat16_sums_in_float32() -> None:
    case = load_case("ltx2")
    exact, rough = shallow_of(case), FullPolicy(case.shallow().to(torch.bfloat16), case.geometry)
    found = []
    for policy in (exact, rough):
        capture = AttentionCapture(policy.transformer("old"), range(2))
        with capture.collecting():
            velocity(policy, case, "old")
        found.append(capture.take())
    assert found[1].dtype == torch.float32
    torch.testing.assert_close(found[1], found[0], atol=0.05, rtol=0)
    # Rows of probabilities sum to one: sums in bfloat16, in steps of 0.03 at 5, would miss this. The softmax of some
    # processors is 6e-5 off.
    assert found[1].sum(dim=-1).tolist() == pytest.approx([case.geometry.audio_frames] * 2, abs=2e-3)


class ValuesOnly:
    """A processor that never makes queries and keys."""

    def __call__(self, attention: Any, states: Tensor, encoder_hidden_states: Tensor, *_: Any) -> Tensor:
        values = attention.to_v(encoder_hidden_states).mean(dim=1, keepdim=True).expand(-1, states.shape[1], -1)
        output: Tensor = attention.to_out[0](values)
        return output


def test_missing_queries_are_an_error_even_after_a_pass_that_had_them() -> None:
    case = load_case("ltx2")
    policy = shallow_of(case)
    capture = AttentionCapture(policy.transformer("old"), [1])
    with capture.collecting():
        velocity(policy, case, "old")
    attention: Any = attention_modules(policy.transformer("old"), "v2a")[1]
    attention.set_processor(ValuesOnly())
    with capture.collecting(), pytest.raises(RuntimeError, match=r"block 1: .* without its queries or keys"):
        velocity(policy, case, "old")


def test_queries_of_a_failed_pass_are_forgotten() -> None:
    case = load_case("ltx2")
    policy = shallow_of(case)
    capture = AttentionCapture(policy.transformer("old"), [1])
    attention: Any = attention_modules(policy.transformer("old"), "v2a")[1]

    def fail(*_: Any) -> None:
        raise ZeroDivisionError

    failing = attention.to_out[0].register_forward_pre_hook(fail)
    with capture.collecting(), pytest.raises(ZeroDivisionError):
        velocity(policy, case, "old")
    failing.remove()
    attention.set_processor(ValuesOnly())
    with capture.collecting(), pytest.raises(RuntimeError, match="without its queries or keys"):
        velocity(policy, case, "old")


@pytest.mark.parametrize("name", (*NAMES, "ltx25"))
def test_true_sizes(name: str) -> None:
    network = true_size(name)
    for direction, query, context in (("a2v", 4096, 2048), ("v2a", 2048, 4096)):
        modules: list[Any] = attention_modules(network, direction)
        assert len(modules) == 48
        assert {module.to_q.in_features for module in modules} == {query}
        assert {module.to_k.in_features for module in modules} == {context}
        assert {(module.heads, module.head_dim) for module in modules} == {(32, 64)}
    Surgery(network, [0.5] * 48, "kv").attach()
    AttentionCapture(network, range(48))
    hooked = sum(bool(module._forward_hooks) for module in network.modules())
    assert hooked == 48 * 2 + 48 * 3


def test_other_networks_and_depths_are_refused() -> None:
    with pytest.raises(UsageError, match="has no audio_to_video_attn"):
        Surgery(torch.nn.Linear(1, 1), [1.0])
    with pytest.raises(UsageError, match="3 fractions for 2 blocks"):
        Surgery(load_case("ltx2").shallow(), [1.0] * 3)


def test_the_whole_loss_feels_surgery_only_through_the_video_branch() -> None:
    case = load_case("ltx2")
    policy = shallow_of(case)
    step_loss(velocity(policy, case), case).backward()
    whole = {name: p.grad.clone() for name, p in policy.trainable().items() if p.grad is not None}
    video = backward(policy, case)
    with operated(policy, [1.0, 0.0]):
        for parameter in policy.trainable().values():
            parameter.grad = None
        step_loss(velocity(policy, case), case).backward()
        cut = policy.trainable()["audio_proj_in.weight"].grad
        cut_video = backward(policy, case)["audio_proj_in.weight"]
    assert cut is not None
    name = "audio_proj_in.weight"
    torch.testing.assert_close(whole[name] - cut, video[name] - cut_video, atol=1e-4, rtol=1e-3)
