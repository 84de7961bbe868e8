"""Healthy networks of unusual build: skips, norms, zero starts, attention, convolutions."""

from __future__ import annotations

import math
from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ._data import class_progress, digit_images
from ._member import Member, healthy
from .vanishing import PlainNet, critical, fit_digits


def fit_images(
    model: nn.Module, optimizer: torch.optim.Optimizer, *, steps: int, batch: int = 32
) -> float:
    """Run the ordinary loop over shuffled epochs of the digit images and return the progress."""
    images, labels = digit_images()
    criterion = nn.CrossEntropyLoss()
    order = torch.randperm(len(images))
    for step in range(steps):
        pick = order[torch.arange(step * batch, (step + 1) * batch) % len(images)]
        optimizer.zero_grad()
        criterion(model(images[pick]), labels[pick]).backward()
        optimizer.step()
    model.eval()
    with torch.no_grad():
        return class_progress(model(images), labels)


def wide(seed: int) -> float:
    """A thousand units: every single gradient entry is tiny."""
    torch.manual_seed(seed)
    model = nn.Sequential(nn.Linear(64, 1024), nn.ReLU(), nn.Linear(1024, 10))
    return fit_digits(model, torch.optim.SGD(model.parameters(), lr=0.1), steps=120)


class ReZeroBlock(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.linear = nn.Linear(width, width)
        self.alpha = nn.Parameter(torch.zeros(1))

    def forward(self, x: Tensor) -> Tensor:
        return x + self.alpha * F.relu(self.linear(x))


def rezero(seed: int) -> float:
    """Twenty-four residual branches that start at exactly zero."""
    torch.manual_seed(seed)
    model = nn.Sequential(*(ReZeroBlock(64) for _ in range(24)), nn.Linear(64, 10))
    return fit_digits(model, torch.optim.Adam(model.parameters(), lr=3e-3), steps=200)


class BasicBlock(nn.Module):
    """conv-BN-ReLU-conv-BN with a skip; the last gamma starts at zero, as in ResNet recipes."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(channels, channels, 3, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(channels)
        self.conv2 = nn.Conv2d(channels, channels, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(channels)
        self.relu = nn.ReLU(inplace=True)
        nn.init.zeros_(self.bn2.weight)

    def forward(self, x: Tensor) -> Tensor:
        out = self.relu(self.bn1(self.conv1(x)))
        out = self.bn2(self.conv2(out))
        out += x
        return self.relu(out)


def zero_gamma_resnet(seed: int) -> float:
    """A small ResNet with zero gamma, in-place activations and global average pooling."""
    torch.manual_seed(seed)
    model = nn.Sequential(
        nn.Conv2d(1, 12, 3, padding=1, bias=False),
        nn.BatchNorm2d(12),
        nn.ReLU(inplace=True),
        *(BasicBlock(12) for _ in range(3)),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(12, 10),
    )
    return fit_images(model, torch.optim.Adam(model.parameters(), lr=1e-2), steps=130)


class NormedBlock(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.body = nn.Sequential(nn.Linear(width, width), nn.BatchNorm1d(width), nn.ReLU())

    def forward(self, x: Tensor) -> Tensor:
        return x + self.body(x)


def deep_residual_batchnorm(seed: int) -> float:
    """Twenty residual blocks, each with BatchNorm."""
    torch.manual_seed(seed)
    model = nn.Sequential(
        nn.Linear(64, 48), *(NormedBlock(48) for _ in range(20)), nn.Linear(48, 10)
    )
    return fit_digits(model, torch.optim.SGD(model.parameters(), lr=0.01, momentum=0.9), steps=150)


def batchnorm_conv(seed: int) -> float:
    """Four convolutions with BatchNorm and max pooling."""
    torch.manual_seed(seed)
    layers: list[nn.Module] = []
    channels = [1, 8, 16, 16, 16]
    for index, (a, b) in enumerate(pairwise(channels)):
        layers += [nn.Conv2d(a, b, 3, padding=1), nn.BatchNorm2d(b), nn.ReLU()]
        if index % 2:
            layers.append(nn.MaxPool2d(2))
    model = nn.Sequential(*layers, nn.Flatten(), nn.Linear(64, 10))
    return fit_images(model, torch.optim.Adam(model.parameters(), lr=3e-3), steps=120)


class Separable(nn.Module):
    """Depthwise, then pointwise, GroupNorm between, average pooling at the end."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(1, 16, 3, padding=1)
        self.depthwise = nn.ModuleList(nn.Conv2d(16, 16, 3, padding=1, groups=16) for _ in range(3))
        self.pointwise = nn.ModuleList(nn.Conv2d(16, 16, 1) for _ in range(3))
        self.norm = nn.ModuleList(nn.GroupNorm(4, 16) for _ in range(3))
        self.head = nn.Linear(16 * 16, 10)

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(x)
        for depthwise, pointwise, norm in zip(
            self.depthwise, self.pointwise, self.norm, strict=True
        ):
            x = F.silu(norm(pointwise(depthwise(x))))
        return self.head(F.avg_pool2d(x, 2).flatten(1))


def depthwise_conv(seed: int) -> float:
    """Depthwise separable convolutions."""
    torch.manual_seed(seed)
    model = Separable()
    return fit_images(model, torch.optim.AdamW(model.parameters(), lr=5e-3), steps=150)


class Dense(nn.Module):
    """Every layer reads all layers before it, concatenated."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.ModuleList(nn.Linear(64 + 16 * k, 16) for k in range(6))
        self.head = nn.Linear(64 + 16 * 6, 10)

    def forward(self, x: Tensor) -> Tensor:
        for layer in self.layers:
            x = torch.cat((x, F.leaky_relu(layer(x), 0.1)), dim=-1)
        return self.head(x)


def dense_concat(seed: int) -> float:
    """A dense network."""
    torch.manual_seed(seed)
    model = Dense()
    return fit_digits(model, torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.9), steps=200)


class EinsumMixer(nn.Module):
    """Rows and columns of the picture mixed in turn by einsum."""

    def __init__(self) -> None:
        super().__init__()
        self.rows = nn.ParameterList(nn.Parameter(torch.randn(8, 8) * 0.5) for _ in range(2))
        self.columns = nn.ParameterList(nn.Parameter(torch.randn(8, 8) * 0.5) for _ in range(2))
        self.head = nn.Parameter(torch.randn(8, 8, 10) * 0.1)

    def forward(self, x: Tensor) -> Tensor:
        x = x.squeeze(1)
        for rows, columns in zip(self.rows, self.columns, strict=True):
            x = F.gelu(torch.einsum("bij,ik->bkj", x, rows)) + x
            x = F.gelu(torch.einsum("bij,jk->bik", x, columns)) + x
        return torch.einsum("bij,ijc->bc", x, self.head)


def einsum_mixer(seed: int) -> float:
    """A mixer without a single nn.Linear."""
    torch.manual_seed(seed)
    model = EinsumMixer()
    return fit_images(model, torch.optim.Adam(model.parameters(), lr=1e-2), steps=200)


class PreNormBlock(nn.Module):
    """LayerNorm, heads by scaled_dot_product_attention, LayerNorm, a GELU network."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.norm1, self.norm2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.qkv = nn.Linear(width, 3 * width, bias=False)
        self.out = nn.Linear(width, width)
        self.mlp = nn.Sequential(
            nn.Linear(width, 2 * width), nn.GELU(), nn.Linear(2 * width, width)
        )

    def forward(self, x: Tensor) -> Tensor:
        batch, tokens, width = x.shape
        split = (
            self.qkv(self.norm1(x)).view(batch, tokens, 3, self.heads, -1).permute(2, 0, 3, 1, 4)
        )
        mixed = F.scaled_dot_product_attention(*split.unbind(0))
        x = x + self.out(mixed.transpose(1, 2).reshape(batch, tokens, width))
        return x + self.mlp(self.norm2(x))


class RowTransformer(nn.Module):
    """Each row of the picture is a token."""

    def __init__(self, depth: int, width: int = 32) -> None:
        super().__init__()
        self.embed = nn.Linear(8, width)
        self.position = nn.Parameter(torch.randn(8, width) / math.sqrt(width))
        self.blocks = nn.ModuleList(PreNormBlock(width, 4) for _ in range(depth))
        self.norm = nn.LayerNorm(width)
        self.head = nn.Linear(width, 10)

    def forward(self, x: Tensor) -> Tensor:
        x = self.embed(x.squeeze(1)) + self.position
        for block in self.blocks:
            x = block(x)
        return self.head(self.norm(x).mean(1))


def pre_norm_transformer(seed: int) -> float:
    """A pre-LN transformer on the rows of the digits."""
    torch.manual_seed(seed)
    model = RowTransformer(3)
    return fit_images(model, torch.optim.AdamW(model.parameters(), lr=3e-3), steps=150)


class Encoder(nn.Module):
    """nn.TransformerEncoder, norm first, with a class token and a dictionary as its answer."""

    def __init__(self) -> None:
        super().__init__()
        self.patch = nn.Conv2d(1, 32, 2, stride=2)
        self.token = nn.Parameter(torch.zeros(1, 1, 32))
        self.place = nn.Parameter(torch.randn(17, 32) * 0.1)
        layer = nn.TransformerEncoderLayer(
            32, 4, 64, dropout=0.1, batch_first=True, norm_first=True
        )
        self.encoder = nn.TransformerEncoder(layer, 2, enable_nested_tensor=False)
        self.head = nn.Linear(32, 10)

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        patches = self.patch(x).flatten(2).transpose(1, 2)
        tokens = torch.cat((self.token.expand(len(x), -1, -1), patches), 1) + self.place
        encoded = self.encoder(tokens)
        return {"logits": self.head(encoded[:, 0]), "hidden": encoded}


def transformer_encoder(seed: int) -> float:
    """Patches, dropout, nn.TransformerEncoder."""
    torch.manual_seed(seed)
    images, labels = digit_images()
    model = Encoder()
    optimizer = torch.optim.Adam(model.parameters(), lr=3e-3)
    for _ in range(150):
        pick = torch.randint(len(images), (32,))
        answer = model(images[pick])
        loss = F.cross_entropy(answer["logits"], labels[pick])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    model.eval()
    with torch.no_grad():
        return class_progress(model(images)["logits"], labels)


class RowLSTM(nn.Module):
    """Reads the picture row by row and answers after the last."""

    def __init__(self) -> None:
        super().__init__()
        self.lstm = nn.LSTM(8, 48, batch_first=True)
        self.head = nn.Linear(48, 10)

    def forward(self, x: Tensor) -> Tensor:
        states, _ = self.lstm(x.squeeze(1))
        return self.head(states[:, -1])


def short_memory_lstm(seed: int) -> float:
    """An LSTM over eight rows."""
    torch.manual_seed(seed)
    model = RowLSTM()
    return fit_images(model, torch.optim.Adam(model.parameters(), lr=1e-2), steps=180)


def selu_lecun(seed: int) -> float:
    """Twelve SELU layers at LeCun initialisation: self-normalising."""
    torch.manual_seed(seed)
    model = PlainNet(12, F.selu)
    critical(model, 1.0)
    return fit_digits(model, torch.optim.SGD(model.parameters(), lr=0.02), steps=250)


def deep_relu_he(seed: int) -> float:
    """Ten ReLU layers at He initialisation, without norms or skips."""
    torch.manual_seed(seed)
    model = PlainNet(10, torch.relu)
    critical(model, 2**0.5)
    return fit_digits(model, torch.optim.SGD(model.parameters(), lr=0.05), steps=200)


def strong_dropout(seed: int) -> float:
    """Half of the units are dropped in every step."""
    torch.manual_seed(seed)
    model = nn.Sequential(
        nn.Linear(64, 128),
        nn.ReLU(),
        nn.Dropout(0.5),
        nn.Linear(128, 128),
        nn.ReLU(),
        nn.Dropout(0.5),
    )
    model.append(nn.Linear(128, 10))
    return fit_digits(model, torch.optim.Adam(model.parameters(), lr=2e-3), steps=250)


ARCHITECTURES: tuple[Member, ...] = tuple(
    healthy(train, name=train.__name__, reaches=reaches)
    for train, reaches in (
        (wide, 0.85),
        (rezero, 0.85),
        (zero_gamma_resnet, 0.55),
        (deep_residual_batchnorm, 0.85),
        (batchnorm_conv, 0.85),
        (depthwise_conv, 0.7),
        (dense_concat, 0.85),
        (einsum_mixer, 0.8),
        (pre_norm_transformer, 0.7),
        (transformer_encoder, 0.6),
        (short_memory_lstm, 0.7),
        (selu_lecun, 0.85),
        (deep_relu_he, 0.8),
        (strong_dropout, 0.85),
    )
)
