from collections.abc import Callable

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn.functional import scaled_dot_product_attention

from astrosage.train import attention
from astrosage.train.attention import document_attention

MODULE = torch.nn.Identity()


def inputs(tokens: int, heads: int = 4, groups: int = 2, dim: int = 8) -> list[torch.Tensor]:
    generator = torch.Generator().manual_seed(tokens)
    return [
        torch.randn(1, n, tokens, dim, generator=generator, requires_grad=True)
        for n in (heads, groups, groups)
    ]


def reference(parts: list[torch.Tensor], lengths: list[int]) -> torch.Tensor:
    pieces = zip(*(p.split(lengths, dim=2) for p in parts), strict=True)
    outputs = [scaled_dot_product_attention(*p, is_causal=True, enable_gqa=True) for p in pieces]
    return torch.cat(outputs, dim=2).transpose(1, 2)


def by_blocks(parts: list[torch.Tensor], lengths: list[int]) -> torch.Tensor:
    found, weights = document_attention(MODULE, *parts, None, document_lengths=lengths)
    assert weights is None
    return found


def one_by_one(parts: list[torch.Tensor], lengths: list[int]) -> torch.Tensor:
    query, key, value = parts
    return attention._by_document(query, key, value, lengths, query.shape[-1] ** -0.5)


@pytest.mark.parametrize("way", [by_blocks, one_by_one])
@given(lengths=st.lists(st.integers(1, 300), min_size=1, max_size=5))
@settings(max_examples=20, deadline=None)
def test_equals_attention_of_each_document_alone(
    way: Callable[[list[torch.Tensor], list[int]], torch.Tensor], lengths: list[int]
) -> None:
    parts = inputs(sum(lengths))
    expected = reference(parts, lengths)
    found = way(parts, lengths)
    torch.testing.assert_close(found, expected, atol=2e-5, rtol=1e-4)
    seed = torch.randn_like(expected)
    for mine, theirs in zip(
        torch.autograd.grad(found, parts, seed),
        torch.autograd.grad(expected, parts, seed),
        strict=True,
    ):
        torch.testing.assert_close(mine, theirs, atol=5e-5, rtol=1e-3)


def test_no_document_sees_another() -> None:
    query, key, value = inputs(12)
    before, _ = document_attention(MODULE, query, key, value, None, document_lengths=[5, 7])
    changed = value.detach().clone()
    changed[:, :, :5] += 100.0
    after, _ = document_attention(MODULE, query, key, changed, None, document_lengths=[5, 7])
    assert torch.equal(before[:, 5:], after[:, 5:])
    assert not torch.equal(before[:, :5], after[:, :5])


@pytest.mark.parametrize("scale", [0.1, 1.0])
def test_scale_is_used(scale: float) -> None:
    parts = inputs(40)
    found, _ = document_attention(MODULE, *parts, None, scaling=scale, document_lengths=[40])
    expected = scaled_dot_product_attention(*parts, is_causal=True, enable_gqa=True, scale=scale)
    torch.testing.assert_close(found, expected.transpose(1, 2), atol=2e-5, rtol=1e-4)


@pytest.mark.parametrize(
    ("dtype", "dim", "capability", "can"),
    [
        (torch.bfloat16, 64, (9, 0), True),
        (torch.float16, 256, (8, 0), True),
        (torch.float32, 64, (9, 0), False),
        (torch.bfloat16, 20, (9, 0), False),
        (torch.bfloat16, 512, (9, 0), False),
        (torch.bfloat16, 64, (7, 5), False),
    ],
)
def test_what_flash_attention_takes(
    dtype: torch.dtype, dim: int, capability: tuple[int, int], can: bool
) -> None:
    assert attention.flash_can(dtype, dim, capability) is can


def test_ends_of_documents() -> None:
    ends = attention._ends((3, 1, 4), torch.device("cpu"))
    assert ends.dtype == torch.int32
    assert ends.tolist() == [0, 3, 4, 8]


def test_the_call_of_the_gpus_kernel_is_one_that_pytorch_knows() -> None:
    """Without a GPU the shapes can be checked all the same, on meta tensors."""
    from torch.nn.attention.varlen import varlen_attn

    query, key, value = (
        torch.empty(8, heads, 16, dtype=torch.bfloat16, device="meta") for heads in (4, 2, 2)
    )
    ends = attention._ends((3, 5), torch.device("meta"))
    output = varlen_attn(
        query, key, value, ends, ends, 5, 5, scale=0.25, window_size=(-1, 0), enable_gqa=True
    )
    assert output.shape == query.shape
