"""Steps that a script makes by itself are steps."""

import numpy as np
import pytest
import torch

from gradfuga._diagnose import diagnose
from gradfuga._observe import observe
from gradfuga._types import Kind


def data():
    generator = torch.Generator().manual_seed(3)
    x = torch.randn(64, 5, generator=generator)
    return x, (x[:, :1] * x[:, 1:2]).tanh()


def weights():
    generator = torch.Generator().manual_seed(4)
    shapes = ((5, 16), (16, 1))
    return [(0.5 * torch.randn(s, generator=generator)).requires_grad_() for s in shapes]


def in_place(parameters):
    with torch.no_grad():
        for p in parameters:
            p.sub_(0.1 * p.grad)
            p.grad.zero_()


def through_data(parameters):
    for p in parameters:
        p.data -= 0.1 * p.grad.data
        p.grad = None


def train(move, *, steps=30, passes=1):
    x, y = data()
    parameters = weights()
    for _ in range(steps):
        for half_x, half_y in zip(x.chunk(passes), y.chunk(passes), strict=True):
            loss = ((torch.tanh(half_x @ parameters[0]) @ parameters[1] - half_y) ** 2).mean()
            (loss / passes).backward()
        move(parameters)
    return parameters


def reference(steps):
    """The same in float64 NumPy: norms of each step's gradient and update of both weights."""
    x, y = (t.double().numpy() for t in data())
    one, two = (w.detach().double().numpy() for w in weights())
    found = []
    for _ in range(steps):
        hidden = np.tanh(x @ one)
        error = 2.0 * (hidden @ two - y) / len(x)
        g_two = hidden.T @ error
        g_one = x.T @ ((error @ two.T) * (1.0 - hidden**2))
        found.append((np.linalg.norm(g_one), np.linalg.norm(g_two)))
        one, two = one - 0.1 * g_one, two - 0.1 * g_two
    return np.array(found)


@pytest.mark.parametrize("move", [in_place, through_data])
@pytest.mark.parametrize("passes", [1, 2])
def test_gradients_and_updates_are_those_of_the_step(move, passes):
    with observe(every=1) as observer:
        kept = train(move, passes=passes)
    assert len(kept) == 2  # the last step is seen while the weights are there
    readings = observer.readings
    expected = reference(30)
    assert readings.record.steps == 30
    assert readings.record.optimizer == "by hand"
    paths = sorted(readings.paths(Kind.WEIGHT_GRAD, "norm"))
    assert len(paths) == 2
    for column, path in enumerate(paths):
        steps, gradient = readings.series(path, Kind.WEIGHT_GRAD, "norm")
        np.testing.assert_allclose(gradient, expected[steps, column], rtol=2e-5)
        steps, update = readings.series(path, Kind.UPDATE, "norm")
        # the update is a difference of float32 weights
        np.testing.assert_allclose(update, 0.1 * expected[steps, column], rtol=1e-3)


@pytest.mark.parametrize("move", [in_place, through_data])
def test_the_weights_are_those_of_the_unobserved_script(move):
    bare = train(move)
    with observe():
        watched = train(move)
    assert all(torch.equal(one, other) for one, other in zip(bare, watched, strict=True))


def test_unsampled_steps_are_counted_too():
    with observe(every=50) as observer:
        kept = train(in_place, steps=120)
    assert kept
    assert observer.readings.record.steps == 120
    assert observer.readings.record.sampled == (0, 50, 100)


def test_a_script_that_learns_by_hand_is_healthy():
    with observe() as observer:
        train(in_place, steps=1500)
    assert diagnose(observer.readings).verdict.value == "healthy"


def test_an_optimizer_that_exists_is_waited_for():
    x, y = data()
    parameters = weights()
    optimizer = torch.optim.SGD(parameters, lr=0.1)
    with observe() as observer:
        for step in range(4):
            ((x @ parameters[0] @ parameters[1] - y) ** 2).mean().backward()
            if step == 1:
                in_place(parameters)  # the script does as it pleases
        optimizer.step()
    assert [each.record.optimizer for each in observer.trainings] == ["SGD"]
    assert observer.readings.record.steps == 1


def test_an_input_that_is_moved_is_no_training():
    x, y = data()
    one, two = (w.detach() for w in weights())
    attack = torch.zeros_like(x, requires_grad=True)
    with observe() as observer:
        for _ in range(20):
            ((torch.tanh((x + attack) @ one) @ two - y) ** 2).mean().backward()
            attack.data += 0.01 * attack.grad.sign()
            attack.grad = None
    assert observer.trainings == ()


def test_gradients_for_their_own_sake_are_no_training():
    x, y = data()
    parameters = weights()
    with observe() as observer:
        for _ in range(40):
            ((x @ parameters[0] @ parameters[1] - y) ** 2).mean().backward()
            for p in parameters:
                p.grad = None
    assert observer.trainings == ()
