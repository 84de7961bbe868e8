"""Edits on models: each does what it says, keeps what it must, and survives a copy."""

import copy
import math
import pickle

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from gradfuga._edits import (
    AddSkip,
    Advise,
    Calibrate,
    Initialize,
    InsertNormalization,
    MoveNormalization,
    ReplaceRecurrent,
    ReviveUnits,
    SetBias,
    SetPrecision,
    StandardizeInput,
    SwapActivation,
    Unfreeze,
)
from gradfuga._torch.surgery import apply
from gradfuga.theory.isometric_activation import isometric


class Functional(nn.Module):
    """A ModuleList walked with a function call, and a sigmoid on the output that must stay."""

    def __init__(self, depth=3, width=6):
        super().__init__()
        self.layers = nn.ModuleList(nn.Linear(width, width) for _ in range(depth))
        self.head = nn.Linear(width, 1)

    def forward(self, x):
        for layer in self.layers:
            x = torch.sigmoid(layer(x))
        return torch.sigmoid(self.head(x))


def stack(activation=nn.Sigmoid, depth=3, width=6):
    layers = []
    for _ in range(depth):
        layers += [nn.Linear(width, width), activation()]
    return nn.Sequential(*layers, nn.Linear(width, 2))


@pytest.fixture
def x():
    return torch.randn(40, 6, generator=torch.Generator().manual_seed(3))


@pytest.fixture(autouse=True)
def seed():
    torch.manual_seed(0)


def test_a_module_activation_is_swapped_where_it_is_hidden(x):
    model = nn.Sequential(*stack(), nn.Sigmoid())
    operation = apply(model, None, [SwapActivation("tanh", paths=("1",))])
    assert [type(m).__name__ for m in model] == ["Linear", "Tanh"] * 3 + ["Linear", "Sigmoid"]
    assert operation.done
    by_hand = x
    for layer in model:
        by_hand = layer(by_hand)
    assert torch.equal(model(x), by_hand)


def test_a_lone_activation_that_all_layers_share_is_swapped_when_it_is_named(x):
    class Shared(nn.Module):
        def __init__(self):
            super().__init__()
            self.a, self.b, self.act = nn.Linear(6, 6), nn.Linear(6, 2), nn.Sigmoid()

        def forward(self, x):
            return self.b(self.act(self.a(x)))

    model = Shared()
    apply(model, None, [SwapActivation("relu", paths=("act#1",))])
    assert torch.equal(model(x), model.b(model.a(x).relu()))


def test_a_function_call_is_swapped_at_the_calls_that_are_named(x):
    model = Functional()
    paths = ("sigmoid#1", "sigmoid#3", "sigmoid#2")  # the fourth is the output's
    apply(model, None, [SwapActivation("tanh", paths=paths)])
    h = x
    for layer in model.layers:
        h = torch.tanh(layer(h))
    assert torch.equal(model(x), torch.sigmoid(model.head(h)))
    assert torch.equal(model(x), torch.sigmoid(model.head(h)))  # ordinals begin anew each time


def test_a_swap_of_calls_ends_with_the_forward_pass_also_when_it_raises(x):
    model = Functional()
    apply(model, None, [SwapActivation("relu", of="sigmoid")])
    with pytest.raises(RuntimeError):
        model(torch.randn(2, 5))
    assert torch.sigmoid(torch.zeros(1)) == 0.5
    h = x
    for layer in [*model.layers, model.head]:
        h = layer(h).relu()
    assert torch.equal(model(x), h)


def test_an_edited_model_can_be_copied_and_pickled_and_the_copy_is_its_own(x):
    model = Functional()
    apply(
        model,
        None,
        [
            SwapActivation("tanh", paths=("sigmoid#1", "sigmoid#2", "sigmoid#3")),
            InsertNormalization("layer", paths=("layers",)),
            AddSkip(0.5, learned=True, paths=("layers",)),
        ],
    )
    for twin in (copy.deepcopy(model), pickle.loads(pickle.dumps(model))):
        assert torch.equal(twin(x), model(x))
        with torch.no_grad():
            twin.layers[0].skip_scale.fill_(3.0)
        assert not torch.equal(twin(x), model(x))


