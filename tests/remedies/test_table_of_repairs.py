"""Twenty layers, sixty-four wide: which repair brings the gradient back, and which does not.

The reaches are those that theory gives for this depth (finite-depth recursion), or, where it gives
none, what independent measurements found; the noise of one net of finite width is
sqrt(kappa L / n) / (2 ln 10), .27 decades for ReLU. Each is the mean of four nets.
"""

import math
from typing import NamedTuple

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from gradfuga._edits import (
    AddSkip,
    Calibrate,
    Initialize,
    InsertNormalization,
    SwapActivation,
)
from gradfuga._torch.surgery import apply

DEPTH, WIDTH = 20, 64
HE, LECUN = Initialize("fan_in", 2**0.5), Initialize("fan_in", 1.0)
XAVIER = Initialize("fan_average", 1.0)
NORMALIZED = SwapActivation("sigmoid", normalized=True)


class Row(NamedTuple):
    """One net of the table: what is done to it, its reach in decades, who learns with it.

    True: less than half of the plateau is left after 200 steps; False: the loss is still there
    (above 0.95); None: slow, neither. A reach of None scatters too much to be compared: flat
    sigmoids, a length map whose fixed point repels.
    """

    activation: type[nn.Module]
    edits: list
    reach: float | None
    sgd: bool | None
    adam: bool | None
    bias: bool = True


TABLE = {
    "relu": Row(nn.ReLU, [], -7.31, False, None),
    "relu, no biases": Row(nn.ReLU, [], -7.44, False, None, bias=False),
    "relu, He": Row(nn.ReLU, [HE], 0.02, True, True),
    "relu, LSUV": Row(nn.ReLU, [Calibrate()], 0.28, True, True),
    "relu, BatchNorm": Row(nn.ReLU, [InsertNormalization("batch")], 1.34, True, True),
    "relu, LayerNorm": Row(nn.ReLU, [InsertNormalization("layer")], -0.34, None, True),
    "relu, skip / sqrt L": Row(nn.ReLU, [AddSkip()], -0.29, True, True),
    "relu, He, plain skip": Row(nn.ReLU, [HE, AddSkip(1.0)], 3.41, None, None),
    "relu, He, ReZero": Row(nn.ReLU, [HE, AddSkip(0.0, learned=True)], 0.02, True, True),
    "sigmoid": Row(nn.Sigmoid, [], -16.2, False, False),
    "sigmoid, Xavier": Row(nn.Sigmoid, [XAVIER], -11.9, False, False),
    "sigmoid, Xavier times 4": Row(nn.Sigmoid, [Initialize("fan_average", 4.0)], None, False, None),
    # 20 slopes of .2117 and 19 layers of gain 1.8462: the output layer is not calibrated here
    "sigmoid, LSUV": Row(nn.Sigmoid, [Calibrate()], -8.43, False, False),
    "sigmoid, LayerNorm": Row(nn.Sigmoid, [InsertNormalization("layer")], -8.3, False, False),
    "sigmoid, RMSNorm": Row(nn.Sigmoid, [InsertNormalization("rms")], -8.3, False, False),
    "sigmoid, BatchNorm": Row(nn.Sigmoid, [InsertNormalization("batch")], -0.42, True, True),
    "sigmoid, skip / sqrt L": Row(nn.Sigmoid, [AddSkip()], -0.85, None, True),
    "sigmoid, normalized": Row(nn.Sigmoid, [NORMALIZED, LECUN], -0.06, True, True),
    "sigmoid, gain 10.15": Row(nn.Sigmoid, [Initialize("fan_in", 10.149)], None, None, True),
    "sigmoid, both ways": Row(nn.Sigmoid, [Calibrate(two_sided=True)], -0.06, True, True),
    "sigmoid to tanh, Xavier": Row(nn.Sigmoid, [SwapActivation("tanh"), XAVIER], -0.56, True, True),
    "sigmoid to relu, He": Row(nn.Sigmoid, [SwapActivation("relu"), HE], 0.02, True, True),
    "tanh": Row(nn.Tanh, [], -4.70, False, None),
    "tanh, gain 5/3": Row(nn.Tanh, [Initialize("fan_average", 5 / 3)], 0.94, True, True),
    "tanh, orthogonal 1.05": Row(nn.Tanh, [Initialize("orthogonal", 1.05)], -0.31, True, True),
    "gelu": Row(nn.GELU, [], -10.1, False, None),
    "gelu, He": Row(nn.GELU, [HE], None, True, True),
    "gelu, gain 1.53": Row(nn.GELU, [Initialize("fan_in", 1.5335)], 0.72, True, True),
    "selu": Row(nn.SELU, [], -2.21, True, True),
    "selu, LeCun": Row(nn.SELU, [LECUN], 0.27, True, True),
}
QUICK = ("sigmoid, LayerNorm", "sigmoid, LSUV", "sigmoid, BatchNorm", "relu, He")


