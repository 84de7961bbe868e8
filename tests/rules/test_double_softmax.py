"""ACT006 on trainings that were really observed: a softmax in the model, and none."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from gradfuga._diagnose import diagnose
from gradfuga._observe import observe
from gradfuga._types import Diagnosis, Kind, Role, Severity, Verdict
from gradfuga.analysis.build import build_case
from gradfuga.readings import Readings
from gradfuga.rules.act006_double_softmax import RULE

Loss = Callable[[Tensor, Tensor], Tensor]
STEPS = 60
# rates at which the logits learn and their softmax does not, at which both do, and neither
LEARNS_NOT_TWICE, LEARNS, LEARNS_NOTHING = 0.05, 0.5, 0.001


@pytest.fixture(autouse=True)
def _one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    torch.manual_seed(0)
    yield
    torch.set_num_threads(before)


def clouds() -> tuple[Tensor, Tensor]:
    """Ten clouds in sixteen dimensions, far enough apart for a linear model."""
    labels = torch.arange(320) % 10
    return 2.0 * torch.randn(10, 16)[labels] + 0.3 * torch.randn(320, 16), labels


def network(*last: nn.Module) -> nn.Sequential:
    return nn.Sequential(
        nn.Linear(16, 32), nn.ReLU(), nn.Linear(32, 32), nn.ReLU(), nn.Linear(32, 10), *last
    )


def train(model: nn.Module, loss: Loss, *, lr: float) -> Readings:
    x, y = clouds()
    optimizer = torch.optim.SGD(model.parameters(), lr=lr)
    with observe(model, optimizer, every=4) as observer:
        for _ in range(STEPS):
            optimizer.zero_grad()
            loss(model(x), y).backward()
            optimizer.step()
    return observer.readings


def fired(diagnosis: Diagnosis) -> bool:
    return any(finding.code == RULE.code for finding in diagnosis.findings)


@pytest.fixture(scope="module")
def twice() -> Readings:
    """Probabilities under the loss that wants logits."""
    torch.manual_seed(0)
    return train(network(nn.Softmax(dim=1)), nn.CrossEntropyLoss(), lr=LEARNS_NOT_TWICE)


def test_probabilities_under_a_cross_entropy_are_found_and_blamed(twice):
    diagnosis = diagnose(twice)
    assert (diagnosis.verdict, diagnosis.severity) == (Verdict.STALLED, Severity.FATAL)
    assert [(cause.name, cause.share) for cause in diagnosis.causes] == [("saturated_output", 1.0)]
    assert "expects logits" in diagnosis.summary
    (finding,) = (each for each in diagnosis.findings if each.code == RULE.code)
    assert (finding.role, finding.severity) == (Role.CAUSE, Severity.FATAL)
    assert finding.cause == "saturated_output"
    assert finding.paths == ("5/softmax",)
    assert "'5/softmax'" in finding.message


def test_the_evidence_is_the_gradient_at_the_softmax(twice):
    (finding,) = RULE.check(build_case(twice))
    (evidence,) = finding.evidence
    assert (evidence.path, evidence.kind) == ("5/softmax", Kind.ACTIVATION_GRAD)
    # of the mean cross entropy over its input, the probabilities p: (softmax(p) - onehot) / n
    torch.manual_seed(0)
    model = network(nn.Softmax(dim=1)).double()
    x, y = (each.double() if each.is_floating_point() else each for each in clouds())
    with torch.no_grad():
        slope = (torch.softmax(model(x), 1) - F.one_hot(y, 10)) / len(y)
    assert evidence.step == 0
    assert evidence.observed == pytest.approx(float(slope.norm()), rel=1e-4)


@pytest.mark.parametrize(
    "softmax",
    [lambda h: F.softmax(h, dim=1), lambda h: torch.softmax(h, dim=-1), lambda h: h.softmax(1)],
    ids=["functional", "torch", "method"],
)
@pytest.mark.parametrize(
    "loss",
    [F.cross_entropy, lambda p, y: F.nll_loss(F.log_softmax(p, dim=1), y)],
    ids=["cross_entropy", "log_softmax and nll"],
)
def test_however_the_two_softmaxes_are_written(softmax, loss):
    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.body = network()

        def forward(self, x: Tensor) -> Tensor:
            return softmax(self.body(x))

    assert fired(diagnose(train(Net(), loss, lr=LEARNS_NOT_TWICE), rules=[RULE]))


@pytest.mark.parametrize("lr", [LEARNS_NOT_TWICE, LEARNS_NOTHING])
@pytest.mark.parametrize(
    ("last", "loss"),
    [((), F.cross_entropy), ((nn.LogSoftmax(dim=1),), F.nll_loss)],
    ids=["logits", "log-probabilities"],
)
def test_one_softmax_is_none_too_many(last, loss, lr):
    readings = train(network(*last), loss, lr=lr)
    assert readings.graph.double_softmax is None
    assert not fired(diagnose(readings))
    assert list(RULE.check(build_case(readings))) == []
    # the control: at the rate that is too little for probabilities, the same network learns
    assert build_case(readings).progress.informed is (lr == LEARNS_NOT_TWICE)


def test_a_softmax_too_many_is_not_blamed_in_a_network_that_learns():
    readings = train(network(nn.Softmax(dim=1)), F.cross_entropy, lr=LEARNS)
    case = build_case(readings)
    assert case.graph.double_softmax is not None
    assert case.progress.informed
    assert not fired(diagnose(readings))


def test_probabilities_under_a_loss_that_takes_them_are_right():
    def nll(p: Tensor, y: Tensor) -> Tensor:
        return F.nll_loss(torch.log(p + 1e-9), y)

    readings = train(network(nn.Softmax(dim=1)), nll, lr=LEARNS_NOTHING)
    assert readings.graph.double_softmax is None
    assert not fired(diagnose(readings))
