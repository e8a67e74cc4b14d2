import pytest
import torch
from torch import nn
from torch.nn.functional import cross_entropy, linear

from astrosage.train import loss
from astrosage.train.loss import LossHead


def head(vocabulary: int, width: int) -> nn.Linear:
    torch.manual_seed(0)
    return nn.Linear(width, vocabulary, bias=False)


def small_chunks(monkeypatch: pytest.MonkeyPatch, elements: int, group: int) -> None:
    monkeypatch.setitem(loss._CHUNK_ELEMENTS, "cpu", elements)
    monkeypatch.setitem(loss._GROUP, "cpu", group)


@pytest.mark.parametrize(
    ("chunk", "group"), [(1, 1), (1, 4), (3, 1), (3, 2), (7, 1), (7, 2), (50, 1), (50, 4)]
)
def test_loss_and_gradients_equal_the_plain_ones(
    chunk: int, group: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    vocabulary, width, tokens = 96, 16, 20
    small_chunks(monkeypatch, chunk * vocabulary, group)
    output = head(vocabulary, width)
    hidden = torch.randn(tokens, width, requires_grad=True)
    targets = torch.randint(0, vocabulary, (tokens,))
    expected = cross_entropy(linear(hidden, output.weight), targets, reduction="sum")
    wanted = torch.autograd.grad(expected, (hidden, output.weight))
    found = LossHead(output)(hidden, targets)
    torch.testing.assert_close(found, expected)
    for mine, theirs in zip(
        torch.autograd.grad(found * 1.0, (hidden, output.weight)), wanted, strict=True
    ):
        torch.testing.assert_close(mine, theirs, atol=1e-5, rtol=1e-4)


def test_scaling_the_loss_scales_the_gradient() -> None:
    output = head(32, 8)
    hidden = torch.randn(5, 8, requires_grad=True)
    targets = torch.randint(0, 32, (5,))
    (once,) = torch.autograd.grad(LossHead(output)(hidden, targets), hidden)
    (thrice,) = torch.autograd.grad(LossHead(output)(hidden, targets) * 3, hidden)
    torch.testing.assert_close(thrice, once * 3)


def test_no_target_means_no_loss_and_a_zero_gradient() -> None:
    output = head(32, 8)
    hidden = torch.randn(0, 8, requires_grad=True)
    value = LossHead(output)(hidden, torch.zeros(0, dtype=torch.long))
    assert float(value.detach()) == 0.0
    (gradient,) = torch.autograd.grad(value, output.weight)
    assert not gradient.any()


def test_without_targets_it_is_the_output_layer() -> None:
    output = head(32, 8)
    hidden = torch.randn(2, 3, 8)
    assert torch.equal(LossHead(output)(hidden), output(hidden))


def test_weight_is_shared_and_bias_refused() -> None:
    output = head(32, 8)
    assert LossHead(output).weight is output.weight
    with pytest.raises(ValueError, match="bias"):
        LossHead(nn.Linear(8, 32))


@pytest.mark.parametrize("learns", [False, True])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_both_ways_to_a_chunks_loss_are_one(dtype: torch.dtype, learns: bool) -> None:
    logits = (torch.randn(6, 33, generator=torch.Generator().manual_seed(1)) * 30).to(dtype)
    targets = torch.randint(0, 33, (6,), generator=torch.Generator().manual_seed(2))
    plain = cross_entropy(logits.float(), targets, reduction="sum")
    for buffer in (None, torch.empty(9, 33)):
        kept = logits.clone()
        found = loss._loss(kept, targets, buffer, learns=learns)
        torch.testing.assert_close(found, plain, rtol=1e-6, atol=1e-5)
        expected = logits
        if learns:
            expected = torch.softmax(logits.float(), -1)
            expected[range(6), targets] -= 1
            expected = expected.to(dtype)
        torch.testing.assert_close(kept, expected)


@pytest.mark.parametrize(("chunks", "most"), [(4, 0.003), (16, 0.003), (64, 0.003)])
def test_many_roundings_do_not_add_up(
    chunks: int, most: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    vocabulary, width, tokens = 512, 32, 1024
    small_chunks(monkeypatch, tokens // chunks * vocabulary, 1)
    generator = torch.Generator().manual_seed(3)
    output = nn.Linear(width, vocabulary, bias=False, dtype=torch.bfloat16)
    with torch.no_grad():
        output.weight.copy_(torch.randn(vocabulary, width, generator=generator))
    hidden = torch.randn(tokens, width, generator=generator).bfloat16()
    targets = torch.randint(0, vocabulary, (tokens,), generator=generator)
    LossHead(output)(hidden, targets).backward()
    wide = output.weight.detach().float().requires_grad_()
    # The logits are rounded to bf16 on purpose; what is looked at here is the sum over chunks.
    logits = linear(hidden.float(), wide)
    rounded = logits + (logits.detach().bfloat16() - logits.detach())
    cross_entropy(rounded, targets, reduction="sum").backward()
    assert wide.grad is not None
    assert output.weight.grad is not None
    assert output.weight.grad.dtype == torch.bfloat16
    error = (output.weight.grad.float() - wide.grad).norm() / wide.grad.norm()
    assert error < most


def test_a_frozen_weight_costs_no_gradient() -> None:
    output = head(32, 8).requires_grad_(False)
    hidden = torch.randn(5, 8, requires_grad=True)
    value = LossHead(output)(hidden, torch.randint(0, 32, (5,)))
    assert [t is None for t in value.grad_fn.saved_tensors] == [False, True]
    value.backward()
    assert output.weight.grad is None
    assert hidden.grad is not None
