"""Healthy trainings with an unusual loop: frozen parts, adapters, schedules, closures."""

from __future__ import annotations

import math
from collections.abc import Iterator

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

from ._data import blobs, breast_cancer, class_progress, diabetes, digits, value_progress, wine
from ._member import Member, healthy
from .vanishing import PlainNet, critical


def batches(x: Tensor, y: Tensor, *, size: int, steps: int) -> Iterator[tuple[Tensor, Tensor]]:
    """Yield random batches."""
    for _ in range(steps):
        pick = torch.randint(len(x), (size,))
        yield x[pick], y[pick]


def train(
    model: nn.Module, optimizer: torch.optim.Optimizer, x: Tensor, y: Tensor, *, steps: int
) -> None:
    """Run the ordinary loop."""
    for inputs, labels in batches(x, y, size=64, steps=steps):
        optimizer.zero_grad()
        F.cross_entropy(model(inputs), labels).backward()
        optimizer.step()


def progress(model: nn.Module, x: Tensor, y: Tensor) -> float:
    """Evaluate without a tape."""
    model.eval()
    with torch.no_grad():
        return class_progress(model(x), y)


def fine_tuning(seed: int) -> float:
    """Pretrained on the digits 0 to 4; then a new head learns all ten on a frozen backbone."""
    torch.manual_seed(seed)
    x, y = digits()
    few = y < 5
    backbone = nn.Sequential(nn.Linear(64, 96), nn.ReLU(), nn.Linear(96, 64), nn.ReLU())
    first = nn.Sequential(backbone, nn.Linear(64, 5))
    train(first, torch.optim.Adam(first.parameters(), lr=2e-3), x[few], y[few], steps=150)
    for parameter in backbone.parameters():
        parameter.requires_grad_(False)
    second = nn.Sequential(backbone, nn.Linear(64, 10))
    optimizer = torch.optim.Adam(second[1].parameters(), lr=5e-3)
    train(second, optimizer, x, y, steps=200)
    return progress(second, x, y)


class LowRank(nn.Module):
    """A frozen linear layer beside an adapter of rank eight whose second factor starts at zero."""

    def __init__(self, base: nn.Linear, rank: int = 8) -> None:
        super().__init__()
        self.base = base.requires_grad_(False)
        self.a = nn.Parameter(torch.randn(rank, base.in_features) / math.sqrt(base.in_features))
        self.b = nn.Parameter(torch.zeros(base.out_features, rank))

    def forward(self, x: Tensor) -> Tensor:
        return self.base(x) + F.linear(F.linear(x, self.a), self.b)


def low_rank_adapters(seed: int) -> float:
    """A net trained on the digits learns mirrored ones through adapters alone."""
    torch.manual_seed(seed)
    x, y = digits()
    model = nn.Sequential(
        nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 10)
    )
    train(model, torch.optim.Adam(model.parameters(), lr=2e-3), x, y, steps=150)
    for index in (0, 2, 4):
        model[index] = LowRank(model[index])
    mirrored = x.view(-1, 8, 8).flip(2).flatten(1)
    optimizer = torch.optim.AdamW((p for p in model.parameters() if p.requires_grad), lr=5e-3)
    train(model, optimizer, mirrored, y, steps=250)
    return progress(model, mirrored, y)


def thawed(seed: int) -> float:
    """A head first, then everything, in one optimizer."""
    torch.manual_seed(seed)
    x, y = digits()
    trunk = nn.Sequential(nn.Linear(64, 64), nn.Tanh(), nn.Linear(64, 64), nn.Tanh())
    model = nn.Sequential(trunk, nn.Linear(64, 10))
    trunk.requires_grad_(False)
    optimizer = torch.optim.Adam(model.parameters(), lr=2e-3)
    train(model, optimizer, x, y, steps=100)
    trunk.requires_grad_(True)
    train(model, optimizer, x, y, steps=150)
    return progress(model, x, y)


def warm_up(seed: int) -> float:
    """A learning rate that rises from nothing over a fifth of the run, then falls as a cosine."""
    torch.manual_seed(seed)
    x, y = digits()
    model = PlainNet(4, F.silu)
    critical(model, 1.6)
    optimizer = torch.optim.AdamW(model.parameters(), lr=5e-3, weight_decay=0.05)
    steps = 300

    def factor(step: int) -> float:
        return min(step / (0.2 * steps), 0.5 * (1 + math.cos(math.pi * step / steps)))

    scheduler = torch.optim.lr_scheduler.LambdaLR(optimizer, factor)
    for inputs, labels in batches(x, y, size=64, steps=steps):
        optimizer.zero_grad()
        F.cross_entropy(model(inputs), labels).backward()
        optimizer.step()
        scheduler.step()
    return progress(model, x, y)


