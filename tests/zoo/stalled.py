"""Sick trainings whose gradient flows well and is not why they do not learn."""

from __future__ import annotations

from functools import partial

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ._data import breast_cancer, class_progress, diabetes, digits, value_progress, wine
from ._member import Member, sick


def tiny_learning_rate(seed: int, *, repaired: bool = False) -> float:
    """A slip of the exponent."""
    torch.manual_seed(seed)
    x, y = digits()
    model = nn.Sequential(nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 10))
    optimizer = torch.optim.SGD(model.parameters(), lr=1e-1 if repaired else 1e-8)
    for start in range(0, 300 * 64, 64):
        batch = torch.arange(start, start + 64) % len(x)
        optimizer.zero_grad()
        loss = F.cross_entropy(model(x[batch]), y[batch])
        loss.backward()
        optimizer.step()
    with torch.no_grad():
        return class_progress(model(x), y)


def frozen_by_a_typo(seed: int, *, repaired: bool = False) -> float:
    """Meant to freeze the trunk, froze all but the last bias."""
    torch.manual_seed(seed)
    x, y = digits()
    model = nn.Sequential()
    model.add_module(
        "trunk", nn.Sequential(nn.Linear(64, 96), nn.ReLU(), nn.Linear(96, 96), nn.ReLU())
    )
    model.add_module("head", nn.Linear(96, 10))
    wanted = "head" if repaired else "head.bias"
    for name, parameter in model.named_parameters():
        parameter.requires_grad = name.startswith(wanted)
    optimizer = torch.optim.Adam([p for p in model.parameters() if p.requires_grad], lr=1e-2)
    for _ in range(250):
        batch = torch.randint(len(x), (64,))
        optimizer.zero_grad()
        F.cross_entropy(model(x[batch]), y[batch]).backward()
        optimizer.step()
    with torch.no_grad():
        return class_progress(model(x), y)


class Bottleneck(nn.Module):
    """A trunk that ends in a narrow code; the code may be cut off from the tape."""

    def __init__(self, *, cut: bool) -> None:
        super().__init__()
        self.trunk = nn.Sequential(nn.Linear(30, 64), nn.ReLU(), nn.Linear(64, 64), nn.ReLU())
        self.code = nn.Linear(64, 1)
        self.head = nn.Linear(1, 2)
        self.cut = cut

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        code = torch.tanh(self.code(self.trunk(x)))
        if self.cut:
            code = code.detach()
        return {"logits": self.head(code), "code": code}


def detached_trunk(seed: int, *, repaired: bool = False) -> float:
    """A forgotten detach between trunk and head: noise to the head, no gradient to the trunk."""
    torch.manual_seed(seed)
    x, _ = breast_cancer()
    generator = torch.Generator().manual_seed(seed)
    # The classes hide in the sign of a product, so that an untrained code says nothing.
    left, right = x[torch.randperm(len(x), generator=generator)], x
    labels = ((left[:, 0] > 0) ^ (right[:, 0] > 0)).long()
    inputs = torch.cat((left[:, :15], right[:, :15]), 1)
    model = Bottleneck(cut=not repaired)
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3)
    for _ in range(300):
        pick = torch.randint(len(inputs), (64,))
        loss = F.cross_entropy(model(inputs[pick])["logits"], labels[pick])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    with torch.no_grad():
        return class_progress(model(inputs)["logits"], labels)


def code_through_a_list(seed: int, *, repaired: bool = False) -> float:
    """A code of two numbers goes through Python lists: the encoder learns nothing."""
    torch.manual_seed(seed)
    x, y = digits()
    encoder = nn.Sequential(nn.Linear(64, 32), nn.ReLU(), nn.Linear(32, 2), nn.Tanh())
    classifier = nn.Sequential(nn.Linear(2, 32), nn.ReLU(), nn.Linear(32, 10))
    optimizer = torch.optim.Adam([*encoder.parameters(), *classifier.parameters()], 1e-2)
    for _ in range(20):
        for pick in torch.randperm(len(x)).split(64):
            code = encoder(x[pick])
            code = code if repaired else torch.tensor(code.tolist())
            loss = F.cross_entropy(classifier(code), y[pick])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
    with torch.no_grad():
        return class_progress(classifier(encoder(x)), y)


def optimizer_of_another_model(seed: int, *, repaired: bool = False) -> float:
    """The model is built anew after its optimizer, which goes on holding the old one's weights."""
    torch.manual_seed(seed)
    x, y = wine()

    def build() -> nn.Module:
        return nn.Sequential(nn.Linear(13, 32), nn.ReLU(), nn.Linear(32, 3))

    model = build()
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-2)
    if not repaired:
        model = build()
    for _ in range(200):
        optimizer.zero_grad()
        loss = F.cross_entropy(model(x), y)
        loss.backward()
        optimizer.step()
    with torch.no_grad():
        return class_progress(model(x), y)


def random_labels(seed: int, *, repaired: bool = False) -> float:
    """The labels were shuffled apart from their pictures."""
    torch.manual_seed(seed)
    x, y = digits()
    if not repaired:
        y = y[torch.randperm(len(y))]
    model = nn.Sequential(nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 10))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05)
    for _ in range(400):
        pick = torch.randint(len(x), (64,))
        optimizer.zero_grad()
        F.cross_entropy(model(x[pick]), y[pick]).backward()
        optimizer.step()
    with torch.no_grad():
        return class_progress(model(x), y)


