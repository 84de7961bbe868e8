"""Each remedy: it fires on its causes only, says where, and hands out code that runs."""

import ast
import re

import pytest
import torch
from torch import nn

from gradfuga._catalog import collect
from gradfuga._contracts import AbstractRemedy, AbstractRule
from gradfuga._sentences import sentence
from gradfuga._types import Safety, Verdict
from remedies.diagnoses import reading, sick

REMEDIES = tuple(collect("gradfuga.remedies", "REMEDY", of=AbstractRemedy).values())
BY_CODE = {remedy.code: remedy for remedy in REMEDIES}
RULES = tuple(collect("gradfuga.rules", "RULE", of=AbstractRule).values())
CAUSES = tuple(sorted({rule.cause for rule in RULES} - {""}))

# What a cause must look like for a remedy that treats one kind of it only.
KIND_OF = {
    "RX003": {"evidence": (reading("scale", 0.5, 1.0),)},
    "RX008": {"verdict": Verdict.EXPLODING},
    "RX025": {"evidence": (reading("skipped_share", 0.9, 0.5),)},
    "RX026": {"evidence": (reading("adagrad_share", 0.01, 1.0),)},
    "RX027": {"evidence": (reading("rate_time", 0.1, 0.5),)},
}
# Prescribed for more than it is the first choice for: not where a sigmoid is the main cause.
PARTS = [(remedy, cause) for remedy in REMEDIES for cause in sorted(remedy.treats)]


def edits(code, *causes, **kind):
    return tuple(BY_CODE[code].prescribe(sick(*causes, **kind)))


def test_there_is_a_remedy_for_every_cause_that_a_rule_can_name():
    treated = frozenset().union(*(remedy.treats for remedy in REMEDIES))
    assert treated == set(CAUSES)


@pytest.mark.parametrize(
    ("remedy", "cause"), PARTS, ids=lambda each: str(getattr(each, "code", each))
)
def test_a_remedy_fires_on_each_cause_that_it_treats(remedy, cause):
    found = tuple(remedy.prescribe(sick((cause, 0.9), **KIND_OF.get(remedy.code, {}))))
    assert found
    for edit in found:
        assert sentence(edit)
        assert not edit.paths or edit.paths == (f"{cause}.0", f"{cause}.1")


@pytest.mark.parametrize("remedy", REMEDIES, ids=lambda remedy: remedy.code)
def test_a_remedy_is_silent_on_every_other_cause(remedy):
    for cause in CAUSES:
        if cause not in remedy.treats:
            assert not tuple(remedy.prescribe(sick((cause, 1.0)))), cause
    assert not tuple(remedy.prescribe(sick()))


@pytest.mark.parametrize("remedy", REMEDIES, ids=lambda remedy: remedy.code)
def test_a_remedy_is_named_as_an_imperative_and_is_advice(remedy):
    assert re.fullmatch(r"RX\d{3}", remedy.code)
    assert re.fullmatch(r"[a-z]+(-[a-z]+)+", remedy.name)
    assert remedy.title[0].isupper()
    assert not remedy.title.endswith(".")
    assert remedy.safety is Safety.ADVICE


def test_initialization_follows_the_scale_that_the_activations_want():
    relu = {"evidence": (reading("scale", 0.58, 2**0.5),)}
    tanh = {"evidence": (reading("scale", 0.58, 1.0),)}
    assert edits("RX002", ("small_init", 0.9), **relu)
    assert not edits("RX003", ("small_init", 0.9), **relu)
    assert not edits("RX002", ("small_init", 0.9), **tanh)
    assert edits("RX003", ("small_init", 0.9), **tanh)


def test_layer_normalization_is_not_prescribed_for_a_sigmoid():
    both = (("contracting_activation", 0.7), ("small_init", 0.28))
    assert not edits("RX005", *both)
    assert edits("RX004", *both)
    assert edits("RX005", ("small_init", 0.7), ("contracting_activation", 0.28))


def test_the_activation_stays_where_it_is_not_the_main_cause():
    assert not edits("RX001", ("small_init", 0.7), ("contracting_activation", 0.28))


def test_only_a_sigmoid_is_offered_to_stay_normalized():
    sigmoid = edits(
        "RX001",
        ("contracting_activation", 0.9),
        evidence=(reading("mean_squared_slope", 0.045, 1.0),),
    )
    other = edits(
        "RX001",
        ("contracting_activation", 0.9),
        evidence=(reading("mean_squared_slope", 0.3, 1.0),),
    )
    assert (len(sigmoid), len(other)) == (2, 1)
    assert "4.7227 * h - 2.181" in sentence(sigmoid[1])


def test_clipping_is_no_remedy_for_large_weights_that_saturate():
    assert not edits("RX008", ("large_init", 0.9), verdict=Verdict.VANISHING)
    assert edits("RX008", ("large_init", 0.9), verdict=Verdict.EXPLODING)
    assert edits("RX008", ("learning_rate_too_high", 0.9), verdict=Verdict.DEAD_UNITS)


