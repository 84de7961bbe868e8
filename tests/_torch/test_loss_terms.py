"""Loss terms read off the tape: their value, and what the best constant would reach."""

import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn

from gradfuga._observe import observe
from gradfuga.analysis.progress import measure_progress

N, K = 12, 4
GENERATOR = torch.Generator().manual_seed(3)
X = torch.randn(N, 5, generator=GENERATOR)
LABELS = torch.tensor([0, 0, 0, 0, 0, 1, 1, 1, 2, 2, 3, 3])
SHARES = np.array([5, 3, 2, 2]) / 12
CLASS_WEIGHTS = torch.tensor([1.0, 2.0, 0.5, 3.0])
REAL = torch.randn(N, 3, generator=GENERATOR) * 2 + 1
YES = (torch.arange(N) % 3 == 0).float()[:, None]
SOFT = torch.softmax(torch.randn(N, K, generator=GENERATOR), 1)


def entropy(shares):
    shares = np.asarray(shares, dtype=float)
    shares = shares[shares > 0]
    return float(-(shares * np.log(shares)).sum())


VARIANCE = float(REAL.double().numpy().var(axis=0).mean())
WEIGHTED = np.array([5, 3, 2, 2]) * CLASS_WEIGHTS.double().numpy()
SEEN = np.array([0, 3, 2, 2])  # label 0 ignored
BINARY = entropy([1 / 3, 2 / 3])


def by_hand(out):
    return -torch.log_softmax(out, 1)[torch.arange(N), LABELS].mean()


# name: (outputs, loss, what the best constant reaches; None where it is not known)
LOSSES = {
    "cross entropy": (K, lambda o: F.cross_entropy(o, LABELS), entropy(SHARES)),
    "cross entropy, sum": (
        K, lambda o: F.cross_entropy(o, LABELS, reduction="sum"), N * entropy(SHARES),
    ),
    "cross entropy, none, then mean": (
        K, lambda o: F.cross_entropy(o, LABELS, reduction="none").mean(), entropy(SHARES),
    ),
    "cross entropy, weights": (
        K,
        lambda o: F.cross_entropy(o, LABELS, weight=CLASS_WEIGHTS),
        entropy(WEIGHTED / WEIGHTED.sum()),
    ),
    "cross entropy, ignore_index": (
        K, lambda o: F.cross_entropy(o, LABELS, ignore_index=0), entropy(SEEN / SEEN.sum()),
    ),
    "cross entropy of positions": (
        K * 2,
        lambda o: F.cross_entropy(o.view(N, K, 2), torch.stack([LABELS, LABELS.flip(0)], 1)),
        entropy(SHARES),
    ),
    "nll": (K, lambda o: F.nll_loss(F.log_softmax(o, 1), LABELS), entropy(SHARES)),
    "nll by hand, index": (K, by_hand, entropy(SHARES)),
    "nll by hand, gather": (
        K,
        lambda o: -o.log_softmax(1).gather(1, LABELS[:, None]).mean(),
        entropy(SHARES),
    ),
    "soft targets by hand": (
        K,
        lambda o: -(SOFT * o.log_softmax(1)).sum(1).mean(),
        entropy(SOFT.double().numpy().mean(0)),
    ),
    "soft targets": (
        K, lambda o: F.cross_entropy(o, SOFT), entropy(SOFT.double().numpy().mean(0)),
    ),
    "mse": (3, lambda o: F.mse_loss(o, REAL), VARIANCE),
    "mse, sum": (3, lambda o: F.mse_loss(o, REAL, reduction="sum"), 3 * N * VARIANCE),
    "mse, target first": (3, lambda o: F.mse_loss(REAL, o), VARIANCE),
    "squares by hand": (3, lambda o: ((o - REAL) ** 2).mean(), VARIANCE),
    "squares by hand, target first": (3, lambda o: (REAL - o).pow(2).sum(1).mean(), 3 * VARIANCE),
    "bce with logits": (
        1, lambda o: F.binary_cross_entropy_with_logits(o, YES), BINARY,
    ),
    "bce": (1, lambda o: F.binary_cross_entropy(torch.sigmoid(o), YES), BINARY),
    "bce, sum": (
        1, lambda o: F.binary_cross_entropy(torch.sigmoid(o), YES, reduction="sum"), N * BINARY,
    ),
}  # fmt: skip


