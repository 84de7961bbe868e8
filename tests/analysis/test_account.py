"""The account: gains multiply to the reach, claims add up to it, the loss's scale is nothing."""

import itertools
import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from _tape_oracle import norms_by_path, observed, reference_norms
from gradfuga._diagnose import diagnose
from gradfuga._observe import observe
from gradfuga.analysis.account import UNEXPLAINED, Account, Claim
from gradfuga.analysis.build import build_case
from gradfuga.flow import OpRole

EXACT = 1e-9  # decades; theory reference, oracle O10 (4e-16 seen there)


class Residual(nn.Module):
    def __init__(self, depth=5):
        super().__init__()
        self.first, self.head = nn.Linear(6, 8), nn.Linear(8, 3)
        self.layers = nn.ModuleList([nn.Linear(8, 8) for _ in range(depth)])

    def forward(self, x):
        x = self.first(x)
        for layer in self.layers:
            x = x + torch.tanh(layer(x))
        return self.head(x)


class PreNorm(nn.Module):
    def __init__(self):
        super().__init__()
        self.first, self.head = nn.Linear(6, 8), nn.Linear(8, 3)
        self.norm1, self.norm2, self.last = nn.LayerNorm(8), nn.LayerNorm(8), nn.LayerNorm(8)
        self.attention = nn.MultiheadAttention(8, 2, batch_first=True)
        self.up, self.down = nn.Linear(8, 16), nn.Linear(16, 8)

    def forward(self, x):
        x = self.first(x)
        y = self.norm1(x)
        x = x + self.attention(y, y, y, need_weights=False)[0]
        x = x + self.down(F.gelu(self.up(self.norm2(x))))
        return self.head(self.last(x).mean(1))


class TwoHeads(nn.Module):
    def __init__(self):
        super().__init__()
        self.body = nn.Sequential(nn.Linear(6, 8), nn.Tanh(), nn.Linear(8, 8), nn.Tanh())
        self.a, self.b = nn.Linear(8, 3), nn.Linear(8, 3)

    def forward(self, x):
        h = self.body(x)
        return self.a(h), self.b(h)


def deep(activation, layers=8, norm=None):
    parts, width = [], 6
    for _ in range(layers):
        parts += [nn.Linear(width, 8), *([norm(8)] if norm else []), activation()]
        width = 8
    return nn.Sequential(*parts, nn.Linear(8, 3))


def conv_bn():
    return nn.Sequential(
        nn.Conv2d(2, 4, 3, padding=1), nn.BatchNorm2d(4), nn.ReLU(), nn.MaxPool2d(2),
        nn.Conv2d(4, 4, 3, padding=1), nn.BatchNorm2d(4), nn.ReLU(inplace=True),
        nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 3),
    )  # fmt: skip


def loss_over(model):
    out = model(DATA.get(type(model), FLAT))
    if isinstance(out, tuple):
        return F.cross_entropy(out[0], LABELS) + F.mse_loss(out[1], torch.ones_like(out[1]))
    return F.cross_entropy(out, LABELS)


def loss_over_images(model):
    return F.cross_entropy(model(IMAGES), LABELS)


def randn(*shape):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(5), dtype=torch.float64)


LABELS = torch.tensor([0, 1, 2, 0, 1])
FLAT, IMAGES, DATA = randn(5, 6), randn(5, 2, 8, 8), {PreNorm: randn(5, 7, 6)}
NETS = {
    "sigmoid MLP": (lambda: deep(nn.Sigmoid), loss_over),
    "relu MLP": (lambda: deep(nn.ReLU), loss_over),
    "gelu MLP with layer norm": (lambda: deep(nn.GELU, norm=nn.LayerNorm), loss_over),
    "residual": (Residual, loss_over),
    "conv with batch norm": (conv_bn, loss_over_images),
    "pre-LN transformer block": (PreNorm, loss_over),
    "two heads": (TwoHeads, loss_over),
}


def seen(name):
    build, loss_of = NETS[name]
    torch.manual_seed(0)
    model = build().double()
    return model, loss_of, observed(model, loss_of)


def structural_gains(graph, norms):
    """Decades across each op of the main line that only moves, pools or averages."""
    return {
        high: math.log10(norms[graph.ops[low].path] / norms[graph.ops[high].path])
        for high, low in itertools.pairwise(graph.main_line)
        if graph.ops[high].role is OpRole.STRUCTURAL
    }


@pytest.mark.parametrize("name", NETS)
def test_the_gains_along_the_main_line_multiply_to_the_measured_total(name):
    model, loss_of, readings = seen(name)
    case, graph = build_case(readings), readings.graph
    norms = norms_by_path(readings)
    line = [graph.ops[index].path for index in graph.main_line]
    assert len(line) >= 4
    gains = [norms[low] / norms[high] for high, low in itertools.pairwise(line)]
    # the two ends, measured without us
    modules = dict(model.named_modules())
    outputs = [graph.ops[index].path for index in graph.outputs]
    ends = reference_norms(model, loss_of, [line[-1], *(p for p in outputs if p in modules)])
    joint = math.sqrt(sum(ends[path] ** 2 for path in outputs))
    first = norms[line[0]] / math.sqrt(sum(norms[path] ** 2 for path in outputs))
    measured = math.log10(ends[line[-1]] / joint)
    assert math.log10(first * math.prod(gains)) == pytest.approx(measured, abs=EXACT)
    known = sum(structural_gains(graph, norms).values())
    assert case.line_reach[0, -1] == pytest.approx(measured - known, abs=EXACT)


