"""Glimpses: what the best constant makes of the very batch that a step was taken on."""

import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn

from gradfuga._observe import observe
from gradfuga._torch.glimpse import glimpse, is_due
from gradfuga._torch.recorder import MOST_SAMPLES, Recorder
from gradfuga._types import Kind
from gradfuga.analysis.progress import measure_progress
from gradfuga.flow import FlowGraph
from gradfuga.readings import RunRecord

STEPS, BATCH = 120, 32
WANTED = ("squares", "classes", "binary")


def batches(kind):
    """Targets of every step, drawn anew."""
    rng = np.random.default_rng(5)
    if kind == "squares":
        return rng.standard_normal((STEPS, BATCH, 2)).astype(np.float32) + 3.0
    if kind == "classes":
        return rng.choice(4, (STEPS, BATCH), p=[0.5, 0.3, 0.15, 0.05])
    return (rng.random((STEPS, BATCH, 1)) < 0.1).astype(np.float32)


def loss_of(kind, out, target):
    if kind == "squares":
        return F.mse_loss(out, target)
    if kind == "classes":
        return F.cross_entropy(out, target)
    return F.binary_cross_entropy_with_logits(out, target)


def constant_loss(kind, seen, here):
    """Loss on `here` of the constant that is best for all of `seen`, in float64."""
    if kind == "squares":
        return float(((here - seen.mean(0)) ** 2).mean())
    if kind == "classes":
        share = np.bincount(seen, minlength=4) / len(seen)
        return float(-np.log(share[here]).mean())
    p = seen.mean()
    return float(-(here * np.log(p) + (1 - here) * np.log(1 - p)).mean())


@pytest.mark.parametrize("scaling", [1.0, 1 / 4])
@pytest.mark.parametrize("kind", WANTED)
def test_a_gain_is_what_the_best_constant_would_lose_on_the_same_batch(kind, scaling):
    torch.manual_seed(0)
    targets = batches(kind)
    model = nn.Linear(3, {"squares": 2, "classes": 4, "binary": 1}[kind])
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05)
    values = []
    with observe() as observer:
        for target in targets:
            loss = loss_of(kind, model(torch.randn(BATCH, 3)), torch.from_numpy(target))
            if scaling != 1.0:
                loss = loss * scaling
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            values.append(loss.item())
    steps, gains = observer.readings.series("loss", Kind.LOSS, "gain")
    assert len(steps) > len(observer.readings.record.sampled)
    assert (2 * steps >= STEPS).sum() >= 30  # enough to tell something in the second half
    seen = []
    for step, gain in zip(steps.tolist(), gains.tolist(), strict=True):
        seen.extend(targets[step])
        constant = constant_loss(kind, np.array(seen, dtype=targets.dtype), targets[step])
        # the loss is a float32
        assert gain == pytest.approx(scaling * constant - values[step], abs=3e-6)


def test_no_constant_gains_anything_over_the_best_one_on_average():
    """The batch is part of what the constant is fitted to, or luck would look like learning."""
    targets = torch.from_numpy(batches("squares")[:, :, :1]).double()
    answer = torch.zeros(1, 1, dtype=torch.float64, requires_grad=True)
    optimizer = torch.optim.SGD([answer], lr=0.0)
    with torch.no_grad():
        answer += targets.mean()  # the best constant in hindsight
    with observe() as observer:
        for target in targets:
            loss = F.mse_loss(answer.expand(BATCH, 1), target)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
    progress = measure_progress(observer.readings)
    assert not progress.weak
    assert abs(progress.gain) < 0.005
    assert progress.error > 5 * progress.gain_error  # what the batches differ by has cancelled


def test_a_loss_of_several_parts_is_left_to_the_samples():
    x = torch.randn(8, 3)
    model = nn.Linear(3, 3)
    several = F.mse_loss(model(x), x) + model.weight.square().sum()
    assert glimpse(several, several.item()) is None
    masked = (F.mse_loss(model(x), x, reduction="none") * torch.rand(8, 3)).mean()
    assert glimpse(masked, masked.item()) is None
    two = (model(x) - x).square().mean() + (model(x) - x).abs().mean()
    assert glimpse(two, two.item()) is None


