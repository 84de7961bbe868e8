"""Sick trainings whose steps are lost between the gradient and the weights."""

from __future__ import annotations

from functools import partial

import torch
import torch.nn.functional as F
from torch import nn

from ._data import class_progress, digits, wine
from ._member import Member, healthy, sick


def _digits_net(depth: int = 1) -> nn.Sequential:
    layers: list[nn.Module] = []
    for _ in range(depth):
        layers += [nn.Linear(64, 64), nn.ReLU()]
    return nn.Sequential(*layers, nn.Linear(64, 10))


def half_without_scaler(seed: int, *, repaired: bool = False) -> float:
    """A loss of a small weight under float16, and no gradient scaler."""
    torch.manual_seed(seed)
    x, y = digits()
    model = _digits_net(3)
    optimizer = torch.optim.Adam(model.parameters(), lr=3e-3)
    scaler = torch.amp.GradScaler("cpu", enabled=repaired)
    for _ in range(120):
        pick = torch.randint(len(x), (64,))
        optimizer.zero_grad()
        with torch.autocast("cpu", dtype=torch.float16):
            loss = 3e-6 * F.cross_entropy(model(x[pick]), y[pick])
        scaler.scale(loss).backward()
        scaler.step(optimizer)
        scaler.update()
    with torch.no_grad():
        return class_progress(model(x), y)


def bfloat16_weights(seed: int, *, repaired: bool = False) -> float:
    """A whole model in bfloat16 under a learning rate that suits float32."""
    torch.manual_seed(seed)
    x, y = digits()
    model = _digits_net()
    if not repaired:
        model = model.to(torch.bfloat16)
    optimizer = torch.optim.Adam(model.parameters(), lr=3e-5)
    dtype = torch.float32 if repaired else torch.bfloat16
    for _ in range(1200):
        pick = torch.randint(len(x), (64,))
        optimizer.zero_grad()
        F.cross_entropy(model(x[pick].to(dtype)), y[pick]).backward()
        optimizer.step()
    with torch.no_grad():
        return class_progress(model(x.to(dtype)).float(), y)


def scaler_that_skips(seed: int, *, repaired: bool = False) -> float:
    """A distance to a copy of itself: the root's slope at zero is infinite at any scale."""
    torch.manual_seed(seed)
    x, y = digits()
    model = _digits_net()
    optimizer = torch.optim.Adam(model.parameters(), lr=3e-3)
    scaler = torch.amp.GradScaler("cpu")
    least = 1e-6 if repaired else 0.0
    for _ in range(150):
        pick = torch.randint(len(x), (64,))
        optimizer.zero_grad()
        out = model(x[pick])
        far = torch.sqrt((out - out.detach()).square().sum(1) + least)
        loss = F.cross_entropy(out, y[pick]) + 0.01 * far.mean()
        scaler.scale(loss).backward()
        scaler.step(optimizer)
        scaler.update()
    with torch.no_grad():
        return class_progress(model(x), y)


def adagrad_after_a_spike(seed: int, *, repaired: bool = False) -> float:
    """One batch of broken units fills the sum of squares; a guard takes its step back."""
    torch.manual_seed(seed)
    x, y = wine()
    model = nn.Sequential(nn.Linear(13, 32), nn.Tanh(), nn.Linear(32, 3))
    optimizer = torch.optim.Adagrad(model.parameters(), lr=0.1)
    for step in range(300):
        optimizer.zero_grad()
        loss = F.cross_entropy(model(x), y)
        spike = step == 0 and not repaired
        (1e5 * loss if spike else loss).backward()
        before = [p.detach().clone() for p in model.parameters()]
        optimizer.step()
        if spike:
            with torch.no_grad():
                for parameter, old in zip(model.parameters(), before, strict=True):
                    parameter.copy_(old)
    with torch.no_grad():
        return class_progress(model(x), y)


def schedule_in_epochs(seed: int, *, repaired: bool = False) -> float:
    """A cosine over 10 epochs that is stepped after every batch: at zero after ten batches."""
    torch.manual_seed(seed)
    x, y = digits()
    model = _digits_net()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.02)
    batches = 28
    schedule = torch.optim.lr_scheduler.LambdaLR(
        optimizer, lambda step: max(0.0, 1.0 - step / (10 * batches if repaired else 10))
    )
    for _ in range(10 * batches):
        pick = torch.randint(len(x), (64,))
        optimizer.zero_grad()
        F.cross_entropy(model(x[pick]), y[pick]).backward()
        optimizer.step()
        schedule.step()
    with torch.no_grad():
        return class_progress(model(x), y)


def epsilon_above_the_gradients(seed: int, *, repaired: bool = False) -> float:
    """A loss of a tiny scale under Adam's own epsilon: a hundredth of each step is left."""
    torch.manual_seed(seed)
    x, y = digits()
    model = _digits_net()
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3, eps=1e-15 if repaired else 1e-8)
    for _ in range(250):
        pick = torch.randint(len(x), (64,))
        optimizer.zero_grad()
        (1e-8 * F.cross_entropy(model(x[pick]), y[pick])).backward()
        optimizer.step()
    with torch.no_grad():
        return class_progress(model(x), y)


