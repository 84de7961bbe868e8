"""Modules that a model keeps in plain lists: named, recorded where the loss depends on them."""

import torch
import torch.nn.functional as F
from torch import nn

from gradfuga._observe import observe
from gradfuga._torch.unregistered import unregistered


class Listed(nn.Module):
    """Keeps layers where torch does not look; `teacher` is there on purpose."""

    def __init__(self):
        super().__init__()
        self.hidden = [nn.Linear(6, 6), [nn.Linear(6, 6)]]
        self.by_name = {"last": nn.Linear(6, 6)}
        self.teacher = (nn.Linear(6, 3),)
        self.head = nn.Linear(6, 3)
        self.again = [self.head]  # registered too

    def forward(self, x):
        with torch.no_grad():
            soft = self.teacher[0](x)
        for layer in (self.hidden[0], self.hidden[1][0], self.by_name["last"]):
            x = torch.relu(layer(x))
        return self.head(x) + 0.0 * soft


def recorded(model, by_hand=(), steps=4):
    torch.manual_seed(0)
    optimizer = torch.optim.SGD([*model.parameters(), *by_hand], lr=0.1)
    x, y = torch.randn(16, 6), torch.randint(3, (16,))
    with observe(model, optimizer, every=1) as observer:
        for _ in range(steps):
            optimizer.zero_grad()
            F.cross_entropy(model(x), y).backward()
            optimizer.step()
    return observer.readings


def test_modules_in_containers_have_a_path():
    model = Listed()
    assert dict(unregistered(model)) == {
        "hidden.0": model.hidden[0],
        "hidden.1.0": model.hidden[1][0],
        "by_name.last": model.by_name["last"],
        "teacher.0": model.teacher[0],
    }
    inside = dict(unregistered(nn.Sequential(model)))
    assert set(inside) == {"0.hidden.0", "0.hidden.1.0", "0.by_name.last", "0.teacher.0"}


def test_a_registered_model_has_none():
    model = nn.Sequential(nn.Linear(2, 2), nn.ModuleList([nn.Linear(2, 2)]))
    assert list(unregistered(model)) == []


def test_those_that_the_loss_depends_on_are_recorded_as_layers():
    readings = recorded(Listed())
    kept = {p.path: p for p in readings.record.parameters if not p.registered}
    names = {"hidden.0", "hidden.1.0", "by_name.last"}
    assert set(kept) == {f"{name}.{of}" for name in names for of in ("weight", "bias")}
    assert all(p.trainable and not p.optimized and p.reached for p in kept.values())
    layers = {readings.graph.ops[index].path for index in readings.graph.layers}
    assert layers == names | {"head"}


def test_one_that_the_optimizer_got_by_hand_is_no_stranger():
    model = Listed()
    own = [p for _, module in unregistered(model) for p in module.parameters()]
    held = [p for p in recorded(model, own).record.parameters if "hidden" in p.path]
    assert len(held) == 4
    assert all(p.optimized and p.registered for p in held)
