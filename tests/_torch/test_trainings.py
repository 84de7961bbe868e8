"""Several optimizers in one process: each training has its own passes, graph, loss and names."""

import gc

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from gradfuga._observe import observe
from gradfuga._torch import recorder
from gradfuga._torch.turns import Turns
from gradfuga.analysis.build import build_case

LABELS = torch.tensor([0, 1, 2, 0, 1, 2])
X = torch.randn(6, 5, generator=torch.Generator().manual_seed(2))


def mlp(outputs=3, width=8):
    return nn.Sequential(nn.Linear(5, width), nn.Tanh(), nn.Linear(width, outputs))


def gan(order, steps=6, **settings):
    """Train a GAN; return its readings by optimizer and the losses as the script saw them."""
    torch.manual_seed(0)
    generator, critic = mlp(5), mlp(1, width=4)
    fast = torch.optim.Adam(critic.parameters(), lr=0.01)
    slow = torch.optim.SGD(generator.parameters(), lr=0.01)
    losses = {"Adam": [], "SGD": []}
    one, zero = torch.ones(6, 1), torch.zeros(6, 1)
    bce = F.binary_cross_entropy_with_logits

    def critic_pass():
        fast.zero_grad()
        fake = generator(X).detach()
        loss = bce(critic(X), one) + bce(critic(fake), zero)
        loss.backward()
        losses["Adam"].append(loss.item())

    def generator_pass():
        slow.zero_grad()
        loss = bce(critic(generator(X)), one)
        loss.backward()
        losses["SGD"].append(loss.item())

    with observe(**settings) as observer:
        for _ in range(steps):
            for part in order:
                {"D": critic_pass, "G": generator_pass, "d": fast.step, "g": slow.step}[part]()
    return {r.record.optimizer: r for r in observer.trainings}, losses, (generator, critic)


@pytest.mark.parametrize("order", ["DdGg", "GgDd", "GDgd", "GDdg"])
@pytest.mark.parametrize("settings", [{"every": 1}, {"every": 5}])
def test_each_network_of_a_gan_has_its_own_graph_loss_and_names(order, settings):
    readings, losses, _ = gan(order, **settings)
    assert set(readings) == {"Adam", "SGD"}
    for name, each in readings.items():
        # the losses of every step, the sampled and those between
        assert each.losses[1].tolist() == pytest.approx(losses[name]), name
        own = {p.path for p in each.record.parameters if p.optimized}
        assert len(own) == 4
        assert all(p.reached for p in each.record.parameters if p.optimized)
    critic, generator = readings["Adam"].graph, readings["SGD"].graph
    assert len([op for op in critic.ops if op.name == "addmm"]) == 4  # real and fake
    assert len([op for op in generator.ops if op.name == "addmm"]) == 4  # through the critic
    # the critic's weights are another training's: its ops are there, but no layers of this one
    assert [len(graph.layers) for graph in (critic, generator)] == [2, 2]
    assert max(len(group) for group in critic.uses) == 2
    assert max(len(group) for group in generator.uses) == 1


def test_gradients_of_the_other_network_are_not_stale():
    readings, _, _ = gan("DdGg", every=1)
    for each in readings.values():
        assert set(each.series("optimizer", "weight_grad", "stale")[1]) == {0.0}


def test_observing_one_optimizer_of_two_takes_its_passes_alone():
    torch.manual_seed(0)
    one, other = mlp(), mlp(2)
    optimizers = [torch.optim.SGD(m.parameters(), lr=0.1) for m in (one, other)]
    losses = []
    with observe(one, optimizers[0], every=1) as observer:
        for _ in range(5):
            for model, optimizer in zip((other, one), reversed(optimizers), strict=True):
                optimizer.zero_grad()
                loss = model(X).square().mean()
                loss.backward()
                if model is one:
                    losses.append(loss.item())
                optimizer.step()
    (readings,) = observer.trainings
    assert readings.losses[1].tolist() == pytest.approx(losses)
    assert {name for op in readings.graph.ops for name in op.parameters} == {
        "0.weight", "0.bias", "2.weight", "2.bias",
    }  # fmt: skip


def test_an_optimizer_made_anew_each_epoch_goes_on_with_one_training():
    model = mlp()
    with observe(every=1) as observer:
        for epoch in range(4):
            optimizer = torch.optim.SGD(model.parameters(), lr=0.1 / (1 + epoch))
            for _ in range(3):
                optimizer.zero_grad()
                F.cross_entropy(model(X), LABELS).backward()
                optimizer.step()
    (readings,) = observer.trainings
    assert readings.record.steps == 12
    assert readings.sampled == tuple(range(12))
    rates = readings.series("optimizer", "update", "learning_rate")[1]
    assert rates[[0, 3, 6, 9]].tolist() == pytest.approx([0.1, 0.05, 0.1 / 3, 0.025])


