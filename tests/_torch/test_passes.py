"""Several backward passes before one step: parts of an objective add up, micro-batches repeat."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from gradfuga._observe import observe

LABELS = torch.tensor([0, 1, 2, 0, 1, 2])
X = torch.randn(6, 5, generator=torch.Generator().manual_seed(2))
FLOAT32 = 1e-5


def critic():
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(5, 8), nn.Tanh(), nn.Linear(8, 1))


def train_critic(*, apart, every):
    """Train on real and fake examples, in two passes or in one."""
    model = critic()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    losses = []
    with observe(model, optimizer, every=every) as observer:
        for step in range(7):
            optimizer.zero_grad()
            real = F.binary_cross_entropy_with_logits(model(X + step), torch.ones(6, 1))
            if apart:
                real.backward()
            fake = F.binary_cross_entropy_with_logits(model(X * 2), torch.zeros(6, 1))
            (fake if apart else real + fake).backward()
            losses.append(float((real + fake).detach()))
            optimizer.step()
    return observer.readings, losses


@pytest.mark.parametrize("every", [1, 3])
def test_parts_of_a_loss_with_a_pass_each_read_like_their_sum_in_one_pass(every):
    apart, losses = train_critic(apart=True, every=every)
    together, _ = train_critic(apart=False, every=every)
    assert apart.losses[1].tolist() == pytest.approx(losses, rel=FLOAT32)
    for statistic in ("baseline", "unread", "gain"):
        one, other = (r.series("loss", "loss", statistic)[1] for r in (apart, together))
        # float32 sums of two losses are rounded apart
        assert one.tolist() == pytest.approx(other.tolist(), abs=1e-6), statistic
    layers = {r: [r.graph.ops[place].path for place in r.graph.layers] for r in (apart, together)}
    assert layers[apart] == layers[together] == ["2", "0"]
    assert [len(group) for group in apart.graph.uses] == [2, 2]
    for use in ("0", "2", "0#1", "2#1"):
        one, other = (r.series(use, "activation_grad", "norm")[1] for r in (apart, together))
        assert len(one) == len(range(0, 7, every))
        assert sorted(one) == pytest.approx(sorted(other), rel=FLOAT32), use
    assert all(p.opened for p in apart.record.parameters)


class Heads(nn.Module):
    def __init__(self):
        super().__init__()
        self.body, self.a, self.b = nn.Linear(5, 8), nn.Linear(8, 3), nn.Linear(8, 1)

    def forward(self, x):
        h = torch.tanh(self.body(x))
        return self.a(h), self.b(h)


def test_two_heads_with_a_pass_each_are_both_opened():
    torch.manual_seed(0)
    model = Heads()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    wanted, losses = [], []
    with observe(model, optimizer, every=1) as observer:
        for _ in range(3):
            optimizer.zero_grad()
            z = model.body(X)
            h = torch.tanh(z)
            heads = F.cross_entropy(model.a(h), LABELS), model.b(h).square().mean()
            norms = [torch.autograd.grad(each, z, retain_graph=True)[0].norm() for each in heads]
            wanted.append(float(torch.stack(norms).norm()))
            out = model(X)
            parts = F.cross_entropy(out[0], LABELS), out[1].square().mean()
            parts[0].backward(retain_graph=True)
            parts[1].backward()
            losses.append(float((parts[0] + parts[1]).detach()))
            optimizer.step()
    readings = observer.readings
    assert readings.losses[1].tolist() == pytest.approx(losses, rel=FLOAT32)
    paths = {readings.graph.ops[place].path for place in readings.graph.layers}
    assert paths == {"body", "a", "b"}
    assert all(p.opened for p in readings.record.parameters)
    # where both gradients pass, the norm of both side by side
    seen = readings.series("body", "activation_grad", "norm")[1]
    assert seen.tolist() == pytest.approx(wanted, rel=FLOAT32)


@pytest.mark.parametrize("every", [1, 3])
def test_the_loss_of_micro_batches_is_their_mean(every):
    torch.manual_seed(0)
    model = nn.Linear(5, 3)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    losses = []
    with observe(model, optimizer, every=every) as observer:
        for _ in range(5):
            optimizer.zero_grad()
            parts = []
            for half in (slice(0, 3), slice(3, 6)):
                loss = F.cross_entropy(model(X[half]), LABELS[half])
                loss.backward()
                parts.append(float(loss.detach()))
            losses.append(sum(parts) / 2)
            optimizer.step()
    assert observer.readings.losses[1].tolist() == pytest.approx(losses, rel=FLOAT32)
    assert len(observer.readings.graph.layers) == 1


@pytest.mark.parametrize("every", [1, 3])
@pytest.mark.parametrize("to_none", [True, False])
def test_a_pass_whose_gradients_are_cleared_again_is_no_part_of_the_step(every, to_none):
    """As of adversarial examples: their own pass comes first."""
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(5, 8), nn.Tanh(), nn.Linear(8, 3))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    losses, norms = [], []
    with observe(model, optimizer, every=every) as observer:
        for _ in range(7):
            optimizer.zero_grad(set_to_none=to_none)
            x = X.clone().requires_grad_()
            F.cross_entropy(model(x), LABELS).backward()
            optimizer.zero_grad(set_to_none=to_none)
            loss = F.cross_entropy(model(X + 0.1 * x.grad.sign()), LABELS)
            loss.backward()
            losses.append(float(loss.detach()))
            norms.append(float(model[0].weight.grad.norm()))
            optimizer.step()
    readings = observer.readings
    assert readings.losses[1].tolist() == pytest.approx(losses, rel=FLOAT32)
    seen = readings.series("0.weight", "weight_grad", "norm")[1].tolist()
    assert seen == pytest.approx(norms[::every], rel=FLOAT32)
    value = readings.series("nll_loss", "loss", "value")[1].tolist()
    assert value == pytest.approx(losses[::every], rel=FLOAT32)
    assert set(readings.series("optimizer", "weight_grad", "stale")[1]) == {0.0}
