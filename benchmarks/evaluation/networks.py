"""The networks, each with its gradient path as drawn or repaired in one way."""

from __future__ import annotations

import math
from collections.abc import Callable
from enum import StrEnum
from functools import partial

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .configuration import Configuration, Decoy, Fault
from .tasks import Task


class Repair(StrEnum):
    """One way to repair the gradient path."""

    NONE = "none"
    CRITICAL = "critical_init"
    NORMALIZED = "normalized_activation"
    SKIP = "scaled_skip"


ACTIVATIONS: dict[str, Callable[[Tensor], Tensor]] = {
    "relu": torch.relu,
    "leaky_relu": partial(F.leaky_relu, negative_slope=0.1),
    "tanh": torch.tanh,
    "sigmoid": torch.sigmoid,
    "gelu": F.gelu,
    "silu": F.silu,
    "mish": F.mish,
    "elu": F.elu,
    "softplus": F.softplus,
    "softsign": F.softsign,
}

# Weight gain at which the gradient keeps its size near the start: 1 / sqrt(E phi'^2) at unit
# variance; tanh and softsign are critical at 1, the sigmoid at 10.15 with centered biases.
GAINS = {
    "relu": 2**0.5,
    "leaky_relu": (2 / 1.01) ** 0.5,
    "tanh": 1.0,
    "sigmoid": 10.15,
    "gelu": 1.481,
    "silu": 1.623,
    "mish": 1.445,
    "elu": 1.223,
    "softplus": 1.846,
    "softsign": 1.0,
}


class Activation(nn.Module):
    """phi, or a phi + b with unit second moments of value and slope under a standard normal."""

    def __init__(self, name: str, *, normalized: bool) -> None:
        super().__init__()
        self.function = ACTIVATIONS[name]
        self.scale, self.shift = _affine(self.function) if normalized else (1.0, 0.0)

    def forward(self, x: Tensor) -> Tensor:
        y = self.function(x)
        return y if self.scale == 1.0 and self.shift == 0.0 else self.scale * y + self.shift


def _affine(function: Callable[[Tensor], Tensor]) -> tuple[float, float]:
    z = torch.linspace(-8, 8, 4001, dtype=torch.float64, requires_grad=True)
    density = torch.exp(-(z.detach() ** 2) / 2) / math.sqrt(2 * math.pi) * (16 / 4000)
    value = function(z)
    (slope,) = torch.autograd.grad(value.sum(), z)
    value = value.detach()
    first, second = float((density * value).sum()), float((density * value**2).sum())
    scale = 1 / math.sqrt(float((density * slope**2).sum()))
    square = (scale * first) ** 2 - scale**2 * second + 1
    return scale, -scale * first + math.sqrt(max(square, 0.0))