class Constant(nn.Module):
    """Predicts the best constant: it has no other input."""

    def __init__(self, outputs):
        super().__init__()
        self.bias = nn.Parameter(torch.zeros(outputs))
        self.weight = nn.Parameter(torch.zeros(1, outputs))

    def forward(self, x):
        return x[:, :1] * 0 @ self.weight + self.bias


def observed(model, loss_of, *, steps=1, sets=lambda n: X):
    optimizer = torch.optim.SGD(model.parameters(), lr=0.0)
    values = []
    with observe(model, optimizer, every=1) as observer:
        for number in range(steps):
            optimizer.zero_grad()
            loss = loss_of(model(sets(number)))
            values.append(loss.item())
            loss.backward()
            optimizer.step()
    return observer.readings, values


def best_constant(outputs, loss_of):
    """The constant prediction that the loss itself likes best."""
    model = Constant(outputs)
    optimizer = torch.optim.LBFGS([model.bias], max_iter=100, line_search_fn="strong_wolfe")

    def closure():
        optimizer.zero_grad()
        loss = loss_of(model(X))
        loss.backward()
        return loss

    optimizer.step(closure)
    return model


def linear(outputs):
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(5, 8), nn.Tanh(), nn.Linear(8, outputs))


def terms(readings, statistic):
    return {
        path: readings.series(path, "loss", statistic)[1]
        for path in readings.paths("loss", statistic)
        if path != "loss"
    }


@pytest.mark.parametrize("factor", [1.0, 1e-6, 1e6])
@pytest.mark.parametrize("name", LOSSES)
def test_value_and_baseline_of_every_loss_are_those_of_numpy(name, factor):
    outputs, loss_of, best = LOSSES[name]
    readings, values = observed(linear(outputs), lambda out: factor * loss_of(out))
    assert readings.losses[1].tolist() == pytest.approx(values)
    (value,) = terms(readings, "value").values()
    assert value[0] == pytest.approx(values[0], rel=1e-5)
    (baseline,) = terms(readings, "baseline").values()
    assert baseline[0] == pytest.approx(factor * best, rel=1e-5)
    whole = readings.series("loss", "loss", "baseline")[1][0]
    assert whole == pytest.approx(factor * best, rel=1e-5)
    unread = readings.series("loss", "loss", "unread")[1][0]
    assert abs(unread) < 1e-5 * values[0]


@pytest.mark.parametrize("name", LOSSES)
def test_the_best_constant_makes_no_progress(name):
    outputs, loss_of, best = LOSSES[name]
    readings, values = observed(best_constant(outputs, loss_of), loss_of, steps=12)
    assert values[-1] == pytest.approx(best, rel=1e-3)  # the oracle holds
    progress = measure_progress(readings)
    assert progress.known
    assert progress.u == pytest.approx(0.0, abs=2e-3)
    assert not progress.informed


@pytest.mark.parametrize(
    "name", [n for n in LOSSES if "soft" not in n and "ignore" not in n and "positions" not in n]
)
def test_a_perfect_prediction_has_made_all_progress(name):
    outputs, loss_of, _ = LOSSES[name]
    target = {K: 60.0 * F.one_hot(LABELS, K).float(), 3: REAL, 1: 60.0 * (YES - 0.5)}[outputs]
    model = nn.Linear(N, outputs, bias=False)  # one input for each example: it can say anything
    with torch.no_grad():
        model.weight.copy_((target + 1e-4).T)
    readings, _ = observed(model, loss_of, steps=12, sets=lambda n: torch.eye(N))
    progress = measure_progress(readings)
    assert progress.u == pytest.approx(1.0, abs=1e-3)
    assert progress.informed


