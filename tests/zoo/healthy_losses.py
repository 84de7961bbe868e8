"""Healthy trainings on odd losses, odd labels and tasks that cannot be learned to the end."""

from __future__ import annotations

from functools import partial

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ._data import blobs, breast_cancer, class_progress, diabetes, digits, prose, value_progress
from ._member import Member, healthy
from .vanishing import PlainNet, critical, fit_digits

# A task whose best reachable loss is high may end without a verdict, but never with an illness.
UNSURE = ("healthy", "inconclusive")


def scaled_loss(seed: int, *, factor: float) -> float:
    """The loss times a constant, which changes nothing that is learned."""
    torch.manual_seed(seed)
    x, y = digits()
    model = nn.Sequential(
        nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 10)
    )
    if factor < 1.0:
        optimizer: torch.optim.Optimizer = torch.optim.Adam(model.parameters(), lr=2e-3, eps=1e-14)
    else:
        optimizer = torch.optim.SGD(model.parameters(), lr=0.1 / factor, momentum=0.5)
    for _ in range(250):
        pick = torch.randint(len(x), (64,))
        loss = factor * F.cross_entropy(model(x[pick]), y[pick])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    with torch.no_grad():
        return class_progress(model(x), y)


def interpolation(seed: int) -> float:
    """Sixty-four pictures learned by heart: the gradient ends near zero because nothing is left."""
    torch.manual_seed(seed)
    x, y = (part[:64] for part in digits())
    model = nn.Sequential(nn.Linear(64, 128), nn.ReLU(), nn.Linear(128, 128), nn.ReLU())
    head = nn.Linear(128, 10)
    optimizer = torch.optim.Adam([*model.parameters(), *head.parameters()], lr=5e-3)
    for _ in range(500):
        optimizer.zero_grad()
        F.cross_entropy(head(model(x)), y).backward()
        optimizer.step()
    with torch.no_grad():
        return class_progress(head(model(x)), y)


def noisy_labels(seed: int) -> float:
    """Four labels of ten are drawn at random; judged on the true ones."""
    torch.manual_seed(seed)
    x, y = digits()
    wrong = torch.rand(len(y)) < 0.4
    given = torch.where(wrong, torch.randint(10, y.shape), y)
    model = nn.Sequential(nn.Linear(64, 48), nn.ReLU(), nn.Linear(48, 10))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    for _ in range(350):
        pick = torch.randint(len(x), (64,))
        loss = F.cross_entropy(model(x[pick]), given[pick])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    with torch.no_grad():
        return class_progress(model(x), y)


def imbalanced(seed: int) -> float:
    """Ninety-five benign for five malign."""
    torch.manual_seed(seed)
    x, y = breast_cancer()
    malign = (y == 0).nonzero().flatten()[:19]
    keep = torch.cat(((y == 1).nonzero().flatten(), malign))
    x, y = x[keep], y[keep]
    model = nn.Sequential(nn.Linear(30, 32), nn.ReLU(), nn.Linear(32, 1))
    optimizer = torch.optim.Adam(model.parameters(), lr=3e-3)
    for _ in range(250):
        pick = torch.randint(len(x), (64,))
        loss = F.binary_cross_entropy_with_logits(model(x[pick]).squeeze(1), y[pick].float())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    with torch.no_grad():
        z = model(x)
        return class_progress(torch.cat((torch.zeros_like(z), z), 1), y)


def rare_clicks(seed: int) -> float:
    """One click in 40, from users and items that like each other a little; judged on new pairs."""
    generator = torch.Generator().manual_seed(seed)
    torch.manual_seed(seed)
    tastes, appeal = torch.randn(2, 60, generator=generator) * 0.6

    def draw(count: int) -> tuple[Tensor, Tensor, Tensor]:
        user, item = torch.randint(60, (2, count), generator=generator)
        chance = torch.sigmoid(tastes[user] + appeal[item] - 3.8)
        return user, item, torch.bernoulli(chance, generator=generator)

    users, items = nn.Embedding(60, 4), nn.Embedding(60, 4)
    for table in (users, items):
        nn.init.normal_(table.weight, std=0.1)
    tower = nn.Sequential(nn.Linear(8, 16), nn.ReLU(), nn.Linear(16, 1))
    parameters = [*users.parameters(), *items.parameters(), *tower.parameters()]
    optimizer = torch.optim.Adam(parameters, lr=5e-3)

    def score(user: Tensor, item: Tensor) -> Tensor:
        return tower(torch.cat((users(user), items(item)), -1)).squeeze(-1)

    for _ in range(500):
        user, item, click = draw(256)
        optimizer.zero_grad()
        F.binary_cross_entropy_with_logits(score(user, item), click).backward()
        optimizer.step()
    with torch.no_grad():
        user, item, click = draw(40_000)
        z = score(user, item)
        return class_progress(torch.stack((torch.zeros_like(z), z), 1), click.long())


