"""The parameter tier beside NumPy in float64."""

import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn

from gradfuga._observe import observe
from gradfuga._torch.norms import joint, norm, norms, resolve
from gradfuga._torch.parameters import nonfinite_count, zero_shares
from gradfuga._torch.second_moments import attenuation

LABELS = torch.tensor([0, 1, 2, 0, 1, 2])
X = torch.randn(6, 5, generator=torch.Generator().manual_seed(2))
FLOAT32 = 1e-6  # sums of up to 40 squares, each rounded to 6e-8


def numpy(tensor):
    return tensor.detach().numpy().astype(np.float64).copy()


def length(array):
    return float(np.linalg.norm(array.reshape(-1)))


def mlp():
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(5, 8), nn.Tanh(), nn.Linear(8, 3))


class Reference:
    """The same training beside ours, written down in NumPy at every step."""

    def __init__(self):
        self.rows = []

    def note(self, **values):
        self.rows.append(values)

    def column(self, name, parameter):
        return [length(row[name][parameter]) for row in self.rows]


def grads(model):
    return {n: numpy(p.grad) for n, p in model.named_parameters() if p.grad is not None}


def weights(model):
    return {n: numpy(p) for n, p in model.named_parameters()}


def total(arrays):
    return math.sqrt(sum(length(array) ** 2 for array in arrays.values()))


def clip_norm(model):
    torch.nn.utils.clip_grad_norm_(model.parameters(), 0.05)


def clip_value(model):
    torch.nn.utils.clip_grad_value_(model.parameters(), 0.01)


def clip_data(model):
    for parameter in model.parameters():
        parameter.grad.data.clamp_(-0.01, 0.01)  # as deep Q-learning did for years


def anew(model):
    for parameter in model.parameters():
        parameter.grad = parameter.grad * 0.5


def train(model, optimizer, *, steps=6, micro=1, clip=None, zero=True, x=X):
    reference = Reference()
    with observe(model, optimizer, every=1) as observer:
        for number in range(steps):
            if zero:
                optimizer.zero_grad(set_to_none=number % 2 == 0)
            left = total(grads(model))
            for part in range(micro):
                (F.cross_entropy(model(x + 0.1 * part), LABELS) / micro).backward()
            gradient, weight = grads(model), weights(model)
            if clip:
                clip(model)
            given = grads(model)
            optimizer.step()
            update = {n: new - weight[n] for n, new in weights(model).items()}
            reference.note(gradient=gradient, weight=weight, update=update, given=given, left=left)
    return observer.readings, reference


@pytest.mark.parametrize("clip", [None, clip_norm, clip_value, clip_data, anew])
@pytest.mark.parametrize("micro", [1, 3])
def test_gradient_weight_and_real_update_are_those_of_numpy(clip, micro):
    model = mlp()
    optimizer = torch.optim.Adam(model.parameters(), lr=0.01)
    readings, reference = train(model, optimizer, steps=12, micro=micro, clip=clip)
    for name, _ in model.named_parameters():
        for kind in ("weight_grad", "weight", "update"):
            steps, seen = readings.series(name, kind, "norm")
            assert steps.tolist() == list(range(12))
            expected = reference.column(kind.replace("weight_grad", "gradient"), name)
            # an update is a difference of rounded weights: absolute, not relative to itself
            np.testing.assert_allclose(seen, expected, rtol=FLOAT32, atol=1e-7, err_msg=name)
    _, coefficient = readings.series("optimizer", "weight_grad", "clip_coefficient")
    expected = [total(row["given"]) / total(row["gradient"]) for row in reference.rows]
    np.testing.assert_allclose(coefficient, expected, rtol=1e-5)
    if clip is None:
        assert set(coefficient) == {1.0}
    else:
        assert max(coefficient) < 0.9


def test_clipping_through_data_that_begins_later_is_seen_too():
    model = mlp()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.0)
    calls = iter(range(100))
    readings, _ = train(
        model, optimizer, steps=40, clip=lambda m: clip_data(m) if next(calls) >= 12 else None
    )
    _, coefficient = readings.series("optimizer", "weight_grad", "clip_coefficient")
    assert set(coefficient[:12]) == {1.0}
    assert max(coefficient[20:]) < 0.9


