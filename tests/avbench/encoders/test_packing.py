"""Packed weights: the same products, only at bf16 on a CPU, and nothing touched that other modules reach into."""

from __future__ import annotations

import pytest

torch = pytest.importorskip("torch")

from torch import nn  # noqa: E402

from avbench.encoders.packing import PackedLinear, can_pack, linear, pack, packed  # noqa: E402


def _stack(dtype: torch.dtype) -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(48, 96), nn.GELU(), nn.Linear(96, 16, bias=False)).to(dtype).eval()


@pytest.mark.parametrize("shape", [(48,), (1, 48), (7, 48), (2, 300, 48)])
def test_packed_layers_multiply_as_plain_ones(shape: tuple[int, ...]) -> None:
    stack, tokens = _stack(torch.bfloat16), torch.randn(shape, dtype=torch.bfloat16)
    with torch.inference_mode():
        plain = stack(tokens)
        pack(stack)
        again = stack(tokens)
    # Without AVX-512 or its like, torch has no packed products at bf16: then the weight stays as it is.
    assert stack[0].weight.is_mkldnn is can_pack() and type(stack[0]) is PackedLinear
    torch.testing.assert_close(again, plain, rtol=2**-7, atol=2**-8)


def test_nothing_is_packed_at_fp32() -> None:
    stack, tokens = _stack(torch.float32), torch.randn(5, 48)
    plain = stack(tokens)
    pack(stack)
    assert not stack[0].weight.is_mkldnn
    assert torch.equal(stack(tokens), plain)


def test_without_its_instructions_nothing_is_packed(monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(*_: object) -> None:
        raise RuntimeError("bf16 path needs the cpu support avx_ne_convert or avx512bw")

    monkeypatch.setattr(torch.ops.mkldnn, "_reorder_linear_weight", refused)
    can_pack.cache_clear()
    stack, tokens = _stack(torch.bfloat16), torch.randn(5, 48, dtype=torch.bfloat16)
    with torch.inference_mode():
        plain = stack(tokens)
        pack(stack)
        assert torch.equal(stack(tokens), plain)
    can_pack.cache_clear()


def test_a_single_weight_may_be_packed_too() -> None:
    weight, bias = nn.Parameter(torch.randn(24, 48).bfloat16()), torch.randn(24).bfloat16()
    tokens = torch.randn(3, 48).bfloat16()
    with torch.inference_mode():
        again = linear(tokens, packed(weight), bias)
        torch.testing.assert_close(again, nn.functional.linear(tokens, weight, bias), rtol=2**-7, atol=2**-7)


def test_an_attention_keeps_the_layer_that_it_reads_itself() -> None:
    attention = nn.MultiheadAttention(16, 2, batch_first=True).bfloat16().eval()
    tokens = torch.randn(1, 4, 16).bfloat16()
    with torch.inference_mode():
        plain = attention(tokens, tokens, tokens)[0]
        pack(attention)
        assert torch.equal(attention(tokens, tokens, tokens)[0], plain)
