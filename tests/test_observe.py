"""Observing changes nothing: weights, random state and process are as without it."""

import contextlib
import copy
import pickle
import random

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torch.nn.modules import module as modules
from torch.optim import optimizer as optimizers

from gradfuga._errors import ObservationError, UsageError
from gradfuga._observe import observe

LABELS = torch.tensor([0, 1, 2, 0, 1, 2])
X = torch.randn(6, 5, generator=torch.Generator().manual_seed(2))
TOKENS = torch.arange(18).view(6, 3) % 7


class Net(nn.Module):
    """Everything whose state a careless observer would touch: dropout, batch norm, in place."""

    def __init__(self):
        super().__init__()
        self.body = nn.Sequential(
            nn.Linear(5, 8), nn.BatchNorm1d(8), nn.ReLU(inplace=True), nn.Dropout(0.3)
        )
        self.head = nn.Linear(8, 3)

    def forward(self, x):
        return self.head(self.body(x))


class Words(nn.Module):
    def __init__(self):
        super().__init__()
        self.embed, self.head = nn.Embedding(7, 4, sparse=True), nn.Linear(4, 3)

    def forward(self, tokens):
        return self.head(torch.tanh(self.embed(tokens).mean(1)))


class Flat(nn.Module):
    """Matrices alone: Muon takes nothing else."""

    def __init__(self):
        super().__init__()
        self.a, self.b = nn.Linear(5, 8, bias=False), nn.Linear(8, 3, bias=False)

    def forward(self, x):
        return self.b(torch.tanh(self.a(x)))


def step(model, optimizer, _):
    optimizer.zero_grad()
    loss = F.cross_entropy(model(X), LABELS)
    loss.backward()
    optimizer.step()


def step_closure(model, optimizer, _):
    def closure():
        optimizer.zero_grad()
        loss = F.cross_entropy(model(X), LABELS)
        loss.backward()
        return loss

    optimizer.step(closure)


def step_words(model, optimizer, _):
    for each in optimizer:
        each.zero_grad()
    F.cross_entropy(model(TOKENS), LABELS).backward()
    for each in optimizer:
        each.step()


def step_accumulating(model, optimizer, number):
    (F.cross_entropy(model(X + 0.1 * number), LABELS) / 3).backward()
    if number % 3 == 2:
        torch.nn.utils.clip_grad_norm_(model.parameters(), 0.1)
        optimizer.step()
        optimizer.zero_grad()


def step_penalized(model, optimizer, _):
    optimizer.zero_grad()
    x = X.clone().requires_grad_()
    loss = F.cross_entropy(model(x), LABELS)
    (slope,) = torch.autograd.grad(loss, x, create_graph=True)
    (loss + slope.square().sum()).backward()
    optimizer.step()


def step_differentiable(model, optimizer, _):
    optimizer.zero_grad()
    loss = F.cross_entropy(model(X), LABELS)
    loss.backward(create_graph=True)
    optimizer.step()
    for parameter in model.parameters():
        parameter.grad = None


def step_retaining(model, optimizer, _):
    optimizer.zero_grad()
    out = model(X)
    F.cross_entropy(out, LABELS).backward(retain_graph=True)
    out.square().mean().backward()
    optimizer.step()


def step_by_hand(model, optimizer, _):
    optimizer.zero_grad()
    loss = F.cross_entropy(model(X), LABELS)
    torch.autograd.backward([loss, 0.1 * loss])
    optimizer.step()


def of(name, **settings):
    return lambda model: getattr(torch.optim, name)(model.parameters(), **settings)


def sparse_and_dense(model):
    return (
        torch.optim.SparseAdam(model.embed.parameters(), lr=0.05),
        torch.optim.Adam(model.head.parameters(), lr=0.05),
    )


