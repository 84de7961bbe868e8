"""OPT005: a few layers that use up the bound of a clipping, and starve all others."""

import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn

from gradfuga._observe import observe
from gradfuga._types import Kind, Role
from gradfuga.analysis.build import build_case
from gradfuga.analysis.clipping import kept_by_clipping
from gradfuga.analysis.tolls import held_back
from gradfuga.rules import _bound
from gradfuga.rules._bound import spenders
from gradfuga.rules.opt005_clipped_away import RULE
from rules.cases import Training

KEPT, LOUD, FEED = 0.01, 30.0, 0.02


def loud(kept=KEPT, *, norm=LOUD, update=FEED / 100, base=None):
    """A training of 100 steps in which the head's gradient is `norm`, and the others' one half."""
    made = (base or Training().that_learns_nothing()).using("SGD")
    made = made.everywhere(Kind.UPDATE, "norm", update)
    made = made.everywhere(Kind.WEIGHT_GRAD, "clip_coefficient", kept)
    made = made.reading("optimizer", Kind.WEIGHT_GRAD, "clip_coefficient", kept)
    return made.reading("head.weight", Kind.WEIGHT_GRAD, "norm", norm).reading(
        "head.weight", Kind.UPDATE, "norm", 0.05
    )


def test_the_layer_is_named_with_its_share_and_what_the_others_would_keep():
    training = loud()
    quiet = [path for path in training.layer_paths if path != "head"]
    (finding,) = RULE.check(training.case)
    squares = LOUD**2 + len(quiet) * 0.25
    share = LOUD**2 / squares
    apart = KEPT * math.sqrt(squares) / math.sqrt(len(quiet) * 0.25)  # the bound over their norm
    assert (finding.role, finding.cause, finding.paths) == (Role.CAUSE, "clipped_away", ("head",))
    seen = {each.statistic: each for each in finding.evidence}
    assert seen["norm_share"].path == "head"
    assert seen["norm_share"].observed == pytest.approx(share, rel=1e-12)
    assert seen["norm_share"].expected == pytest.approx(1 / len(training.layer_paths))
    assert seen["clip_coefficient"].observed == pytest.approx(KEPT)
    assert seen["clip_coefficient"].expected == pytest.approx(apart, rel=1e-12)
    assert seen["feed"].observed == pytest.approx(FEED)
    assert "'head' alone spends" in finding.message


def test_where_something_is_learned_it_is_a_note():
    (finding,) = RULE.check(loud(base=Training()).case)
    assert (finding.role, finding.cause) == (Role.NOTE, "")
    assert "'head' alone spends" in finding.message


@pytest.mark.parametrize(
    "training",
    [
        loud(1.0),
        loud(_bound.TENTH),
        loud(norm=1.0),
        loud(update=_bound.STARVED / 100),
        loud(update=1e-6),
        loud().using("Adam"),
        loud().using("SomethingOfOnesOwn"),
        Training().using("SGD"),
    ],
    ids=["unclipped", "a tenth", "nobody loud", "fed", "slow anyway", "Adam", "unknown", "plain"],
)
def test_what_starves_nobody_is_not_blamed(training):
    assert spenders(training.case) is None


@pytest.mark.parametrize("name", ["STARVED", "TENTH", "TEN_TIMES", "SPENT", "LEAVES_CHANCE"])
def test_each_threshold_flips_it(monkeypatch, name):
    found = spenders(loud().case)
    value = {
        "STARVED": found.best[1],
        "TENTH": found.kept,
        "TEN_TIMES": found.apart / found.kept,
        "SPENT": found.spent,
        "LEAVES_CHANCE": found.best[1] * found.apart / found.kept,
    }[name]
    outcomes = []
    for side in (1.0 - 1e-12, 1.0 + 1e-12):  # quotients are known to 16 digits
        monkeypatch.setattr(_bound, name, value * side)
        outcomes.append(spenders(loud().case) is None or len(spenders(loud().case).paths) > 1)
    assert outcomes[0] != outcomes[1]


# -- on trainings ------------------------------------------------------------------------------

X = torch.randn(64, 16, generator=torch.Generator().manual_seed(0))
LABELS = (X @ torch.randn(16, 4, generator=torch.Generator().manual_seed(1))).argmax(1)
GATE = ["gate"]


