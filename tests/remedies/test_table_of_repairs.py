"""Twenty layers, sixty-four wide: which repair brings the gradient back, and which does not.

The numbers are those of one independent measurement with one net each: the reach in decades, and
the loss after 200 steps of SGD and of Adam, where a net that has learned nothing stays at 1.288.

Its twenty weight layers are nineteen hidden ones and the output's, and an initialization is that of
all twenty. The reach is the sum of nineteen log-gains log10(g s), of the weights' gain g and the
activation's slope s = sqrt(E phi'^2), the last of which has the output's gain. A net of twenty
hidden layers with an output of gain one has log10(g s) - log10(g) = log10(s) more. For sigmoids,
where s = .16 at g = 4 and .10 at g = 10.15, that is -.8 and -1.0: -4.7 in place of -3.9 and -1.2 in
place of -.45 (it scatters by .25); for a net of gelus drawn by He -.55 in place of -.38.
"""

import math
import statistics
from dataclasses import replace
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

DEPTH, WIDTH = 20, 64  # weight layers, the output's among them
PLATEAU = 1.288
# Where the table is between these, a net was on its way: where it is after 200 steps depends on the
# task, which is another one here (Adam gets a plain relu net to .40 there and to .55 here).
LEARNED, DEAD = 0.2, 0.95
HE, LECUN = Initialize("fan_in", 2**0.5), Initialize("fan_in", 1.0)
XAVIER = Initialize("fan_average", 1.0)
NORMALIZED = SwapActivation("sigmoid", normalized=True)
CENTRED = Initialize("fan_in", 4.72)  # and biases that take off the sigmoid's mean


class Row(NamedTuple):
    """One net of the table: what is done to it, its reach in decades, its loss with each optimizer.

    A loss of None was not measured.
    """

    activation: type[nn.Module]
    edits: list
    reach: float
    sgd: float | None
    adam: float | None
    bias: bool = True


