"""ACT, INI, NRM, RES: causes that claim a part of the reach, with its decades and its share."""

from dataclasses import replace

import pytest

from gradfuga._types import Axis, Kind, Role, Severity
from gradfuga.analysis.account import UNEXPLAINED, Account, Claim
from gradfuga.flow import Edge, FlowGraph, Op, OpRole
from gradfuga.rules._raw_inputs import LARGEST
from gradfuga.rules.act001_contracting_activation import RULE as CONTRACTING
from gradfuga.rules.act002_saturated_activation import RULE as SATURATED
from gradfuga.rules.act003_saturated_output import RULE as OUTPUT
from gradfuga.rules.act004_dead_relu import RULE as DEAD
from gradfuga.rules.act005_attention_collapse import RULE as ATTENTION
from gradfuga.rules.ini001_small_initialization import RULE as SMALL
from gradfuga.rules.ini002_large_initialization import RULE as LARGE
from gradfuga.rules.ini003_embedding_scale import RULE as EMBEDDING
from gradfuga.rules.nrm001_missing_normalization import RULE as NORMALIZATION
from gradfuga.rules.res001_plain_depth import RULE as DEPTH
from gradfuga.rules.res002_unscaled_residual import RULE as RESIDUAL
from gradfuga.rules.res003_post_norm import RULE as POST_NORM
from rules.cases import STANDING, Training, by_step, fires, flips_at

SIGN = {
    CONTRACTING: -1,
    SATURATED: -1,
    OUTPUT: -1,
    DEAD: -1,
    ATTENTION: -1,
    SMALL: -1,
    LARGE: 1,
    EMBEDDING: -1,
    NORMALIZATION: -1,
    DEPTH: -1,
    RESIDUAL: 1,
    POST_NORM: -1,
}
RULES = tuple(SIGN)
IDLE = Training().that_learns_nothing()


def accused(rule, decades, *, rest=0.0):
    """Return a case whose account says `decades` at two places, and `rest` of nobody."""
    case = IDLE.case
    claims = (
        Claim(rule.cause, 8, "act.0", 0.75 * decades),
        Claim(rule.cause, 4, "act.2", 0.25 * decades),
        Claim(UNEXPLAINED, 3, "layer.3", rest),
    )
    account = Account(step=0, total=decades + rest, claims=claims)
    return replace(case, blamed=account)


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.code)
def test_a_cause_carries_the_accounts_decades_places_and_source(rule):
    (finding,) = rule.check(accused(rule, 4.0 * SIGN[rule], rest=1.0 * SIGN[rule]))
    assert finding.role is Role.CAUSE
    assert finding.cause == rule.cause
    assert finding.axis is Axis.DEPTH
    assert finding.severity is Severity.SERIOUS
    assert finding.log_gain == pytest.approx(4.0 * SIGN[rule])
    assert finding.paths == ("act.0", "act.2")  # the larger claim first
    assert finding.source[0].text == "h = self.act(h)"
    claim = finding.evidence[-1]
    assert (claim.statistic, claim.unit, claim.expected) == ("claim", "decades", 0.0)
    assert claim.observed == pytest.approx(4.0 * SIGN[rule])
    assert "80%" in finding.message
    assert "10 thousand times" in finding.message


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.code)
def test_a_cause_flips_exactly_at_the_limit_of_reach(rule):
    def found(total):
        return bool(list(rule.check(accused(rule, total * SIGN[rule]))))

    assert not found(rule.limit)
    assert found(rule.limit + 1e-12)


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.code)
def test_a_cause_flips_exactly_at_its_least_share(rule):
    case = accused(rule, 2.0 * SIGN[rule], rest=3.0 * SIGN[rule])  # a share of 0.4
    assert list(replace(rule, least_share=0.4 - 1e-12).check(case))
    assert not list(replace(rule, least_share=0.4 + 1e-12).check(case))


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.code)
def test_a_small_share_is_mild(rule):
    (finding,) = rule.check(accused(rule, 1.0 * SIGN[rule], rest=9.0 * SIGN[rule]))
    assert finding.severity is Severity.MILD


@pytest.mark.parametrize(
    "rule",
    [CONTRACTING, SATURATED, OUTPUT, DEAD, SMALL, LARGE, RESIDUAL, POST_NORM],
    ids=lambda r: r.code,
)
def test_a_cause_with_a_direction_is_silent_in_the_other(rule):
    assert not list(rule.check(accused(rule, -4.0 * SIGN[rule])))


# what the readings make of it, through the account


