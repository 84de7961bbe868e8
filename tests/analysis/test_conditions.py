"""Each condition of a case at its threshold, and where nothing or NaN was read."""

import math
import warnings
from dataclasses import replace

import numpy as np
import pytest

from analysis.changes import at, dead, low, partly_frozen, recurrent, unreached
from gradfuga._types import Kind
from gradfuga.analysis.build import build_case
from gradfuga.analysis.conditions import (
    clear_fall,
    clipped_away,
    dead_at,
    forward_fall,
    grew_dead,
    has_time_axis,
    lost_share,
    nobody_fed,
    path_starves_all,
    starved_layers,
    training_share,
    unreached_share,
    waiting_reach,
    weights_decayed,
)
from gradfuga.flow import Edge, FlowGraph, Op, OpRole
from gradfuga.readings import Readings, RunRecord
from rules.cases import LEARNING, SAMPLED, STANDING, Training, by_step, weight

IDLE = Training().that_learns_nothing()
EMPTY = build_case(Readings())
SAMPLED_ONLY = build_case(Readings(record=RunRecord(steps=9, sampled=(0, 4, 8))))
GRAD, WEIGHT = (Kind.WEIGHT_GRAD, "norm"), (Kind.WEIGHT, "norm")


def set_reach(case, rows):
    """Return `case` with the reach of the deepest layer at its first samples."""
    reach = np.zeros_like(case.reach)
    reach[: len(rows), -1] = rows
    return replace(case, reach=reach)


@pytest.mark.parametrize("case", [EMPTY, SAMPLED_ONLY], ids=["no sample", "samples without a row"])
def test_where_nothing_was_read_nothing_is_claimed(case):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert not grew_dead(case)
        assert lost_share(case) == 0.0
        assert math.isnan(waiting_reach(case))
        assert starved_layers(case) == ()
        assert not nobody_fed(case)
        assert not path_starves_all(case)
        assert forward_fall(case) == 0.0
        assert training_share(case) == 1.0
        assert unreached_share(case) == 0.0
        assert not clipped_away(case)
        assert not weights_decayed(case)
        assert not clear_fall(case)
        assert not has_time_axis(case.graph)
    assert not dead_at(EMPTY, 0)


def test_a_dead_layer_has_nine_tenths_of_dead_units_and_lets_nothing_through():
    share = ("act.1", Kind.ACTIVATION, "dead_share")
    assert dead_at(dead(IDLE).reading(*share, 0.9).case, 0)
    assert not dead_at(dead(IDLE).reading(*share, math.nextafter(0.9, 0.0)).case, 0)
    assert not dead_at(IDLE.reading(*share, 1.0).case, 0)  # the gradient still passes


def test_a_layer_grows_dead_that_lived_at_first_and_not_at_last():
    assert grew_dead(dead(IDLE, since=SAMPLED[-1]).case)
    assert not grew_dead(dead(IDLE).case)
    back = dead(IDLE, since=8).reading("act.1", Kind.ACTIVATION, "dead_share", {8: 1.0, 99: 0.0})
    assert dead_at(back.case, SAMPLED.index(8))
    assert not grew_dead(back.case)


def test_the_lost_share_is_the_time_below_the_limit():
    case = IDLE.case
    assert lost_share(low(case, -1.30)) == 0.0
    assert lost_share(low(case, math.nextafter(-1.30, -9.0))) == 1.0
    assert lost_share(low(case, math.nan)) == 0.0
    # steps 0, 1, 2 to 3, 4 to 7
    for count, steps in ((1, 1), (2, 2), (3, 4), (4, 8)):
        assert lost_share(set_reach(case, [-2.0] * count)) == pytest.approx(steps / 100)
    last = case.reach.copy()
    last[-1, -1] = -2.0
    assert lost_share(replace(case, reach=last)) == pytest.approx(1 / 100)


def test_once_half_of_the_way_is_made_only_the_time_before_counts():
    case = low(IDLE.case, -2.0)
    below_half = math.nextafter(0.5, 0.0)
    assert lost_share(at(case, u=below_half, half_step=6)) == 1.0
    assert lost_share(at(case, u=0.5, half_step=6)) == pytest.approx(0.06)
    assert lost_share(at(case, u=0.5, half_step=0)) == pytest.approx(0.01)
    late = set_reach(IDLE.case, [0.0, 0.0, 0.0, 0.0, -2.0])
    assert lost_share(at(late, u=0.9, half_step=8)) == 0.0
    assert lost_share(at(late, u=0.9, half_step=9)) == pytest.approx(0.01)


def test_the_waiting_reach_is_the_median_of_the_lowest_layers():
    assert waiting_reach(set_reach(IDLE.case, [-3.0] * 6)) == -3.0
    assert waiting_reach(set_reach(IDLE.case, [-3.0] * 5)) == 0.0
    gaps = IDLE.case.reach.copy()
    gaps[:5], gaps[5:, 2] = math.nan, -2.0
    assert waiting_reach(replace(IDLE.case, reach=gaps)) == -2.0


