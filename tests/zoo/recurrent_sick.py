"""Sick recurrent trainings: what is asked lies further back than the gradient reaches."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ._data import class_progress
from ._member import Member, sick

TOKENS, DISTRACTORS = 4, 8
Batch = tuple[Tensor, Tensor]


def recall(size: int, length: int) -> Batch:
    """Return sequences `[B, T]` whose first token is the label; the other ones are noise."""
    x = torch.randint(TOKENS, TOKENS + DISTRACTORS, (size, length))
    x[:, 0] = torch.randint(0, TOKENS, (size,))
    return x, x[:, 0].clone()


def fit(
    model: nn.Module,
    draw: Callable[[int], Batch],
    *,
    steps: int,
    optimizer: torch.optim.Optimizer,
    clip: float | None = None,
) -> float:
    """Run the ordinary loop on fresh batches; return the progress on a last, larger one."""
    for _ in range(steps):
        x, y = draw(32)
        optimizer.zero_grad()
        F.cross_entropy(model(x).flatten(0, -2), y.flatten()).backward()
        if clip is not None:
            nn.utils.clip_grad_norm_(model.parameters(), clip)
        optimizer.step()
    model.eval()
    with torch.no_grad():
        x, y = draw(512)
        return class_progress(model(x).flatten(0, -2), y.flatten())


class Reader(nn.Module):
    """An embedding, one of torch's recurrent layers, and a head on its last output."""

    def __init__(self, kind: type[nn.RNNBase], hidden: int = 32, **settings: object) -> None:
        super().__init__()
        self.embed = nn.Embedding(TOKENS + DISTRACTORS, 16)
        self.recurrent = kind(16, hidden, batch_first=True, **settings)
        self.head = nn.Linear(hidden, TOKENS)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.recurrent(self.embed(x))[0][:, -1])


def keep(recurrent: nn.RNNBase, bias: float) -> None:
    """Set the bias of the gate that keeps the state, the second block of LSTM and GRU."""
    hidden = recurrent.hidden_size
    with torch.no_grad():
        recurrent.bias_hh_l0[hidden : 2 * hidden] = 0.0
        recurrent.bias_ih_l0[hidden : 2 * hidden] = bias


def plain_recall(seed: int, *, repaired: bool = False) -> float:
    """The first of sixty tokens, by torch's tanh layer; the repair is a gated one that keeps."""
    torch.manual_seed(seed)
    model = Reader(nn.GRU if repaired else nn.RNN)
    if repaired:
        keep(model.recurrent, 4.0)
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-2)
    return fit(model, partial(recall, length=60), steps=150, optimizer=optimizer)


def closed_forget_gates(seed: int, *, repaired: bool = False) -> float:
    """An LSTM whose forget gates start closed (a bias of -4 for 4)."""
    torch.manual_seed(seed)
    model = Reader(nn.LSTM)
    keep(model.recurrent, 4.0 if repaired else -4.0)
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-2)
    return fit(model, partial(recall, length=20), steps=150, optimizer=optimizer)


class ByHand(nn.Module):
    """A recurrence as a loop over two linear layers."""

    def __init__(self, gain: float, hidden: int = 32) -> None:
        super().__init__()
        self.embed = nn.Embedding(TOKENS + DISTRACTORS, hidden)
        self.again = nn.Linear(hidden, hidden, bias=False)
        self.head = nn.Linear(hidden, TOKENS)
        nn.init.orthogonal_(self.again.weight, gain)
        nn.init.normal_(self.embed.weight, std=0.1)

    def forward(self, x: Tensor) -> Tensor:
        z = self.embed(x)
        h = torch.zeros_like(z[:, 0])
        for t in range(z.shape[1]):
            h = torch.tanh(z[:, t] + self.again(h))
        return self.head(h)


def contracting_loop(seed: int, *, repaired: bool = False) -> float:
    """A loop of one's own whose matrix halves the state; the repair is orthogonal."""
    torch.manual_seed(seed)
    model = ByHand(1.0 if repaired else 0.5)
    optimizer = torch.optim.Adam(model.parameters(), lr=3e-3)
    return fit(model, partial(recall, length=30), steps=150, optimizer=optimizer)