@pytest.mark.parametrize("reduce", [torch.mean, torch.sum])
def test_a_difference_that_a_script_squares_is_seen(reduce):
    x = torch.randn(8, 3, generator=torch.Generator().manual_seed(1))
    model = nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 3))
    loss = reduce((model(x) - x).square()) / 4
    found = glimpse(loss, loss.item())
    assert found is not None
    assert float(found.term.value) == pytest.approx(loss.item(), rel=1e-6)
    assert torch.allclose(found.term.target, x.double(), atol=1e-6)


@pytest.mark.parametrize("reduction", ["mean", "sum"])
def test_a_loss_that_is_reduced_and_scaled_by_hand_is_seen_through(reduction):
    x = torch.randn(8, 3, generator=torch.Generator().manual_seed(1))
    each = F.mse_loss(nn.Linear(3, 3)(x), x, reduction="none")
    loss = (each.mean() if reduction == "mean" else each.sum()) / 8 * -2.0
    found = glimpse(loss, loss.item())
    assert found is not None
    assert float(found.term.value) == pytest.approx(loss.item(), rel=1e-6)
    assert float(found.term.weight) == pytest.approx(loss.item() / each.mean().item(), rel=1e-6)


def test_glimpses_are_as_rare_as_the_run_is_long():
    taken, last = [], 0
    for step in range(100_000):
        if is_due(step, last):
            taken.append(step)
            last = step
    assert len(taken) < 600
    assert sum(step >= 50_000 for step in taken) >= 40


def test_a_weighted_backward_pass_is_no_glimpse():
    torch.manual_seed(0)
    model = nn.Linear(3, 1)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    with observe() as observer:
        for _ in range(40):
            optimizer.zero_grad()
            F.mse_loss(model(torch.randn(8, 3)), torch.randn(8, 1)).backward(torch.tensor(2.0))
            optimizer.step()
    steps = observer.readings.series("loss", Kind.LOSS, "gain")[0]
    assert set(steps.tolist()) <= set(observer.readings.record.sampled)


def test_thinning_lets_go_of_samples_and_leaves_the_glimpses_between_them():
    recorder = Recorder(None)
    sampled = list(range(0, 2 * (MOST_SAMPLES + 1), 2))
    for step in range(sampled[-1] + 1):
        recorder.add(step, "loss", Kind.LOSS, "gain", float(step))
    recorder.collect()
    kept = recorder.thin(sampled)
    assert len(kept) < len(sampled)
    readings = recorder.readings(FlowGraph(), RunRecord())
    steps = readings.series("loss", Kind.LOSS, "gain")[0].tolist()
    assert steps == sorted([*kept, *range(1, sampled[-1], 2)])


@pytest.mark.parametrize("form", ["huber", "smooth", "sharp"])
def test_the_best_constant_of_a_robust_loss_is_that_of_a_search(form):
    rng = np.random.default_rng(2)
    target = (rng.standard_t(2.0, 200) * 2.0 + 1.0).astype(np.float32)
    losses = {
        "huber": lambda a, b: F.huber_loss(a, b, delta=0.7),
        "smooth": F.smooth_l1_loss,
        "sharp": lambda a, b: F.smooth_l1_loss(a, b, beta=0.1),
    }
    wanted = torch.from_numpy(target)
    answer = torch.zeros(200, requires_grad=True)
    found = glimpse(loss := losses[form](answer, wanted), loss.item())
    assert found is not None
    count, total = found.term.moments.tolist()
    grid = torch.linspace(-3.0, 5.0, 4001)
    best = min(losses[form](g.expand(200), wanted).item() for g in grid)
    assert count == 200
    assert total / count == pytest.approx(best, rel=1e-4)
    assert math.isfinite(total)