@pytest.mark.parametrize("name", NETS)
def test_claims_and_the_unexplained_add_up_to_the_reach(name):
    _, _, readings = seen(name)
    case = build_case(readings)
    deepest = next(k for k, layer in enumerate(case.layers) if layer.op == case.graph.main_line[-1])
    total = case.start.total
    assert sum(claim.decades for claim in case.start.claims) == pytest.approx(total, abs=EXACT)
    assert total == pytest.approx(case.reach[0, deepest], abs=EXACT)
    assert all(math.isfinite(claim.decades) for claim in case.start.claims)
    assert sum(case.start.shares().values()) == pytest.approx(1.0, abs=1e-12)
    assert all(not claim.cause.startswith("_") for claim in case.start.claims)


def test_known_gains_of_structural_ops_are_no_part_of_the_account():
    _, _, readings = seen("conv with batch norm")
    case, graph = build_case(readings), readings.graph
    norms = norms_by_path(readings)
    known = structural_gains(graph, norms)
    assert [graph.ops[index].path for index in known] == [
        "8/view",
        "7/mean",
        "3/max_pool2d_with_indices",
    ]
    assert not set(known) & {claim.op for claim in case.start.claims}
    line = [graph.ops[index].path for index in graph.main_line]
    whole = math.log10(norms[line[-1]] / norms[line[0]])
    assert case.start.total + sum(known.values()) == pytest.approx(whole, abs=EXACT)


def test_the_gain_of_layer_norm_is_its_scale_over_sigma_times_what_its_projection_keeps():
    torch.manual_seed(0)
    model = deep(nn.GELU, norm=nn.LayerNorm).double()
    readings = observed(model, loss_over)
    h = model[0](FLAT)
    kept = {}
    model[1].register_forward_hook(lambda m, a, out: kept.setdefault("out", out))
    (above,) = torch.autograd.grad(loss_over(model), [kept["out"]])
    z, g = h.detach().numpy(), above.numpy()
    sigma = np.sqrt(z.var(axis=1, keepdims=True) + 1e-5)
    normal = (z - z.mean(axis=1, keepdims=True)) / sigma
    projected = g - g.mean(1, keepdims=True) - normal * (g * normal).mean(1, keepdims=True)
    below = np.linalg.norm(projected / sigma)
    norms = norms_by_path(readings)
    assert norms["0"] / norms["1"] == pytest.approx(below / np.linalg.norm(g), rel=1e-10)


@pytest.mark.parametrize(
    "name", ["sigmoid MLP", "conv with batch norm", "pre-LN transformer block"]
)
@pytest.mark.parametrize("scale", [2.0**-40, 2.0**40, 1e-12, 1e12])
def test_a_loss_times_a_constant_leaves_every_reach_and_the_verdict(name, scale):
    build, loss_of = NETS[name]

    def run(factor):
        torch.manual_seed(0)
        model = build().double()
        optimizer = torch.optim.SGD(model.parameters(), lr=0.05 / factor)
        with observe(model, optimizer, every=1) as observer:
            for _ in range(12):
                optimizer.zero_grad()
                (factor * loss_of(model)).backward()
                optimizer.step()
        return build_case(observer.readings), diagnose(observer.readings)

    (case, plain), (scaled, other) = run(1.0), run(scale)
    one, two = norms_by_path(case.readings, 11), norms_by_path(scaled.readings, 11)
    if math.log2(scale).is_integer():  # not a bit of any mantissa changes, only the exponents
        below = [op.path for op in case.graph.ops if op.index >= case.graph.outputs[0]]
        assert all(two[path] == scale * one[path] for path in below)
        np.testing.assert_allclose(scaled.reach, case.reach, rtol=0, atol=1e-12)
    # ratios of norms with the same relative rounding; later steps add that of the weights
    np.testing.assert_allclose(scaled.reach[0], case.reach[0], rtol=0, atol=1e-12)
    np.testing.assert_allclose(scaled.reach, case.reach, rtol=0, atol=1e-9)
    assert (plain.verdict, plain.severity, plain.axis) == (
        other.verdict, other.severity, other.axis,
    )  # fmt: skip
    assert [cause.name for cause in plain.causes] == [cause.name for cause in other.causes]
    assert plain.unexplained == pytest.approx(other.unexplained, abs=1e-9)


@given(
    st.lists(
        st.tuples(st.sampled_from(["a", "b", UNEXPLAINED]), st.floats(-5, 5)),
        min_size=1,
        max_size=12,
    )
)
def test_shares_are_never_negative_and_sum_to_one(drawn):
    claims = tuple(Claim(cause, k, f"op{k}", value) for k, (cause, value) in enumerate(drawn))
    account = Account(0, sum(value for _, value in drawn), claims)
    shares = account.shares()
    assert all(share >= 0.0 for share in shares.values())
    assert sum(shares.values()) == pytest.approx(1.0, abs=1e-9)
    for cause in ("a", "b"):
        assert account.decades(cause) * account.total >= 0.0


def test_paths_of_a_cause_come_with_the_largest_claim_first():
    claims = (
        Claim("a", 0, "small", -0.5), Claim("a", 1, "large", -2.0), Claim("a", 2, "against", 1.0),
    )  # fmt: skip
    account = Account(0, -1.5, claims)
    assert account.paths("a") == ("large", "small")
    assert account.decades("a") == -2.5
