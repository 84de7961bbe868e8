"""What a gradient scaler puts on a step is taken off again, and what it skips is seen."""

import copy

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from gradfuga._observe import observe

LABELS = torch.tensor([0, 1, 2, 0, 1, 2])
X = torch.randn(6, 5, generator=torch.Generator().manual_seed(2))
# Norms of float32 gradients, summed in another order than NumPy's float64.
FLOAT32 = 1e-5


def mlp(seed=0):
    torch.manual_seed(seed)
    return nn.Sequential(nn.Linear(5, 8), nn.Tanh(), nn.Linear(8, 3))


def exact_norms(model, x):
    """Norms of the gradients in float64, by autograd.grad on a copy."""
    twin = copy.deepcopy(model).double()
    loss = F.cross_entropy(twin(x.double()), LABELS)
    given = torch.autograd.grad(loss, list(twin.parameters()))
    return {n: float(g.norm()) for (n, _), g in zip(twin.named_parameters(), given, strict=True)}


def train(model, optimizer, scaler, *, steps=6, broken=(), every=1, before_step=None):
    truth = []
    with observe(model, optimizer, every=every) as observer:
        for step in range(steps):
            x = torch.full_like(X, torch.inf) if step in broken else X
            truth.append(exact_norms(model, x))
            optimizer.zero_grad()
            scaler.scale(F.cross_entropy(model(x), LABELS)).backward()
            if before_step is not None:
                before_step(scaler, optimizer)
            scaler.step(optimizer)
            scaler.update()
    return observer.readings, truth


@pytest.mark.parametrize("fused", [False, True])
@pytest.mark.parametrize("explicit", [False, True])
def test_gradients_and_losses_are_those_of_the_unscaled_loss(fused, explicit):
    model = mlp()
    optimizer = torch.optim.Adam(model.parameters(), lr=0.01, fused=fused)
    scaler = torch.amp.GradScaler("cpu", init_scale=2.0**14, growth_interval=2)
    unscale = (lambda scaler, optimizer: scaler.unscale_(optimizer)) if explicit else None
    readings, truth = train(model, optimizer, scaler, before_step=unscale)
    for name in truth[0]:
        seen = readings.series(name, "weight_grad", "norm")[1].tolist()
        assert seen == pytest.approx([step[name] for step in truth], rel=FLOAT32)
    with torch.no_grad():
        first = float(F.cross_entropy(mlp()(X), LABELS))
    assert readings.losses[1][0] == pytest.approx(first, rel=FLOAT32)
    assert readings.losses[1][-1] < first  # the scale has grown fourfold meanwhile
    assert readings.series("loss", "loss", "baseline")[1] == pytest.approx(
        [torch.log(torch.tensor(3.0)).item()] * 6, rel=FLOAT32
    )
    scales = readings.series("optimizer", "weight_grad", "loss_scale")[1].tolist()
    assert scales == [2.0**14, 2.0**14, 2.0**15, 2.0**15, 2.0**16, 2.0**16]
    clip = readings.series("optimizer", "weight_grad", "clip_coefficient")[1]
    assert clip.tolist() == pytest.approx([1.0] * 6, rel=FLOAT32)


@pytest.mark.parametrize("fused", [False, True])
def test_a_step_that_the_scaler_skips_is_seen_and_counted(fused):
    model = mlp()
    optimizer = torch.optim.Adam(model.parameters(), lr=0.01, fused=fused)
    scaler = torch.amp.GradScaler("cpu", init_scale=4.0)
    readings, _ = train(model, optimizer, scaler, broken={1, 3})
    assert readings.record.steps == 6
    counted = readings.series("optimizer", "update", "skipped_steps")[1].tolist()
    assert counted == [0.0, 1.0, 1.0, 2.0, 2.0, 2.0]
    moved = readings.series("0.weight", "update", "norm")[1] > 0.0
    assert moved.tolist() == [True, False, True, False, True, True]
    broken = readings.series("0.weight", "weight_grad", "nonfinite")[1] > 0.0
    assert broken.tolist() == [False, True, False, True, False, False]


def test_the_scaler_is_as_it_was_afterwards():
    before = torch.amp.GradScaler.step
    model = mlp()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    scaler = torch.amp.GradScaler("cpu")
    with observe(model, optimizer):
        assert torch.amp.GradScaler.step is not before
        scaler.scale(F.cross_entropy(model(X), LABELS)).backward()
        scaler.step(optimizer)
        with pytest.raises(RuntimeError, match="already been called"):
            scaler.step(optimizer)
    assert torch.amp.GradScaler.step is before


def test_a_disabled_scaler_scales_nothing():
    model = mlp()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    readings, truth = train(model, optimizer, torch.amp.GradScaler("cpu", enabled=False))
    seen = readings.series("0.weight", "weight_grad", "norm")[1].tolist()
    assert seen == pytest.approx([step["0.weight"] for step in truth], rel=FLOAT32)
    assert not readings.has("loss_scale")