def clipped_to_a_hundredth(seed: int, *, repaired: bool = False) -> float:
    """A bound far below the gradient: a hundredth of each step is left, which is not nothing."""
    torch.manual_seed(seed)
    x, y = digits()
    model = _digits_net(2)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    for _ in range(300):
        pick = torch.randint(len(x), (64,))
        optimizer.zero_grad()
        F.cross_entropy(model(x[pick]), y[pick]).backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0 if repaired else 5e-3)
        optimizer.step()
    with torch.no_grad():
        return class_progress(model(x), y)


STALLED_STEPS: tuple[Member, ...] = tuple(
    sick(
        train,
        ("stalled",),
        causes,
        name=train.__name__,
        control=partial(train, repaired=True),
        reaches=reaches,
    )
    for train, causes, reaches in (
        (half_without_scaler, ("precision_underflow",), 0.6),
        (bfloat16_weights, ("swallowed_update",), 0.3),
        (scaler_that_skips, ("precision_underflow",), 0.6),
        (adagrad_after_a_spike, ("learning_rate_too_low",), 0.6),
        (schedule_in_epochs, ("learning_rate_too_low",), 0.3),
        (epsilon_above_the_gradients, ("adam_epsilon",), 0.6),
        (clipped_to_a_hundredth, ("clipped_away",), 0.6),
    )
)


# -- the same ways to train, where they do no harm ---------------------------------------------


def scaler_that_starts_too_high(seed: int) -> float:
    """float16 with a scaler whose first scale overflows: a dozen steps are skipped by design."""
    torch.manual_seed(seed)
    x, y = digits()
    model = _digits_net(2)
    optimizer = torch.optim.Adam(model.parameters(), lr=3e-3)
    scaler = torch.amp.GradScaler("cpu", init_scale=2.0**30)
    for _ in range(200):
        pick = torch.randint(len(x), (64,))
        optimizer.zero_grad()
        with torch.autocast("cpu", dtype=torch.float16):
            loss = F.cross_entropy(model(x[pick]), y[pick])
        scaler.scale(loss).backward()
        scaler.step(optimizer)
        scaler.update()
    with torch.no_grad():
        return class_progress(model(x), y)


def bfloat16_weights_that_move(seed: int) -> float:
    """A whole model in bfloat16, with steps that its format can hold."""
    torch.manual_seed(seed)
    x, y = digits()
    model = _digits_net().to(torch.bfloat16)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
    for _ in range(200):
        pick = torch.randint(len(x), (64,))
        optimizer.zero_grad()
        F.cross_entropy(model(x[pick].bfloat16()), y[pick]).backward()
        optimizer.step()
    with torch.no_grad():
        return class_progress(model(x.bfloat16()).float(), y)


def bfloat16_with_a_float32_copy(seed: int) -> float:
    """The optimizer moves float32 copies; hardly a bfloat16 value changes in a single step."""
    torch.manual_seed(seed)
    x, y = digits()
    model = _digits_net().to(torch.bfloat16)
    masters = [p.detach().float().requires_grad_() for p in model.parameters()]
    optimizer = torch.optim.Adam(masters, lr=3e-4)
    for _ in range(300):
        pick = torch.randint(len(x), (64,))
        model.zero_grad()
        F.cross_entropy(model(x[pick].bfloat16()), y[pick]).backward()
        for master, parameter in zip(masters, model.parameters(), strict=True):
            assert parameter.grad is not None
            master.grad = parameter.grad.float()
        optimizer.step()
        with torch.no_grad():
            for master, parameter in zip(masters, model.parameters(), strict=True):
                parameter.copy_(master)
    with torch.no_grad():
        return class_progress(model(x.bfloat16()).float(), y)


def adagrad(seed: int) -> float:
    """Adagrad by the book."""
    torch.manual_seed(seed)
    x, y = wine()
    model = nn.Sequential(nn.Linear(13, 32), nn.Tanh(), nn.Linear(32, 3))
    optimizer = torch.optim.Adagrad(model.parameters(), lr=0.05)
    for _ in range(300):
        optimizer.zero_grad()
        F.cross_entropy(model(x), y).backward()
        optimizer.step()
    with torch.no_grad():
        return class_progress(model(x), y)


def cosine_to_zero(seed: int) -> float:
    """A cosine that ends at zero and stays there for the last third of the run."""
    torch.manual_seed(seed)
    x, y = digits()
    model = _digits_net()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.2)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, T_max=200)
    for step in range(300):
        pick = torch.randint(len(x), (64,))
        optimizer.zero_grad()
        F.cross_entropy(model(x[pick]), y[pick]).backward()
        optimizer.step()
        if step < 200:
            schedule.step()
    with torch.no_grad():
        return class_progress(model(x), y)


SOUND_STEPS: tuple[Member, ...] = tuple(
    healthy(train, name=train.__name__, reaches=reaches)
    for train, reaches in (
        (scaler_that_starts_too_high, 0.7),
        (bfloat16_weights_that_move, 0.7),
        (bfloat16_with_a_float32_copy, 0.6),
        (adagrad, 0.7),
        (cosine_to_zero, 0.7),
    )
)
