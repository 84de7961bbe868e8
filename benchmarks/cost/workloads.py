"""The networks whose steps are timed: two perceptrons, a convolutional net, a transformer."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.optim import Optimizer


@dataclass(frozen=True, slots=True)
class Workload:
    """One training, whose `step` does all that a script does for one batch.

    `between` is called between `backward` and the optimizer's step.
    """

    name: str
    model: nn.Module
    optimizer: Optimizer
    step: Callable[[], None]
    inputs: Tensor
    targets: Tensor
    between: list[Callable[[], object]]

    @property
    def parameters(self) -> int:
        """Number of trainable values."""
        return sum(p.numel() for p in self.model.parameters())


def _classifying(
    name: str, model: nn.Module, optimizer: Optimizer, inputs: Tensor, targets: Tensor
) -> Workload:
    between: list[Callable[[], object]] = []

    def step() -> None:
        optimizer.zero_grad()
        F.cross_entropy(model(inputs), targets).backward()
        for call in between:
            call()
        optimizer.step()

    return Workload(name, model, optimizer, step, inputs, targets, between)


def perceptron(*, width: int, batch: int) -> Workload:
    """8 hidden ReLU layers on inputs of the size of `load_digits`."""
    torch.manual_seed(0)
    sizes = [64] + [width] * 8
    layers = [each for one, two in pairwise(sizes) for each in (nn.Linear(one, two), nn.ReLU())]
    model = nn.Sequential(*layers, nn.Linear(width, 10))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01, momentum=0.9)
    inputs, targets = torch.rand(batch, 64), torch.randint(10, (batch,))
    return _classifying(f"MLP 8x{width}, batch {batch}", model, optimizer, inputs, targets)


class _Block(nn.Module):
    """conv-BN-ReLU, conv-BN, skip, ReLU: the basic block of He et al. 2016."""

    def __init__(self, entering: int, leaving: int) -> None:
        super().__init__()
        stride = 1 if entering == leaving else 2
        self.first = nn.Conv2d(entering, leaving, 3, stride, 1, bias=False)
        self.first_norm = nn.BatchNorm2d(leaving)
        self.second = nn.Conv2d(leaving, leaving, 3, 1, 1, bias=False)
        self.second_norm = nn.BatchNorm2d(leaving)
        self.skip = (
            nn.Identity() if stride == 1 else nn.Conv2d(entering, leaving, 1, stride, bias=False)
        )

    def forward(self, x: Tensor) -> Tensor:
        inner = F.relu(self.first_norm(self.first(x)))
        return F.relu(self.second_norm(self.second(inner)) + self.skip(x))


def convolutional(*, batch: int = 8) -> Workload:
    """A residual net of 17 convolutions on 32 x 32 pictures, 1.2 million parameters."""
    torch.manual_seed(0)
    widths = [32, 32, 32, 64, 64, 64, 128, 128, 128]
    blocks = [_Block(one, two) for one, two in pairwise(widths)]
    model = nn.Sequential(
        nn.Conv2d(3, 32, 3, 1, 1, bias=False),
        nn.BatchNorm2d(32),
        nn.ReLU(),
        *blocks,
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(128, 10),
    )
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01, momentum=0.9)
    inputs, targets = torch.randn(batch, 3, 32, 32), torch.randint(10, (batch,))
    return _classifying(f"conv net, 17 conv-BN, batch {batch}", model, optimizer, inputs, targets)


class _Transformer(nn.Module):
    """A pre-LN language model; `nn.TransformerEncoderLayer` makes the blocks."""

    def __init__(self, *, tokens: int, width: int, layers: int, length: int) -> None:
        super().__init__()
        self.tokens = nn.Embedding(tokens, width)
        self.positions = nn.Parameter(torch.randn(length, width) * 0.02)
        self.blocks = nn.ModuleList(
            nn.TransformerEncoderLayer(
                width, width // 64, 4 * width, 0.0, "gelu", batch_first=True, norm_first=True
            )
            for _ in range(layers)
        )
        self.norm = nn.LayerNorm(width)
        self.head = nn.Linear(width, tokens)
        self.register_buffer("mask", nn.Transformer.generate_square_subsequent_mask(length))

    def forward(self, indices: Tensor) -> Tensor:
        x = self.tokens(indices) + self.positions
        for block in self.blocks:
            x = block(x, src_mask=self.mask, is_causal=True)
        return self.head(self.norm(x)).flatten(0, 1)


def transformer(*, batch: int = 8) -> Workload:
    """A pre-LN transformer: 4 layers, 256 wide, 64 tokens, 3.7 million parameters."""
    torch.manual_seed(0)
    model = _Transformer(tokens=1000, width=256, layers=4, length=64)
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-4)
    inputs, targets = torch.randint(1000, (batch, 64)), torch.randint(1000, (batch * 64,))
    return _classifying(
        f"pre-LN transformer 4x256, batch {batch}", model, optimizer, inputs, targets
    )
