"""The rules on trainings that were really observed: hand-made readings prove only half."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from gradfuga._diagnose import diagnose
from gradfuga._observe import observe
from gradfuga._types import Diagnosis, Kind, Role, Verdict
from gradfuga.analysis.build import build_case
from gradfuga.analysis.case import Case
from gradfuga.flow import OpRole
from gradfuga.readings import Readings
from gradfuga.rules._attention import query_key_over_value
from gradfuga.rules.act005_attention_collapse import RULE as ATTENTION
from gradfuga.rules.flw004_target_scale import RULE as TARGETS
from gradfuga.rules.grd006_batch_cancellation import RULE as CANCELLATION
from gradfuga.rules.opt004_gradients_not_zeroed import RULE as STALE

Closure = Callable[[], Tensor]


@pytest.fixture(autouse=True)
def _one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    torch.manual_seed(0)
    yield
    torch.set_num_threads(before)


def clouds(count: int = 256) -> tuple[Tensor, Tensor]:
    """Four clouds in eight dimensions: a linear model tells them apart."""
    centers = 2.0 * torch.randn(4, 8)
    labels = torch.arange(count) % 4
    return centers[labels] + 0.5 * torch.randn(count, 8), labels


def plain(depth: int, activation: type[nn.Module], gain: float | None = None) -> nn.Sequential:
    layers: list[nn.Module] = [nn.Linear(8, 24), activation()]
    for _ in range(depth - 1):
        layers += [nn.Linear(24, 24), activation()]
    model = nn.Sequential(*layers, nn.Linear(24, 4))
    if gain is not None:
        for layer in model:
            if isinstance(layer, nn.Linear):
                nn.init.normal_(layer.weight, std=gain / layer.in_features**0.5)
                nn.init.zeros_(layer.bias)
    return model


def watch(
    model: nn.Module,
    optimizer: torch.optim.Optimizer,
    loss_of: Closure,
    *,
    steps: int = 120,
    zero: bool = True,
) -> Readings:
    with observe(model, optimizer, every=4) as observer:
        for _ in range(steps):
            if zero:
                optimizer.zero_grad()
            loss_of().backward()
            optimizer.step()
    return observer.readings


def classify(model: nn.Module, **settings: float) -> Diagnosis:
    x, y = clouds()
    optimizer = torch.optim.SGD(model.parameters(), **{"lr": 0.02, "momentum": 0.9, **settings})
    return diagnose(watch(model, optimizer, lambda: F.cross_entropy(model(x), y)))


def codes(diagnosis: Diagnosis, role: Role) -> set[str]:
    return {each.code for each in diagnosis.findings if each.role is role}


def test_a_deep_sigmoid_shows_its_symptoms_and_both_of_its_causes() -> None:
    diagnosis = classify(plain(10, nn.Sigmoid))
    assert diagnosis.verdict is Verdict.VANISHING
    assert {"GRD001", "GRD007"} <= codes(diagnosis, Role.SYMPTOM)
    assert codes(diagnosis, Role.CAUSE) == {"ACT001", "INI001"}
    first = diagnosis.causes[0]
    assert first.name == "contracting_activation"
    # theory: of log10 .1414 a layer the sigmoid takes log10 .2117 of 1, the weights 1/sqrt 3
    expected = math.log10(0.25) / math.log10(0.25 / 3**0.5)
    assert first.share == pytest.approx(expected, abs=0.04)
    assert diagnosis.prescriptions[0].remedy == "RX001"
    slope = next(f for f in diagnosis.findings if f.code == "ACT001")
    assert any("Sigmoid" in line.text for line in slope.source) or slope.source


def test_a_critical_relu_network_shows_nothing() -> None:
    diagnosis = classify(plain(8, nn.ReLU, gain=2**0.5))
    assert diagnosis.verdict is Verdict.HEALTHY
    assert not diagnosis.findings
    assert not diagnosis.prescriptions


def test_a_learning_rate_of_nothing_is_named_with_the_rate_that_would_do() -> None:
    diagnosis = classify(plain(2, nn.ReLU, gain=2**0.5), lr=1e-9, momentum=0.0)
    assert [cause.name for cause in diagnosis.causes] == ["learning_rate_too_low"]
    advised = diagnosis.prescriptions[0].edits[0].value
    again = classify(plain(2, nn.ReLU, gain=2**0.5), lr=advised, momentum=0.0)
    assert again.verdict is Verdict.HEALTHY


def test_gradients_that_pile_up_are_named_and_accumulated_ones_are_not() -> None:
    x, y = clouds()

    def readings(passes: int, *, zero: bool) -> Readings:
        torch.manual_seed(1)
        model = plain(2, nn.Tanh)
        optimizer = torch.optim.SGD(model.parameters(), lr=0.5)
        with observe(model, optimizer, every=4) as observer:
            for _ in range(60):
                if zero:
                    optimizer.zero_grad()
                for part in range(passes):
                    rows = slice(part, None, passes)
                    F.cross_entropy(model(x[rows]), y[rows]).backward()
                optimizer.step()
        return observer.readings

    piled = diagnose(readings(1, zero=False))
    assert "OPT004" in {each.code for each in piled.findings}
    accumulated = diagnose(readings(4, zero=True))
    assert "OPT004" not in {each.code for each in accumulated.findings}


def test_the_distance_of_targets_is_the_one_that_numpy_finds() -> None:
    x = torch.randn(128, 8)
    y = 5e4 + 2e4 * torch.randn(128, 1)
    model = nn.Sequential(nn.Linear(8, 16), nn.ReLU(), nn.Linear(16, 1))
    with torch.no_grad():
        error = (model(x) - y).double().numpy()
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
    case = build_case(watch(model, optimizer, lambda: 1e-3 * F.mse_loss(model(x), y), steps=40))
    (finding,) = TARGETS.check(case)
    assert finding.evidence[0].observed == pytest.approx(np.sqrt((error**2).mean()), rel=1e-5)


@pytest.mark.parametrize("end", [nn.Sigmoid, nn.Tanh])
def test_answers_that_end_at_one_are_named_where_the_targets_lie_beyond(end) -> None:
    x = torch.randn(128, 8)
    y = 150.0 + 50.0 * x[:, :1]
    model = nn.Sequential(nn.Linear(8, 16), nn.ReLU(), nn.Linear(16, 1), end())

    def loss() -> Tensor:
        return F.mse_loss(model(x).squeeze(1), y.squeeze(1))

    found = diagnose(watch(model, torch.optim.Adam(model.parameters(), lr=1e-2), loss))
    assert [cause.name for cause in found.causes] == ["target_scale"]
    (finding,) = (each for each in found.findings if each.code == "FLW004")
    assert "ends at 1" in finding.message
    assert finding.paths[1] == "3"
    advice = [str(edit) for rx in found.prescriptions for edit in rx.edits]
    assert any("'3'" in each for each in advice)
    # what is advised: free answers, standardized targets
    y = (y - y.mean()) / y.std()
    free = model[:-1]
    optimizer = torch.optim.Adam(free.parameters(), lr=1e-2)
    healed = diagnose(watch(free, optimizer, lambda: F.mse_loss(free(x), y)))
    assert healed.verdict is Verdict.HEALTHY


def test_an_epsilon_above_the_gradients_is_named() -> None:
    x, y = clouds()
    model = plain(2, nn.ReLU, gain=2**0.5)
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3, eps=1e3)
    found = diagnose(watch(model, optimizer, lambda: F.cross_entropy(model(x), y), steps=60))
    assert "OPT006" in {each.code for each in found.findings if each.role is Role.CAUSE}
    assert "OPT002" not in {each.code for each in found.findings}


def test_on_a_plateau_the_whole_batch_cancels() -> None:
    """Constant inputs: the head learns the class frequencies, then its examples cancel."""
    y = torch.arange(256) % 4
    x = torch.ones(256, 8)
    model = plain(2, nn.Tanh)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.5)
    case = build_case(watch(model, optimizer, lambda: F.cross_entropy(model(x), y), steps=200))
    (finding,) = CANCELLATION.check(case)
    head = model[-1]
    assert isinstance(head, nn.Linear)
    # the same number from per-example gradients, of the weights as they are now
    hidden = model[:-1](x).detach()
    delta = torch.autograd.functional.jacobian(
        lambda z: F.cross_entropy(z, y), head(hidden).detach()
    )
    each = delta.norm(dim=1) * hidden.norm(dim=1)
    together = (delta.T @ hidden).norm()
    assert float(together / each.sum()) < 0.1 / math.sqrt(256)
    assert finding.evidence[0].observed < 0.1 / math.sqrt(256)


class Attention(nn.Module):
    """One head, written out or fused; `heat` scales its scores."""

    def __init__(self, *, fused: bool, heat: float = 1.0) -> None:
        super().__init__()
        self.q, self.k, self.v = (nn.Linear(8, 8) for _ in range(3))
        self.head = nn.Linear(8, 4)
        self.fused, self.heat = fused, heat
        self.kept: tuple[Tensor, ...] = ()

    def forward(self, x: Tensor) -> Tensor:
        q, k, v = self.heat * self.q(x), self.k(x), self.v(x)
        self.kept = (q, k, v)
        for each in self.kept:
            each.retain_grad()
        if self.fused:
            h = F.scaled_dot_product_attention(q[:, None], k[:, None], v[:, None])[:, 0]
        else:
            h = torch.softmax(q @ k.mT / 8**0.5, dim=-1) @ v
        return self.head(h.mean(1))


@pytest.mark.parametrize("fused", [False, True])
def test_the_gradients_of_queries_keys_and_values_are_those_of_autograd(fused: bool) -> None:
    x, y = torch.randn(32, 6, 8), torch.arange(32) % 4
    model = Attention(fused=fused)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.0)
    case = build_case(watch(model, optimizer, lambda: F.cross_entropy(model(x), y), steps=1))
    (op,) = (
        op
        for op in case.graph.ops
        if op.role in (OpRole.ATTENTION, OpRole.SOFTMAX) and op.path != "log_softmax"
    )
    q, k, v = (float(each.grad.norm()) for each in model.kept if each.grad is not None)
    assert query_key_over_value(case, op, 0) == pytest.approx(max(q, k) / v, rel=1e-4)


def test_attention_that_is_stuck_on_one_position_is_found() -> None:
    x, y = torch.randn(64, 6, 8), torch.randint(4, (64,))
    hot = Attention(fused=False, heat=3e4)
    case = _idle(hot, x, y)
    (finding,) = ATTENTION.check(case)
    assert "one position only" in finding.message
    assert not list(ATTENTION.check(_idle(Attention(fused=False), x, y)))


def _idle(model: nn.Module, x: Tensor, y: Tensor) -> Case:
    """Train too slowly to learn anything, so that the attention stays as it was made."""
    optimizer = torch.optim.SGD(model.parameters(), lr=1e-6)
    case = build_case(watch(model, optimizer, lambda: F.cross_entropy(model(x), y), steps=40))
    assert case.readings.has("entropy")
    assert case.readings.paths(Kind.LOSS, "baseline")
    return case


def test_what_another_optimizer_left_is_no_stale_gradient() -> None:
    """A generator's loss passes the discriminator, whose gradients its own optimizer clears."""
    generator = nn.Sequential(nn.Linear(4, 16), nn.ReLU(), nn.Linear(16, 2))
    judge = nn.Sequential(nn.Linear(2, 16), nn.LeakyReLU(0.2), nn.Linear(16, 1))
    makes = torch.optim.Adam(generator.parameters(), lr=1e-3)
    judges = torch.optim.Adam(judge.parameters(), lr=1e-3)
    ones, zeros = torch.ones(64, 1), torch.zeros(64, 1)
    with observe(every=4) as observer:
        for _ in range(40):
            real, fake = torch.randn(64, 2), generator(torch.randn(64, 4))
            judges.zero_grad()
            loss = F.binary_cross_entropy_with_logits(judge(real), ones)
            loss += F.binary_cross_entropy_with_logits(judge(fake.detach()), zeros)
            loss.backward()
            judges.step()
            makes.zero_grad()
            F.binary_cross_entropy_with_logits(judge(fake), ones).backward()
            makes.step()
    assert len(observer.trainings) == 2
    for readings in observer.trainings:
        assert not list(STALE.check(build_case(readings)))
