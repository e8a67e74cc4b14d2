import pytest
import torch
from torch import nn
from torch.nn.functional import cross_entropy, linear

from astrosage.train import loss
from astrosage.train.loss import LossHead


def head(vocabulary: int, width: int) -> nn.Linear:
    torch.manual_seed(0)
    return nn.Linear(width, vocabulary, bias=False)


@pytest.mark.parametrize("chunk", [1, 3, 7, 50])
def test_loss_and_gradients_equal_the_plain_ones(
    chunk: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    vocabulary, width, tokens = 96, 16, 20
    monkeypatch.setattr(loss, "_CHUNK_ELEMENTS", chunk * vocabulary)
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
