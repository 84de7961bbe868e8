"""Verdicts on sequences that are trained on in pieces, or fed step by step by a loose loop."""

import pytest
import torch
from torch import nn

from gradfuga import diagnose, observe
from gradfuga._types import Axis, Verdict

TOKENS, PIECE, LENGTH = 4, 5, 35


class Tagger(nn.Module):
    """A label for every step, or for the last one only."""

    def __init__(self, *, last=False):
        super().__init__()
        self.embedding = nn.Embedding(TOKENS, 16)
        self.rnn = nn.LSTM(16, 48, batch_first=True)
        self.head = nn.Linear(48, TOKENS)
        self.last = last

    def forward(self, x, state=None):
        out, state = self.rnn(self.embedding(x), state)
        return self.head(out[:, -1] if self.last else out), tuple(each.detach() for each in state)


def in_pieces(targets, *, rounds, last=False, copied=False):
    """Train on pieces of five steps, the state carried on without its gradient."""
    torch.manual_seed(0)
    net = Tagger(last=last)
    optimizer = torch.optim.Adam(net.parameters(), lr=3e-3)
    # at every step: how many a budget affords depends on what else the machine does
    with observe(net, optimizer, every=1) as observer:
        for _ in range(rounds):
            x = torch.randint(0, TOKENS, (32, LENGTH))
            y, state = targets(x), None
            for start in range(0, LENGTH, PIECE):
                piece = x[:, start : start + PIECE]
                wanted = y if last else y[:, start : start + PIECE]
                out, state = net(piece.clone() if copied else piece, state)
                if last and start == 0:
                    continue  # what the label is about has not been asked for yet
                loss = nn.functional.cross_entropy(out.flatten(0, -2), wanted.flatten())
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
    return observer.readings


def echo(lag):
    return lambda x: torch.roll(x, lag, dims=1)


def test_targets_that_lie_before_the_cut_are_matched_with_what_was_fed_there():
    found = diagnose(in_pieces(echo(12), rounds=60))
    assert (found.verdict, found.axis) == (Verdict.VANISHING, Axis.TIME)
    assert [cause.name for cause in found.causes] == ["truncated_backpropagation"]
    message = next(each.message for each in found.findings if each.code == "REC001")
    assert "reaches back 5 of" in message


def test_the_label_of_a_sequence_that_is_fed_in_pieces_is_matched_with_all_of_it():
    found = diagnose(in_pieces(lambda x: x[:, 1], rounds=60, last=True))
    assert (found.verdict, found.axis) == (Verdict.VANISHING, Axis.TIME)
    assert [cause.name for cause in found.causes] == ["truncated_backpropagation"]


@pytest.mark.parametrize("last", [False, True])
def test_a_cut_beyond_what_the_task_needs_is_not_accused(last):
    targets = (lambda x: x[:, -3]) if last else echo(2)
    # the pieces of a label at the end have nothing to do with it, but for the last one
    readings = in_pieces(targets, rounds=150 if last else 60, last=last)
    assert diagnose(readings).verdict in {Verdict.HEALTHY} | (
        {Verdict.INCONCLUSIVE} if last else set()
    )


def test_random_targets_beyond_a_cut_are_left_open():
    found = diagnose(in_pieces(lambda x: torch.randint_like(x, TOKENS), rounds=40))
    assert found.verdict is Verdict.INCONCLUSIVE


def test_pieces_that_come_by_themselves_are_left_open_and_a_stated_lag_settles_it():
    readings = in_pieces(echo(12), rounds=60, copied=True)
    found = diagnose(readings)
    assert found.verdict is Verdict.INCONCLUSIVE
    assert "cut after 5 time steps" in found.inconclusive_because
    stated = diagnose(readings, lag=12)
    assert [cause.name for cause in stated.causes] == ["truncated_backpropagation"]


def loose_loop(place, *, steps):
    """A recurrence of three loose layers, fed with one step of the sequence at a time."""
    torch.manual_seed(0)
    enter, again, leave = nn.Linear(6, 32), nn.Linear(32, 32, bias=False), nn.Linear(32, 4)
    parameters = [*enter.parameters(), *again.parameters(), *leave.parameters()]
    optimizer = torch.optim.Adam(parameters, lr=3e-3)
    with observe(nn.ModuleList([enter, again, leave]), optimizer) as observer:
        for _ in range(steps):
            tokens = torch.randint(0, 4, (32, 40))
            x, state = nn.functional.one_hot(tokens, 6).float(), torch.zeros(32, 32)
            for step in range(40):
                state = torch.tanh(enter(x[:, step]) + again(state))
            optimizer.zero_grad()
            nn.functional.cross_entropy(leave(state), tokens[:, place]).backward()
            optimizer.step()
    return observer.readings


def test_a_loose_loop_that_is_fed_step_by_step_forgets_its_first_step():
    found = diagnose(loose_loop(0, steps=150))
    assert (found.verdict, found.axis) == (Verdict.VANISHING, Axis.TIME)
    assert found.causes[0].name == "recurrent_contraction"


def test_a_loose_loop_on_a_short_memory_is_healthy():
    assert diagnose(loose_loop(-2, steps=250)).verdict is Verdict.HEALTHY