def hardly_predictable(seed: int) -> float:
    """A regression with an attainable R2 of .04, in epochs over a DataLoader; on new examples."""
    torch.manual_seed(seed)
    direction = F.normalize(torch.randn(12), dim=0)

    def draw(count: int) -> tuple[Tensor, Tensor]:
        x = torch.randn(count, 12)
        return x, (0.2 * x @ direction + 0.98 * torch.randn(count))[:, None]

    x, y = draw(6000)
    model = nn.Sequential(nn.Linear(12, 16), nn.Tanh(), nn.Linear(16, 1))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.02, momentum=0.9)
    for _ in range(6):
        for pick in torch.randperm(len(x)).split(100):
            loss = F.mse_loss(model(x[pick]), y[pick])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
    with torch.no_grad():
        x, y = draw(40_000)
        return value_progress(model(x), y)


def noisy_regression(seed: int, *, repaired: bool = False) -> float:
    """Diabetes: half of the variance is noise. Five ReLU layers at default initialisation, Adam."""
    torch.manual_seed(seed)
    x, y = diabetes()
    hidden = [m for _ in range(4) for m in (nn.Linear(64, 64), nn.ReLU())]
    model = nn.Sequential(nn.Linear(10, 64), nn.ReLU(), *hidden, nn.Linear(64, 1))
    if repaired:
        critical(model, 2**0.5)
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
    for _ in range(90):
        pick = torch.randint(len(x), (64,))
        loss = F.mse_loss(model(x[pick]), y[pick])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    with torch.no_grad():
        return value_progress(model(x), y)


def linear_regression(seed: int) -> float:
    """One linear layer on the same noisy task, plain tensors, absolute error beside squared."""
    generator = torch.Generator().manual_seed(seed)
    x, y = diabetes()
    weight = torch.zeros(10, 1, requires_grad=True)
    bias = torch.zeros(1, requires_grad=True)
    optimizer = torch.optim.SGD([weight, bias], lr=0.05)
    for _ in range(200):
        pick = torch.randint(len(x), (64,), generator=generator)
        answer = x[pick] @ weight + bias
        loss = F.mse_loss(answer, y[pick]) + 0.1 * F.l1_loss(answer, y[pick])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    with torch.no_grad():
        return value_progress(x @ weight + bias, y)


def forty_classes(seed: int, *, depth: int = 2, repaired: bool = False) -> float:
    """Forty clouds that overlap: the best possible progress is about a half."""
    torch.manual_seed(seed)
    x, y = blobs(40, spread=2.2, count=8000)
    layers: list[nn.Module] = [nn.Linear(16, 96), nn.ReLU()]
    for _ in range(depth - 1):
        layers += [nn.Linear(96, 96), nn.ReLU()]
    model = nn.Sequential(*layers, nn.Linear(96, 40))
    if repaired:
        critical(model, 2**0.5)
    optimizer = torch.optim.Adam(model.parameters(), lr=2e-3)
    for _ in range(400):
        pick = torch.randint(len(x), (128,))
        loss = F.cross_entropy(model(x[pick]), y[pick])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    with torch.no_grad():
        return class_progress(model(x), y)


class LetterModel(nn.Module):
    """The next letter from the last eight, with the output tied to the embedding."""

    def __init__(self, letters: int) -> None:
        super().__init__()
        self.embedding = nn.Embedding(letters, 24)
        self.mix = nn.Linear(8 * 24, 96)
        self.back = nn.Linear(96, 24)
        self.decoder = nn.Linear(24, letters)
        self.decoder.weight = self.embedding.weight

    def forward(self, letters: Tensor) -> Tensor:
        hidden = F.gelu(self.mix(self.embedding(letters).flatten(1)))
        return self.decoder(self.back(hidden))


