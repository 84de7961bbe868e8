"""Each remedy: it fires on its causes only, says where, and hands out code that runs."""

import re
import sys
from dataclasses import replace

import pytest
import torch
from torch import nn

from gradfuga._catalog import collect
from gradfuga._contracts import AbstractRemedy, AbstractRule
from gradfuga._edits import LoosenClipping
from gradfuga._sentences import sentence
from gradfuga._types import Axis, DepthProfile, Safety, Verdict
from gradfuga.report.document import schema
from gradfuga.theory.moments import forward_gain
from remedies.diagnoses import reading, sick

REMEDIES = tuple(collect("gradfuga.remedies", "REMEDY", of=AbstractRemedy).values())
BY_CODE = {remedy.code: remedy for remedy in REMEDIES}
RULES = tuple(collect("gradfuga.rules", "RULE", of=AbstractRule).values())
CONTRACT = schema()["$defs"]["cause_name"]["enum"]
CAUSES = tuple(sorted({rule.cause for rule in RULES} - {""}))

BLOCKS = DepthProfile(("out", "enc.layers.0.linear1"), (0.0, 0.0), (0.0, 0.0))

# What a cause must look like for a remedy that treats one kind of it only.
KIND_OF = {
    "RX003": {"evidence": (reading("scale", 0.5, 1.0),)},
    "RX008": {"verdict": Verdict.EXPLODING},
    **{code: {"verdict": Verdict.EXPLODING} for code in ("RX053", "RX054", "RX055")},
    **{code: {"evidence": (reading("scale", 0.5, 1.0),)} for code in ("RX057", "RX058")},
    **{code: {"depth": BLOCKS} for code in ("RX050", "RX051")},
    "RX060": {"depth": DepthProfile(("out", "a", "b"), (0.0, -1.0, -2.0), (0.0, 0.0, 0.0))},
    "RX064": {"paths": ("lstm.weight_ih_l1", "lstm.weight_ih_l2")},
    "RX013": {"evidence": (reading("input_rms", 479.0, 1.0),)},
    "RX065": {"evidence": (reading("reversed_loss", -3.0, 0.0),)},
    "RX020": {"evidence": (reading("clip_coefficient", 1e-6, 0.1),)},
    "RX025": {"evidence": (reading("skipped_share", 0.9, 0.5),)},
    "RX026": {"evidence": (reading("adagrad_share", 0.01, 1.0),)},
    **{code: {"evidence": (reading("rate_time", 0.1, 0.5),)} for code in ("RX027", "RX028")},
}
# Prescribed for more than it is the first choice for: not where a sigmoid is the main cause.
PARTS = [(remedy, cause) for remedy in REMEDIES for cause in sorted(remedy.treats)]


def edits(code, *causes, **kind):
    return tuple(BY_CODE[code].prescribe(sick(*causes, **kind)))


def test_there_is_a_remedy_for_every_cause_that_a_rule_can_name():
    treated = frozenset().union(*(remedy.treats for remedy in REMEDIES))
    assert set(CAUSES) == treated == set(CONTRACT)


@pytest.mark.parametrize(
    ("remedy", "cause"), PARTS, ids=lambda each: str(getattr(each, "code", each))
)
def test_a_remedy_fires_on_each_cause_that_it_treats(remedy, cause):
    found = tuple(remedy.prescribe(sick((cause, 0.9), **KIND_OF.get(remedy.code, {}))))
    assert found
    for edit in found:
        assert sentence(edit)
        kind = KIND_OF.get(remedy.code, {})
        hidden = set(kind.get("depth", DepthProfile()).path[1:])
        own = kind.get("paths", (f"{cause}.0", f"{cause}.1"))
        assert edit.paths in ((), own) or set(edit.paths) == hidden


@pytest.mark.parametrize("remedy", REMEDIES, ids=lambda remedy: remedy.code)
def test_a_remedy_is_silent_on_every_other_cause(remedy):
    for cause in CAUSES:
        if cause not in remedy.treats:
            assert not tuple(remedy.prescribe(sick((cause, 1.0)))), cause
    assert not tuple(remedy.prescribe(sick()))


@pytest.mark.parametrize("remedy", REMEDIES, ids=lambda remedy: remedy.code)
def test_a_remedy_says_what_it_treats_and_what_it_does_not(remedy):
    text = sys.modules[type(remedy).__module__].__doc__
    limits = text[text.index("Known limits") : text.index("References")]
    said = re.findall(r"``(\w+)``", limits[limits.index("It treats") : limits.index(". ")])
    assert set(said) == remedy.treats
    assert re.search(r"not\s+(treat|repair)|no\s+cure", limits)


@pytest.mark.parametrize("remedy", REMEDIES, ids=lambda remedy: remedy.code)
def test_a_remedy_is_named_as_an_imperative(remedy):
    assert re.fullmatch(r"RX\d{3}", remedy.code)
    assert re.fullmatch(r"[a-z]+(-[a-z]+)+", remedy.name)
    assert remedy.title[0].isupper()
    assert not remedy.title.endswith(".")