def test_a_normalized_sigmoid_keeps_signal_and_gradient_over_twenty_layers():
    model = stack(depth=20, width=256)
    edits = [SwapActivation("sigmoid", normalized=True), Initialize("fan_in", 1.0)]
    apply(model, None, edits)
    affine = isometric("sigmoid")
    assert (affine.stretch, affine.shift) == pytest.approx((4.7226, -2.1810), abs=1e-3)
    x = torch.randn(64, 256, requires_grad=True)
    h = model[:-1](x)
    h.backward(torch.randn_like(h))
    # finite width: kappa L / n = .08 nats of variance, .2 of the norm's log10 at three sigma
    assert abs(math.log10(float(x.grad.norm() / 64**0.5 / 16))) < 0.3
    assert float(h.detach().square().mean()) == pytest.approx(1.0, rel=0.2)


@pytest.mark.parametrize(
    ("edit", "expected"),
    [
        (Initialize("fan_in", 2**0.5), (2 / 300) ** 0.5),
        (Initialize("fan_average", 1.0), (2 / 500) ** 0.5),
        (Initialize("normal", 0.02), 0.02),
    ],
)
def test_weights_are_drawn_with_the_deviation_that_the_edit_says(edit, expected):
    model = nn.Sequential(nn.Linear(300, 200), nn.ReLU(), nn.Linear(200, 2))
    before = model[2].weight.clone()
    apply(model, None, [edit])
    # 60,000 draws: the deviation is known to 0.3 %
    assert float(model[0].weight.detach().std()) == pytest.approx(expected, rel=0.01)
    assert not model[0].bias.any()
    assert torch.equal(model[2].weight, before)  # the output layer stays as it was


def test_a_transposed_convolution_sums_over_its_own_fan():
    layer = nn.ConvTranspose2d(32, 16, 4, stride=2, padding=1, bias=False)
    model = nn.Sequential(layer, nn.ReLU(), nn.Conv2d(16, 1, 1))
    apply(model, None, [Initialize("fan_in", 1.0)])
    out = layer(torch.randn(8, 32, 20, 20))[:, :, 2:-2, 2:-2]  # away from the padding
    assert float(out.detach().square().mean()) == pytest.approx(1.0, rel=0.1)


def test_orthogonal_weights_are_orthogonal_and_a_gain_of_zero_is_zero():
    model = stack()
    apply(
        model,
        None,
        [Initialize("orthogonal", 1.5, paths=("0",)), Initialize("fan_in", 0.0, paths=("2",))],
    )
    assert torch.allclose(model[0].weight @ model[0].weight.T, 2.25 * torch.eye(6), atol=1e-5)
    assert not model[2].weight.any()


def test_tied_weights_are_drawn_once_and_stay_tied():
    model = stack()
    model[2].weight = model[0].weight
    apply(model, None, [Initialize("orthogonal")])
    assert model[2].weight is model[0].weight


def test_the_random_state_is_put_back():
    model, state = stack(), torch.get_rng_state()
    apply(model, None, [Initialize("fan_in"), Calibrate()], batch=(torch.ones(3, 6),))
    assert torch.equal(torch.get_rng_state(), state)