def test_the_learning_rate_is_raised_to_one_turnover_over_the_run():
    # the evidence names the rate that feeds a hundredth of a turnover
    (edit,) = edits(
        "RX010", ("learning_rate_too_low", 1.0), evidence=(reading("learning_rate", 1e-8, 3e-5),)
    )
    assert "3e-03" in sentence(edit)


def test_the_clipping_bound_is_raised_by_what_it_takes_away():
    (edit,) = edits(
        "RX020", ("clipped_away", 1.0), evidence=(reading("clip_coefficient", 2e-6, 0.1),)
    )
    assert "5e+05-fold" in sentence(edit)


def test_weights_are_connected_in_the_way_in_which_they_are_held_back():
    cut = edits("RX015", ("disconnected", 1.0))
    still = edits("RX015", ("frozen", 1.0))
    assert "detach()" in sentence(cut[0])
    assert "requires_grad_(True)" in sentence(still[0])
    assert len(edits("RX015", ("disconnected", 0.5), ("frozen", 0.5))) == len(cut) + len(still)


def test_alike_tokens_and_one_hot_attention_want_opposite_repairs():
    uniform = edits(
        "RX019", ("attention_collapse", 1.0), evidence=(reading("entropy", 0.9995, 0.999),)
    )
    sharp = edits("RX019", ("attention_collapse", 1.0), evidence=(reading("entropy", 0.02, 0.1),))
    assert "skip connection" in sentence(uniform[0])
    assert "queries and keys" in sentence(sharp[0])


@pytest.mark.parametrize("code", ["RX001", "RX002"])
def test_the_he_initialization_that_is_advised_has_the_variance_it_promises(code):
    statements = re.search(
        r"nn\.init.*", sentence(edits(code, next((c, 0.9) for c in BY_CODE[code].treats))[0])
    )
    torch.manual_seed(0)
    layer = nn.Linear(400, 300)
    exec(compile(statements[0], "advice", "exec"), {"nn": nn, "layer": layer})  # noqa: S102 (our own text)
    assert layer.weight.var().item() == pytest.approx(2 / 400, rel=0.02)  # 120,000 draws: .4 %
    assert not layer.bias.any()


def test_the_tanh_initialization_that_is_advised_is_orthogonal_with_its_gain():
    found = edits("RX003", ("small_init", 0.9), evidence=(reading("scale", 0.5, 1.0),))
    torch.manual_seed(0)
    layer = nn.Linear(32, 32).double()
    statements = re.search(r"nn\.init.*", sentence(found[0]))
    exec(compile(statements[0], "advice", "exec"), {"nn": nn, "layer": layer})  # noqa: S102 (our own text)
    squares = layer.weight @ layer.weight.T
    assert torch.allclose(squares, 1.05**2 * torch.eye(32, dtype=torch.float64), atol=1e-9)


def test_the_normalized_sigmoid_that_is_advised_has_unit_slope_and_unit_size():
    # Gaussian quadrature in float64: E (a phi')^2 = E (a phi + b)^2 = 1 at unit variance
    import numpy as np

    nodes, weights = np.polynomial.hermite_e.hermegauss(80)
    weights = weights / weights.sum()
    phi = 1.0 / (1.0 + np.exp(-nodes))
    assert (weights * (4.7227 * phi * (1 - phi)) ** 2).sum() == pytest.approx(1.0, abs=1e-4)
    assert (weights * (4.7227 * phi - 2.181) ** 2).sum() == pytest.approx(1.0, abs=1e-3)


SNIPPETS = {"RX008": 0, "RX012": 0, "RX014": 0, "RX016": 0, "RX018": 0, "RX022": 0}


@pytest.mark.parametrize("code", SNIPPETS)
def test_advised_statements_are_python(code):
    cause = min(BY_CODE[code].treats)
    kind = KIND_OF.get(code, {})
    action = sentence(edits(code, (cause, 1.0), **kind)[SNIPPETS[code]])
    ast.parse(action.partition(": ")[2])


@pytest.mark.parametrize(
    ("statistic", "cause", "one", "other"),
    [
        ("skipped_share", "precision_underflow", "RX025", "RX023"),
        ("adagrad_share", "learning_rate_too_low", "RX026", "RX010"),
        ("rate_time", "learning_rate_too_low", "RX027", "RX010"),
    ],
)
def test_what_made_the_steps_short_decides_between_remedies(statistic, cause, one, other):
    seen = {"evidence": (reading(statistic, 0.1, 0.5),)}
    assert edits(one, (cause, 1.0), **seen)
    assert not edits(other, (cause, 1.0), **seen)
    assert not edits(one, (cause, 1.0))
    assert edits(other, (cause, 1.0))