def one_cycle(seed: int) -> float:
    """OneCycleLR, Nesterov momentum, epochs by a DataLoader whose last batch is short."""
    torch.manual_seed(seed)
    x, y = digits()
    model = nn.Sequential(nn.Linear(64, 64), nn.BatchNorm1d(64), nn.LeakyReLU(), nn.Linear(64, 10))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01, momentum=0.9, nesterov=True)
    loader = DataLoader(TensorDataset(x, y), batch_size=48, shuffle=True)
    epochs = 6
    scheduler = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, 0.1, total_steps=epochs * len(loader)
    )
    for _ in range(epochs):
        model.train()
        for inputs, labels in loader:
            optimizer.zero_grad()
            loss = F.cross_entropy(model(inputs), labels)
            loss.backward()
            optimizer.step()
            scheduler.step()
    return progress(model, x, y)


def clipped(seed: int) -> float:
    """The gradient is clipped in every step, and the net learns all the same."""
    torch.manual_seed(seed)
    x, y = digits()
    model = PlainNet(4, torch.relu)
    critical(model, 2**0.5)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
    for inputs, labels in batches(x, y, size=64, steps=250):
        optimizer.zero_grad()
        F.cross_entropy(model(inputs), labels).backward()
        nn.utils.clip_grad_norm_(model.parameters(), 0.1)
        optimizer.step()
    return progress(model, x, y)


def accumulated(seed: int) -> float:
    """Four micro-batches to a step."""
    torch.manual_seed(seed)
    x, y = digits()
    model = nn.Sequential(nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 10))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.2, momentum=0.5)
    for index, (inputs, labels) in enumerate(batches(x, y, size=16, steps=480)):
        loss = F.cross_entropy(model(inputs), labels) / 4
        loss.backward()
        if index % 4 == 3:
            optimizer.step()
            optimizer.zero_grad()
    return progress(model, x, y)


def lbfgs(seed: int) -> float:
    """LBFGS with a closure on the whole of a real table."""
    torch.manual_seed(seed)
    x, y = wine()
    model = nn.Sequential(nn.Linear(13, 16), nn.Tanh(), nn.Linear(16, 3))
    optimizer = torch.optim.LBFGS(model.parameters(), lr=0.1, max_iter=4)

    def closure() -> Tensor:
        optimizer.zero_grad()
        loss = F.cross_entropy(model(x), y) + 1e-3 * sum(
            p.square().sum() for p in model.parameters()
        )
        loss.backward()
        return loss

    for _ in range(60):
        optimizer.step(closure)
    return progress(model, x, y)


def mixed_batches(seed: int) -> float:
    """Batches from one sample to two hundred."""
    torch.manual_seed(seed)
    x, y = breast_cancer()
    model = nn.Sequential(nn.Linear(30, 24), nn.ReLU(), nn.Linear(24, 2))
    optimizer = torch.optim.RMSprop(model.parameters(), lr=2e-3)
    for step in range(240):
        size = (1, 8, 33, 200)[step % 4]
        pick = torch.randint(len(x), (size,))
        optimizer.zero_grad()
        F.cross_entropy(model(x[pick]), y[pick]).backward()
        optimizer.step()
    return progress(model, x, y)


def sparse_embedding(seed: int) -> float:
    """Bags of words, of which each batch touches a few; sparse gradients, SparseAdam and Adam."""
    torch.manual_seed(seed)
    words, classes = 800, 6
    weights = 1.0 / (1.0 + torch.arange(words)).repeat(classes, 1)
    weights[torch.arange(classes)[:, None], torch.randint(words, (classes, 60))] *= 30.0
    labels = torch.randint(classes, (1500,))
    bags = torch.multinomial(weights[labels], 20, replacement=True)
    embedding = nn.EmbeddingBag(words, 24, mode="mean", sparse=True)
    head = nn.Sequential(nn.Linear(24, 24), nn.ReLU(), nn.Linear(24, classes))
    sparse = torch.optim.SparseAdam(embedding.parameters(), lr=2e-2)
    dense = torch.optim.Adam(head.parameters(), lr=1e-2)
    for inputs, targets in batches(bags, labels, size=64, steps=250):
        sparse.zero_grad()
        dense.zero_grad()
        F.cross_entropy(head(embedding(inputs)), targets).backward()
        sparse.step()
        dense.step()
    with torch.no_grad():
        return class_progress(head(embedding(bags)), labels)


