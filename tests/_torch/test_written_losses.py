"""Losses that a script writes out itself, against the best constant that an optimizer finds."""

import math

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from gradfuga._observe import observe
from gradfuga.analysis.progress import measure_progress

N, K = 40, 3
GENERATOR = torch.Generator().manual_seed(5)
X = torch.randn(N, 5, generator=GENERATOR)
REAL = torch.randn(N, 2, generator=GENERATOR) * torch.tensor([2.0, 0.3]) + torch.tensor([1.0, -3.0])
YES = (torch.rand(N, 1, generator=GENERATOR) < 0.3).float()
SIGN = 2.0 * YES - 1.0
LABELS = torch.multinomial(torch.tensor([0.6, 0.3, 0.1]), N, True, generator=GENERATOR)
HOT = F.one_hot(LABELS, K).float()
SOFT = torch.softmax(torch.randn(N, K, generator=GENERATOR), 1)
COUNTS = torch.poisson(torch.full((N, 1), 3.0), generator=GENERATOR)
ROWS = torch.arange(N)
S = torch.sigmoid


def softmax(z):
    powers = (z - z.max(1, keepdim=True).values).exp()
    return powers / powers.sum(1, keepdim=True)


def reciprocal_softmax(z):
    powers = z.exp()
    return powers * powers.sum(1, keepdim=True) ** -1


def squared(apart):
    return apart * apart


def inner_product(apart):
    return apart @ apart


def likelihood(p):
    return -(YES * p.log() + (1 - YES) * (1 - p).log()).mean()


DIFFERENCES = {
    "power": lambda o: ((o - REAL) ** 2).mean(),
    "target first": lambda o: (REAL - o).pow(2).mean(),
    "square": lambda o: torch.mean(torch.square(o - REAL)),
    "product": lambda o: ((o - REAL) * (o - REAL)).mean(),
    "product of one": lambda o: squared(o - REAL).sum(1).mean(),
    "half a sum": lambda o: 0.5 * ((o - REAL) ** 2).sum() / N,
    "columns": lambda o: ((o[:, 0] - REAL[:, 0]) ** 2).mean() + (o[:, 1] - REAL[:, 1]).abs().mean(),
    "flat": lambda o: ((o.view(-1) - REAL.view(-1)) ** 2).mean(),
    "scaled": lambda o: (3.0 * (o - REAL)).pow(2).mean(),
    "relative": lambda o: (((o - REAL) / REAL.abs().clamp_min(0.5)) ** 2).mean(),
    "weighted": lambda o: (REAL.abs() * (o - REAL) ** 2).mean(),
    "absolute": lambda o: (o - REAL).abs().mean(),
    "l1": lambda o: F.l1_loss(o, REAL),
    "log cosh": lambda o: torch.log(torch.cosh(o - REAL)).mean(),
    "root": lambda o: torch.sqrt(F.mse_loss(o, REAL)),
    "root by hand": lambda o: torch.sqrt(((o - REAL) ** 2).mean() + 1e-12),
    "norm": lambda o: torch.norm(o - REAL),
    "squared norm": lambda o: torch.linalg.norm(o - REAL) ** 2 / N,
    "distances": lambda o: (o - REAL).norm(dim=1).mean(),
    "inner product": lambda o: inner_product((o - REAL).flatten()),
}
ANSWERS = {
    "by hand": lambda z: -(YES * torch.log(S(z)) + (1 - YES) * torch.log(1 - S(z))).mean(),
    "one sigmoid": lambda z: likelihood(S(z)),
    "epsilon": lambda z: -(YES * (S(z) + 1e-7).log() + (1 - YES) * (1 - S(z) + 1e-7).log()).mean(),
    "clamped": lambda z: likelihood(S(z).clamp(1e-6, 1 - 1e-6)),
    "two means": lambda z: -(YES * S(z).log()).mean() - ((1 - YES) * (1 - S(z)).log()).mean(),
    "where": lambda z: -torch.where(YES > 0.5, S(z).log(), (1 - S(z)).log()).mean(),
    "log sigmoid": lambda z: -(YES * F.logsigmoid(z) + (1 - YES) * F.logsigmoid(-z)).mean(),
    "weighted": lambda z: -(4.0 * YES * S(z).log() + (1 - YES) * (1 - S(z)).log()).mean(),
    "softplus of a margin": lambda z: F.softplus(-SIGN * z).mean(),
    "log of a margin": lambda z: torch.log(1 + torch.exp(-SIGN * z)).mean(),
    "softplus less": lambda z: (F.softplus(z) - YES * z).mean(),
    "hinge": lambda z: torch.relu(1 - SIGN * z).mean(),
    "clamped hinge": lambda z: (1 - SIGN * z).clamp(min=0).mean(),
}
CLASSES = {
    "picked": lambda z: -z.log_softmax(1)[ROWS, LABELS].mean(),
    "gathered": lambda z: -z.log_softmax(1).gather(1, LABELS[:, None]).mean(),
    "one-hot": lambda z: -(HOT * z.log_softmax(1)).sum(1).mean(),
    "soft": lambda z: -(SOFT * z.log_softmax(1)).sum(1).mean(),
    "log of softmax": lambda z: -(HOT * torch.log(z.softmax(1))).sum() / N,
    "epsilon": lambda z: -(HOT * torch.log(z.softmax(1) + 1e-9)).sum(1).mean(),
    "picked before the log": lambda z: -torch.log(z.softmax(1)[ROWS, LABELS]).mean(),
    "gathered before the log": lambda z: -z.softmax(1).gather(1, LABELS[:, None]).log().sum(),
    "logsumexp less picked": lambda z: (z.logsumexp(1) - z[ROWS, LABELS]).mean(),
    "logsumexp less gathered": lambda z: (
        z.logsumexp(1) - z.gather(1, LABELS[:, None]).squeeze(1)
    ).mean(),
    "means apart": lambda z: z.logsumexp(1).mean() - z[ROWS, LABELS].mean(),
    "logsumexp less one-hot": lambda z: (z.logsumexp(1) - (z * HOT).sum(1)).mean(),
    "normalised": lambda z: -(z - z.logsumexp(1, keepdim=True))[ROWS, LABELS].mean(),
    "log of a sum": lambda z: (torch.log(torch.exp(z).sum(1)) - z[ROWS, LABELS]).mean(),
    "normalised by log of a sum": lambda z: (
        -(z - z.exp().sum(1, keepdim=True).log())[ROWS, LABELS].mean()
    ),
    "softmax by hand": lambda z: -softmax(z).log()[ROWS, LABELS].mean(),
    "softmax by a reciprocal": lambda z: -reciprocal_softmax(z).log()[ROWS, LABELS].mean(),
    "softmax by hand, one-hot": lambda z: -(HOT * softmax(z).log()).sum(1).mean(),
    "smoothed": lambda z: F.cross_entropy(z, LABELS, label_smoothing=0.2),
    "divergence": lambda z: F.kl_div(z.log_softmax(1), SOFT, reduction="batchmean"),
    "squares of probabilities": lambda z: ((z.softmax(1) - HOT) ** 2).sum(1).mean(),
}
OTHERS = {"poisson": lambda o: F.poisson_nll_loss(o, COUNTS)}
LOSSES = {
    **{f"differences: {name}": (2, loss) for name, loss in DIFFERENCES.items()},
    **{f"answers: {name}": (1, loss) for name, loss in ANSWERS.items()},
    **{f"classes: {name}": (K, loss) for name, loss in CLASSES.items()},
    **{f"counts: {name}": (1, loss) for name, loss in OTHERS.items()},
}