@pytest.mark.parametrize(
    ("remedy", "cause"), PARTS, ids=lambda each: str(getattr(each, "code", each))
)
def test_a_remedy_is_as_safe_as_its_least_safe_edit(remedy, cause):
    found = tuple(remedy.prescribe(sick((cause, 0.9), **KIND_OF.get(remedy.code, {}))))
    order = [Safety.ADVICE, Safety.SAFE, Safety.UNSAFE]
    promised = order.index(remedy.safety)
    assert max(order.index(edit.safety) for edit in found) <= promised
    # a cut tape, or a misplaced line, is for the user to mend; frozen weights are not
    if remedy.code != "RX015" and cause != "gradients_wiped":
        assert max(order.index(edit.safety) for edit in found) == promised


def test_inputs_are_standardized_against_long_steps_only_where_they_are_large():
    assert edits(
        "RX013", ("learning_rate_too_high", 1.0), evidence=(reading("input_rms", 99.0, 1.0),)
    )
    assert not edits("RX013", ("learning_rate_too_high", 1.0))


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
    for slope, offered in ((0.045, True), (0.3, False)):
        seen = (reading("mean_squared_slope", slope, 1.0),)
        found = edits("RX040", ("contracting_activation", 0.9), evidence=seen)
        assert bool(found) is offered


@pytest.mark.parametrize("name", ["gelu", "silu"])
def test_the_gain_that_goes_with_a_swap_is_that_of_the_theory(name):
    remedy = replace(BY_CODE["RX043"], to=name)
    swap, draw, _normalization = remedy.prescribe(sick(("contracting_activation", 0.9)))
    assert swap.to == name
    assert draw.gain == pytest.approx(forward_gain(name), abs=1e-4)


def test_initialization_alone_is_not_prescribed_for_a_sigmoid():
    both = (("contracting_activation", 0.7), ("small_init", 0.28))
    for code in ("RX002", "RX003", "RX044", "RX057", "RX058"):
        assert not edits(code, *both)


def test_blocks_that_normalize_and_skip_are_not_told_to_do_so():
    blocks = KIND_OF["RX050"]
    for code in ("RX004", "RX005", "RX007", "RX046", "RX047", "RX049"):
        assert not edits(code, ("small_init", 0.9), **blocks)
    assert edits("RX050", ("small_init", 0.9), **blocks)


def test_starved_layers_get_rates_by_their_reach_a_hundredfold_at_most():
    (edit,) = edits("RX060", ("small_init", 0.9), **KIND_OF["RX060"])
    assert edit.paths == ("a", "b")
    assert edit.factors == pytest.approx((10.0, 100.0))
    lost = DepthProfile(("out", "a", "b"), (0.0, -1.0, -2.1), (0.0, 0.0, 0.0))
    assert not edits("RX060", ("small_init", 0.9), depth=lost)


def test_clipping_is_no_remedy_for_large_weights_that_saturate():
    assert not edits("RX008", ("large_init", 0.9), verdict=Verdict.VANISHING)
    assert edits("RX008", ("large_init", 0.9), verdict=Verdict.EXPLODING)
    assert edits("RX008", ("learning_rate_too_high", 0.9), verdict=Verdict.DEAD_UNITS)


def test_clipping_is_no_remedy_for_a_rate_that_is_too_high_under_an_adaptive_optimizer():
    # its step has the length of the rate, whatever the gradient's norm is
    for code in ("RX008", "RX053", "RX054", "RX055"):
        diagnosis = sick(("learning_rate_too_high", 0.9), verdict=Verdict.DEAD_UNITS)
        assert tuple(BY_CODE[code].prescribe(diagnosis))
        adam = replace(diagnosis, run=replace(diagnosis.run, optimizer="AdamW"))
        assert not tuple(BY_CODE[code].prescribe(adam))


def test_the_layers_below_a_dead_one_are_treated_though_the_main_line_ends_above_it():
    above = DepthProfile(("out", "head"), (0.0, -0.5), (0.0, 0.0))
    for code in ("RX011", "RX042", "RX059", "RX063"):
        swap_or_draw = edits(code, ("dead_relu", 0.9), depth=above)
        assert all(edit.paths != ("head",) for edit in swap_or_draw)


def test_a_forget_bias_and_an_orthogonal_tanh_are_not_prescribed_beyond_their_horizon():
    for code, cause, near, far in (
        ("RX030", "closed_gates", 30.0, 31.0),
        ("RX032", "recurrent_contraction", 73.0, 74.0),
    ):
        for lag, prescribed in ((near, True), (far, False)):
            asked = replace(reading("horizon", 10.0, lag), unit="steps")
            diagnosis = sick((cause, 1.0), evidence=(asked,))
            (finding,) = diagnosis.findings
            finding = replace(finding, axis=Axis.TIME)
            found = tuple(BY_CODE[code].prescribe(replace(diagnosis, findings=(finding,))))
            assert bool(found) is prescribed


