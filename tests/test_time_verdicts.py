"""Verdicts over time on small trainings, each with a control that the verdict must let go."""

import json

import pytest
import torch
from torch import nn

from gradfuga import diagnose, observe
from gradfuga._errors import UsageError
from gradfuga._types import Axis, Severity, Verdict
from gradfuga.analysis.build import build_case
from gradfuga.report.charts import draw
from gradfuga.report.document import dumps
from gradfuga.report.html import render_html
from gradfuga.report.text import render_text


class Net(nn.Module):
    def __init__(self, kind, inputs, hidden, outputs, *, tokens=0, read="last", **settings):
        super().__init__()
        self.embedding = nn.Embedding(tokens, inputs) if tokens else nn.Identity()
        self.rnn = kind(inputs, hidden, batch_first=True, **settings)
        self.head = nn.Linear(hidden * (2 if settings.get("bidirectional") else 1), outputs)
        self.read = read

    def forward(self, x):
        states = self.rnn(self.embedding(x))[0]
        if self.read == "last":
            return self.head(states[:, -1])
        return self.head(states.mean(dim=1) if self.read == "mean" else states)


def recall(steps):
    x = torch.randint(0, 8, (32, steps))
    return x, x[:, 0]


def recent(steps=40, noise=0.1):
    x = torch.randn(32, steps, 4)
    label = (x[:, -3:, 0].sum(dim=1) > 0).long()
    return x, torch.where(torch.rand(32) < noise, 1 - label, label)


def averaged(steps=30):
    x = torch.randn(32, steps, 4)
    return x, (x[..., 0].mean(dim=1) > 0).long()


def train(model, data, *, steps=120, rate=3e-3, optimizer=torch.optim.Adam):
    torch.manual_seed(0)
    net = model()
    chosen = optimizer(net.parameters(), lr=rate)
    with observe(net, chosen) as observer:
        for _ in range(steps):
            x, y = data()
            chosen.zero_grad()
            out = net(x)
            nn.functional.cross_entropy(out.flatten(0, -2), y.flatten()).backward()
            chosen.step()
    return observer.readings


def tokens_net(kind, **settings):
    return lambda: Net(kind, 16, 32, 8, tokens=8, **settings)


def names(diagnosis):
    return [cause.name for cause in diagnosis.causes]


@pytest.mark.parametrize(
    ("kind", "cause", "remedy"),
    [(nn.RNN, "recurrent_contraction", "RX033"), (nn.LSTM, "closed_gates", "RX031")],
    ids=["tanh", "lstm"],
)
def test_a_first_token_that_is_never_recalled_vanishes_over_time(kind, cause, remedy):
    readings = train(tokens_net(kind), lambda: recall(60))
    found = diagnose(readings)
    assert (found.verdict, found.axis) == (Verdict.VANISHING, Axis.TIME)
    assert found.severity is Severity.FATAL
    assert names(found)[0] == cause
    assert sum(each.share for each in found.causes) + found.unexplained == pytest.approx(1.0)
    symptom = next(each for each in found.findings if each.code == "REC001")
    assert any("self.rnn(" in line.text for line in symptom.source)
    assert remedy in [each.remedy for each in found.prescriptions]
    assert found.time[0].horizon < 20
    written = json.loads(dumps(found))["time"][0]
    assert written["path"] == "rnn.weight_hh_l0"
    assert written["direction"] == "forward"
    assert len(written["lag"]) == len(written["norm"])
    # the parameters' gradients look fine all the while
    last = readings.series("rnn.weight_hh_l0", "weight_grad", "norm")[1][-1]
    first = readings.series("head.weight", "weight_grad", "norm")[1][-1]
    assert 1e-3 < last / first < 1e3


def test_the_same_task_with_a_short_lag_is_healthy():
    found = diagnose(train(tokens_net(nn.GRU), lambda: recall(6), steps=250, rate=1e-2))
    assert found.verdict is Verdict.HEALTHY


@pytest.mark.parametrize("kind", [nn.RNN, nn.LSTM])
def test_a_short_memory_is_a_note_where_the_task_needs_no_more(kind):
    found = diagnose(train(lambda: Net(kind, 4, 32, 2), recent, steps=250))
    assert found.verdict is Verdict.HEALTHY
    assert "REC007" in [each.code for each in found.findings]
    assert not found.causes


@pytest.mark.parametrize("settings", [{"read": "mean"}, {"bidirectional": True}])
def test_outputs_that_read_early_steps_directly_are_not_accused(settings):
    net = lambda: Net(nn.GRU, 4, 16, 2, **settings)  # noqa: E731
    data = averaged if "read" in settings else recent
    assert diagnose(train(net, data, steps=150)).verdict in (
        Verdict.HEALTHY,
        Verdict.INCONCLUSIVE,
    )


def test_random_labels_are_open_and_a_stated_lag_settles_it():
    def random_labels():
        return torch.randint(0, 8, (32, 40)), torch.randint(0, 8, (32,))

    readings = train(tokens_net(nn.LSTM), random_labels)
    assert diagnose(readings).verdict is Verdict.INCONCLUSIVE
    stated = diagnose(readings, lag=35)
    assert (stated.verdict, stated.axis) == (Verdict.VANISHING, Axis.TIME)
    assert diagnose(readings, lag=5).verdict is Verdict.INCONCLUSIVE
    beyond = diagnose(readings, lag=500)  # longer than the sequences: it is not in them
    assert beyond.verdict is Verdict.VANISHING
    assert names(beyond) == ["truncated_backpropagation"]