def test_lsuv_gives_every_layer_unit_size_and_two_sided_the_gradient_too(x):
    one, two = stack(depth=6, width=64), stack(depth=6, width=64)
    x = torch.randn(256, 64)
    apply(one, None, [Calibrate()], batch=(x,))
    apply(two, None, [Calibrate(two_sided=True)], batch=(x,))
    reach = []
    for model in (one, two):
        leaf = x.clone().requires_grad_()
        h = leaf
        for layer in list(model)[:-1]:
            h = layer(h)
            if isinstance(layer, nn.Linear):
                assert float(h.detach().square().mean()) == pytest.approx(1.0, rel=0.02)
        h.backward(torch.randn_like(h))
        reach.append(math.log10(float(leaf.grad.norm() / 128)))
    assert reach[0] < -1.5  # (g_f / g_b)^2 = .153 a layer: LSUV cannot repair a sigmoid
    assert abs(reach[1]) < 0.2


def test_what_needs_data_waits_for_the_first_forward_pass(x):
    now, later = stack(), stack()
    later.load_state_dict(now.state_dict())
    state = torch.get_rng_state()
    apply(now, None, [Calibrate()], batch=(x,))
    torch.set_rng_state(state)
    apply(later, None, [Calibrate()])
    assert torch.allclose(later(x), now(x), atol=1e-6)
    assert torch.allclose(later(2 * x), now(2 * x), atol=1e-6)  # only the first


@pytest.mark.parametrize("kind", ["batch", "layer", "group", "rms"])
def test_a_normalization_sits_between_layer_and_activation(kind, x):
    model = nn.Sequential(nn.Linear(6, 64), nn.Sigmoid(), nn.Linear(64, 2))
    names = set(model.state_dict())
    operation = apply(model, None, [InsertNormalization(kind)])
    assert names < set(model.state_dict())  # the names of before are kept
    assert all(neighbor is model[0].weight for neighbor, _ in operation.joined)
    z = F.linear(x, model[0].weight, model[0].bias)
    expected = {
        "batch": lambda: F.batch_norm(z, None, None, training=True),
        "layer": lambda: F.layer_norm(z, (64,)),
        "group": lambda: F.group_norm(z, 2),  # of 32 units each
        "rms": lambda: F.rms_norm(z, (64,)),
    }[kind]()
    assert torch.allclose(model(x), model[2](torch.sigmoid(expected)), atol=1e-5)


def test_batch_normalization_takes_the_axes_before_the_features_as_its_batch():
    model = nn.Sequential(nn.Linear(6, 4), nn.ReLU(), nn.Linear(4, 1))
    apply(model, None, [InsertNormalization("batch")])
    x = torch.randn(5, 7, 6)
    flat = model(x.reshape(35, 6)).reshape(5, 7, 1)
    assert torch.allclose(model(x), flat, atol=1e-6)
    assert torch.isfinite(model(x[:1, 0])).all()  # a last batch of one has no variance


@pytest.mark.parametrize("kind", ["batch", "layer", "group"])
def test_convolutions_are_normalized_too(kind):
    model = nn.Sequential(nn.Conv2d(3, 8, 3), nn.ReLU(), nn.Conv2d(8, 2, 3))
    apply(model, None, [InsertNormalization(kind)])
    seen = []
    model[1].register_forward_pre_hook(lambda _m, args: seen.append(args[0]))
    model(torch.randn(4, 3, 9, 9))
    axes = {"batch": (0, 2, 3), "layer": (1, 2, 3), "group": (1, 2, 3)}[kind]
    assert torch.allclose(seen[0].mean(axes), torch.zeros(1), atol=1e-5)


def test_a_skip_goes_around_layer_normalization_and_activation(x):
    model = stack()
    apply(model, None, [InsertNormalization("layer"), AddSkip()])
    h = x
    for place in (0, 2, 4):
        inner = F.layer_norm(F.linear(h, model[place].weight, model[place].bias), (6,))
        h = h + torch.sigmoid(inner) / 3**0.5
    assert torch.allclose(model(x), model[6](h), atol=1e-6)


def test_a_skip_around_a_function_call_and_one_that_changes_width_is_left(x):
    model = Functional()
    operation = apply(model, None, [AddSkip(0.0, learned=True)])
    assert torch.allclose(model(x), torch.sigmoid(model.head(x)), atol=1e-6)
    assert [tuple(new.shape) for _, new in operation.joined] == [()] * 3
    model(x).sum().backward()
    assert model.layers[0].skip_scale.grad is not None


