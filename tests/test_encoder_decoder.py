"""Verdicts over time on encoders and decoders: the way from what is written to what was read."""

import pytest
import torch
from torch import nn

from gradfuga import diagnose, observe
from gradfuga._types import Axis, Verdict

TOKENS, HIDDEN = 8, 48


class Translator(nn.Module):
    """Reads tokens, writes tokens; in a loop, by attention, or by a layer of torch."""

    def __init__(self, *, loop=False, attention=False, encoder=nn.GRU):
        super().__init__()
        self.embedding = nn.Embedding(TOKENS + 1, 24)
        self.encoder = encoder(24, HIDDEN, batch_first=True)
        self.decoder = nn.GRU(24, HIDDEN, batch_first=True)
        self.out = nn.Linear(HIDDEN * (2 if attention else 1), TOKENS)
        self.loop, self.attention = loop, attention

    def forward(self, source, target):
        states, last = self.encoder(self.embedding(source))
        last = last[0] if isinstance(last, tuple) else last
        start = torch.full_like(target[:, :1], TOKENS)
        given = self.embedding(torch.cat([start, target[:, :-1]], dim=1))
        if self.loop:
            pieces = []
            for step in range(given.shape[1]):
                piece, last = self.decoder(given[:, step : step + 1], last)
                pieces.append(piece)
            written = torch.cat(pieces, dim=1)
        else:
            written = self.decoder(given, last)[0]
        if self.attention:
            looked = torch.softmax(written @ states.transpose(1, 2), dim=2) @ states
            written = torch.cat([written, looked], dim=2)
        return self.out(written)


def train(task, *, steps=150, summed=False, **settings):
    torch.manual_seed(0)
    net = Translator(**settings)
    optimizer = torch.optim.Adam(net.parameters(), lr=5e-3)
    with observe(net, optimizer) as observer:
        for _ in range(steps):
            source, target = task()
            out = net(source, target)
            if summed:
                losses = [
                    nn.functional.cross_entropy(out[:, step], target[:, step])
                    for step in range(target.shape[1])
                ]
                loss = sum(losses)
            else:
                loss = nn.functional.cross_entropy(out.transpose(1, 2), target)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
    return diagnose(observer.readings)


def start_of(length, written):
    def task():
        source = torch.randint(0, TOKENS, (32, length))
        return source, source[:, :written]

    return task


def counting():
    """What is written has nothing to do with what was read."""
    source = torch.randint(0, TOKENS, (32, 30))
    return source, (torch.randint(0, TOKENS, (32, 1)) + torch.arange(8)) % TOKENS


def by_chance():
    return torch.randint(0, TOKENS, (32, 30)), torch.randint(0, TOKENS, (32, 8))


@pytest.mark.parametrize(
    ("written", "settings"),
    [
        (4, {}),
        (8, {"loop": True}),
        (8, {"loop": True, "summed": True}),
        (8, {"loop": True, "encoder": nn.LSTM}),
    ],
    ids=["layers", "loop", "loop and a loss a step", "loop after one op"],
)
def test_a_source_that_is_forgotten_while_it_is_read_vanishes_over_time(written, settings):
    found = train(start_of(40, written), **settings)
    assert (found.verdict, found.axis) == (Verdict.VANISHING, Axis.TIME)
    assert found.causes[0].name == "closed_gates"
    message = next(each.message for each in found.findings if each.code == "REC001")
    assert f"of {40 + written} steps" in message


@pytest.mark.parametrize("settings", [{}, {"loop": True}])
def test_a_short_source_is_translated_and_healthy(settings):
    assert train(start_of(6, 6), steps=250, **settings).verdict is Verdict.HEALTHY


def test_attention_goes_around_the_recurrence_and_is_not_accused():
    found = train(start_of(40, 4), steps=100, attention=True)
    assert found.axis is not Axis.TIME


def test_what_a_decoder_writes_by_itself_needs_no_memory_of_the_source():
    assert train(counting).verdict is Verdict.HEALTHY


def test_targets_by_chance_are_left_open():
    assert train(by_chance).verdict is Verdict.INCONCLUSIVE