class Gated(nn.Module):
    """A network whose gates have a penalty of their own, far steeper than the task."""

    def __init__(self):
        super().__init__()
        self.gate = nn.Parameter(torch.full((16,), 0.9))
        self.first, self.second = nn.Linear(16, 32), nn.Linear(32, 32)
        self.head = nn.Linear(32, 4)

    def forward(self, x):
        return self.head(torch.relu(self.second(torch.relu(self.first(x * self.gate)))))

    def loss(self):
        return F.cross_entropy(self(X), LABELS) + 1e3 * (self.gate * (1 - self.gate)).square().sum()


def everything(model):
    nn.utils.clip_grad_norm_(model.parameters(), 1.0)


def apart(model):
    nn.utils.clip_grad_norm_([model.gate], 1.0)
    nn.utils.clip_grad_norm_([p for p in model.parameters() if p is not model.gate], 1.0)


def values(model):
    nn.utils.clip_grad_value_(model.parameters(), 0.1)


def train(clip, optimizer=torch.optim.SGD, lr=0.1):
    """Return the case, and by step the squared norms before and after clipping, in float64."""
    torch.manual_seed(0)
    model = Gated()
    stepper = optimizer(model.parameters(), lr=lr)
    truth = []
    with observe(model, stepper, every=1) as observer:
        for _ in range(120):
            stepper.zero_grad()
            model.loss().backward()
            before = squares(model)
            clip(model)
            truth.append((before, squares(model)))
            stepper.step()
    return build_case(observer.readings), truth


def squares(model):
    return {
        name: float(np.square(p.grad.numpy().astype(np.float64)).sum())
        for name, p in model.named_parameters()
    }


@pytest.mark.parametrize("clip", [everything, apart, values], ids=lambda clip: clip.__name__)
def test_each_parameters_part_of_the_clipping_is_that_of_numpy(clip):
    case, truth = train(clip)
    for name in truth[0][0]:
        steps, seen = case.readings.series(name, Kind.WEIGHT_GRAD, "clip_coefficient")
        expected = [math.sqrt(truth[s][1][name] / truth[s][0][name]) for s in steps.tolist()]
        np.testing.assert_allclose(seen, expected, rtol=2e-5)
    assert len(steps) > 100


def test_a_loud_penalty_is_named_with_the_shares_of_numpy():
    case, truth = train(everything)
    found = spenders(case)
    assert found.paths == ("gate",)
    rest = [name for name in truth[0][0] if name != "gate"]
    share = [before["gate"] / sum(before.values()) for before, _ in truth]
    kept = [
        math.sqrt(sum(after[n] for n in rest) / sum(before[n] for n in rest))
        for before, after in truth
    ]
    alone = [
        min(1.0, math.sqrt(sum(after.values()) / sum(before[n] for n in rest)))
        for before, after in truth
    ]
    assert found.share["gate"] == pytest.approx(np.median(share), rel=1e-5)
    assert found.kept == pytest.approx(np.median(kept), rel=1e-5)
    assert found.apart == pytest.approx(np.median(alone), rel=1e-5)
    assert found.quiet == 3


@pytest.mark.parametrize(
    ("clip", "settings"),
    [
        (apart, {}),  # what the finding advises
        (values, {}),
        (everything, {"optimizer": torch.optim.Adam, "lr": 1e-3}),  # harmless at every step
        (lambda model: nn.utils.clip_grad_norm_(model.parameters(), 1e4), {"lr": 1e-3}),
    ],
    ids=["apart", "by value", "Adam", "never binds"],
)
def test_clipping_that_starves_nobody_is_not_told(clip, settings):
    case, _ = train(clip, **settings)
    assert spenders(case) is None
    assert not list(RULE.check(case))


def test_where_groups_are_clipped_apart_the_typical_weight_counts_and_not_the_whole():
    """The whole loses 99.5 % of its norm, all of it the gate's; no other weight loses anything."""
    case, _ = train(apart)
    whole = case.readings.series("optimizer", Kind.WEIGHT_GRAD, "clip_coefficient")[1]
    assert np.median(whole) < 0.02
    assert np.median(kept_by_clipping(case)) > 0.9
    assert held_back(case) is None
