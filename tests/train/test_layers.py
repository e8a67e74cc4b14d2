import torch
from torch import nn
from torch.nn.functional import rms_norm, silu

from astrosage.train import layers
from astrosage.train.layers import GatedFeedForward, RMSNorm


def test_norm_and_its_gradients_equal_the_plain_ones() -> None:
    torch.manual_seed(0)
    weight = nn.Parameter(torch.randn(16))
    hidden = torch.randn(2, 5, 16, requires_grad=True)
    seed = torch.randn(2, 5, 16)
    expected = rms_norm(hidden, (16,), weight, 1e-5)
    wanted = torch.autograd.grad(expected, (hidden, weight), seed)
    found = RMSNorm(weight, 1e-5)(hidden)
    torch.testing.assert_close(found, expected)
    kept = seed.clone()
    for mine, theirs in zip(
        torch.autograd.grad(found, (hidden, weight), seed), wanted, strict=True
    ):
        torch.testing.assert_close(mine, theirs, atol=1e-5, rtol=1e-4)
    assert torch.equal(seed, kept)  # the gradient that came in is not written to


class Original(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.gate_proj, self.up_proj = nn.Linear(8, 12), nn.Linear(8, 12)
        self.down_proj = nn.Linear(12, 8)


def test_feed_forward_and_its_gradients_equal_the_plain_ones() -> None:
    torch.manual_seed(0)
    original = Original()
    hidden = torch.randn(3, 8, requires_grad=True)
    expected = original.down_proj(silu(original.gate_proj(hidden)) * original.up_proj(hidden))
    parameters = [hidden, *original.parameters()]
    wanted = torch.autograd.grad(expected.square().sum(), parameters)
    layer = GatedFeedForward(original)
    assert [n for n, _ in layer.named_parameters()] == [n for n, _ in original.named_parameters()]
    found = layer(hidden)
    torch.testing.assert_close(found, expected)
    for mine, theirs in zip(
        torch.autograd.grad(found.square().sum(), parameters), wanted, strict=True
    ):
        torch.testing.assert_close(mine, theirs, atol=1e-5, rtol=1e-4)


def test_the_gate_that_gpus_compile_equals_that_of_a_cpu() -> None:
    torch.manual_seed(0)
    inputs = [torch.randn(4, 6, dtype=torch.float64, requires_grad=True) for _ in range(2)]
    found, expected = layers.gate(*inputs), layers._plain_gate(*inputs)
    torch.testing.assert_close(found, expected)
    seed = torch.randn(4, 6, dtype=torch.float64)
    for mine, theirs in zip(
        torch.autograd.grad(found, inputs, seed),
        torch.autograd.grad(expected, inputs, seed),
        strict=True,
    ):
        torch.testing.assert_close(mine, theirs)