@pytest.mark.parametrize(
    ("loss_of", "each"),
    [
        (F.smooth_l1_loss, lambda e: np.where(e < 1, 0.5 * e**2, e - 0.5)),
        (
            lambda o, t: F.smooth_l1_loss(o, t, beta=0.3),
            lambda e: np.where(e < 0.3, 0.5 * e**2 / 0.3, e - 0.15),
        ),
        (
            lambda o, t: F.huber_loss(o, t, delta=0.7),
            lambda e: np.where(e < 0.7, 0.5 * e**2, 0.7 * (e - 0.35)),
        ),
    ],
)
def test_robust_losses_have_their_value_and_a_baseline_no_constant_beats_by_far(loss_of, each):
    readings, values = observed(linear(3), lambda out: loss_of(out, REAL))
    (value,) = terms(readings, "value").values()
    assert value[0] == pytest.approx(values[0], rel=1e-5)
    (baseline,) = terms(readings, "baseline").values()
    real = REAL.double().numpy()
    grid = np.linspace(real.min(), real.max(), 2001)
    best = sum(min(float(each(np.abs(real[:, k] - c)).mean()) for c in grid) for k in range(3)) / 3
    # a robust loss has no closed form: the mean absolute deviation stands for it
    assert 0.6 * best <= baseline[0] <= 2.0 * best


def test_label_smoothing_is_read_or_left_unknown_but_never_misread():
    loss_of = lambda out: F.cross_entropy(out, LABELS, label_smoothing=0.1)  # noqa: E731
    readings, values = observed(best_constant(K, loss_of), loss_of, steps=12)
    smooth = 0.9 * SHARES + 0.1 / K
    assert values[-1] == pytest.approx(entropy(smooth), rel=1e-3)
    progress = measure_progress(readings)
    assert not progress.informed
    assert not progress.known or abs(progress.u) < 0.03


def test_several_terms_add_up_and_a_penalty_is_floor():
    model = linear(K + 3)

    def loss_of(out):
        penalty = 1e-2 * sum(p.square().sum() for p in model.parameters())
        first = F.cross_entropy(out[:, :K], LABELS)
        return first + 0.3 * F.mse_loss(out[:, K:], REAL) + penalty

    readings, values = observed(model, loss_of)
    value = terms(readings, "value")
    assert len(value) == 2
    floor = readings.series("loss", "loss", "floor")[1][0]
    penalty = 1e-2 * sum(p.detach().double().square().sum().item() for p in model.parameters())
    assert floor == pytest.approx(penalty, rel=1e-4)
    assert sum(v[0] for v in value.values()) + floor == pytest.approx(values[0], rel=1e-6)
    baseline = readings.series("loss", "loss", "baseline")[1][0]
    assert baseline == pytest.approx(entropy(SHARES) + 0.3 * VARIANCE + penalty, rel=1e-4)


def test_targets_are_pooled_over_the_batches():
    parts = [slice(0, 6), slice(6, 12)]  # each batch alone has another distribution
    model, seen = linear(K), iter(range(100))
    readings, _ = observed(
        model, lambda out: F.cross_entropy(out, LABELS[parts[next(seen) % 2]]),
        steps=8, sets=lambda n: X[parts[n % 2]],
    )  # fmt: skip
    (baseline,) = terms(readings, "baseline").values()
    assert baseline[-1] == pytest.approx(entropy(SHARES), rel=1e-6)
    assert baseline[0] < 0.7


def test_a_prediction_that_both_sides_learn_has_no_target():
    model = linear(6)
    readings, _ = observed(model, lambda out: F.mse_loss(out[:, :3], out[:, 3:]))
    assert not terms(readings, "baseline")
    assert math.isnan(measure_progress(readings).u)