def plateau_then_escape(seed: int) -> float:
    """Parity of two bits among noise: nothing for a long while, then all of it."""
    torch.manual_seed(seed)
    x = torch.randint(0, 2, (2000, 12)).float() * 2 - 1
    y = (x[:, 0] * x[:, 1] > 0).long()
    model = nn.Sequential(nn.Linear(12, 32), nn.Tanh(), nn.Linear(32, 2))
    with torch.no_grad():
        model[2].weight.mul_(0.1)
    train(model, torch.optim.SGD(model.parameters(), lr=0.03, momentum=0.9), x, y, steps=500)
    return progress(model, x, y)


def plain_tensors(seed: int) -> float:
    """No nn.Module, in-place activations, a cross entropy spelled out."""
    generator = torch.Generator().manual_seed(seed)
    x, y = blobs(5, spread=0.8)
    w1 = (torch.randn(16, 40, generator=generator) * (2 / 16) ** 0.5).requires_grad_()
    w2 = (torch.randn(40, 40, generator=generator) * (2 / 40) ** 0.5).requires_grad_()
    w3 = torch.zeros(40, 5, requires_grad=True)
    optimizer = torch.optim.SGD([w1, w2, w3], lr=0.1)
    for _ in range(200):
        pick = torch.randint(len(x), (50,), generator=generator)
        h = x[pick].mm(w1).relu_().mm(w2).relu_()
        loss = -h.mm(w3).log_softmax(1).gather(1, y[pick, None]).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    with torch.no_grad():
        return class_progress(x.mm(w1).relu_().mm(w2).relu_().mm(w3), y)


def adversarial(seed: int) -> float:
    """A GAN; progress is how near the mean and spread of its copies come to the truth."""
    torch.manual_seed(seed)
    center, spread = torch.tensor([1.5, -1.0]), torch.tensor([0.6, 0.3])
    maker = nn.Sequential(nn.Linear(4, 24), nn.ReLU(), nn.Linear(24, 2))
    judge = nn.Sequential(nn.Linear(2, 24), nn.LeakyReLU(0.2), nn.Linear(24, 1))
    make = torch.optim.Adam(maker.parameters(), lr=4e-3, betas=(0.5, 0.99))
    judging = torch.optim.Adam(judge.parameters(), lr=4e-3, betas=(0.5, 0.99))
    yes, no = torch.ones(64, 1), torch.zeros(64, 1)
    for _ in range(400):
        real = center + spread * torch.randn(64, 2)
        fake = maker(torch.randn(64, 4))
        judging.zero_grad()
        doubt = F.binary_cross_entropy_with_logits(judge(real), yes)
        doubt = doubt + F.binary_cross_entropy_with_logits(judge(fake.detach()), no)
        doubt.backward()
        judging.step()
        make.zero_grad()
        F.binary_cross_entropy_with_logits(judge(fake), yes).backward()
        make.step()
    with torch.no_grad():
        fake = maker(torch.randn(2000, 4))
        away = (fake.mean(0) - center).norm() + (fake.std(0) - spread).norm()
        return 1.0 - float(away / (center.norm() + spread.norm()))


def two_trainings(seed: int) -> float:
    """A regression and then a classification in one program; the worse one counts."""
    torch.manual_seed(seed)
    x, y = diabetes()
    line = nn.Linear(10, 1)
    optimizer = torch.optim.Adagrad(line.parameters(), lr=0.2)
    for inputs, target in batches(x, y, size=64, steps=150):
        optimizer.zero_grad()
        F.huber_loss(line(inputs), target).backward()
        optimizer.step()
    with torch.no_grad():
        first = value_progress(line(x), y)
    table, labels = wine()
    net = nn.Sequential(nn.Linear(13, 16), nn.Mish(), nn.Linear(16, 3))
    train(net, torch.optim.NAdam(net.parameters(), lr=5e-3), table, labels, steps=150)
    return min(first, progress(net, table, labels))


LOOPS: tuple[Member, ...] = tuple(
    healthy(training, name=training.__name__, reaches=reaches, verdicts=verdicts)
    for training, reaches, verdicts in (
        (fine_tuning, 0.6, ("healthy",)),
        (low_rank_adapters, 0.6, ("healthy",)),
        (thawed, 0.8, ("healthy",)),
        (warm_up, 0.85, ("healthy",)),
        (one_cycle, 0.85, ("healthy",)),
        (clipped, 0.8, ("healthy",)),
        (accumulated, 0.8, ("healthy",)),
        (lbfgs, 0.85, ("healthy",)),
        (mixed_batches, 0.7, ("healthy",)),
        (sparse_embedding, 0.5, ("healthy",)),
        (plateau_then_escape, 0.85, ("healthy",)),
        (plain_tensors, 0.6, ("healthy",)),
        (adversarial, 0.6, ("healthy", "inconclusive")),
        (two_trainings, 0.4, ("healthy",)),
    )
)