def test_gradients_that_are_not_zeroed_are_stale_and_zeroed_ones_are_not():
    for zero in (True, False):
        model = mlp()
        optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
        readings, reference = train(model, optimizer, zero=zero)
        _, stale = readings.series("optimizer", "weight_grad", "stale")
        expected = [row["left"] / total(row["gradient"]) for row in reference.rows]
        np.testing.assert_allclose(stale, expected, rtol=1e-5)
        assert bool(max(stale) == 0.0) is zero
        assert zero or min(stale[1:]) > 0.3


@pytest.mark.parametrize(
    "settings",
    [{"eps": 1e-8}, {"eps": 1e-3}, {"eps": 1e3}, {"eps": 1e-3, "amsgrad": True}],
)
def test_the_attenuation_of_adam_is_root_v_over_root_v_plus_epsilon(settings):
    model = mlp()
    optimizer = torch.optim.Adam(model.parameters(), lr=0.01, betas=(0.9, 0.99), **settings)
    readings, reference = train(model, optimizer)
    for name, parameter in model.named_parameters():
        second = largest = np.zeros(parameter.shape)
        expected = []
        for number, row in enumerate(reference.rows, start=1):
            second = 0.99 * second + 0.01 * row["gradient"][name] ** 2
            largest = np.maximum(largest, second)
            used = largest if "amsgrad" in settings else second
            root = np.sqrt(used / (1 - 0.99**number))
            expected.append(float((root / (root + settings["eps"])).mean()))
        _, seen = readings.series(name, "update", "attenuation")
        np.testing.assert_allclose(seen, expected, rtol=1e-5)


def test_optimizers_without_a_second_moment_have_no_attenuation():
    model = mlp()
    for optimizer in (
        torch.optim.SGD(model.parameters()),
        torch.optim.Adadelta(model.parameters()),
    ):
        F.cross_entropy(model(X), LABELS).backward()
        optimizer.step()
        assert set(attenuation(optimizer, list(model.parameters()))) == {None}


@pytest.mark.parametrize("scale", [1e-40, 1e-30, 1e-22, 1.0, 1e19, 1e30, 3e37])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
def test_a_norm_neither_overflows_nor_vanishes(scale, dtype):
    tensor = (torch.randn(40, 7, generator=torch.Generator().manual_seed(0)) * scale).to(dtype)
    expected = float(np.linalg.norm(tensor.double().numpy()))
    assert 0.0 < expected < math.inf
    for seen in (norm(tensor), *norms([tensor, torch.ones(3), tensor.T])[::2]):
        assert seen == pytest.approx(expected, rel=FLOAT32)


@pytest.mark.parametrize("scale", [1e-30, 1e30])
def test_tiny_and_huge_gradients_are_recorded_as_they_are(scale):
    weight = nn.Parameter(torch.randn(5, 3))
    optimizer = torch.optim.SGD([weight], lr=1e-3 / scale)
    with observe(optimizer=optimizer, every=1) as observer:
        ((X @ weight) * scale).sum().backward()
        expected = length(numpy(weight.grad))
        optimizer.step()
    path = observer.readings.record.parameters[0].path
    _, seen = observer.readings.series(path, "weight_grad", "norm")
    assert seen[0] == pytest.approx(expected, rel=FLOAT32)
    _, coefficient = observer.readings.series("optimizer", "weight_grad", "clip_coefficient")
    assert coefficient.tolist() == [1.0]


@pytest.mark.parametrize("scales", [[1e-200, 3e-200], [1e200, 2e200], [0.0, 5.0], [0.0]])
def test_the_joint_norm_of_parts_keeps_their_scale(scales):
    top = max(scales) or 1.0
    assert joint(scales) == pytest.approx(top * math.hypot(*(s / top for s in scales)), rel=1e-12)


