"""Edits that reach an unmodified script through the optimizer it builds."""

import math

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from gradfuga._edits import (
    AddSkip,
    ClearGradients,
    ClipGradient,
    HoldRate,
    Initialize,
    InsertNormalization,
    LoosenClipping,
    ReplaceRecurrent,
    SetLayerRates,
    SetOptimizer,
    SetPrecision,
    SwapActivation,
    UseLogits,
    WarmUp,
)
from gradfuga._torch.surgery import apply
from gradfuga._torch.transplant import Transplant


@pytest.fixture(autouse=True)
def seed():
    torch.manual_seed(0)


def stack():
    return nn.Sequential(
        nn.Linear(4, 8), nn.Sigmoid(), nn.Linear(8, 8), nn.Sigmoid(), nn.Linear(8, 1)
    )


def identities(optimizer):
    return [[id(p) for p in group["params"]] for group in optimizer.param_groups]


def test_new_parameters_join_the_group_of_their_layer_and_groups_stay():
    model = stack()
    with Transplant([InsertNormalization("layer"), AddSkip(0.0, learned=True)]):
        optimizer = torch.optim.AdamW(
            [
                {"params": model[0].parameters(), "lr": 0.1},
                {"params": (p for m in model[2:] for p in m.parameters()), "weight_decay": 0.5},
            ],
            lr=0.01,
        )
    assert [g["lr"] for g in optimizer.param_groups] == [0.1, 0.01]
    assert [g["weight_decay"] for g in optimizer.param_groups] == [0.01, 0.5]
    assert set(identities(optimizer)[0]) == {id(p) for p in model[0].parameters()}
    held = [each for group in identities(optimizer) for each in group]
    assert len(held) == len(set(held))
    assert {id(p) for p in model.parameters()} == set(held)
    model(torch.randn(3, 4)).sum().backward()
    optimizer.step()
    assert float(model[2].skip_scale.detach()) != 0.0


def test_parameters_that_are_replaced_leave_the_optimizer():
    class Reader(nn.Module):
        def __init__(self):
            super().__init__()
            self.rnn, self.head = nn.RNN(3, 5), nn.Linear(5, 2)

    model = Reader()
    with Transplant([ReplaceRecurrent("gru")]):
        optimizer = torch.optim.SGD(model.named_parameters(), lr=0.1)
    assert identities(optimizer) == [[id(p) for p in model.parameters()]]


def test_an_optimizer_that_is_there_is_told_and_forgets_the_old_state():
    model = nn.Sequential(nn.RNN(3, 5))
    optimizer = torch.optim.Adam(model.parameters())
    model(torch.randn(2, 3))[0].sum().backward()
    optimizer.step()
    apply(model, optimizer, [ReplaceRecurrent("gru"), SetOptimizer("eps", 1e-15)])
    assert identities(optimizer) == [[id(p) for p in model.parameters()]]
    assert not optimizer.state
    assert optimizer.param_groups[0]["eps"] == 1e-15


def test_nothing_stays_behind_when_the_transplant_closes():
    before = torch.optim.Optimizer.__init__, torch.Tensor.backward, torch.autocast.__init__
    edits = [UseLogits(), SetPrecision("scaled"), SetPrecision("bfloat16")]
    with pytest.raises(ZeroDivisionError), Transplant(edits):
        1 / 0  # noqa: B018
    assert before == (
        torch.optim.Optimizer.__init__,
        torch.Tensor.backward,
        torch.autocast.__init__,
    )
    p = torch.sigmoid(torch.zeros(1))
    assert float(F.mse_loss(p, torch.zeros(1))) == 0.25


def test_edits_of_a_diagnosed_model_leave_other_models_alone():
    class Generator(nn.Sequential):
        pass

    generator, critic = Generator(*stack()), stack()
    with Transplant([SwapActivation("relu")], model="Generator") as transplant:
        torch.optim.SGD(critic.parameters(), lr=0.1)
        torch.optim.SGD(generator.parameters(), lr=0.1)
    assert isinstance(critic[1], nn.Sigmoid)
    assert isinstance(generator[1], nn.ReLU)
    assert len(transplant.operations) == 1


def test_two_models_in_one_optimizer_are_edited_by_their_variables_names():
    encoder, decoder = stack(), stack()
    edit = Initialize("normal", 0.5, paths=("encoder.0",))
    untouched = decoder[0].weight.clone()
    with Transplant([edit]):
        torch.optim.SGD([*encoder.parameters(), *decoder.parameters()], lr=0.1)
    assert not encoder[0].bias.any()
    assert torch.equal(decoder[0].weight, untouched)


