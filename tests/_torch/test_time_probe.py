"""The probe through time in trainings as they run: rows, cost in rows, and what it leaves alone."""

import math

import pytest
import torch
from torch import nn
from torch.nn.utils.rnn import pack_padded_sequence
from torch.utils.checkpoint import checkpoint

from gradfuga import observe
from gradfuga._types import Kind


class Reader(nn.Module):
    def __init__(self, kind=nn.LSTM, **settings):
        super().__init__()
        self.rnn = kind(3, 8, batch_first=True, **settings)
        self.head = nn.LazyLinear(2)

    def forward(self, x):
        return self.head(self.rnn(x)[0][:, -1])


def train(model, batches, *, observed=True, **settings):
    torch.manual_seed(0)
    model(batches[0])
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    observer = observe(model, optimizer, every=1, **settings)
    if observed:
        observer.__enter__()
    for x in batches:
        optimizer.zero_grad()
        model(x).square().mean().backward()
        optimizer.step()
    if observed:
        observer.__exit__(None, None, None)
    return observer


def batches(count=3, shape=(4, 20, 3)):
    generator = torch.Generator().manual_seed(7)
    return [torch.randn(shape, generator=generator) for _ in range(count)]


def recurrences(readings):
    return readings.paths(Kind.ACTIVATION_GRAD, "lag_norm.1")


@pytest.mark.parametrize("kind", [nn.RNN, nn.LSTM, nn.GRU])
def test_every_layer_and_direction_of_torchs_networks_has_rows(kind):
    model = Reader(kind, num_layers=2, bidirectional=True)
    readings = train(model, batches()).readings
    assert recurrences(readings) == (
        "rnn.weight_hh_l0",
        "rnn.weight_hh_l0_reverse",
        "rnn.weight_hh_l1",
        "rnn.weight_hh_l1_reverse",
    )
    steps = readings.series("rnn.weight_hh_l0", Kind.ACTIVATION, "time_steps")[1]
    assert set(steps) == {20.0}


class Looped(nn.Module):
    def __init__(self):
        super().__init__()
        self.cell = nn.GRUCell(3, 8)
        self.head = nn.LazyLinear(2)

    def forward(self, x):
        h = torch.zeros(len(x), 8)
        for t in range(x.shape[1]):
            h = self.cell(x[:, t], h)
        return self.head(h)


class OneAtATime(Looped):
    """A decoder's way: a layer of torch called with one step at a time."""

    def __init__(self, kind):
        super().__init__()
        self.cell = kind(3, 8, batch_first=True)

    def forward(self, x):
        state = None
        for t in range(x.shape[1]):
            y, state = self.cell(x[:, t : t + 1], state)
        return self.head(y[:, -1])


@pytest.mark.parametrize("build", [Looped, lambda: OneAtATime(nn.LSTM), lambda: OneAtATime(nn.GRU)])
def test_loops_over_time_have_rows(build):
    readings = train(build(), batches()).readings
    assert len(recurrences(readings)) == 1
    assert recurrences(readings)[0].startswith("cell.weight_hh")


def test_the_loop_and_the_layer_show_the_same_curve():
    torch.manual_seed(1)
    layer, loop = Reader(nn.GRU), Looped()
    with torch.no_grad():
        for name, p in loop.cell.named_parameters():
            p.copy_(getattr(layer.rnn, f"{name}_l0"))
    one, other = (train(m, batches(1, (64, 20, 3))).readings for m in (layer, loop))
    for lag in (1, 4, 13):
        values = [
            r.series(recurrences(r)[0], Kind.ACTIVATION_GRAD, f"lag_norm.{lag}")[1][0]
            for r in (one, other)
        ]
        # medians over 8 and over 64 examples, other cotangents, an end one step earlier
        assert math.log10(values[0]) == pytest.approx(math.log10(values[1]), abs=0.3)


@pytest.mark.parametrize(
    "build", [Reader, Looped, lambda: Reader(nn.GRU, num_layers=2, dropout=0.5)]
)
def test_weights_and_random_state_are_bit_equal_to_an_unobserved_run(build):
    ends = []
    for observed in (True, False):
        torch.manual_seed(3)
        model = build()
        train(model, batches(), observed=observed)
        ends.append([*[p.clone() for p in model.parameters()], torch.get_rng_state()])
    assert all(torch.equal(a, b) for a, b in zip(*ends, strict=True))