DENSE = [
    "ASGD",
    "Adadelta",
    "Adafactor",
    "Adagrad",
    "Adam",
    "AdamW",
    "Adamax",
    "NAdam",
    "RAdam",
    "RMSprop",
    "Rprop",
    "SGD",
]
STYLES = {name: (Net, of(name), step) for name in DENSE} | {
    "SGD with momentum": (Net, of("SGD", lr=0.1, momentum=0.9, nesterov=True), step),
    "Adam with amsgrad": (Net, of("Adam", amsgrad=True, weight_decay=0.1), step),
    "RMSprop centered": (Net, of("RMSprop", centered=True, momentum=0.5), step),
    "Adam fused": (Net, of("Adam", fused=True), step),
    "LBFGS": (Net, of("LBFGS", lr=0.1, max_iter=4), step_closure),
    "SGD with closure": (Net, of("SGD", lr=0.1), step_closure),
    "Muon": (Flat, of("Muon"), step),
    "SparseAdam": (Words, sparse_and_dense, step_words),
    "accumulation and clipping": (Net, of("SGD", lr=0.5), step_accumulating),
    "gradient penalty": (Flat, of("SGD", lr=0.1), step_penalized),
    "create_graph": (Flat, of("SGD", lr=0.1), step_differentiable),
    "retain_graph and two passes": (Net, of("Adam"), step_retaining),
    "two roots": (Net, of("Adam"), step_by_hand),
}


def trained(style, steps, **settings):
    build, optimize, advance = STYLES[style]
    torch.manual_seed(11)
    np.random.seed(11)
    random.seed(11)
    model = build()
    optimizer = optimize(model)
    observer = None
    if settings:
        observer = observe(**{k: v for k, v in settings.items() if v is not None})
        observer.__enter__()
    try:
        for number in range(steps):
            advance(model, optimizer, number)
    finally:
        if observer is not None:
            observer.close()
    chance = (torch.get_rng_state(), np.random.get_state(), random.getstate())
    return model, chance, observer


def test_every_optimizer_of_torch_is_tried():
    known = {
        name
        for name, value in vars(torch.optim).items()
        if isinstance(value, type) and issubclass(value, torch.optim.Optimizer)
    }
    assert known - {"Optimizer"} <= {*DENSE, "LBFGS", "Muon", "SparseAdam"}


@pytest.mark.filterwarnings("ignore:Using backward:UserWarning")  # torch's own, on create_graph
@pytest.mark.parametrize("settings", [{"every": 1}, {"budget": 0.01}], ids=["every=1", "budget"])
@pytest.mark.parametrize("style", STYLES)
def test_fifty_observed_steps_are_bit_equal(style, settings, caplog):
    (bare, chance, _), (model, other_chance, observer) = (
        trained(style, 50),
        trained(style, 50, **settings),
    )
    for (name, one), other in zip(
        bare.state_dict().items(), model.state_dict().values(), strict=True
    ):
        assert torch.equal(one, other), name
    for one, other in zip(bare.parameters(), model.parameters(), strict=True):
        assert (one.grad is None) == (other.grad is None)
        if one.grad is not None:
            assert torch.equal(one.grad.to_dense(), other.grad.to_dense())
    assert torch.equal(chance[0], other_chance[0])
    assert np.array_equal(chance[1][1], other_chance[1][1])
    assert chance[2] == other_chance[2]
    assert not caplog.records  # nothing of ours failed either
    steps = 16 if style == "accumulation and clipping" else 50
    assert {readings.record.steps for readings in observer.trainings} == {steps}


def process_state():
    """Everything of the process that an observer might leave something in."""
    return (
        torch.autograd.backward,
        torch.is_anomaly_enabled(),
        torch.is_anomaly_check_nan_enabled(),
        *(
            dict(getattr(modules, name))
            for name in vars(modules)
            if name.startswith("_global_") and name.endswith(("hooks", "always_called"))
        ),
        dict(optimizers._global_optimizer_pre_hooks),
        dict(optimizers._global_optimizer_post_hooks),
    )