def never_zeroed(seed: int, *, repaired: bool = False) -> float:
    """zero_grad() is missing: every step repeats all steps before it."""
    torch.manual_seed(seed)
    x, y = digits()
    model = nn.Sequential(
        nn.Linear(64, 64), nn.Tanh(), nn.Linear(64, 64), nn.Tanh(), nn.Linear(64, 10)
    )
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    for _ in range(400):
        pick = torch.randint(len(x), (64,))
        if repaired:
            optimizer.zero_grad()
        loss = F.cross_entropy(model(x[pick]), y[pick])
        loss.backward()
        optimizer.step()
    with torch.no_grad():
        return class_progress(model(x), y)


def zeroed_too_late(seed: int, *, repaired: bool = False) -> float:
    """zero_grad() stands between backward() and step(): nothing is left for the step."""
    torch.manual_seed(seed)
    x, y = wine()
    model = nn.Sequential(nn.Linear(13, 32), nn.ReLU(), nn.Linear(32, 3))
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-2)
    for _ in range(150):
        loss = F.cross_entropy(model(x), y)
        if repaired:
            optimizer.zero_grad()
        loss.backward()
        if not repaired:
            optimizer.zero_grad()
        optimizer.step()
    with torch.no_grad():
        return class_progress(model(x), y)


def faded_rate(seed: int, *, repaired: bool = False) -> float:
    """The scheduler of the epochs steps at every batch: a rate of 1e-3 is 1e-24 after 100."""
    torch.manual_seed(seed)
    x, y = digits()
    model = nn.Sequential(nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 10))
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
    scheduler = torch.optim.lr_scheduler.ExponentialLR(optimizer, 0.6)
    for step in range(250):
        pick = torch.randint(len(x), (64,))
        optimizer.zero_grad()
        F.cross_entropy(model(x[pick]), y[pick]).backward()
        optimizer.step()
        if not repaired or step % 50 == 49:
            scheduler.step()
    with torch.no_grad():
        return class_progress(model(x), y)


def crushing_weight_decay(seed: int, *, repaired: bool = False) -> float:
    """Decay that pulls harder than the gradient pushes."""
    torch.manual_seed(seed)
    x, y = digits()
    model = nn.Sequential(
        nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 10)
    )
    decay = 1e-4 if repaired else 1.0
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.9, weight_decay=decay)
    for _ in range(250):
        pick = torch.randint(len(x), (64,))
        loss = F.cross_entropy(model(x[pick]), y[pick])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    with torch.no_grad():
        return class_progress(model(x), y)


def prices_in_cents(seed: int, *, repaired: bool = False) -> float:
    """A regression target around a million, squared error, Adam: it would take a million steps."""
    torch.manual_seed(seed)
    x, standardized = diabetes()
    target = standardized if repaired else 1e6 * (standardized + 1.0)
    model = nn.Sequential(nn.Linear(10, 64), nn.ReLU(), nn.Linear(64, 1))
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-2)
    for _ in range(250):
        pick = torch.randint(len(x), (64,))
        loss = nn.functional.mse_loss(model(x[pick]), target[pick])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    with torch.no_grad():
        return value_progress(model(x), target)


def clipped_away(seed: int, *, repaired: bool = False) -> float:
    """The gradient is clipped to almost nothing under plain SGD."""
    torch.manual_seed(seed)
    x, y = wine()
    model = nn.Sequential(nn.Linear(13, 32), nn.GELU(), nn.Linear(32, 3))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    for _ in range(300):
        optimizer.zero_grad()
        F.cross_entropy(model(x), y).backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0 if repaired else 1e-6)
        optimizer.step()
    with torch.no_grad():
        return class_progress(model(x), y)


STALLED: tuple[Member, ...] = tuple(
    sick(
        train,
        verdicts,
        causes,
        name=train.__name__,
        control=partial(train, repaired=True),
        reaches=r,
    )
    for train, verdicts, causes, r in (
        (tiny_learning_rate, ("stalled",), ("learning_rate_too_low",), 0.6),
        (frozen_by_a_typo, ("stalled",), ("frozen",), 0.6),
        (detached_trunk, ("stalled",), ("disconnected",), 0.35),
        (code_through_a_list, ("stalled",), ("disconnected",), 0.6),
        (optimizer_of_another_model, ("stalled",), ("disconnected",), 0.6),
        (random_labels, ("stalled", "inconclusive"), ("data_or_labels",), 0.6),
        (never_zeroed, ("stalled", "dead_units"), ("gradients_not_zeroed",), 0.6),
        (zeroed_too_late, ("stalled",), ("gradients_wiped",), 0.6),
        (faded_rate, ("stalled",), ("learning_rate_too_low",), 0.6),
        (crushing_weight_decay, ("stalled",), ("weight_decay_too_strong",), 0.6),
        (
            prices_in_cents,
            ("stalled",),
            ("target_scale", "learning_rate_too_low", "learning_rate_too_high"),
            0.4,
        ),
        (clipped_away, ("stalled",), ("clipped_away",), 0.6),
    )
)