def encoder(**kind):
    layer = nn.TransformerEncoderLayer(8, 2, 16, dropout=0.0, batch_first=True, **kind)
    return nn.TransformerEncoder(layer, 3, enable_nested_tensor=False)


def test_post_norm_blocks_become_pre_norm_ones_with_a_final_normalization():
    model, x = encoder(), torch.randn(2, 5, 8)
    other = encoder(norm_first=True)
    other.load_state_dict(model.state_dict())
    operation = apply(model, None, [MoveNormalization("pre")])
    assert torch.allclose(model(x), F.layer_norm(other(x), (8,)), atol=1e-5)
    assert len(operation.joined) == 2


def test_deep_norm_is_the_scale_of_its_branches():
    model, x = encoder(), torch.randn(2, 5, 8)
    apply(model, None, [MoveNormalization("deepnorm")])
    alpha = (2 * 3) ** 0.25
    h = x
    for block in model.layers:
        h = F.layer_norm(alpha * h + block.self_attn(h, h, h, need_weights=False)[0], (8,))
        h = F.layer_norm(alpha * h + block.linear2(block.linear1(h).relu()), (8,))
    # LN(alpha x + f) = LN(x + f / alpha), up to the epsilon of LN, which is smaller by alpha^2
    assert torch.allclose(model(x), h, atol=1e-4)


def test_dead_units_are_drawn_anew_and_living_ones_kept(x):
    model = stack(nn.ReLU)
    with torch.no_grad():
        model[0].bias[:3] = -100.0
    before = model[0].weight.clone()
    apply(model, None, [ReviveUnits()], batch=(x,))
    assert (model[0](x) > 0).any(dim=0).all()
    assert torch.equal(model[0].weight[3:], before[3:])
    assert not torch.equal(model[0].weight[:3], before[:3])


def test_biases_are_set(x):
    model = stack()
    apply(model, None, [SetBias(0.1)])
    assert torch.equal(model[0].bias, torch.full((6,), 0.1))


def test_the_input_is_standardized_by_the_first_batch(x):
    model = nn.Sequential(nn.Linear(6, 6), nn.ReLU(), nn.Linear(6, 1))
    scaled = x * torch.tensor([1.0, 10.0, 100.0, 0.1, 5.0, 0.0]) + 7.0
    apply(model, None, [StandardizeInput()])
    seen = []
    model[0].register_forward_pre_hook(lambda _m, args: seen.append(args[0]))
    model(scaled)
    assert torch.allclose(seen[0].mean(0), torch.zeros(6), atol=1e-4)
    assert torch.allclose(seen[0].std(0, correction=0)[:5], torch.ones(5), atol=1e-3)
    model(scaled[:2])
    assert torch.allclose(seen[1], seen[0][:2])


def test_half_precision_weights_become_full_ones(x):
    model = stack().bfloat16()
    apply(model, None, [SetPrecision("float32_weights")])
    assert model(x.bfloat16()).dtype is torch.float32


def test_frozen_weights_train_again():
    model = stack().requires_grad_(False)
    operation = apply(model, None, [Unfreeze(paths=("0",))])
    assert [p.requires_grad for p in model.parameters()] == [True, True] + [False] * 6
    assert [new for _, new in operation.joined] == list(model[0].parameters())


def test_what_finds_no_place_is_left_with_the_reason():
    model = stack(nn.ReLU)
    edits = [ReplaceRecurrent(), SwapActivation("relu", paths=("sigmoid#1",)), Advise("Sleep.")]
    operation = apply(model, None, edits[:1] + edits[2:])
    assert not operation.done
    assert [edit for edit, _ in operation.left] == [edits[0], edits[2]]
    assert all(why for _, why in operation.left)