def best_constant(outputs, loss_of):
    """What the loss comes to at the constant that it likes best, by an optimizer."""
    constant = torch.full((outputs,), 0.1, dtype=torch.float64, requires_grad=True)
    optimizer = torch.optim.LBFGS([constant], max_iter=300, line_search_fn="strong_wolfe")
    best = []

    def closure():
        optimizer.zero_grad()
        loss = loss_of(constant.float().expand(N, outputs) + 0.0)
        loss.backward()
        best.append(loss.item())
        return loss

    for _ in range(5):
        optimizer.step(closure)
    return min(best)


class Inside(nn.Module):
    """A model whose forward is the loss."""

    def __init__(self, model, loss_of):
        super().__init__()
        self.model, self.loss_of = model, loss_of

    def forward(self, x):
        return self.loss_of(self.model(x))


def layers(outputs):
    torch.manual_seed(0)
    return nn.Linear(5, 8), nn.Linear(8, outputs)


def as_module(outputs, loss_of):
    first, last = layers(outputs)
    model = nn.Sequential(first, nn.Tanh(), last)
    return model.parameters(), lambda: loss_of(model(X))


def with_loss_inside(outputs, loss_of):
    first, last = layers(outputs)
    model = Inside(nn.Sequential(first, nn.Tanh(), last), loss_of)
    return model.parameters(), lambda: model(X)


def without_module(outputs, loss_of):
    first, last = layers(outputs)
    w1, b1, w2, b2 = (
        tensor.detach().t().clone().requires_grad_()
        for layer in (first, last)
        for tensor in (layer.weight, layer.bias)
    )
    return [w1, b1, w2, b2], lambda: loss_of(torch.tanh(X @ w1 + b1) @ w2 + b2)


