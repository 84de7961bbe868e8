"""The largest absolute values, beside NumPy in float64."""

import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn

from gradfuga._observe import observe
from gradfuga._torch.peaks import peaks

LABELS = torch.tensor([0, 1, 2, 0, 1, 2])
X = torch.randn(6, 5, generator=torch.Generator().manual_seed(2))


def numpy(tensor):
    return tensor.detach().numpy().astype(np.float64).copy()


def mlp():
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(5, 8), nn.Tanh(), nn.Linear(8, 3))


def largest(arrays):
    return {name: float(np.abs(array).max()) for name, array in arrays.items()}


def train(*, micro=1, clip=None, scaler=None, tape=True, dtype=torch.float32):
    """Return the readings of four steps, and the truth of each, worked out in NumPy."""
    model = mlp().to(dtype)
    optimizer = torch.optim.Adam(model.parameters(), lr=0.01)
    truth = []
    with observe(model, optimizer, every=1, tape=tape) as observer:
        for _ in range(4):
            optimizer.zero_grad()
            for part in range(micro):
                loss = F.cross_entropy(model((X + 0.1 * part).to(dtype)), LABELS) / micro
                (scaler.scale(loss) if scaler else loss).backward()
            scale = scaler.get_scale() if scaler else 1.0
            names = dict(model.named_parameters())
            gradient = {name: numpy(p.grad) / scale for name, p in names.items()}
            before = {name: numpy(p.double()) for name, p in names.items()}
            if clip:
                clip(model.parameters())
            if scaler:
                scaler.step(optimizer)
                scaler.update()
            else:
                optimizer.step()
            moved = {name: numpy(p.double()) - before[name] for name, p in names.items()}
            truth.append(
                {
                    "weight_grad": largest(gradient),
                    "weight": largest(before),
                    "update": largest(moved),
                }
            )
    return observer.readings, truth


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"micro": 3},
        {"clip": lambda ps: nn.utils.clip_grad_norm_(ps, 1e-3)},
        {"clip": lambda ps: nn.utils.clip_grad_value_(ps, 1e-3)},
        {"scaler": torch.amp.GradScaler("cpu", init_scale=1024.0)},
        {"dtype": torch.float64},
    ],
    ids=["plain", "micro-batches", "clipped by norm", "clipped by value", "scaler", "float64"],
)
def test_the_largest_values_are_those_of_numpy(settings):
    readings, truth = train(**settings)
    for kind in ("weight_grad", "weight", "update"):
        assert set(readings.paths(kind, "max_abs")) == set(truth[0][kind])
        for name in truth[0][kind]:
            steps, seen = readings.series(name, kind, "max_abs")
            assert steps.tolist() == [0, 1, 2, 3]
            # a maximum is one of the values, so that it is exact; the difference of two float32
            # weights is rounded once
            rounding = 1e-7 if kind == "update" else 0.0
            np.testing.assert_allclose(seen, [each[kind][name] for each in truth], rtol=rounding)


def test_where_only_parameters_are_read_no_pass_over_them_is_spent_on_it():
    readings, _ = train(tape=False)
    assert readings.paths("weight_grad", "norm")
    assert not any(readings.paths(kind, "max_abs") for kind in ("weight_grad", "weight", "update"))


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
def test_one_value_of_any_sign_and_format_is_found_exactly(dtype):
    tensor = torch.linspace(-3.5, 3.0, 14, dtype=dtype).reshape(7, 2)
    expected = np.abs(tensor.double().numpy()).max()
    assert peaks([tensor, -tensor, tensor.T]) == [expected] * 3


def test_a_nan_is_never_hidden_and_an_infinity_is_one():
    nan, infinite = torch.tensor([1.0, math.nan, math.inf]), torch.tensor([1.0, -math.inf])
    found = peaks([nan, -nan, infinite, torch.zeros(2), torch.empty(0, 3)])
    assert [math.isnan(each) for each in found[:2]] == [True, True]
    assert found[2:] == [math.inf, 0.0, 0.0]


def test_sparse_gradients_count_as_what_they_add_up_to_and_complex_ones_by_modulus():
    sparse = torch.sparse_coo_tensor([[1, 1, 3]], [2.0, 3.0, -4.0], (5,), check_invariants=True)
    assert peaks([sparse, torch.tensor([3 + 4j, 1j])]) == [5.0, 5.0]