def fold(model, steps, losses=None):
    optimizer = torch.optim.Adam(model.parameters(), lr=0.01)
    for _ in range(steps):
        optimizer.zero_grad()
        loss = F.cross_entropy(model(X), LABELS)
        loss.backward()
        optimizer.step()
        if losses is not None:
            losses.append(loss.item())


def test_every_fold_with_a_model_made_anew_is_a_training():
    losses = [[], [], []]
    with observe(every=2) as observer:
        for number in range(3):
            fold(mlp(width=8 + number), 7, losses[number])
            gc.collect()
    trainings = observer.trainings
    assert [r.record.steps for r in trainings] == [7, 7, 7]
    for readings, expected in zip(trainings, losses, strict=True):
        assert readings.losses[1].tolist() == pytest.approx(expected)
        assert build_case(readings).reach.shape == (4, 2)
    assert [r.record.parameters[0].shape[0] for r in trainings] == [8, 9, 10]


def test_a_training_that_has_ended_costs_the_next_one_nothing():
    """Its last word may have been that it wants a sample: nobody waits for that for ever."""
    seen = []

    class Counting(nn.Tanh):
        def forward(self, x):
            seen.append(torch.nn.modules.module._global_forward_hooks != {})
            return super().forward(x)

    with observe(every=50) as observer:
        first, second = mlp(), nn.Sequential(nn.Linear(5, 8), Counting(), nn.Linear(8, 3))
        fold(first, 50)  # the next step, which never comes, would be sampled
        fold(second, 200)
    assert [r.record.steps for r in observer.trainings] == [50, 200]
    assert sum(seen) <= 8  # its own four samples, and the few steps until it is clear


def test_two_optimizers_on_one_model_see_the_same_passes():
    torch.manual_seed(0)
    model, losses = mlp(), []
    lower = torch.optim.SGD(model[0].parameters(), lr=0.1)
    upper = torch.optim.Adam(model[2].parameters(), lr=0.01)
    with observe(every=1) as observer:
        for _ in range(5):
            lower.zero_grad()
            upper.zero_grad()
            loss = F.cross_entropy(model(X), LABELS)
            loss.backward()
            losses.append(loss.item())
            lower.step()
            upper.step()
    trainings = {r.record.optimizer: r for r in observer.trainings}
    assert set(trainings) == {"SGD", "Adam"}
    for readings in trainings.values():
        assert readings.losses[1].tolist() == pytest.approx(losses)
        assert len(readings.graph.layers) == 2
        assert len(readings.paths("update", "norm")) == 2


@pytest.mark.parametrize("apart", [False, True])
def test_two_losses_with_a_pass_each_reach_all_parameters(apart):
    torch.manual_seed(0)
    body, a, b = nn.Linear(5, 8), nn.Linear(8, 3), nn.Linear(8, 1)
    model = nn.ModuleDict({"body": body, "a": a, "b": b})
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    with observe(model, optimizer, every=1) as observer:
        for _ in range(4):
            optimizer.zero_grad()
            h = torch.tanh(body(X))
            first, second = F.cross_entropy(a(h), LABELS), b(h).square().mean()
            if apart:
                first.backward(retain_graph=True)
                second.backward()
            else:
                (first + second).backward()
            whole = b.weight.grad.norm().item()
            optimizer.step()
    readings = observer.readings
    assert all(p.reached for p in readings.record.parameters)
    assert readings.series("b.weight", "weight_grad", "norm")[1][-1] == pytest.approx(whole)


def test_the_memory_of_a_long_run_stays_constant(monkeypatch):
    monkeypatch.setattr(recorder, "MOST_SAMPLES", most := 128)  # so that a long run is short
    torch.manual_seed(0)
    model = mlp()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01)

    def ours():
        gc.collect()
        count = {}
        for each in gc.get_objects():
            kind = type(each)
            own = str(kind.__module__).startswith("gradfuga")
            if own or issubclass(kind, torch.Tensor | torch.utils.hooks.RemovableHandle):
                count[kind.__name__] = count.get(kind.__name__, 0) + 1
        return count

    def advance(steps):
        for _ in range(steps):
            optimizer.zero_grad()
            F.cross_entropy(model(X), LABELS).backward()
            optimizer.step()

    with observe(model, optimizer, every=1) as observer:
        advance(most + 50)
        before = ours()
        advance(4 * most)
        after = ours()
    assert after == before
    assert len(observer.readings.sampled) <= most
    steps, _ = observer.readings.series("0", "activation_grad", "norm")
    assert sorted(steps) == sorted(observer.readings.sampled)
    assert observer.readings.sampled[:16] == tuple(range(16))
    assert observer.readings.sampled[-1] == 5 * most + 49


def test_turns_wait_for_a_slow_optimizer_and_forget_one_that_is_gone():
    class Fake:
        pass

    turns, fast, slow = Turns(), Fake(), Fake()
    for _ in range(3):
        turns.take(slow)
        for _ in range(10):
            turns.take(fast)
            assert turns.awake(slow)
    for _ in range(30):
        turns.take(fast)
    assert not turns.awake(slow)
    turns.take(slow)
    assert turns.awake(slow)