def test_a_state_carried_over_without_its_gradient_is_a_cut():
    class Carried(Reader):
        state = None

        def forward(self, x):
            y, state = self.rnn(x, self.state)
            self.state = tuple(each.detach() for each in state)
            return self.head(y[:, -1])

    readings = train(Carried(), batches(4)).readings
    cuts = readings.series("rnn.weight_hh_l0", Kind.ACTIVATION, "time_cut")[1]
    assert set(cuts) == {20.0}


def test_a_random_initial_state_is_no_cut():
    class Started(Reader):
        def forward(self, x):
            start = tuple(torch.randn(1, len(x), 8) for _ in range(2))
            return self.head(self.rnn(x, hx=start)[0][:, -1])

    readings = train(Started(), batches(4)).readings
    assert recurrences(readings) == ("rnn.weight_hh_l0",)
    assert not readings.has("time_cut")


def test_packed_sequences_have_rows():
    class Packed(Reader):
        def forward(self, x):
            lengths = torch.tensor([20, 5, 9, 14])
            packed = pack_padded_sequence(x, lengths, batch_first=True, enforce_sorted=False)
            return self.head(self.rnn(packed)[1][0][-1])

    assert len(recurrences(train(Packed(), batches()).readings)) == 1


@pytest.mark.parametrize("shape", [(4, 1, 3), (4, 2, 3), (1, 20, 3)])
def test_short_sequences_and_single_examples_do_no_harm(shape):
    for build in (Reader, Looped):
        readings = train(build(), batches(shape=shape)).readings
        assert len(readings.record.sampled) == 3


@pytest.mark.parametrize(("axes", "steps"), [((4, 1, 3), 1), ((4, 2, 3), 2), ((1, 9, 3), 9)])
def test_the_length_of_sequences_too_short_for_a_curve_is_known(axes, steps):
    readings = train(Reader(), batches(shape=axes)).readings
    lengths = readings.series("rnn.weight_hh_l0", Kind.ACTIVATION, "time_steps")[1]
    assert set(lengths) == {float(steps)}
    assert bool(recurrences(readings)) == (steps > 2)


def test_nan_and_infinite_sequences_do_no_harm():
    broken = batches()
    broken[1][0, 3] = math.nan
    broken[2][0, 3] = math.inf
    for build in (Reader, Looped):
        assert len(train(build(), broken).readings.record.sampled) == 3


def test_a_checkpointed_loop_is_not_run_again():
    ran = []

    class Checkpointed(Looped):
        def forward(self, x):
            return self.head(checkpoint(self.loop, x, use_reentrant=False))

        def loop(self, x):
            ran.append(1)
            h = torch.zeros(len(x), 8)
            for t in range(x.shape[1]):
                h = self.cell(x[:, t], h)
            return h

    train(Checkpointed(), batches(2))
    plain, ran[:] = len(ran), []
    train(Checkpointed(), batches(2), observed=False)
    assert plain == len(ran)


def test_models_without_a_time_axis_have_no_rows():
    torch.manual_seed(0)
    conv = nn.Sequential(nn.Conv1d(20, 8, 3), nn.ReLU(), nn.Flatten(), nn.LazyLinear(2))
    layer = nn.TransformerEncoderLayer(12, 2, 16, batch_first=True)
    former = nn.Sequential(nn.Linear(3, 12), nn.TransformerEncoder(layer, 7), nn.Linear(12, 2))
    for model in (conv, former):
        assert recurrences(train(model, batches()).readings) == ()


def test_the_rows_of_a_long_loop_are_bounded():
    readings = train(Looped(), batches(1, (2, 400, 3))).readings
    norms = readings.paths(Kind.ACTIVATION_GRAD, "norm")
    assert len(norms) < 1_000  # of 400 steps with 12 ops each
    lags = [
        s
        for p, k, s in {(r.path, r.kind, r.statistic) for r in readings.rows()}
        if s.startswith("lag_norm.")
    ]
    assert 20 < len(lags) < 48