TABLE = {
    "relu": Row(nn.ReLU, [], -7.31, 1.288, 0.517),
    "relu, no biases": Row(nn.ReLU, [], -7.44, 1.609, 0.598, bias=False),
    "relu, He": Row(nn.ReLU, [HE], 0.02, 0.023, 0.000),
    "relu, LSUV": Row(nn.ReLU, [Calibrate()], 0.28, 0.000, 0.000),
    "relu, BatchNorm": Row(nn.ReLU, [InsertNormalization("batch")], 1.34, 0.001, 0.002),
    "relu, LayerNorm": Row(nn.ReLU, [InsertNormalization("layer")], -0.34, 1.212, 0.004),
    "relu, skip / sqrt L": Row(nn.ReLU, [AddSkip()], -0.29, 0.000, 0.000),
    "relu, He, plain skip": Row(nn.ReLU, [HE, AddSkip(1.0)], 3.41, 0.000, 0.233),
    "relu, He, ReZero": Row(nn.ReLU, [HE, AddSkip(0.0, learned=True)], 0.02, 0.000, 0.000),
    "sigmoid": Row(nn.Sigmoid, [], -16.2, 1.288, 1.288),
    "sigmoid, Xavier": Row(nn.Sigmoid, [XAVIER], -11.9, 1.288, 1.288),
    "sigmoid, Xavier times 4": Row(
        nn.Sigmoid, [Initialize("fan_average", 4.0)], -3.9, 1.288, 0.277
    ),
    "sigmoid, LSUV": Row(nn.Sigmoid, [Calibrate()], -7.43, 1.288, 1.288),
    "sigmoid, LayerNorm": Row(nn.Sigmoid, [InsertNormalization("layer")], -8.3, 1.288, 1.288),
    "sigmoid, RMSNorm": Row(nn.Sigmoid, [InsertNormalization("rms")], -8.3, 1.288, 1.288),
    "sigmoid, BatchNorm": Row(nn.Sigmoid, [InsertNormalization("batch")], -0.42, 0.003, 0.081),
    "sigmoid, skip / sqrt L": Row(nn.Sigmoid, [AddSkip()], -0.85, 0.349, 0.124),
    "sigmoid, normalized": Row(nn.Sigmoid, [NORMALIZED, LECUN], -0.06, 0.000, 0.000),
    "sigmoid, gain 10.15": Row(nn.Sigmoid, [Initialize("fan_in", 10.149)], -0.45, 0.924, 0.067),
    "sigmoid, centred": Row(nn.Sigmoid, [CENTRED], -0.47, 0.002, 0.003),
    "sigmoid, both ways": Row(nn.Sigmoid, [Calibrate(two_sided=True)], -0.06, None, None),
    "sigmoid to tanh, Xavier": Row(
        nn.Sigmoid, [SwapActivation("tanh"), XAVIER], -0.56, 0.000, 0.001
    ),
    "sigmoid to relu, He": Row(nn.Sigmoid, [SwapActivation("relu"), HE], 0.02, 0.023, 0.000),
    "tanh": Row(nn.Tanh, [], -4.70, 1.288, 0.574),
    "tanh, gain 5/3": Row(nn.Tanh, [Initialize("fan_average", 5 / 3)], 0.94, 0.000, 0.000),
    "tanh, orthogonal 1.05": Row(nn.Tanh, [Initialize("orthogonal", 1.05)], -0.31, 0.000, 0.001),
    "gelu": Row(nn.GELU, [], -10.1, 1.288, 0.306),
    "gelu, He": Row(nn.GELU, [HE], -0.38, 0.001, 0.000),
    "gelu, gain 1.53": Row(nn.GELU, [Initialize("fan_in", 1.5335)], 0.72, 0.004, 0.000),
    "selu": Row(nn.SELU, [], -2.21, 0.092, 0.000),
    "selu, LeCun": Row(nn.SELU, [LECUN], 0.27, 0.114, 0.000),
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
    for _ in range(DEPTH - 1):
        layers += [nn.Linear(width, WIDTH, bias=bias), activation()]
        width = WIDTH
    model = nn.Sequential(*layers, nn.Linear(WIDTH, 5, bias=bias))
    of_all = tuple(name for name, m in model.named_modules() if isinstance(m, nn.Linear))
    edits = [
        replace(each, paths=of_all) if isinstance(each, Initialize | Calibrate) else each
        for each in edits
    ]
    operation = apply(model, None, edits, batch=(task()[0],))
    assert operation.done == edits
    if TABLE[name].edits == [CENTRED]:
        for layer in model[2::2]:  # sigmoids have a mean of one half
            layer.bias.data.copy_(-0.5 * layer.weight.detach().sum(1))
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


@pytest.mark.parametrize("name", TABLE)
def test_the_reach_after_a_repair_is_that_of_the_table(name):
    found = [reach(treated(name, seed)) for seed in range(8)]
    # the table shows one net: three deviations of one; and a tenth of a decade for its other x,
    # which is what tanh feels at its critical point (-.55 after 10 layers, -.80 after 30)
    deviation = statistics.stdev(found)
    assert statistics.mean(found) == pytest.approx(TABLE[name].reach, abs=3.0 * deviation + 0.1), (
        f"{name}: {deviation:.2f}"
    )
    assert deviation < 0.6, "a comparison with what scatters more would be none"


def judged(name, *, adam=False):
    """Hold what is left of the plateau after 200 steps against the table."""
    expected = TABLE[name].adam if adam else TABLE[name].sgd
    assert expected is not None
    left = loss_after(treated(name, 0), 200, adam=adam)
    if expected < LEARNED * PLATEAU:
        assert left < 0.5, f"{name}: {left:.3f} of the plateau"
    elif expected > DEAD * PLATEAU:
        assert left > DEAD, f"{name}: {left:.3f} of the plateau"
    else:
        assert left > 0.01, f"{name}: {left:.3f} of the plateau"  # it learns, and slowly


@pytest.mark.parametrize("name", QUICK)
def test_a_repair_of_the_sigmoid_that_does_not_work_is_told_from_one_that_does(name):
    judged(name)


@pytest.mark.slow
@pytest.mark.parametrize(
    "name", [name for name in TABLE if TABLE[name].sgd is not None and name not in QUICK]
)
def test_stochastic_gradient_descent_learns_with_the_repairs_that_the_table_says(name):
    judged(name)


@pytest.mark.slow
@pytest.mark.parametrize("name", [name for name in TABLE if TABLE[name].adam is not None])
def test_adam_learns_with_the_repairs_that_the_table_says(name):
    judged(name, adam=True)