def no_hook_left(model, optimizer, out):
    for module in model.modules():
        assert not module._forward_hooks
        assert not module._forward_pre_hooks
        assert not module._backward_hooks
    for parameter in model.parameters():
        assert not parameter._backward_hooks
        assert parameter._post_accumulate_grad_hooks is None
    assert not optimizer._optimizer_step_pre_hooks
    assert not optimizer._optimizer_step_post_hooks
    assert not out.grad_fn.metadata.get("traceback_")


@pytest.mark.parametrize("raising", [False, True])
def test_nothing_is_left_behind(raising):
    before = process_state()
    torch.manual_seed(0)
    model = Net()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    names = set(vars(model)), set(vars(optimizer)), [*model.state_dict()]
    with contextlib.suppress(KeyError), observe(model, optimizer, every=1):
        for number in range(3):
            step(model, optimizer, number)
        loss = F.cross_entropy(model(X), LABELS)
        if raising:
            raise KeyError
    assert all(one == other for one, other in zip(before, process_state(), strict=True))
    assert (set(vars(model)), set(vars(optimizer)), [*model.state_dict()]) == names
    loss.backward()  # the graph of the last forward pass is whole
    no_hook_left(model, optimizer, model(X))
    for copied in (copy.deepcopy(model), pickle.loads(pickle.dumps(model))):
        for one, other in zip(copied.parameters(), model.parameters(), strict=True):
            assert torch.equal(one, other)


def test_a_backward_pass_that_raises_leaves_no_hook_and_its_own_exception():
    class Broken(torch.autograd.Function):
        @staticmethod
        def forward(ctx, x):
            return x.clone()

        @staticmethod
        def backward(ctx, gradient):
            raise RuntimeError("the user's own")

    model = nn.Linear(5, 3)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    before = process_state()
    with observe(model, optimizer, every=1):
        loss = F.cross_entropy(Broken.apply(model(X)), LABELS)
        with pytest.raises(RuntimeError, match=r"^the user's own$"):
            loss.backward()
        step(model, optimizer, 0)
    assert all(one == other for one, other in zip(before, process_state(), strict=True))


@pytest.mark.filterwarnings("ignore:Anomaly Detection:UserWarning")
def test_anomaly_mode_of_the_program_is_its_own():
    model = Net()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    with observe(model, optimizer, every=1), torch.autograd.detect_anomaly():
        for number in range(3):
            step(model, optimizer, number)
            assert torch.is_anomaly_enabled()
            assert torch.is_anomaly_check_nan_enabled()
    assert not torch.is_anomaly_enabled()
    torch.autograd.set_detect_anomaly(True)
    try:
        with observe(model, optimizer, every=1):
            step(model, optimizer, 0)
        assert torch.is_anomaly_enabled()
        assert torch.is_anomaly_check_nan_enabled()
    finally:
        torch.autograd.set_detect_anomaly(False)


def test_a_model_can_be_copied_and_pickled_while_it_is_observed():
    model = Net()
    optimizer = torch.optim.Adam(model.parameters())
    with observe(model, optimizer, every=1):
        step(model, optimizer, 0)
        copied = copy.deepcopy((model, optimizer))
        pickle.dumps(model)
        pickle.dumps(optimizer.state_dict())
    assert all(
        torch.equal(one, other)
        for one, other in zip(copied[0].parameters(), model.parameters(), strict=True)
    )


def test_closing_twice_is_harmless_and_readings_stay():
    model = Net()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    observer = observe(model, optimizer, every=1)
    with observer:
        step(model, optimizer, 0)
    observer.close()
    assert observer.readings.record.steps == 1


def test_readings_without_a_step_say_what_is_missing():
    with observe() as observer:
        pass
    with pytest.raises(ObservationError, match="expected at least one optimizer step"):
        _ = observer.readings


@pytest.mark.parametrize("settings", [{"every": 0}, {"budget": 0.0}, {"budget": 1.5}])
def test_a_setting_that_cannot_be_meant_is_refused(settings):
    with pytest.raises(UsageError, match=r"expected .*, got .*\. Write "):
        observe(**settings)
