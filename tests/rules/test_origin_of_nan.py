"""Where the first NaN or infinity came from, on trainings that break in known ways."""

import math

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from gradfuga._diagnose import diagnose
from gradfuga._observe import observe

GENERATOR = torch.Generator().manual_seed(4)
X = torch.randn(128, 6, generator=GENERATOR)
Y = (X[:, 0] * X[:, 1] > 0).float()
BREAKS = 23  # a step that no schedule samples by itself


class Net(nn.Module):
    """Two layers, and between them whatever breaks."""

    def __init__(self, between=None, dtype=torch.float32):
        super().__init__()
        self.first = nn.Linear(6, 8, dtype=dtype)
        self.last = nn.Linear(8, 1, dtype=dtype)
        self.between = between or (lambda h, step: torch.tanh(h))
        self.step = 0

    def forward(self, x):
        return self.last(self.between(self.first(x), self.step))


def bce(out, y):
    return F.binary_cross_entropy_with_logits(out.squeeze(1), y)


def trained(
    between=None, loss_of=bce, *, data=None, targets=None, clip=False, every=None, steps=40
):
    torch.manual_seed(0)
    model = Net(between)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05)
    with observe(model, optimizer, **({} if every is None else {"every": every})) as observer:
        for step in range(steps):
            model.step = step
            x = X if data is None else data(step)
            y = Y if targets is None else targets(step)
            optimizer.zero_grad()
            loss_of(model(x), y).backward()
            if clip:
                nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
    return diagnose(observer.readings)


def found(diagnosis):
    (finding,) = [each for each in diagnosis.findings if each.code == "GRD003"]
    return finding


def from_step(broken, sound=torch.tanh):
    return lambda h, step: broken(h) if step >= BREAKS else sound(h)


def zero_over_zero(h):
    apart = h - h
    return h + apart / apart.std(1, keepdim=True)


def masked_row(h):
    mask = torch.zeros_like(h, dtype=torch.bool)
    mask[3] = True
    return h.masked_fill(mask, -math.inf).softmax(1)


def masked_soundly(h, step):
    mask = torch.zeros_like(h, dtype=torch.bool)
    mask[3, 1:] = True
    return h.masked_fill(mask, -math.inf).softmax(1)


def log_of_zero(out, y):
    p = torch.sigmoid(out.squeeze(1) * 1e4)
    return -(y * torch.log(p) + (1 - y) * torch.log(1 - p)).mean()


FORWARD = {
    "log of zero": (None, log_of_zero, "log", "logarithm of 0", 0),
    "log of a negative number": (
        from_step(torch.log), bce, "log", "a negative number", BREAKS,
    ),
    "root of a negative number": (
        from_step(torch.sqrt), bce, "sqrt", "square root of -", BREAKS,
    ),
    "zero over zero": (from_step(zero_over_zero), bce, "div", "divided by 0", BREAKS),
    "exponential": (from_step(lambda h: (900.0 * h).exp()), bce, "exp", "exponential of", BREAKS),
    "a masked row": (from_step(masked_row), bce, "softmax", "everything is masked", BREAKS),
    "half precision": (
        from_step(lambda h: ((h.half() * 300.0) * (h.half() * 300.0)).float()),
        bce, "mul", "its format ends at 6.55e+04", BREAKS,
    ),
    "one value": (
        from_step(lambda h: h / h[:, :1].std(1, keepdim=True)), bce, "std", "single value", BREAKS,
    ),
}  # fmt: skip


@pytest.mark.filterwarnings("ignore:std..:UserWarning", "ignore:.*degrees of freedom:UserWarning")
@pytest.mark.parametrize("name", FORWARD)
def test_the_op_that_made_the_first_nan_is_named_though_its_step_was_not_sampled(name):
    between, loss_of, op, words, step = FORWARD[name]
    diagnosis = trained(between, loss_of)
    assert diagnosis.verdict == "stalled"  # nothing had grown before
    assert not diagnosis.causes
    finding = found(diagnosis)
    assert f"/{op}" in f"/{finding.paths[0]}"
    assert words in finding.message
    assert f"step {step}" in finding.message