def test_a_lag_that_is_no_number_of_steps_is_refused():
    with pytest.raises(UsageError, match="from 1"):
        diagnose([], lag=0)


def test_a_stated_lag_does_not_accuse_a_network_that_learns():
    readings = train(tokens_net(nn.GRU), lambda: recall(6), steps=250, rate=1e-2)
    assert diagnose(readings, lag=5).verdict is Verdict.HEALTHY


def test_a_state_detached_too_early_is_named():
    class Truncated(Net):
        def forward(self, x):
            z, state = self.embedding(x), None
            for start in range(0, z.shape[1], 8):
                out, state = self.rnn(z[:, start : start + 8], state)
                state = state.detach()
            return self.head(out[:, -1])

    def data():
        return torch.randint(0, 8, (32, 40)), torch.randint(0, 8, (32,))

    def build():
        net = Truncated(nn.GRU, 16, 32, 8, tokens=8)
        with torch.no_grad():  # open gates: without the cut the gradient would reach all steps
            net.rnn.bias_ih_l0[32:64] = 4.0
        return net

    readings = train(build, data)
    found = diagnose(readings, lag=30)
    assert (found.verdict, found.axis) == (Verdict.VANISHING, Axis.TIME)
    assert names(found) == ["truncated_backpropagation"]


@pytest.mark.parametrize("gain", [2.0, 1.0])
def test_a_recurrence_that_expands_explodes_over_time_and_an_orthogonal_one_does_not(gain):
    def build():
        net = Net(nn.RNN, 16, 64, 8, tokens=8)
        nn.init.orthogonal_(net.rnn.weight_hh_l0, gain)
        return net

    found = diagnose(train(build, lambda: recall(40), optimizer=torch.optim.SGD, rate=0.1))
    exploding = (found.verdict, found.axis) == (Verdict.EXPLODING, Axis.TIME)
    assert exploding == (gain == 2.0)
    if exploding:
        assert names(found) == ["recurrent_expansion"]
        assert "RX008" in [each.remedy for each in found.prescriptions]


def test_a_recurrence_that_overflows_at_once_is_diagnosed_by_its_first_sample():
    def build():
        net = Net(nn.RNN, 4, 32, 2, nonlinearity="relu")
        nn.init.normal_(net.rnn.weight_hh_l0, std=0.5)
        return net

    found = diagnose(train(build, lambda: recent(30), steps=30, optimizer=torch.optim.SGD))
    assert (found.verdict, found.axis) == (Verdict.EXPLODING, Axis.TIME)
    assert names(found)[0] == "recurrent_expansion"
    assert 1.5 < found.time[0].rate < 5.0


def test_a_rate_that_is_too_high_is_told_apart_from_an_expanding_recurrence():
    net = lambda: Net(nn.RNN, 4, 32, 2)  # noqa: E731
    found = diagnose(train(net, recent, optimizer=torch.optim.SGD, rate=30.0, steps=60))
    assert found.axis is not Axis.TIME
    assert names(found) == ["learning_rate_too_high"]


def test_the_loss_times_a_constant_changes_no_verdict_over_time():
    texts = []
    for factor in (1.0, 1e-6):
        torch.manual_seed(0)
        net = Net(nn.RNN, 16, 32, 8, tokens=8)
        optimizer = torch.optim.SGD(net.parameters(), lr=0.1 / factor)
        with observe(net, optimizer) as observer:
            for _ in range(100):
                x, y = recall(50)
                optimizer.zero_grad()
                (factor * nn.functional.cross_entropy(net(x), y)).backward()
                optimizer.step()
        found = diagnose(observer.readings)
        texts.append((found.verdict, found.axis, found.time[0].horizon))
    assert texts[0] == texts[1]
    assert texts[0][:2] == (Verdict.VANISHING, Axis.TIME)


def test_the_page_and_the_terminal_show_time_and_only_where_there_is_any():
    readings = train(tokens_net(nn.LSTM), lambda: recall(40), steps=40)
    found = diagnose(readings, lag=30)
    text = render_text(found, width=100, color=False)
    assert "Gradient by time step" in text
    assert "rnn.weight_hh_l0: 0." in text
    assert max(len(line) for line in render_text(found, width=50, color=False).splitlines()) <= 50
    charts = draw(build_case(readings, lag=30), 0, account=False)
    assert {"lags-0", "lag-heat-0", "gates-0"} <= charts.keys()
    page = render_html(found, [readings])
    assert "Gradient over time" in page
    assert "needed, as stated: 30" in page
    assert "needed, as stated" not in render_html(diagnose(readings), [readings])
    plain = train(lambda: nn.Sequential(nn.Flatten(), nn.Linear(160, 2)), recent, steps=5)
    assert "Gradient by time step" not in render_text(diagnose(plain), width=100, color=False)
    assert not {"lags-0", "gates-0"} & draw(build_case(plain), 0, account=False).keys()