class Maxout(nn.Module):
    """The larger of two layers, unit by unit."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.one, self.other = nn.Linear(width, width), nn.Linear(width, width)

    def forward(self, x: Tensor) -> Tensor:
        return torch.maximum(self.one(x), self.other(x))


class Hidden(nn.Module):
    """One hidden layer of one of the families, with or without a scaled skip around it."""

    def __init__(self, c: Configuration, width: int, repair: Repair) -> None:
        super().__init__()
        family = c.architecture
        is_conv = family.startswith("conv")
        if family == "conv1d":
            self.core: nn.Module = nn.Conv1d(width, width, 3, padding=1)
        elif is_conv:
            self.core = nn.Conv2d(width, width, 3, padding=1)
        elif family == "bottleneck":
            self.core = nn.Sequential(nn.Linear(width, width // 4), nn.Linear(width // 4, width))
        elif family == "maxout":
            self.core = Maxout(width)
        else:
            self.core = nn.Linear(width, width)
        self.gate = nn.Linear(width, width) if family in ("gated", "highway") else None
        self.norm: nn.Module = nn.Identity()
        if family.endswith("_bn"):
            self.norm = nn.BatchNorm2d(width) if is_conv else nn.BatchNorm1d(width)
        elif family == "mlp_ln":
            self.norm = nn.LayerNorm(width)
        elif family == "mlp_gn":
            self.norm = nn.GroupNorm(4, width)
        self.activation = Activation(c.activation, normalized=repair is Repair.NORMALIZED)
        self.family = family
        self.dropout = nn.Dropout(0.3 if c.decoy is Decoy.DROPOUT else 0.0)
        self.skip = 0.0
        if repair is Repair.SKIP:
            self.skip = c.depth**-0.5
        elif family.startswith("residual"):
            self.skip = 1.0

    def forward(self, x: Tensor) -> Tensor:
        y = self.activation(self.norm(self.core(x)))
        if self.gate is not None:
            gate = torch.sigmoid(self.gate(x))
            y = gate * y if self.family == "gated" else gate * y + (1 - gate) * x
        y = self.dropout(y)
        return x + self.skip * y if self.skip else y


class Stack(nn.Module):
    """Stem, hidden layers, head. Inputs `[N, features]`."""

    def __init__(self, c: Configuration, task: Task, repair: Repair) -> None:
        super().__init__()
        self.is_image = c.architecture in ("conv", "conv_bn")
        self.is_line = c.architecture == "conv1d"
        features = task.inputs.shape[1]
        width = max(8, c.width // 4) if self.is_line else c.width
        if self.is_image:
            self.stem: nn.Module = nn.Conv2d(1, width, 3, padding=1)
        elif self.is_line:
            self.stem = nn.Conv1d(1, width, 3, padding=1)
        else:
            self.stem = nn.Linear(features, width)
        self.first = Activation(c.activation, normalized=repair is Repair.NORMALIZED)
        self.hidden = nn.ModuleList(Hidden(c, width, repair) for _ in range(c.depth))
        self.head = nn.Linear(
            width * features if self.is_image or self.is_line else width, task.outputs
        )

    def forward(self, x: Tensor) -> Tensor:
        if self.is_image:
            x = x.view(-1, 1, 8, 8)
        elif self.is_line:
            x = x[:, None]
        x = self.first(self.stem(x))
        for layer in self.hidden:
            x = layer(x)
        return self.head(x.flatten(1))


class Pyramid(nn.Module):
    """Layers whose widths fall from the widest to the narrowest."""

    def __init__(self, c: Configuration, task: Task, repair: Repair) -> None:
        super().__init__()
        widths = [round(c.width * (2 - 1.5 * k / max(c.depth, 1))) for k in range(c.depth + 1)]
        sizes = [task.inputs.shape[1], *widths]
        self.layers = nn.ModuleList(
            nn.Linear(a, b) for a, b in zip(sizes[:-1], widths, strict=True)
        )
        self.activation = Activation(c.activation, normalized=repair is Repair.NORMALIZED)
        self.dropout = nn.Dropout(0.3 if c.decoy is Decoy.DROPOUT else 0.0)
        self.scale = c.depth**-0.5 if repair is Repair.SKIP else 0.0
        self.head = nn.Linear(widths[-1], task.outputs)

    def forward(self, x: Tensor) -> Tensor:
        for index, layer in enumerate(self.layers):
            y = self.dropout(self.activation(layer(x)))
            # The widths fall, so that a skip keeps the leading features.
            x = x[:, : y.shape[1]] + self.scale * y if self.scale and index else y
        return self.head(x)


class Dense(nn.Module):
    """Every layer reads all before it, concatenated."""

    def __init__(self, c: Configuration, task: Task, repair: Repair) -> None:
        super().__init__()
        growth, features = 12, task.inputs.shape[1]
        self.layers = nn.ModuleList(
            nn.Linear(features + growth * k, growth) for k in range(c.depth)
        )
        self.activation = Activation(c.activation, normalized=repair is Repair.NORMALIZED)
        self.head = nn.Linear(features + growth * c.depth, task.outputs)

    def forward(self, x: Tensor) -> Tensor:
        for layer in self.layers:
            x = torch.cat((x, self.activation(layer(x))), 1)
        return self.head(x)


class Attention(nn.Module):
    """Four tokens through transformer blocks, the norm before or after the branches."""

    def __init__(self, c: Configuration, task: Task, repair: Repair) -> None:
        super().__init__()
        width = 24
        self.tokens = 4
        self.size = -(-task.inputs.shape[1] // self.tokens)
        self.embed = nn.Linear(self.size, width)
        self.place = nn.Parameter(torch.randn(self.tokens, width) * 0.1)
        self.blocks = nn.ModuleList(
            nn.TransformerEncoderLayer(
                width,
                4,
                2 * width,
                dropout=0.1 if c.decoy is Decoy.DROPOUT else 0.0,
                activation=Activation(c.activation, normalized=repair is Repair.NORMALIZED),
                batch_first=True,
                norm_first=c.architecture == "pre_norm" or repair is Repair.SKIP,
            )
            for _ in range(c.depth)
        )
        self.head = nn.Linear(width, task.outputs)

    def forward(self, x: Tensor) -> Tensor:
        x = F.pad(x, (0, self.tokens * self.size - x.shape[1])).view(len(x), self.tokens, self.size)
        x = self.embed(x) + self.place
        for block in self.blocks:
            x = block(x)
        return self.head(x.mean(1))


def build(c: Configuration, task: Task, repair: Repair) -> nn.Module:
    """Build the network of a configuration, its gradient path repaired in at most one way."""
    family = {"pyramid": Pyramid, "dense": Dense, "pre_norm": Attention, "post_norm": Attention}
    model = family.get(c.architecture, Stack)(c, task, repair)
    scheme = c.initialization
    if repair is Repair.CRITICAL:
        scheme = "critical"
    elif repair is Repair.NORMALIZED:
        scheme = "unit"  # the weight scale for which a phi + b is normalized
    for module in model.modules():
        if isinstance(module, nn.Linear | nn.Conv1d | nn.Conv2d):
            _initialize(module, scheme, c.activation)
    if c.fault is Fault.LOW_BIAS and repair is Repair.NONE:
        biased = [m for m in model.modules() if isinstance(m, nn.Linear | nn.Conv1d | nn.Conv2d)]
        nn.init.constant_(biased[len(biased) // 2 - 1].bias, -30.0)
    return model


def _initialize(layer: nn.Linear | nn.Conv1d | nn.Conv2d, scheme: str, activation: str) -> None:
    fan_in = layer.weight[0].numel()
    match scheme:
        case "default":
            return
        case "critical":
            nn.init.normal_(layer.weight, std=GAINS[activation] / fan_in**0.5)
        case "unit":
            nn.init.normal_(layer.weight, std=fan_in**-0.5)
        case "small":
            nn.init.normal_(layer.weight, std=0.01)
        case "large":
            nn.init.normal_(layer.weight, std=3.5 / fan_in**0.5)
        case "xavier":
            nn.init.xavier_uniform_(layer.weight)
        case "truncated":
            nn.init.trunc_normal_(layer.weight, std=0.02)
        case "orthogonal":
            nn.init.orthogonal_(layer.weight)
        case "wild":
            nn.init.uniform_(layer.weight, -0.8, 0.8)
        case _:
            raise ValueError(f"expected a known initialisation, got '{scheme}'")
    if layer.bias is not None:
        nn.init.zeros_(layer.bias)
        if scheme == "critical" and activation == "sigmoid":
            # A sigmoid's mean is a half: the bias takes it out again.
            layer.bias.data = -0.5 * layer.weight.detach().flatten(1).sum(1)
