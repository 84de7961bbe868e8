"""Half-precision gradients of convolutions and attention, worked out again in float32."""

import copy

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn

from gradfuga._observe import observe
from gradfuga._torch.again import again

OPS = {
    "plain": lambda x, w: F.conv2d(x, w, padding=1),
    "strided": lambda x, w: F.conv2d(x, w, stride=2, padding=1, dilation=2),
    "transposed": lambda x, w: F.conv_transpose2d(x, w, stride=2, padding=1, output_padding=1),
}


def node_of(output):
    """Return the convolution or attention below an output that was cast or copied."""
    node = output.grad_fn
    while not node.name().startswith(("Convolution", "ScaledDot")):
        node = node.next_functions[0][0]
    return node


def watched(output, cotangent):
    """Run the backward pass, and work the one node out again inside it."""
    node, found = node_of(output), []
    node.register_hook(lambda into, out: found.extend(again(node, out[0], into)))
    output.backward(cotangent)
    return found


@pytest.mark.parametrize("name", OPS)
def test_a_convolution_is_that_of_float64(name):
    chance = torch.Generator().manual_seed(0)
    x = torch.randn(3, 4, 8, 8, generator=chance).half().requires_grad_()
    w = torch.randn(4, 4, 3, 3, generator=chance).half().requires_grad_()
    output = OPS[name](x, w)
    cotangent = torch.randn(output.shape, generator=chance).half()
    ((wide, left),) = watched(output, cotangent)
    twin = x.detach().double().requires_grad_()
    (exact,) = torch.autograd.grad(OPS[name](twin, w.detach().double()), twin, cotangent.double())
    # float32 sums of 36 products; the half-precision one is rounded once more
    np.testing.assert_allclose(wide.numpy(), exact.numpy(), rtol=1e-4, atol=1e-4)
    assert torch.equal(left, x.grad)


@pytest.mark.parametrize("settings", [{}, {"is_causal": True}, {"scale": 0.3}, {"attn_mask": True}])
def test_an_attention_is_that_of_float64(settings):
    chance = torch.Generator().manual_seed(0)
    held = [torch.randn(2, 3, 6, 8, generator=chance).half().requires_grad_() for _ in range(3)]
    settings = dict(settings)
    mask = torch.randn(6, 6, generator=chance)
    given = {**settings, "attn_mask": mask.half()} if "attn_mask" in settings else settings
    output = F.scaled_dot_product_attention(*held, **given)
    if not output.grad_fn.name().startswith("ScaledDot"):
        pytest.skip("this kernel is not fused here")
    cotangent = torch.randn(output.shape, generator=chance).half()
    found = watched(output, cotangent)
    twins = [each.detach().double().requires_grad_() for each in held]
    if "attn_mask" in given:
        given["attn_mask"] = given["attn_mask"].double()
    with torch.nn.attention.sdpa_kernel(torch.nn.attention.SDPBackend.MATH):
        exact = F.scaled_dot_product_attention(*twins, **given)
    expected = torch.autograd.grad(exact, twins, cotangent.double())
    assert len(found) == 3
    for (wide, left), truth, each in zip(found, expected, held, strict=True):
        np.testing.assert_allclose(wide.numpy(), truth.numpy(), rtol=1e-3, atol=1e-4)
        assert torch.equal(left, each.grad)


def test_full_precision_is_not_worked_out():
    x, w = torch.randn(2, 3, 4, 4, requires_grad=True), torch.randn(3, 3, 3, 3)
    assert watched(F.conv2d(x, w), torch.ones(2, 3, 2, 2)) == []


class Convolutional(nn.Module):
    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.first, self.second = nn.Conv2d(1, 8, 3), nn.Conv2d(8, 8, 3)
        self.head = nn.Linear(8, 4)

    def forward(self, x):
        h = torch.tanh(self.second(torch.tanh(self.first(x))))
        return self.head(h.mean((2, 3)))


PICTURES = torch.randn(4, 1, 12, 12, generator=torch.Generator().manual_seed(0))
LABELS = torch.arange(4)


def loss_of(model, factor):
    with torch.autocast("cpu", dtype=torch.float16):
        return factor * F.cross_entropy(model(PICTURES), LABELS)


def entering(model, factor, scale):
    """The gradient that leaves the second convolution, of a loss times `scale`."""
    model, seen = copy.deepcopy(model), []
    model.second.register_full_backward_hook(lambda module, into, out: seen.append(into[0]))
    (scale * loss_of(model, factor)).backward()
    return seen[0]


def test_a_convolution_that_underflows_is_told_as_by_two_loss_scales():
    model, factor = Convolutional(), 1e-3
    optimizer = torch.optim.SGD(model.parameters(), lr=0.0)
    with observe(model, optimizer, every=1) as observer:
        loss_of(model, factor).backward()
        optimizer.step()
    low, high = entering(model, factor, 1.0), entering(model, factor, 1024.0)
    assert low.dtype is torch.float16
    victims = (low == 0) & (high != 0)
    share = float(victims.sum() / (high != 0).sum())
    assert 0.05 < share < 0.95  # neither nothing nor everything
    read = observer.readings.series("second", "activation", "flushed_share")[1]
    # at the lower scale the gradient that comes in is rounded to float16 already
    assert read[0] == pytest.approx(share, abs=0.1)
    assert observer.readings.record.warnings == ()