def test_a_sigmoids_slope_is_shown_against_one():
    sigmoid = Training(activation="Sigmoid").gains(activation=0.2117).that_learns_nothing()
    (finding,) = CONTRACTING.check(sigmoid.case)
    assert finding.message.startswith("Sigmoid at 'act.")
    slope = finding.evidence[0]
    assert slope.statistic == "mean_squared_slope"
    assert slope.observed == pytest.approx(0.2117**2)
    assert slope.expected == pytest.approx(1.0, rel=1e-3)  # 0.2117 is rounded
    assert not fires(SMALL, sigmoid)


def test_small_weights_are_shown_against_the_gain_that_suits_their_activation():
    small = Training(activation="ReLU").gains(linear=0.4, activation=0.5**0.5)
    (finding,) = SMALL.check(small.that_learns_nothing().case)
    scale = next(e for e in finding.evidence if e.statistic == "scale")
    assert scale.observed == pytest.approx(0.4)
    assert scale.expected == pytest.approx(2**0.5)
    assert finding.source[-1].text == "nn.Linear(16, 16)"  # where the weights begin
    assert not fires(CONTRACTING, small.that_learns_nothing())


def test_large_weights_are_blamed_for_an_explosion():
    large = Training().gains(linear=8.0).that_learns_nothing()
    (finding,) = LARGE.check(large.case)
    scale = next(e for e in finding.evidence if e.statistic == "scale")
    assert (scale.observed, scale.expected) == (pytest.approx(8.0), pytest.approx(1.0))
    assert not fires(SMALL, large)


def test_a_flat_tanh_is_saturated_and_not_contracting_alone():
    flat = Training().gains(activation=0.05).that_learns_nothing()
    (finding,) = SATURATED.check(flat.case)
    usual = finding.evidence[0].expected
    assert finding.evidence[0].observed == pytest.approx(0.05**2)
    assert usual == pytest.approx(1.0 / 1.4674**2, rel=1e-3)  # theory: g_b of tanh at q = 1


def test_no_cause_is_named_for_a_start_that_was_overcome():
    assert not fires(SMALL, Training().gains(linear=0.1))
    assert fires(SMALL, Training().gains(linear=0.1).that_learns_nothing())


# dead layers, without the account


def dead(training, **norm):
    """Close the activation act.0: no unit open, no gradient below."""
    share = 1.0 if not norm else {step: float(v == 0.0) for step, v in norm["norms"].items()}
    return training.reading("act.0", Kind.ACTIVATION, "dead_share", share).reading(
        "layer.0", Kind.ACTIVATION_GRAD, "norm", norm.get("norms", 0.0)
    )


def test_a_layer_that_is_born_dead_is_found():
    (finding,) = DEAD.check(dead(Training(activation="ReLU", losses=STANDING)).case)
    assert finding.paths == ("act.0",)
    assert "from the first step" in finding.message
    assert (finding.evidence[0].observed, finding.evidence[0].step) == (1.0, 0)


def test_a_layer_that_was_switched_off_is_found():
    killed = dead(Training(activation="ReLU", losses=STANDING), norms=by_step(1.0, 0.0))
    (finding,) = DEAD.check(killed.case)
    assert "switched off" in finding.message
    assert finding.evidence[0].step == 99


@pytest.mark.parametrize("activation", ["Sigmoid", "Tanh", "Hardtanh"])
def test_a_layer_that_is_flat_for_every_example_is_saturated_and_not_off(activation):
    hidden = dead(Training(activation=activation, losses=STANDING))
    (finding,) = SATURATED.check(hidden.case)
    assert (finding.cause, finding.paths) == ("saturated_activation", ("act.0",))
    assert f"{activation} at 'act.0' is flat for every example" in finding.message
    assert not fires(DEAD, hidden)
    assert not fires(OUTPUT, hidden)
    graph = replace(hidden.graph, outputs=(2,), layers=hidden.graph.layers[1:])
    last = replace(hidden, graph_of=replace(graph, uses=hidden.graph.uses[1:]))
    last = last.reading("act.3", Kind.ACTIVATION, "dead_share", 1.0)
    last = last.reading("act.0", Kind.ACTIVATION, "dead_share", 0.0)
    for path in last.layer_paths[1:]:
        last = last.reading(path, Kind.ACTIVATION_GRAD, "norm", 0.0)
    (finding,) = OUTPUT.check(last.case)
    assert (finding.cause, finding.paths) == ("saturated_output", ("act.3",))
    assert not fires(DEAD, last)
    assert not fires(SATURATED, last)