def stacked_plain(seed: int, *, repaired: bool = False) -> float:
    """Three tanh layers on top of each other; the repair is orthogonal in each."""
    torch.manual_seed(seed)
    model = Reader(nn.RNN, num_layers=3)
    if repaired:
        for name, weight in model.recurrent.named_parameters():
            if name.startswith("weight_hh"):
                nn.init.orthogonal_(weight)
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
    return fit(model, partial(recall, length=20), steps=200, optimizer=optimizer)


def expanding_identity(seed: int, *, repaired: bool = False) -> float:
    """ReLU and one and a half times the identity; the repair is the identity."""
    torch.manual_seed(seed)
    model = Reader(nn.RNN, nonlinearity="relu")
    with torch.no_grad():
        model.recurrent.weight_hh_l0.copy_(torch.eye(32) * (1.0 if repaired else 1.5))
        model.recurrent.weight_ih_l0.mul_(0.1)
    optimizer = torch.optim.SGD(model.parameters(), lr=3e-3)
    return fit(model, partial(recall, length=20), steps=200, optimizer=optimizer)


def chaotic_tanh(seed: int, *, repaired: bool = False) -> float:
    """Three times an orthogonal matrix: nearby states part, and no step fits the next batch."""
    torch.manual_seed(seed)
    model = Reader(nn.RNN)
    nn.init.orthogonal_(model.recurrent.weight_hh_l0, 1.2 if repaired else 3.0)
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
    return fit(model, partial(recall, length=30), steps=200, optimizer=optimizer)


def after_pause(size: int, length: int = 40) -> Batch:
    """Return recall as a task with a target at every step: blanks, and the first token at last."""
    x, first = recall(size, length)
    x[x == TOKENS] = TOKENS + 1
    x[:, -1] = TOKENS  # a sign to answer
    wanted = torch.full_like(x, TOKENS)
    wanted[:, -1] = first
    return x, wanted


class Writer(nn.Module):
    """An embedding, one of torch's recurrent layers, and a head on every step."""

    def __init__(self, kind: type[nn.RNNBase], hidden: int = 32) -> None:
        super().__init__()
        self.embed = nn.Embedding(TOKENS + DISTRACTORS, 16)
        self.recurrent = kind(16, hidden, batch_first=True)
        self.head = nn.Linear(hidden, TOKENS + 1)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.recurrent(self.embed(x))[0])


def recall_after_pause(seed: int, *, repaired: bool = False) -> float:
    """One answer after thirty-nine blanks, which alone are learned; the repair keeps its state.

    Progress is that of the answers.
    """
    torch.manual_seed(seed)
    model = Writer(nn.GRU if repaired else nn.RNN)
    if repaired:
        keep(model.recurrent, 4.0)
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-2)
    fit(model, after_pause, steps=200, optimizer=optimizer)
    with torch.no_grad():
        x, wanted = after_pause(512)
        return class_progress(model(x)[:, -1], wanted[:, -1])


SICK_RECURRENT: tuple[Member, ...] = tuple(
    sick(
        train, (verdict,), (cause,), name=f"recurrent-{name}", control=partial(train, repaired=True)
    )
    for name, train, verdict, cause in (
        ("tanh-sixty-steps", plain_recall, "vanishing", "recurrent_contraction"),
        ("lstm-closed-forget-gates", closed_forget_gates, "vanishing", "closed_gates"),
        ("loop-by-hand-contracts", contracting_loop, "vanishing", "recurrent_contraction"),
        ("three-tanh-layers", stacked_plain, "vanishing", "recurrent_contraction"),
        ("tanh-after-a-pause", recall_after_pause, "vanishing", "recurrent_contraction"),
        ("tanh-three-times-orthogonal", chaotic_tanh, "exploding", "recurrent_expansion"),
        ("relu-identity-times-1.5", expanding_identity, "exploding", "recurrent_expansion"),
    )
)