def feed(deepest, others):
    """Return a case of 100 steps in which the layers move as often as this by the end."""
    case = low(IDLE.case, -2.0)
    ratio = np.full_like(case.update_ratio, others / 100)
    ratio[:, -1] = deepest / 100
    return replace(case, update_ratio=ratio)


def test_a_starved_layer_is_below_the_limit_and_hardly_moves_while_others_do():
    assert starved_layers(feed(0.09, 1.0)) == ("layer.0",)
    assert starved_layers(feed(0.11, 9.0)) == ()  # moves
    assert starved_layers(feed(0.09, 0.89)) == ()  # others move less than ten times more
    assert starved_layers(feed(0.09, 0.91)) == ("layer.0",)
    assert starved_layers(feed(0.0, 0.009)) == ()  # nobody moves
    assert starved_layers(feed(0.0, 0.011)) == ("layer.0",)
    assert starved_layers(low(feed(0.09, 1.0), -1.30)) == ()
    assert starved_layers(low(feed(0.09, 1.0), -1.31)) == ("layer.0",)
    assert starved_layers(low(feed(0.09, 1.0), -math.inf)) == ("layer.0",)
    assert starved_layers(low(feed(0.09, 1.0), math.nan)) == ()
    assert starved_layers(feed(math.nan, 1.0)) == ()


def test_the_bounds_of_being_fed_are_exact():
    def moving(deepest, others):
        case = at(feed(0.0, 0.0), steps=1)  # so that the ratio is the turnover
        ratio = np.full_like(case.update_ratio, others)
        ratio[:, -1] = deepest
        return replace(case, update_ratio=ratio)

    less = {value: math.nextafter(value, 0.0) for value in (0.1, 0.01)}
    assert starved_layers(moving(0.1, 5.0)) == ()
    assert starved_layers(moving(less[0.1], 5.0)) == ("layer.0",)
    assert starved_layers(moving(0.05, 0.5)) == ()
    assert starved_layers(moving(0.05, math.nextafter(0.5, 1.0))) == ("layer.0",)
    assert starved_layers(moving(0.0, 0.01)) == ("layer.0",)
    assert starved_layers(moving(0.0, less[0.01])) == ()
    assert not nobody_fed(moving(0.0, 0.01))
    assert nobody_fed(moving(0.0, less[0.01]))


def test_one_sample_starves_nobody():
    case = feed(0.0, 1.0)
    one = replace(case, steps=case.steps[:1], reach=case.reach[:1])
    two = replace(case, steps=case.steps[:2], reach=case.reach[:2])
    assert starved_layers(one) == ()
    assert starved_layers(two) == ("layer.0",)


def test_nobody_is_fed_below_a_hundredth_of_a_turnover():
    assert nobody_fed(feed(0.001, 0.0099))
    assert not nobody_fed(feed(0.001, 0.0101))
    assert not nobody_fed(feed(0.0101, 0.001))
    assert nobody_fed(feed(math.nan, 0.0))
    assert not nobody_fed(feed(math.nan, math.nan))
    halved = feed(0.0, 0.016)
    assert nobody_fed(replace(halved, record=replace(halved.record, steps=50)))


def test_the_path_starves_all_where_the_output_or_the_signal_or_a_layer_is_far_down():
    even = at(IDLE.case, pace=0.05)
    assert not path_starves_all(even)
    near_output = even.reach.copy()
    near_output[0, 0] = -1.30
    assert not path_starves_all(replace(even, reach=near_output))
    near_output[0, 0] = -1.31
    assert path_starves_all(replace(even, reach=near_output))
    near_output[0, 0] = -math.inf
    assert not path_starves_all(replace(even, reach=near_output))
    assert not path_starves_all(feed(0.1, 1.0))
    assert path_starves_all(feed(0.099, 1.0))
    assert not path_starves_all(feed(math.nan, 1.0))
    for head, expected in ((0.0502, False), (0.0500, True)):  # 10 ** -1.30 is .0501
        fallen = IDLE.reading("head", Kind.ACTIVATION, "input_rms", by_step(head, 1.0)).case
        assert path_starves_all(at(fallen, pace=0.05)) is expected


def test_the_forward_fall_is_in_decades_from_the_deepest_layer_to_the_head():
    def fall(head, deepest):
        made = IDLE.reading("head", Kind.ACTIVATION, "input_rms", by_step(head, 7.0))
        return forward_fall(made.reading("layer.0", Kind.ACTIVATION, "input_rms", deepest).case)

    assert fall(0.002, 2.0) == pytest.approx(-3.0)
    assert fall(20.0, 2.0) == pytest.approx(1.0)
    assert fall(1e-300, 1e300) == pytest.approx(-600.0)  # the quotient itself underflows
    assert fall(0.0, 2.0) == 0.0
    assert fall(1.0, 0.0) == 0.0
    assert fall(math.nan, 1.0) == 0.0