def test_a_dead_branch_of_a_network_that_learns_is_no_cause():
    assert not fires(DEAD, dead(Training(activation="ReLU")))


# attention


def attention(entropy, query, *, fused=False, losses=STANDING):
    """Return a training with one attention: head <- output <- softmax(q k) v, or fused."""
    score, value = ("attn", "v")
    middle = (
        [Op(1, "ScaledDotProductFlashAttentionForCpuBackward0", "attn", OpRole.ATTENTION)]
        if fused
        else [
            Op(1, "BmmBackward0", "weigh", OpRole.LINEAR),
            Op(2, "SoftmaxBackward0", "attn", OpRole.SOFTMAX),
            Op(3, "DivBackward0", "scaled", OpRole.SCALE),
            Op(4, "BmmBackward0", "scores", OpRole.LINEAR),
        ]
    )
    first = 1 + len(middle)
    ends = [
        Op(first + n, "AddmmBackward0", path, OpRole.LINEAR, parameters=(f"{path}.weight",))
        for n, path in enumerate(("q", "k", "v"))
    ]
    ops = [
        Op(0, "AddmmBackward0", "head", OpRole.LINEAR, parameters=("head.weight",)),
        *middle,
        *ends,
    ]
    ops = [replace(op, sequence=100 - op.index) for op in ops]
    edges = [Edge(0, 0, 1)]
    if fused:
        edges += [Edge(1, n, first + n) for n in range(3)]
    else:
        edges += [Edge(1, 0, 2), Edge(2, 0, 3), Edge(3, 0, 4), Edge(1, 1, first + 2)]
        edges += [Edge(4, 0, first), Edge(4, 1, first + 1)]
    layers = (0, first, first + 1, first + 2)
    graph = FlowGraph(tuple(ops), tuple(edges), (0,), layers, tuple((n,) for n in layers))
    made = Training(graph_of=graph, losses=losses)
    made = made.reading(score, Kind.ACTIVATION, "entropy", entropy)
    for path, size in (("q", query), ("k", query / 2), (value, 1.0), ("head", 1.0)):
        made = made.reading(path, Kind.ACTIVATION_GRAD, "norm", size)
    return replace(made, depth=0)


@pytest.mark.parametrize("fused", [False, True])
@pytest.mark.parametrize(("entropy", "word"), [(0.02, "one position"), (0.9999, "all positions")])
def test_attention_that_cannot_learn_where_to_look_is_found(entropy, word, fused):
    (finding,) = ATTENTION.check(attention(entropy, 1e-4, fused=fused).case)
    assert finding.paths == ("attn",)
    assert word in finding.message
    assert [each.observed for each in finding.evidence] == pytest.approx([entropy, 1e-4])


def test_attention_flips_exactly_at_its_three_thresholds():
    sharp, uniform = attention(0.05, 1e-3), attention(0.9995, 1e-3)
    assert flips_at(ATTENTION, sharp, "least_entropy", 0.05)
    assert flips_at(ATTENTION, uniform, "most_entropy", 0.9995)
    assert flips_at(ATTENTION, sharp, "least_ratio", 1e-3)


def test_a_sharp_softmax_that_passes_nothing_is_found_by_its_jacobian():
    sharp = attention(0.02, 0.3).reading("attn", Kind.ACTIVATION, "jacobian_norm", 1e-4)
    (finding,) = ATTENTION.check(sharp.case)
    assert "passes next to nothing (Jacobian 0.0001)" in finding.message
    assert flips_at(ATTENTION, sharp, "least_jacobian", 1e-4)


@pytest.mark.parametrize(
    "healthy",
    [
        attention(0.5, 1e-4),
        attention(0.02, 0.05),
        attention(0.9999, 1e-4, losses=Training().losses),
    ],
    ids=["open", "queries_learn", "network_learns"],
)
def test_attention_without_one_of_the_signs_is_left_alone(healthy):
    assert not fires(ATTENTION, healthy)


def raw_inputs(size):
    made = IDLE.reading("layer.0", Kind.ACTIVATION, "input_rms", size)
    case = replace(made.case, blamed=accused(SATURATED, -4.0).blamed)
    return [each for each in SATURATED.check(case) if "standardize" in each.message]


def test_a_first_layer_that_raw_data_saturates_is_told_to_standardize_it():
    (finding,) = raw_inputs(147.0)
    assert finding.evidence[0].statistic == "input_rms"
    assert (finding.evidence[0].observed, finding.evidence[0].expected) == (147.0, 1.0)
    assert not raw_inputs(LARGEST)
    assert not raw_inputs(1.0)
