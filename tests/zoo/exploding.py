"""Sick networks whose gradient grows without bound, or whose units are dead or flat."""

from __future__ import annotations

from functools import partial

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ._data import breast_cancer, class_progress, digit_images, digits
from ._member import Member, sick
from .vanishing import PlainNet, critical, fit_digits


class AddedBranches(nn.Module):
    """x + f(x), many times over, without normalisation; `scale` tames each branch."""

    def __init__(self, blocks: int, scale: float) -> None:
        super().__init__()
        self.stem = nn.Linear(64, 64)
        self.first = nn.ModuleList(nn.Linear(64, 64) for _ in range(blocks))
        self.second = nn.ModuleList(nn.Linear(64, 64) for _ in range(blocks))
        self.head = nn.Linear(64, 10)
        self.scale = scale

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(x)
        for first, second in zip(self.first, self.second, strict=True):
            x = x + self.scale * second(F.relu(first(x)))
        return self.head(x)


def unscaled_residual(seed: int, *, repaired: bool = False) -> float:
    """Plain residual blocks at He initialisation: the signal doubles in each."""
    torch.manual_seed(seed)
    blocks = 24
    model = AddedBranches(blocks, blocks**-0.5 if repaired else 1.0)
    critical(model, 2**0.5)
    return fit_digits(model, torch.optim.SGD(model.parameters(), lr=0.05), steps=150, clip=1.0)


def unscaled_residual_conv(seed: int, *, repaired: bool = False) -> float:
    """The same fault in a convolutional network without BatchNorm, built from plain functions."""
    generator = torch.Generator().manual_seed(seed)
    images, labels = digit_images()
    blocks = 20
    stem = torch.randn(8, 1, 3, 3, generator=generator) * (2 / 9) ** 0.5
    kernels = [
        torch.randn(8, 8, 3, 3, generator=generator) * (2 / 72) ** 0.5 for _ in range(2 * blocks)
    ]
    head = torch.randn(10, 512, generator=generator) * (1 / 512) ** 0.5
    parameters = [p.requires_grad_() for p in (stem, *kernels, head)]
    scale = blocks**-0.5 if repaired else 1.0

    def forward(x: Tensor) -> Tensor:
        h = F.conv2d(x, stem, padding=1)
        for first, second in zip(kernels[::2], kernels[1::2], strict=True):
            h = h + scale * F.conv2d(F.conv2d(h, first, padding=1).relu(), second, padding=1)
        return torch.einsum("bf,of->bo", h.flatten(1), head)

    optimizer = torch.optim.SGD(parameters, lr=0.05)
    for _ in range(80):
        pick = torch.randint(len(images), (16,), generator=generator)
        optimizer.zero_grad()
        F.cross_entropy(forward(images[pick]), labels[pick]).backward()
        nn.utils.clip_grad_norm_(parameters, 1.0)
        optimizer.step()
    with torch.no_grad():
        return class_progress(forward(images[:600]), labels[:600])


def too_large_gain(seed: int, *, repaired: bool = False) -> float:
    """Sixteen ReLU layers at twice the He scale."""
    torch.manual_seed(seed)
    model = PlainNet(16, torch.relu)
    critical(model, 2**0.5 if repaired else 2 * 2**0.5)
    return fit_digits(model, torch.optim.SGD(model.parameters(), lr=0.05), clip=1.0)


def unit_normal_tanh(seed: int, *, repaired: bool = False) -> float:
    """Every weight from N(0, 1), the habit of a first NumPy network: chaos and flat tanh units."""
    torch.manual_seed(seed)
    model = PlainNet(12, torch.tanh, width=64)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.normal_()
    if repaired:
        critical(model, 1.0)
    return fit_digits(model, torch.optim.SGD(model.parameters(), lr=0.05), clip=1.0)


def not_a_number(seed: int, *, repaired: bool = False) -> float:
    """A learning rate at which a regression overflows within a few steps."""
    torch.manual_seed(seed)
    x, _ = digits()
    model = nn.Sequential(nn.Linear(64, 32), nn.LeakyReLU(0.2), nn.Linear(32, 64))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.5 if repaired else 50.0)
    for _ in range(150):
        batch = x[torch.randint(len(x), (64,))]
        loss = F.mse_loss(model(batch), batch)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    with torch.no_grad():
        error = (model(x) - x).square().mean() / (x - x.mean(0)).square().mean()
    return float(torch.nan_to_num(1.0 - error, nan=float("-inf")))


def born_dead(seed: int, *, repaired: bool = False) -> float:
    """A hidden layer whose biases start so low that no sample ever switches a unit on."""
    torch.manual_seed(seed)
    model = PlainNet(3, torch.relu)
    critical(model, 2**0.5)
    if not repaired:
        nn.init.constant_(model.hidden[1].bias, -20.0)
    return fit_digits(model, torch.optim.Adam(model.parameters(), lr=1e-3))


def killed_by_learning_rate(seed: int, *, repaired: bool = False) -> float:
    """Adam with the learning rate of an SGD recipe: within some steps the ReLUs are off."""
    torch.manual_seed(seed)
    model = PlainNet(4, F.relu)
    critical(model, 2**0.5)
    return fit_digits(model, torch.optim.Adam(model.parameters(), lr=1e-3 if repaired else 1.0))


def saturated_output(seed: int, *, repaired: bool = False) -> float:
    """Sigmoid and squared error, with an output bias that presses every answer flat to zero."""
    torch.manual_seed(seed)
    x, y = breast_cancer()
    target = y.float()[:, None]
    net = nn.Sequential(nn.Linear(30, 32), nn.ReLU(), nn.Linear(32, 1))
    nn.init.constant_(net[-1].bias, -14.0)
    optimizer = torch.optim.SGD(net.parameters(), lr=0.2)
    for _ in range(400):
        pick = torch.randperm(len(x))[:64]
        logits = net(x[pick])
        if repaired:
            loss = F.binary_cross_entropy_with_logits(logits, target[pick])
        else:
            loss = F.mse_loss(torch.sigmoid(logits), target[pick])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    with torch.no_grad():
        answer = torch.sigmoid(net(x))
        return 1.0 - float((answer - target).square().mean() / target.var(correction=0))


EXPLODING: tuple[Member, ...] = tuple(
    sick(
        train,
        verdicts,
        causes,
        name=train.__name__,
        control=partial(train, repaired=True),
        reaches=r,
    )
    for train, verdicts, causes, r in (
        (unscaled_residual, ("exploding",), ("unscaled_residual",), 0.6),
        (unscaled_residual_conv, ("exploding",), ("unscaled_residual",), 0.5),
        (too_large_gain, ("exploding",), ("large_init",), 0.6),
        (unit_normal_tanh, ("exploding",), ("large_init", "saturated_activation"), 0.6),
        (not_a_number, ("exploding", "stalled"), ("learning_rate_too_high",), 0.6),
    )
)

DEAD: tuple[Member, ...] = tuple(
    sick(
        train,
        verdicts,
        causes,
        name=train.__name__,
        control=partial(train, repaired=True),
        reaches=r,
    )
    for train, verdicts, causes, r in (
        (born_dead, ("dead_units",), ("dead_relu",), 0.6),
        (killed_by_learning_rate, ("dead_units", "stalled"), ("learning_rate_too_high",), 0.6),
        (saturated_output, ("vanishing", "dead_units"), ("saturated_output",), 0.6),
    )
)
