"""The rule on crossed targets, on trainings that run."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from gradfuga._diagnose import diagnose
from gradfuga._observe import observe

GENERATOR = torch.Generator().manual_seed(2)
X = torch.randn(256, 4, generator=GENERATOR)
Y = X @ torch.tensor([1.0, -2.0, 0.5, 3.0])
MEMBERS = 3


def squared_by_hand(out, y):
    return ((out - y) ** 2).mean()


def absolute_by_hand(out, y):
    return (y - out).abs().mean()


LOSSES = {
    "mse_loss": F.mse_loss,
    "smooth_l1_loss": F.smooth_l1_loss,
    "huber_loss": F.huber_loss,
    "l1_loss": F.l1_loss,
    "squares by hand": squared_by_hand,
    "sizes by hand": absolute_by_hand,
}


class Ensemble(nn.Module):
    """Networks side by side, each on the whole batch: [members, N, 1]."""

    def __init__(self):
        super().__init__()
        self.members = nn.ModuleList(network() for _ in range(MEMBERS))

    def forward(self, x):
        return torch.stack([member(x) for member in self.members])


def network(outputs=1):
    return nn.Sequential(nn.Linear(4, 16), nn.Tanh(), nn.Linear(16, outputs))


def trained(loss_of, *, model=None, steps=120, shape=lambda y: y):
    torch.manual_seed(0)
    model = model() if model is not None else network()
    optimizer = torch.optim.Adam(model.parameters(), lr=0.02)
    draw = torch.Generator().manual_seed(1)
    with observe(model, optimizer) as observer:
        for _ in range(steps):
            rows = torch.randint(0, len(X), (32,), generator=draw)
            optimizer.zero_grad()
            loss_of(model(X[rows]), shape(Y[rows])).backward()
            optimizer.step()
    return diagnose(observer.readings)


def findings(diagnosis):
    return [each for each in diagnosis.findings if each.code == "FLW006"]


@pytest.mark.filterwarnings("ignore:Using a target size:UserWarning")
@pytest.mark.parametrize("name", LOSSES)
def test_crossed_shapes_are_named_and_their_repair_learns(name):
    loss_of = LOSSES[name]
    diagnosis = trained(loss_of)
    assert diagnosis.verdict == "stalled"
    assert [cause.name for cause in diagnosis.causes] == ["data_or_labels"]
    (finding,) = findings(diagnosis)
    assert "(32,)" in finding.message
    assert "(32, 1)" in finding.message
    assert finding.evidence[0].observed == 32 * 32
    assert "view_as" in diagnosis.prescriptions[0].edits[0].text
    repaired = trained(loss_of, shape=lambda y: y[:, None])
    assert repaired.verdict == "healthy"
    assert not findings(repaired)


def test_the_finding_has_the_line_of_the_loss():
    (finding,) = findings(trained(squared_by_hand))
    assert "((out - y) ** 2).mean()" in finding.source[0].text


@pytest.mark.parametrize(
    ("loss_of", "model", "shape"),
    [
        (squared_by_hand, Ensemble, lambda y: y[:, None]),
        (lambda out, y: F.mse_loss(out, y[:, None].expand_as(out)), Ensemble, lambda y: y),
        (squared_by_hand, lambda: network(5), lambda y: y[:, None]),
        (
            lambda out, y: torch.maximum(0.9 * (y - out), -0.1 * (y - out)).mean(),
            lambda: network(5),
            lambda y: y[:, None],
        ),
    ],
    ids=["ensemble", "ensemble, expanded", "several outputs of one target", "quantiles"],
)
def test_broadcasting_that_is_meant_is_left_alone(loss_of, model, shape):
    diagnosis = trained(loss_of, model=model, shape=shape)
    assert not findings(diagnosis)
    assert diagnosis.verdict == "healthy"


def test_all_pairs_that_are_meant_are_a_note_where_the_network_learns():
    # as many anchors as examples: the sum over pairs is made of distances to all anchors
    anchors = torch.linspace(-3.0, 3.0, 32)

    def loss_of(out, y):
        crossed = 1e-3 * ((out - anchors) ** 2).mean()
        return F.mse_loss(out, y[:, None]) + crossed

    diagnosis = trained(loss_of)
    assert diagnosis.verdict == "healthy"
    (finding,) = findings(diagnosis)
    assert finding.role == "note"
    assert not finding.cause


def test_a_few_steps_are_no_verdict():
    diagnosis = trained(squared_by_hand, steps=10)
    assert diagnosis.verdict == "inconclusive"
    assert findings(diagnosis)