def test_a_model_is_edited_once_however_many_optimizers_are_built():
    model = stack()
    with Transplant([InsertNormalization("layer"), SetOptimizer("lr", 0.1, relative=True)]):
        torch.optim.SGD(model.parameters(), lr=0.5)
        second = torch.optim.SGD(model.parameters(), lr=0.5)
    assert len(list(model[0]._forward_hooks)) == 1
    assert second.param_groups[0]["lr"] == pytest.approx(0.05)


def test_a_schedule_starts_from_the_rate_that_was_set():
    model = stack()
    with Transplant([SetOptimizer("lr", 0.1, relative=True)]):
        optimizer = torch.optim.SGD(model.parameters(), lr=1.0)
        schedule = torch.optim.lr_scheduler.StepLR(optimizer, 1, 0.5)
    optimizer.step()
    schedule.step()
    assert optimizer.param_groups[0]["lr"] == pytest.approx(0.05)


def one_weight(*edits, lr=1.0):
    weight = nn.Parameter(torch.zeros(2))
    with Transplant(edits):
        optimizer = torch.optim.SGD([weight], lr=lr)
    return weight, optimizer


def test_a_warm_up_rises_to_the_rate_and_gives_it_back():
    weight, optimizer = one_weight(WarmUp(4))
    moved = []
    for _ in range(5):
        before = weight.detach().clone()
        weight.grad = torch.tensor([1.0, 0.0])
        optimizer.step()
        moved.append(float((before - weight.detach())[0]))
        assert optimizer.param_groups[0]["lr"] == 1.0
    assert moved == pytest.approx([0.25, 0.5, 0.75, 1.0, 1.0])


def test_clipping_bounds_the_norm_right_before_the_step():
    weight, optimizer = one_weight(ClipGradient("norm", 0.5))
    weight.grad = torch.tensor([3.0, 4.0])
    optimizer.step()
    assert float(weight.detach().norm()) == pytest.approx(0.5, rel=1e-4)


def test_agc_bounds_each_unit_by_its_own_weight():
    weight = nn.Parameter(torch.tensor([[3.0, 4.0], [0.0, 1.0]]))
    with Transplant([ClipGradient("agc", 0.01)]):
        optimizer = torch.optim.SGD([weight], lr=1.0)
    weight.grad = torch.tensor([[30.0, 40.0], [0.001, 0.0]])
    optimizer.step()
    # |w| = 5: at most .05, in the direction of (3, 4); the second is below its bound
    expected = torch.tensor([[3.0 - 0.03, 4.0 - 0.04], [-0.001, 1.0]])
    assert torch.allclose(weight.detach(), expected, atol=1e-6)


def test_zclip_cuts_the_outlier_and_lets_ordinary_steps_pass():
    weight, optimizer = one_weight(ClipGradient("zclip", 2.5))
    norms = [0.5 + 0.01 * math.sin(step) for step in range(40)]
    for norm in norms:
        before = weight.detach().clone()
        weight.grad = torch.tensor([norm, 0.0])
        optimizer.step()
    assert float((before - weight.detach()).norm()) == pytest.approx(norms[-1], rel=1e-3)
    before = weight.detach().clone()
    weight.grad = torch.tensor([100.0, 0.0])
    optimizer.step()
    assert float((before - weight.detach()).norm()) < 0.55


def test_gradients_are_cleared_after_the_step():
    weight, optimizer = one_weight(ClearGradients())
    weight.grad = torch.ones(2)
    optimizer.step()
    assert weight.grad is None


@pytest.mark.parametrize("clip", [nn.utils.clip_grad_norm_, nn.utils.clip_grads_with_norm_])
def test_the_scripts_own_clipping_is_loosened_and_put_back(clip):
    """Whether a function was imported before or after does not matter for the usual one."""
    weight = nn.Parameter(torch.zeros(2))
    rest = (torch.tensor(5.0),) if clip is nn.utils.clip_grads_with_norm_ else ()

    def clipped(function):
        weight.grad = torch.tensor([3.0, 4.0])
        function([weight], 1e-6, *rest)
        return float(weight.grad.norm())

    assert clipped(clip) == pytest.approx(1e-6, rel=1e-3)
    with Transplant([LoosenClipping(2e6)]) as transplant:
        assert not transplant.placed
        function = clip if not rest else nn.utils.clip_grads_with_norm_
        assert clipped(function) == pytest.approx(2.0, rel=1e-3)
        assert transplant.placed
    assert clipped(clip) == pytest.approx(1e-6, rel=1e-3)


