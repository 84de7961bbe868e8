"""Sick networks whose gradient does not arrive: contracting units, small weights, saturation."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ._data import class_progress, diabetes, digit_images, digits, value_progress, wine
from ._member import Member, sick


def deep_sigmoid_digits(seed: int, *, repaired: bool = False) -> float:
    """nn.Sequential, eight hidden layers, SGD with momentum."""
    torch.manual_seed(seed)
    layers: list[nn.Module] = []
    width = 64
    for _ in range(8):
        layers += [nn.Linear(width, 64), nn.ReLU() if repaired else nn.Sigmoid()]
        width = 64
    model = nn.Sequential(*layers, nn.Linear(width, 10))
    if repaired:
        for layer in model:
            if isinstance(layer, nn.Linear):
                nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")
    criterion = nn.CrossEntropyLoss()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.02, momentum=0.9)
    x, y = digits()
    for _ in range(300):
        batch = torch.randint(len(x), (64,))
        optimizer.zero_grad()
        loss = criterion(model(x[batch]), y[batch])
        loss.backward()
        optimizer.step()
    with torch.no_grad():
        return class_progress(model(x), y)


def shallow_sigmoid_tensors(seed: int, *, repaired: bool = False) -> float:
    """Plain tensors, plain SGD. Its gradients are far above any absolute threshold."""
    generator = torch.Generator().manual_seed(seed)
    x, y = digits()
    sizes = [64, 48, 48, 10]
    weights = [
        torch.randn(b, a, generator=generator).mul_((2.0 if repaired else 1 / 3) ** 0.5 / a**0.5)
        for a, b in pairwise(sizes)
    ]
    biases = [torch.zeros(b) for b in sizes[1:]]
    parameters = [p.requires_grad_() for p in weights + biases]

    def forward(h: Tensor) -> Tensor:
        for w, b in zip(weights[:-1], biases[:-1], strict=True):
            z = h @ w.t() + b
            h = torch.relu(z) if repaired else torch.sigmoid(z)
        return h @ weights[-1].t() + biases[-1]

    optimizer = torch.optim.SGD(parameters, lr=0.05)
    for _ in range(300):
        batch = torch.randint(len(x), (64,), generator=generator)
        loss = F.cross_entropy(forward(x[batch]), y[batch])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    with torch.no_grad():
        return class_progress(forward(x), y)


class PlainNet(nn.Module):
    """ModuleList and a functional activation."""

    def __init__(
        self,
        depth: int,
        activation: Callable[[Tensor], Tensor],
        *,
        width: int = 64,
        bias: bool = True,
    ) -> None:
        super().__init__()
        self.hidden = nn.ModuleList(nn.Linear(width, width, bias=bias) for _ in range(depth))
        self.head = nn.Linear(width, 10, bias=bias)
        self.activation = activation

    def forward(self, x: Tensor) -> Tensor:
        for layer in self.hidden:
            x = self.activation(layer(x))
        return self.head(x)


def fit_digits(
    model: nn.Module,
    optimizer: torch.optim.Optimizer,
    *,
    steps: int = 250,
    clip: float | None = None,
) -> float:
    """Run the ordinary loop on the digits and return the progress."""
    x, y = digits()
    for _ in range(steps):
        batch = torch.randint(len(x), (64,))
        loss = F.cross_entropy(model(x[batch]), y[batch])
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        if clip is not None:
            nn.utils.clip_grad_norm_(model.parameters(), clip)
        optimizer.step()
    model.eval()
    with torch.no_grad():
        return class_progress(model(x), y)


def critical(model: nn.Module, gain: float) -> None:
    """Draw every matrix with standard deviation gain / sqrt(fan in), biases zero."""
    for module in model.modules():
        if isinstance(module, nn.Linear | nn.Conv2d):
            fan_in = module.weight[0].numel()
            nn.init.normal_(module.weight, std=gain / fan_in**0.5)
            if module.bias is not None:
                nn.init.zeros_(module.bias)


def bias_free_relu(seed: int, *, repaired: bool = False) -> float:
    """Default initialisation, no biases: weight gradients are equal in all layers, and all gone."""
    torch.manual_seed(seed)
    model = PlainNet(24, torch.relu, bias=False)
    if repaired:
        critical(model, 2**0.5)
    return fit_digits(model, torch.optim.SGD(model.parameters(), lr=0.02, momentum=0.9), clip=5.0)


def deep_tanh(seed: int, *, repaired: bool = False) -> float:
    """Twenty tanh layers at the default initialisation."""
    torch.manual_seed(seed)
    model = PlainNet(20, torch.tanh)
    if repaired:
        critical(model, 1.0)
    return fit_digits(model, torch.optim.SGD(model.parameters(), lr=0.05))


def deep_gelu(seed: int, *, repaired: bool = False) -> float:
    """Sixteen GELU layers at the default initialisation."""
    torch.manual_seed(seed)
    model = PlainNet(16, F.gelu, width=64)
    if repaired:
        critical(model, 1.5)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.02, momentum=0.9, nesterov=True)
    return fit_digits(model, optimizer, clip=5.0)


def tiny_normal_weights(seed: int, *, repaired: bool = False) -> float:
    """The habit of drawing every weight from N(0, 0.01)."""
    torch.manual_seed(seed)
    model = nn.Sequential()
    for index in range(6):
        model.add_module(f"fc{index}", nn.Linear(64, 64))
        model.add_module(f"relu{index}", nn.ReLU(inplace=True))
    model.add_module("out", nn.Linear(64, 10))

    def initialize(module: nn.Module) -> None:
        if isinstance(module, nn.Linear):
            nn.init.normal_(module.weight, 0.0, 0.01)
            nn.init.zeros_(module.bias)

    model.apply(initialize)
    if repaired:
        critical(model, 2**0.5)
    return fit_digits(model, torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.9), clip=5.0)


def raw_wine_tanh(seed: int, *, repaired: bool = False) -> float:
    """Features in the units of the laboratory, up to 1,700, into a tanh network."""
    torch.manual_seed(seed)
    x, y = wine(standardized=repaired)
    model = nn.Sequential(
        nn.Linear(13, 32), nn.Tanh(), nn.Linear(32, 32), nn.Tanh(), nn.Linear(32, 32), nn.Tanh()
    )
    head = nn.Linear(32, 3)
    optimizer = torch.optim.SGD([*model.parameters(), *head.parameters()], lr=0.05)
    for _ in range(400):
        optimizer.zero_grad()
        F.cross_entropy(head(model(x)), y).backward()
        optimizer.step()
    with torch.no_grad():
        return class_progress(head(model(x)), y)


def deep_conv(seed: int, *, repaired: bool = False) -> float:
    """Fourteen 3x3 convolutions at the default initialisation and no normalisation."""
    torch.manual_seed(seed)
    blocks: list[nn.Module] = [nn.Conv2d(1, 8, 3, padding=1), nn.ReLU()]
    for _ in range(13):
        blocks += [nn.Conv2d(8, 8, 3, padding=1), nn.ReLU()]
    net = nn.Sequential(nn.Sequential(*blocks), nn.Flatten(), nn.Linear(8 * 8 * 8, 10))
    if repaired:
        critical(net, 2**0.5)
    images, labels = digit_images()
    optimizer = torch.optim.SGD(net.parameters(), lr=0.02, momentum=0.9)
    for _ in range(120):
        pick = torch.randperm(len(images))[:32]
        optimizer.zero_grad()
        loss = F.cross_entropy(net(images[pick]), labels[pick])
        loss.backward()
        nn.utils.clip_grad_norm_(net.parameters(), 2.0)
        optimizer.step()
    with torch.no_grad():
        return class_progress(net(images), labels)


def normalized_sigmoid(seed: int, *, repaired: bool = False) -> float:
    """LayerNorm does not rescue the sigmoid: its slope stays below a quarter."""
    torch.manual_seed(seed)

    class Block(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.linear = nn.Linear(64, 64)
            self.norm = nn.LayerNorm(64)

        def forward(self, x: Tensor) -> Tensor:
            z = self.norm(self.linear(x))
            return torch.tanh(z) if repaired else torch.sigmoid(z)

    model = nn.Sequential(*(Block() for _ in range(10)), nn.Linear(64, 10))
    return fit_digits(model, torch.optim.SGD(model.parameters(), lr=0.1))


def sigmoid_regression(seed: int, *, repaired: bool = False) -> float:
    """A regression on real patients by a deep sigmoid network under plain SGD."""
    torch.manual_seed(seed)
    x, y = diabetes()
    activation = nn.Tanh if repaired else nn.Sigmoid
    hidden = [module for _ in range(6) for module in (nn.Linear(24, 24), activation())]
    model = nn.Sequential(nn.Linear(10, 24), activation(), *hidden, nn.Linear(24, 1))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    for _ in range(400):
        loss = (model(x) - y).pow(2).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    with torch.no_grad():
        return value_progress(model(x), y)


VANISHING: tuple[Member, ...] = tuple(
    sick(train, ("vanishing",), causes, name=name, control=partial(train, repaired=True), reaches=r)
    for name, train, causes, r in (
        ("deep_sigmoid_digits", deep_sigmoid_digits, ("contracting_activation",), 0.7),
        ("shallow_sigmoid_tensors", shallow_sigmoid_tensors, ("contracting_activation",), 0.7),
        ("bias_free_relu_24_layers", bias_free_relu, ("small_init",), 0.5),
        ("deep_tanh_default", deep_tanh, ("small_init",), 0.6),
        ("deep_gelu_default", deep_gelu, ("small_init",), 0.6),
        ("tiny_normal_weights", tiny_normal_weights, ("small_init",), 0.6),
        ("raw_wine_tanh", raw_wine_tanh, ("saturated_activation", "large_init"), 0.6),
        ("deep_conv_default", deep_conv, ("small_init",), 0.5),
        ("layer_norm_sigmoid", normalized_sigmoid, ("contracting_activation",), 0.6),
        ("sigmoid_regression", sigmoid_regression, ("contracting_activation",), 0.3),
    )
)