def letters(seed: int) -> float:
    """A small language model on real prose: no reader could guess every letter."""
    torch.manual_seed(seed)
    text, count = prose()
    windows = text.unfold(0, 9, 1)
    model = LetterModel(count)
    nn.init.normal_(model.embedding.weight, std=0.3)
    optimizer = torch.optim.AdamW(model.parameters(), lr=4e-3, weight_decay=0.01)
    for _ in range(400):
        batch = windows[torch.randint(len(windows), (64,))]
        loss = F.cross_entropy(model(batch[:, :8]), batch[:, 8])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    with torch.no_grad():
        sample = windows[::20]
        return class_progress(model(sample[:, :8]), sample[:, 8])


class TwoHeads(nn.Module):
    """A class and a reconstruction from one code."""

    def __init__(self) -> None:
        super().__init__()
        self.encoder = nn.Sequential(nn.Linear(64, 48), nn.ELU(), nn.Linear(48, 24), nn.ELU())
        self.heads = nn.ModuleDict({"class": nn.Linear(24, 10), "picture": nn.Linear(24, 64)})

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        code = self.encoder(x)
        return {name: head(code) for name, head in self.heads.items()}


def several_losses(seed: int) -> float:
    """Classification, reconstruction and a penalty, added up."""
    torch.manual_seed(seed)
    x, y = digits()
    model = TwoHeads()
    optimizer = torch.optim.Adam(model.parameters(), lr=4e-3)
    for _ in range(250):
        pick = torch.randint(len(x), (64,))
        answer = model(x[pick])
        penalty = sum(p.abs().sum() for p in model.heads.parameters())
        loss = F.cross_entropy(answer["class"], y[pick]) + 0.5 * F.mse_loss(
            answer["picture"], x[pick]
        )
        loss = loss + 1e-5 * penalty
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    with torch.no_grad():
        return class_progress(model(x)["class"], y)


def autoencoder(seed: int) -> float:
    """Pictures through a code of sixteen numbers, decoder tied to the encoder by transposition."""
    torch.manual_seed(seed)
    x, _ = digits()
    encoder = nn.Linear(64, 16)
    offset = nn.Parameter(torch.zeros(64))
    optimizer = torch.optim.Adam([*encoder.parameters(), offset], lr=1e-2)
    for _ in range(250):
        batch = x[torch.randint(len(x), (64,))]
        code = encoder(batch).tanh_()
        loss = (code @ encoder.weight + offset - batch).square().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    with torch.no_grad():
        return value_progress(torch.tanh(encoder(x)) @ encoder.weight + offset, x)


def default_tanh_adam(seed: int, *, repaired: bool = False) -> float:
    """Six tanh layers at the default initialisation: under Adam they learn in time."""
    torch.manual_seed(seed)
    model = PlainNet(5, torch.tanh)
    if repaired:
        critical(model, 1.0)
    return fit_digits(model, torch.optim.Adam(model.parameters(), lr=2e-3))


LOSSES: tuple[Member, ...] = (
    healthy(partial(scaled_loss, factor=1e-6), name="loss_times_1e-6_adam", reaches=0.9),
    healthy(partial(scaled_loss, factor=1e4), name="loss_times_1e4_sgd", reaches=0.9),
    healthy(interpolation, name="trained_to_interpolation", reaches=0.999),
    healthy(noisy_labels, name="forty_percent_wrong_labels", reaches=0.5),
    healthy(imbalanced, name="imbalance_95_to_5", reaches=0.7),
    healthy(
        noisy_regression,
        name="diabetes_default_relu_adam",
        reaches=0.45,
        verdicts=UNSURE,
        control=partial(noisy_regression, repaired=True),
    ),
    healthy(linear_regression, name="diabetes_linear", reaches=0.45),
    healthy(
        forty_classes,
        name="forty_overlapping_classes",
        reaches=0.3,
        control=partial(forty_classes, repaired=True),
    ),
    healthy(
        partial(forty_classes, depth=5),
        name="forty_overlapping_classes_deep_default",
        reaches=0.3,
        verdicts=UNSURE,
        control=partial(forty_classes, depth=5, repaired=True),
    ),
    healthy(rare_clicks, name="rare_clicks_weak_signal", reaches=0.02, verdicts=UNSURE),
    healthy(hardly_predictable, name="regression_weak_signal", reaches=0.02, verdicts=UNSURE),
    healthy(letters, name="letters_tied_embedding", reaches=0.3),
    healthy(several_losses, name="several_losses_dict_output", reaches=0.8),
    healthy(autoencoder, name="tied_autoencoder", reaches=0.6),
    healthy(
        default_tanh_adam,
        name="default_tanh_adam",
        reaches=0.8,
        control=partial(default_tanh_adam, repaired=True),
    ),
)