def norm_of_zero(out, y):
    apart = (out.squeeze(1) - out.squeeze(1).detach()) + 0.0 * y
    return torch.sqrt((apart**2).mean()) + bce(out, y)


def root_of_zeros(h):
    return torch.sqrt(h * (h > 0.0))


def chosen_branch(h):
    return torch.where(h > 0.0, root_of_zeros(h), torch.zeros_like(h))


BACKWARD = {
    "root of zero": (lambda h, step: root_of_zeros(h), bce, "sqrt"),
    "the branch that was not chosen": (lambda h, step: chosen_branch(h), bce, "sqrt"),
    "root of a mean of nothing": (None, norm_of_zero, "sqrt"),
    "norm of zero": (
        lambda h, step: torch.tanh(h) * (h - h.detach() + 1e-30 * 0).pow(2).sum(1, True).pow(0.25),
        bce, "pow",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", BACKWARD)
def test_the_op_whose_slope_is_infinite_is_named_on_a_sampled_step(name):
    between, loss_of, op = BACKWARD[name]
    finding = found(trained(between, loss_of, steps=30))
    assert op in finding.paths[0]
    assert "The gradient broke" in finding.message
    assert "step 0" in finding.message
    assert finding.source
    assert op in finding.source[0].text or "pow" in finding.source[0].text


def test_between_samples_the_broken_weights_tell_between_which_layers():
    breaks = from_step(root_of_zeros, lambda h: torch.sqrt(1.0 + h.square()))
    finding = found(trained(breaks, every=10))
    assert "before step 24" in finding.message
    assert any("sqrt" in path for path in finding.paths)
    assert "--every 1" in finding.message
    # clipping by the norm of all gradients breaks all weights: then nothing tells, but this does
    clipped = found(trained(breaks, clip=True, every=10))
    assert not any("sqrt" in path for path in clipped.paths)
    assert "--every 1" in clipped.message
    every = found(trained(breaks, clip=True, every=1))
    assert "sqrt" in every.paths[0]
    assert "--every 1" not in every.message
    assert f"step {BREAKS}" in every.message


def spoiled(values, row=7):
    bad = values.clone()
    bad[row] = math.nan
    return lambda step: bad if step >= BREAKS else values


def squared(out, y):
    return ((out.squeeze(1) - y) ** 2).mean()


@pytest.mark.parametrize("loss_of", [bce, squared])
def test_data_that_is_no_number_is_the_datas_fault_at_any_step(loss_of):
    diagnosis = trained(loss_of=loss_of, data=spoiled(X))
    assert diagnosis.verdict == "stalled"
    assert diagnosis.causes[0].name == "data_or_labels"
    assert "first" in found(diagnosis).paths[0]
    assert f"step {BREAKS}" in found(diagnosis).message


@pytest.mark.parametrize("loss_of", [squared, lambda o, y: F.mse_loss(o.squeeze(1), y)])
def test_a_target_that_is_no_number_is_the_datas_fault(loss_of):
    diagnosis = trained(loss_of=loss_of, targets=spoiled(Y))
    assert diagnosis.verdict == "stalled"
    assert diagnosis.causes[0].name == "data_or_labels"


def test_masks_and_sound_roots_are_left_alone():
    for between in (masked_soundly, lambda h, step: torch.sqrt(torch.relu(h) + 1e-6)):
        diagnosis = trained(between)
        assert not [each for each in diagnosis.findings if each.code == "GRD003"]


def test_targets_that_are_all_ignored_are_named():
    def loss_of(out, y):
        labels = torch.full((len(y),), -100) if loss_of.step >= 5 else y.long()
        loss_of.step += 1
        return F.cross_entropy(torch.cat([out, -out], 1), labels)

    loss_of.step = 0
    finding = found(trained(loss_of=loss_of))
    assert "all are ignored at step 5" in finding.message