def layer_by_layer(outputs, loss_of):
    stack = nn.ModuleList([nn.Linear(5, 5) for _ in range(5)] + [nn.Linear(5, outputs)])

    def loss():
        hidden = X
        for layer in stack[:-1]:
            hidden = torch.tanh(layer(hidden))
        return loss_of(stack[-1](hidden))

    return stack.parameters(), loss


STYLES = (as_module, with_loss_inside, without_module)


def observed(style, outputs, loss_of, *, steps=1, lr=0.0):
    parameters, loss_now = style(outputs, loss_of)
    optimizer = torch.optim.SGD(list(parameters), lr=lr)
    values = []
    with observe(every=1) as observer:
        for _ in range(steps):
            optimizer.zero_grad()
            loss = loss_now()
            values.append(loss.item())
            loss.backward()
            optimizer.step()
    return observer.readings, values


def last(readings, statistic):
    return readings.series("loss", "loss", statistic)[1][-1]


@pytest.mark.filterwarnings("ignore::FutureWarning", "ignore::DeprecationWarning")
@pytest.mark.parametrize("style", STYLES, ids=lambda each: each.__name__)
@pytest.mark.parametrize("name", LOSSES)
def test_a_loss_written_out_is_read_whole_and_held_against_its_best_constant(name, style):
    outputs, loss_of = LOSSES[name]
    readings, values = observed(style, outputs, loss_of)
    assert abs(last(readings, "unread")) < 2e-5 * abs(values[0])
    best = best_constant(outputs, loss_of)
    # 1e-3 is what the optimizer leaves on a kinked loss
    assert last(readings, "baseline") == pytest.approx(best, rel=1e-3, abs=1e-6)
    assert measure_progress(readings).known


@pytest.mark.parametrize("factor", [1e-6, 1e6])
@pytest.mark.parametrize("name", ["differences: power", "answers: by hand", "classes: normalised"])
def test_a_scaled_loss_has_a_scaled_baseline(name, factor):
    outputs, loss_of = LOSSES[name]
    plain, _ = observed(as_module, outputs, loss_of)
    scaled, _ = observed(as_module, outputs, lambda out: factor * loss_of(out))
    assert last(scaled, "baseline") == pytest.approx(factor * last(plain, "baseline"), rel=1e-5)


def returns(out):
    return -(torch.log_softmax(out, 1)[ROWS, LABELS] * torch.linspace(0.1, 2.0, N)).mean()


def advantages(out):
    return -(torch.distributions.Categorical(logits=out).log_prob(LABELS) * REAL[:, 0]).mean()


def focal(out):
    sure = out.softmax(1)[ROWS, LABELS]
    return ((1 - sure) ** 2 * F.cross_entropy(out, LABELS, reduction="none")).mean()


def critic(out):
    return out[: N // 2].mean() - out[N // 2 :].mean()


def adversary(out):
    return -(F.logsigmoid(out[: N // 2]).mean() + F.logsigmoid(-out[N // 2 :]).mean())


def physics(out):
    return ((out + X[:, :1]) ** 2).mean()


def own_target(out):
    return ((out[:, :1] - out[:, 1:]) ** 2).mean()


@pytest.mark.parametrize(
    ("outputs", "loss_of"),
    [(K, returns), (K, advantages), (K, focal), (1, critic), (1, adversary), (1, physics),
     (2, own_target)],
    ids=lambda each: getattr(each, "__name__", ""),
)  # fmt: skip
def test_what_has_no_best_constant_gets_none(outputs, loss_of):
    readings, _ = observed(as_module, outputs, loss_of)
    assert not measure_progress(readings).known


def test_a_network_that_learns_by_a_loss_of_its_own_is_seen_to_learn():
    target = torch.tanh(X[:, :1])
    for style in STYLES:
        readings, values = observed(
            style, 1, lambda out: ((out - target) ** 2).mean(), steps=60, lr=0.3
        )
        progress = measure_progress(readings)
        assert progress.informed
        expected = 1.0 - values[-1] / float(target.var(unbiased=False))
        assert progress.u == pytest.approx(expected, abs=0.05)


@pytest.mark.parametrize("style", [without_module, layer_by_layer], ids=lambda e: e.__name__)
def test_the_data_is_found_where_no_module_is_called_with_it(style):
    readings, _ = observed(style, K, lambda out: F.cross_entropy(out, LABELS), steps=3)
    assert readings.series("input", "activation", "varying")[1][0] == (N - 1) * 5
    assert math.isfinite(last(readings, "baseline"))