def test_a_clipping_by_value_is_loosened():
    weight = nn.Parameter(torch.zeros(2))
    with Transplant([LoosenClipping(10.0)]):
        weight.grad = torch.tensor([3.0, -4.0])
        nn.utils.clip_grad_value_([weight], clip_value=0.1)
    assert weight.grad.tolist() == [1.0, -1.0]


@pytest.mark.parametrize(
    "schedule",
    [
        lambda o: torch.optim.lr_scheduler.ExponentialLR(o, 0.5),
        lambda o: torch.optim.lr_scheduler.LambdaLR(o, lambda step: step / 1000),
        lambda o: torch.optim.lr_scheduler.StepLR(o, step_size=1),
    ],
)
def test_a_held_rate_is_the_one_that_the_optimizer_was_built_with(schedule):
    weight, optimizer = one_weight(HoldRate())
    rates = schedule(optimizer)
    for _ in range(4):
        weight.grad = torch.ones(2)
        optimizer.step()
        rates.step()
    assert weight.detach() == pytest.approx([-4.0, -4.0])  # plain steps of rate 1


def test_each_prescription_is_asked_for_its_place():
    raised, swapped = SetOptimizer("lr", 2.0, relative=True), SwapActivation("relu")
    with Transplant([swapped, raised]) as transplant:
        torch.optim.SGD([nn.Parameter(torch.zeros(2))], lr=1.0)
    assert transplant.has_placed([raised])
    assert not transplant.has_placed([swapped])


@pytest.mark.parametrize("set_to_none", [True, False])
def test_what_is_cleared_before_the_step_is_stepped_with_and_cleared_behind_it(set_to_none):
    weight, optimizer = one_weight(ClearGradients(moved=True))
    for step in (1, 2):
        (weight * torch.tensor([1.0, 2.0])).sum().backward()
        optimizer.zero_grad(set_to_none=set_to_none)
        optimizer.step()
        assert weight.tolist() == [-1.0 * step, -2.0 * step]
    weight.grad = torch.ones(2)  # nothing is kept of a pass that was stepped with
    optimizer.step()
    assert weight.tolist() == [-3.0, -5.0]


def test_layers_get_rates_of_their_own():
    model = stack()
    with Transplant([SetLayerRates((10.0, 5.0), paths=("0", "2"))]):
        optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    rates = {id(p): g["lr"] for g in optimizer.param_groups for p in g["params"]}
    assert [rates[id(p)] for p in model.parameters()] == pytest.approx([1, 1, 0.5, 0.5, 0.1, 0.1])


def test_the_loss_of_a_sigmoid_is_taken_on_its_logits():
    model = nn.Sequential(nn.Linear(4, 1), nn.Sigmoid())
    x, y = torch.randn(9, 4), torch.rand(9, 1).round()
    plain = model(x)
    with Transplant([UseLogits()]) as transplant:
        p = model(x)
        loss = nn.MSELoss()(p, y)
    assert torch.equal(p, plain)
    assert torch.allclose(loss, F.binary_cross_entropy_with_logits(model[0](x), y))
    assert transplant.placed


def test_a_softmax_before_cross_entropy_is_taken_off():
    z, y = torch.randn(6, 3), torch.arange(6) % 3
    with Transplant([UseLogits()]):
        loss = F.cross_entropy(torch.softmax(z, 1), y, label_smoothing=0.1)
    assert torch.allclose(loss, F.cross_entropy(z, y, label_smoothing=0.1))


def test_a_scaled_backward_saves_gradients_that_float16_cannot_hold():
    def gradient(*edits):
        weight = nn.Parameter(torch.ones(1))
        with Transplant(edits):
            torch.optim.SGD([weight], lr=1.0)
            for _ in range(2):  # two micro-batches add up
                (weight.half() * torch.tensor([1e-9]).float()).sum().mul(1e-1).backward()
            tiny = (weight.half() * 2.0).float().sum() * 1e-9
            tiny.backward()
        return float(weight.grad)

    assert gradient() == 0.0
    assert gradient(SetPrecision("scaled")) == pytest.approx(2.2e-9, rel=0.01)


def test_autocast_to_float16_computes_in_bfloat16():
    layer = nn.Linear(2, 2)
    with Transplant([SetPrecision("bfloat16")]), torch.autocast("cpu", dtype=torch.float16):
        assert layer(torch.ones(1, 2)).dtype is torch.bfloat16


def test_what_an_optimizer_refuses_it_refuses_as_before():
    with Transplant([SwapActivation("relu")]):
        with pytest.raises(ValueError, match="empty parameter list"):
            torch.optim.SGD([], lr=0.1)
        with pytest.raises(TypeError):
            torch.optim.SGD(torch.ones(2, requires_grad=True), lr=0.1)