def task():
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(256, 20, generator=generator)
    noise = 0.5 * torch.randn(256, 5, generator=generator)
    labels = (torch.tanh(x) @ torch.randn(20, 5, generator=generator) + noise).argmax(1)
    return x, labels


def treated(name, seed):
    activation, edits, bias = TABLE[name].activation, TABLE[name].edits, TABLE[name].bias
    torch.manual_seed(seed)
    layers, width = [], 20
    for _ in range(DEPTH):
        layers += [nn.Linear(width, WIDTH, bias=bias), activation()]
        width = WIDTH
    model = nn.Sequential(*layers, nn.Linear(WIDTH, 5, bias=bias))
    nn.init.normal_(model[-1].weight, std=WIDTH**-0.5)  # the table's output layer has a gain of one
    operation = apply(model, None, edits, batch=(task()[0],))
    assert operation.done == edits
    return model


def reach(model):
    """Decades between the gradient of the first layer's output and that of the network's."""
    x, _labels = task()
    first = []

    def keep(_module, _args, output):
        output.retain_grad()
        first.append(output)

    # ahead of other hooks: the layer's own output, before a normalization
    handle = model[0].register_forward_hook(keep, prepend=True)
    out = model(x)
    handle.remove()
    cotangent = torch.randn(out.shape, generator=torch.Generator().manual_seed(1))
    out.backward(cotangent)
    return math.log10(float(first[0].grad.norm() / cotangent.norm()))


def loss_after(model, steps, *, adam=False):
    x, labels = task()
    if adam:
        optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
    else:
        optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
    for _ in range(steps):
        optimizer.zero_grad()
        loss = F.cross_entropy(model(x), labels)
        loss.backward()
        if not adam:
            nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
    share = torch.bincount(labels, minlength=5) / len(labels)
    return float(loss.detach()) / float(-(share * share.log()).sum())


@pytest.mark.parametrize("name", [name for name in TABLE if TABLE[name].reach is not None])
def test_the_reach_after_a_repair_is_that_of_the_table(name):
    expected = TABLE[name].reach
    found = sum(reach(treated(name, seed)) for seed in range(4)) / 4
    # the mean of four has half the noise of one (.27); three deviations, and 3 % for the task's x
    assert found == pytest.approx(expected, abs=0.4 + 0.03 * abs(expected)), name


def judged(name, *, adam=False):
    left = loss_after(treated(name, 0), 200, adam=adam)
    learns = TABLE[name].adam if adam else TABLE[name].sgd
    assert learns is None or (left < 0.5) == learns, f"{name}: {left:.3f} of the plateau"
    assert learns is not False or left > 0.95


@pytest.mark.parametrize("name", QUICK)
def test_a_repair_of_the_sigmoid_that_does_not_work_is_told_from_one_that_does(name):
    judged(name)


@pytest.mark.slow
@pytest.mark.parametrize("name", [name for name in TABLE if name not in QUICK])
def test_stochastic_gradient_descent_learns_with_the_repairs_that_the_table_says(name):
    judged(name)


@pytest.mark.slow
@pytest.mark.parametrize("name", TABLE)
def test_adam_learns_with_the_repairs_that_the_table_says(name):
    judged(name, adam=True)