def test_values_that_are_not_finite_are_counted():
    model = mlp()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    with observe(model, optimizer, every=1) as observer:
        F.cross_entropy(model(X), LABELS).backward()
        with torch.no_grad():
            model[0].weight.grad[0, :2] = math.nan
            model[0].weight.grad[1, 0] = math.inf
            model[2].weight.grad[:, :4] = 0.0
        broken, zero = numpy(model[0].weight.grad), numpy(model[2].weight.grad)
        optimizer.step()
    readings = observer.readings
    counted = readings.series("0.weight", "weight_grad", "nonfinite")[1]
    assert counted.tolist() == [np.count_nonzero(~np.isfinite(broken))] == [3]
    assert readings.series("2.weight", "weight_grad", "zero_fraction")[1][0] == pytest.approx(
        np.mean(zero == 0.0)
    )


def test_a_gradient_that_breaks_in_the_backward_pass_is_counted():
    model = mlp()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    with observe(model, optimizer, every=1) as observer:
        (model(X) * math.inf).sum().backward()
        expected = int(np.count_nonzero(~np.isfinite(numpy(model[2].weight.grad))))
        optimizer.step()
    assert expected > 0
    assert observer.readings.series("2.weight", "weight_grad", "nonfinite")[1].tolist() == [
        expected
    ]


def test_counts_of_one_tensor_are_exact():
    tensor = torch.tensor([0.0, 1.0, -0.0, math.nan, math.inf])
    assert zero_shares([tensor, None]) == [pytest.approx(0.4), None]
    half = tensor.to(torch.bfloat16)
    assert resolve([zero_shares([tensor, half])[1]]) == [pytest.approx(0.4)]
    assert resolve([nonfinite_count(tensor, math.nan)]) == [2.0]
    assert nonfinite_count(tensor, 1.0) == 0.0


def test_the_zero_share_of_a_large_tensor_is_estimated_from_a_sample_of_it():
    big = torch.randn(512, 1024, generator=torch.Generator().manual_seed(0))
    big[:, ::4] = 0.0  # whole columns, as dead units leave them
    assert zero_shares([big])[0] == pytest.approx(0.25, abs=0.04)  # three standard errors


def test_sparse_gradients_are_measured_as_what_they_add_up_to():
    torch.manual_seed(0)
    embed = nn.Embedding(50, 4, sparse=True)
    optimizer = torch.optim.SparseAdam(embed.parameters(), lr=0.1)
    tokens = torch.tensor([3, 3, 7, 9, 3])
    with observe(embed, optimizer, every=1) as observer:
        for _ in range(3):
            optimizer.zero_grad()
            before = numpy(embed.weight)
            embed(tokens).square().sum().backward()
            assert embed.weight.grad.is_sparse
            gradient = numpy(embed.weight.grad.to_dense())
            optimizer.step()
            update = numpy(embed.weight) - before
    readings = observer.readings
    name = "weight"
    assert readings.series(name, "weight_grad", "norm")[1][-1] == pytest.approx(
        length(gradient), rel=FLOAT32
    )
    assert readings.series(name, "update", "norm")[1][-1] == pytest.approx(length(update), rel=1e-5)
    assert readings.series(name, "weight", "norm")[1][-1] == pytest.approx(
        length(before), rel=FLOAT32
    )


def test_a_closure_has_its_gradient_from_its_first_pass_and_no_clipping():
    model = mlp()
    optimizer = torch.optim.LBFGS(model.parameters(), lr=0.1, max_iter=3)
    first = []

    def closure():
        optimizer.zero_grad()
        loss = F.cross_entropy(model(X), LABELS)
        loss.backward()
        first.append(grads(model))
        return loss

    with observe(model, optimizer, every=1) as observer:
        for _ in range(3):
            starts = len(first)
            optimizer.step(closure)
    readings = observer.readings
    assert readings.series("0.weight", "weight_grad", "norm")[1][-1] == pytest.approx(
        length(first[starts]["0.weight"]), rel=FLOAT32
    )
    coefficients = readings.series("optimizer", "weight_grad", "clip_coefficient")[1]
    assert coefficients.tolist() == [1.0, 1.0, 1.0]  # looked at when the closure has ended
    assert len(readings.losses[0]) == 3


def test_a_model_that_is_frozen_as_a_whole_is_stepped_without_a_failure():
    model = mlp().requires_grad_(requires_grad=False)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    with observe(model, optimizer, every=1) as observer:
        for _ in range(3):
            optimizer.step()
    record = observer.readings.record
    assert (record.steps, record.warnings) == (3, ())
    assert not any(each.trainable for each in record.parameters)
