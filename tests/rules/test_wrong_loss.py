"""The rule on the sign of the loss, on trainings that run."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from gradfuga._diagnose import diagnose
from gradfuga._observe import observe
from gradfuga._types import Role, Verdict

GENERATOR = torch.Generator().manual_seed(2)
X = torch.randn(192, 6, generator=GENERATOR)
Y = (X @ torch.randn(6, 3, generator=GENERATOR)).argmax(1)
ROWS = torch.arange(len(X))


def network(outputs=3):
    return nn.Sequential(nn.Linear(6, 24), nn.ReLU(), nn.Linear(24, outputs))


def observed(loss_of, *, model=None, held=None, steps=120):
    """Train with a loss of (output, rows); return the diagnosis and the accuracy."""
    torch.manual_seed(0)
    model = model or network()
    optimizer = torch.optim.Adam((held or model).parameters(), lr=0.01)
    draw = torch.Generator().manual_seed(1)
    with observe(model, optimizer) as observer:
        for _ in range(steps):
            rows = torch.randint(0, len(X), (48,), generator=draw)
            optimizer.zero_grad()
            loss_of(model(X[rows]), rows).backward()
            optimizer.step()
    return diagnose(observer.readings), (model(X).argmax(1) == Y).float().mean().item()


def findings(diagnosis):
    return [each for each in diagnosis.findings if each.code == "FLW007"]


REVERSED = {
    "cross_entropy": lambda out, rows: -F.cross_entropy(out, Y[rows]),
    "smoothed": lambda out, rows: -F.cross_entropy(out, Y[rows], label_smoothing=0.1),
    "picked by hand": lambda out, rows: out.log_softmax(1)[ROWS[: len(rows)], Y[rows]].mean(),
    "gathered": lambda out, rows: out.log_softmax(1).gather(1, Y[rows][:, None]).sum(),
    "log of softmax": lambda out, rows: (out.softmax(1)[ROWS[: len(rows)], Y[rows]]).log().mean(),
    "mse_loss": lambda out, rows: -F.mse_loss(out[:, 0], Y[rows].float()),
    "squares by hand": lambda out, rows: -((out[:, 0] - Y[rows]) ** 2).mean(),
    "l1_loss": lambda out, rows: -F.l1_loss(out[:, 0], Y[rows].float()),
    "logits": lambda out, rows: (
        -F.binary_cross_entropy_with_logits(out[:, 0], (Y[rows] > 0).float())
    ),
}


@pytest.mark.parametrize("name", REVERSED)
def test_a_loss_with_a_wrong_sign_is_blamed_and_turned_it_learns(name):
    diagnosis, _ = observed(REVERSED[name])
    assert diagnosis.verdict is Verdict.STALLED
    assert [cause.name for cause in diagnosis.causes] == ["data_or_labels"]
    (finding,) = findings(diagnosis)
    assert finding.role is Role.CAUSE
    assert "minus" in finding.message
    assert any("loss = -loss" in str(rx.edits) for rx in diagnosis.prescriptions)

    turned, _ = observed(lambda out, rows: -REVERSED[name](out, rows))
    assert turned.verdict is Verdict.HEALTHY
    assert not findings(turned)


def test_an_adversary_means_its_minus():
    encoder, head = nn.Sequential(nn.Linear(6, 24), nn.Tanh(), nn.Linear(24, 8)), nn.Linear(8, 3)
    diagnosis, _ = observed(
        REVERSED["cross_entropy"], model=nn.Sequential(encoder, head), held=encoder
    )
    assert not findings(diagnosis)
    assert diagnosis.verdict in (Verdict.HEALTHY, Verdict.INCONCLUSIVE)


def test_a_term_that_is_pushed_up_beside_a_task_is_left_alone():
    side = (X[:, 0] > 0).long()

    def confusing(out, rows):
        return F.cross_entropy(out[:, :3], Y[rows]) - 0.01 * F.cross_entropy(out[:, 3:], side[rows])

    diagnosis, _ = observed(confusing, model=network(5))
    assert not findings(diagnosis)
    assert diagnosis.verdict is Verdict.HEALTHY


def test_a_poisson_loss_may_be_negative():
    counts = (X[:, 0] + 3.0).exp().round()

    def poisson(out, rows):
        return F.poisson_nll_loss(out[:, 0], counts[rows])

    diagnosis, _ = observed(poisson)
    assert not findings(diagnosis)


SQUASHED = {
    "logits": lambda out: out,
    "probabilities": lambda out: out.softmax(1),
    "along the batch": lambda out: out.log_softmax(0),
}


@pytest.mark.parametrize("name", SQUASHED)
def test_a_likelihood_of_no_log_probabilities_is_named(name):
    diagnosis, _ = observed(lambda out, rows: F.nll_loss(SQUASHED[name](out), Y[rows]))
    (finding,) = findings(diagnosis)
    assert finding.role in (Role.NOTE, Role.CAUSE)
    assert (finding.role is Role.CAUSE) == (diagnosis.verdict is Verdict.STALLED)
    assert "log_softmax(dim=1)" in finding.message
    assert finding.evidence[0].statistic == "log_total"


def test_one_that_is_never_learned_from_is_blamed():
    def guessing(out, rows):
        return F.nll_loss((1e-3 * out).log_softmax(0), Y[rows])

    diagnosis, _ = observed(guessing)
    assert diagnosis.verdict is Verdict.STALLED
    (finding,) = findings(diagnosis)
    assert finding.role is Role.CAUSE
    assert any("cross_entropy" in str(rx.edits) for rx in diagnosis.prescriptions)


@pytest.mark.parametrize(
    "loss_of",
    [
        lambda out, rows: F.nll_loss(out.log_softmax(1), Y[rows]),
        lambda out, rows: F.nll_loss((out.softmax(1) + 1e-6).log(), Y[rows]),
        lambda out, rows: F.nll_loss(out.softmax(1).clamp_min(1e-3).log(), Y[rows]),
        lambda out, rows: F.nll_loss(out.log_softmax(1)[..., None], Y[rows][:, None]),
        lambda out, rows: F.cross_entropy(out, Y[rows], weight=torch.tensor([1.0, 2.0, 0.5])),
    ],
    ids=["log_softmax", "epsilon", "clamp", "pixels", "weights"],
)
def test_log_probabilities_are_left_alone(loss_of):
    diagnosis, accuracy = observed(loss_of)
    assert not findings(diagnosis)
    assert diagnosis.verdict is Verdict.HEALTHY
    assert accuracy > 0.8