def test_a_weight_takes_part_that_trains_is_optimized_and_is_reached():
    assert training_share(IDLE.case) == 1.0
    assert training_share(partly_frozen(IDLE, 2).case) == pytest.approx(0.4)
    assert training_share(IDLE.holding().case) == 1.0  # no weight is known
    for fault in ("trainable", "optimized", "reached"):
        records = (weight("head.weight"), weight("layer.0.weight", **{fault: False}))
        assert training_share(IDLE.holding(*records).case) == 0.5
    bias = replace(weight("head.bias", reached=False), shape=(16,))
    assert training_share(IDLE.holding(weight("head.weight"), bias).case) == 1.0


def test_unreached_weights_are_those_that_the_optimizer_holds_in_vain():
    assert unreached_share(unreached(IDLE, 2).case) == pytest.approx(0.4)
    assert unreached_share(unreached(IDLE, 2).sampled_at(0, 50, 99).case) == pytest.approx(0.4)
    assert unreached_share(unreached(IDLE, 2).sampled_at(0, 99).case) == 0.0
    used = weight("head.weight")
    for kept in ({"trainable": False}, {"optimized": False}):
        idle = weight("layer.0.weight", reached=False, **kept)
        assert unreached_share(IDLE.holding(used, idle).case) == 0.0
    bias = replace(weight("head.bias", reached=False), shape=(16,))
    assert unreached_share(IDLE.holding(bias).case) == 0.0
    assert unreached_share(IDLE.holding(used, bias).case) == 0.0


def test_clipping_takes_away_what_leaves_less_than_a_hundredth_on_most_samples():
    def clipped(value):
        return IDLE.reading("optimizer", Kind.WEIGHT_GRAD, "clip_coefficient", value).case

    assert not clipped_away(clipped(0.01))
    assert clipped_away(clipped(math.nextafter(0.01, 0.0)))
    assert not clipped_away(clipped(by_step(1e-6, 1.0, until=8)))  # five of eleven
    assert clipped_away(clipped(by_step(1e-6, 1.0, until=16)))


def test_a_weight_decays_below_half_of_its_norm_and_the_reach_with_it():
    def shrunk(to, *, decay=0.1, reach=-2.0):
        made = IDLE.with_settings(weight_decay=decay)
        return at(made.reading("layer.1.weight", *WEIGHT, by_step(1.0, to)).case, late=reach)

    assert weights_decayed(shrunk(math.nextafter(0.5, 0.0)))
    assert not weights_decayed(shrunk(0.5))
    assert not weights_decayed(shrunk(0.1, decay=0.0))
    assert not weights_decayed(shrunk(0.1, reach=-1.30))
    assert weights_decayed(shrunk(0.1, reach=-1.31))
    assert not weights_decayed(shrunk(0.1, reach=math.nan))
    once = IDLE.with_settings(weight_decay=0.1).everywhere(*WEIGHT, {0: 1.0})
    assert not weights_decayed(at(once.case, late=-2.0))


def test_a_clear_fall_is_a_trend_or_half_of_the_loss():
    def falls(losses):
        return clear_fall(IDLE.without_baseline().with_losses(losses).case)

    noise = 0.05 * np.random.default_rng(0).standard_normal(120)
    assert falls(LEARNING)
    assert not falls(STANDING)
    assert not falls(3.0 + noise)
    assert falls(3.0 + noise - np.linspace(0.0, 0.3, 120))
    assert not falls(3.0 + noise + np.linspace(0.0, 0.3, 120))
    assert not falls(np.linspace(2.0, 0.1, 11))  # too few to tell
    assert falls(np.linspace(2.0, 0.1, 12))
    assert falls([*np.linspace(2.0, 0.1, 12), math.nan])
    assert not falls([*np.linspace(2.0, 0.1, 11), math.nan])


def test_a_loss_that_jumps_down_to_less_than_half_has_fallen():
    def jumps(to):  # a plateau, a jump, a slow rise: no trend in either half
        case = IDLE.case
        losses = [*[4.0] * 20, *np.linspace(to - 1e-3, to + 1e-3, 100)]
        return replace(case, readings=IDLE.without_baseline().with_losses(losses).readings)

    assert clear_fall(jumps(1.9))
    assert clear_fall(jumps(1.999))
    assert not clear_fall(jumps(2.0001))
    assert not clear_fall(jumps(-1.0))  # a loss that goes below zero has no half


def test_time_is_a_fused_kernel_or_a_weight_used_six_times():
    assert not has_time_axis(IDLE.graph)
    assert not has_time_axis(recurrent(IDLE, times=5).graph)
    chained = recurrent(IDLE, times=6).graph
    assert has_time_axis(chained)
    side_by_side = tuple(Edge(0, 0, use) for use in chained.uses[0])  # eight views of one example
    assert not has_time_axis(replace(chained, edges=side_by_side))
    fused = FlowGraph(ops=(Op(0, "CudnnRnnBackward0", "rnn", OpRole.RECURRENT),))
    assert has_time_axis(fused)