STATEMENTS = re.compile(r": ([^:]*[=(].*)$")
ADVISED = sorted(
    {
        (remedy.code, found[1])
        for remedy in REMEDIES
        for cause in remedy.treats
        for edit in remedy.prescribe(sick((cause, 1.0), **KIND_OF.get(remedy.code, {})))
        if edit.safety is Safety.ADVICE
        if (found := STATEMENTS.search(sentence(edit))) and not found[1].startswith("detach()")
    }
)


@pytest.mark.parametrize(("code", "statements"), ADVISED)
def test_advised_statements_run(code, statements):
    model = nn.Linear(4, 4)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    x, y = torch.randn(50, 4), 7.0 + 3.0 * torch.randn(50, 4)
    scope = {
        "torch": torch, "nn": nn, "model": model, "optimizer": optimizer, "x": x, "y": y,
        "y_train": y, "loss": model(x).sum(), "q": x, "k": x, "head_dim": 4, "epochs": 2,
        "loader": [1], "CosineAnnealingLR": torch.optim.lr_scheduler.CosineAnnealingLR,
    }  # fmt: skip
    with torch.autograd.set_detect_anomaly(False):  # put back what one of them switches on
        exec(compile(statements.replace("lr=...", "lr=1e-3"), code, "exec"), scope)  # noqa: S102
    if statements.startswith("y ="):
        assert torch.allclose(scope["y"].mean(0), torch.zeros(4), atol=1e-5)
        assert torch.allclose(scope["y"].std(0), torch.ones(4), atol=1e-5)
    if statements.startswith("prediction ="):
        assert torch.allclose(scope["prediction"], model(x) * y.std(0) + y.mean(0))


def test_no_advised_statement_is_left_out():
    assert len(ADVISED) == 9


def test_the_learning_rate_is_raised_to_one_turnover_over_the_run():
    # the evidence names the rate that feeds a hundredth of a turnover
    (edit,) = edits(
        "RX010", ("learning_rate_too_low", 1.0), evidence=(reading("learning_rate", 1e-8, 3e-5),)
    )
    assert edit.value == 3e-3


def test_the_clipping_bound_is_raised_by_what_it_takes_away():
    (edit,) = edits(
        "RX020", ("clipped_away", 1.0), evidence=(reading("clip_coefficient", 2e-6, 0.1),)
    )
    assert edit == LoosenClipping(5e5)
    (told,) = edits("RX020", ("clipped_away", 1.0))
    assert told.kind == "advise"


def test_a_layer_that_uses_up_the_bound_is_clipped_apart_and_not_let_loose():
    seen = sick(("clipped_away", 1.0), evidence=(reading("clip_coefficient", 2e-6, 1.0),))
    loud = replace(seen.findings[0], paths=("gate",))
    (told,) = BY_CODE["RX020"].prescribe(replace(seen, findings=(loud,)))
    assert told.kind == "advise"
    assert "'gate' apart" in sentence(told)


def test_weights_are_connected_in_the_way_in_which_they_are_held_back():
    cut = edits("RX015", ("disconnected", 1.0))
    still = edits("RX015", ("frozen", 1.0))
    assert "detach()" in sentence(cut[0])
    assert still[0].kind == "unfreeze"
    assert len(edits("RX015", ("disconnected", 0.5), ("frozen", 0.5))) == len(cut) + len(still)


def test_alike_tokens_and_one_hot_attention_want_opposite_repairs():
    uniform = edits(
        "RX019", ("attention_collapse", 1.0), evidence=(reading("entropy", 0.9995, 0.999),)
    )
    sharp = edits("RX019", ("attention_collapse", 1.0), evidence=(reading("entropy", 0.02, 0.1),))
    assert "skip connection" in sentence(uniform[0])
    assert "queries and keys" in sentence(sharp[0])


@pytest.mark.parametrize(
    ("statistic", "cause", "one", "other"),
    [
        ("skipped_share", "precision_underflow", "RX025", "RX023"),
        ("adagrad_share", "learning_rate_too_low", "RX026", "RX010"),
        ("rate_time", "learning_rate_too_low", "RX027", "RX010"),
        ("rate_time", "learning_rate_too_low", "RX028", "RX010"),
    ],
)
def test_what_made_the_steps_short_decides_between_remedies(statistic, cause, one, other):
    seen = {"evidence": (reading(statistic, 0.1, 0.5),)}
    assert edits(one, (cause, 1.0), **seen)
    assert not edits(other, (cause, 1.0), **seen)
    assert not edits(one, (cause, 1.0))
    assert edits(other, (cause, 1.0))


def test_the_gates_of_an_lstm_are_not_swapped_but_undone():
    gates = sick(("contracting_activation", 0.9), paths=("lstm.weight_ih_l1",))
    both = sick(("contracting_activation", 0.9), paths=("lstm.weight_ih_l1", "act"))
    swaps = ("RX001", "RX004", "RX040", "RX041", "RX042", "RX043")
    for code in swaps:
        assert not tuple(BY_CODE[code].prescribe(gates))
        assert tuple(BY_CODE[code].prescribe(both))
    (edit,) = BY_CODE["RX064"].prescribe(gates)
    assert edit.paths == ("lstm.weight_ih_l1",)
    assert not tuple(BY_CODE["RX064"].prescribe(both))
