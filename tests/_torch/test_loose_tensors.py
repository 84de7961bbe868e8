"""Networks whose weights no module holds: drawn at their first use, their calls swapped."""

import math

import pytest
import torch
import torch.nn.functional as F

from gradfuga._edits import Initialize, InsertNormalization, SwapActivation
from gradfuga._torch.transplant import Transplant

WIDE, NARROW = 400, 100


def learn(weights, forward, edits, steps=1):
    """Build the optimizer under the edits, and run some steps."""
    parameters = [w.requires_grad_() for w in weights]
    with Transplant(edits) as transplant:
        optimizer = torch.optim.SGD(parameters, lr=0.0)
        outputs = []
        for _ in range(steps):
            outputs.append(forward())
            outputs[-1].square().mean().backward()
            optimizer.step()
        with torch.no_grad():
            outputs.append(forward())
    return transplant, outputs


@pytest.mark.parametrize(
    ("shape", "use", "fan_in"),
    [
        ((NARROW, WIDE), lambda x, w: x @ w.t(), WIDE),
        ((WIDE, NARROW), lambda x, w: x @ w, WIDE),
        ((WIDE, NARROW), torch.matmul, WIDE),
        ((WIDE, NARROW), lambda x, w: x.mm(w), WIDE),
        ((NARROW, WIDE), lambda x, w: (w @ x.t()).t(), WIDE),
        ((NARROW, WIDE), F.linear, WIDE),
        ((WIDE, NARROW), lambda x, w: torch.addmm(torch.zeros(NARROW), x, w), WIDE),
        ((16, 4, 10, 10), lambda x, w: F.conv2d(x.view(-1, 4, 10, 10), w).flatten(1), WIDE),
    ],
)
def test_a_weight_is_drawn_for_the_inputs_that_its_first_use_sums_over(shape, use, fan_in):
    torch.manual_seed(0)
    x = torch.randn(32, WIDE)
    weights = [torch.full(shape, 5.0), torch.full((3, 3), 5.0)]
    before = torch.get_rng_state()
    transplant, outputs = learn(
        weights, lambda: use(x, weights[0]), [Initialize("fan_in", 2.0, paths=("weights.0",))]
    )
    # the standard error of a standard deviation of n numbers is 1/sqrt(2n)
    expected = 2.0 / math.sqrt(fan_in)
    error = 5.0 / math.sqrt(2 * weights[0].numel())
    assert float(weights[0].detach().std()) == pytest.approx(expected, rel=error)
    assert torch.equal(weights[1].detach(), torch.full((3, 3), 5.0))  # not named
    assert torch.equal(outputs[0].detach(), use(x, weights[0]).detach())  # its first use saw it
    assert torch.equal(torch.get_rng_state(), before)
    assert transplant.placed


def test_calls_that_are_named_are_swapped_in_training_and_after_it():
    x = torch.linspace(-3.0, 3.0, 12).view(4, 3)
    weights = [torch.eye(3) for _ in range(3)]

    def forward():
        h = x
        for w in weights[:-1]:
            h = torch.sigmoid(h @ w)
        return torch.sigmoid(h @ weights[-1])

    edit = SwapActivation("relu", paths=("sigmoid#1", "sigmoid#2"))
    transplant, outputs = learn(weights, forward, [edit], steps=3)
    for output in outputs:
        assert torch.allclose(output.detach(), torch.sigmoid(torch.relu(x)))
    assert transplant.has_placed([edit])
    assert torch.allclose(forward().detach(), torch.sigmoid(torch.sigmoid(torch.sigmoid(x))))


def test_an_edit_that_needs_a_layer_finds_no_place():
    weights = [torch.eye(3)]
    edit = InsertNormalization("layer", paths=("weights.0",))
    transplant, _outputs = learn(weights, lambda: torch.ones(2, 3) @ weights[0], [edit])
    assert not transplant.placed
