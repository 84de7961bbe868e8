"""The laws of the account and of observing, on networks that nobody has chosen."""

import math

import numpy as np
import torch
import torch.nn.functional as F
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from torch import nn

from gradfuga._diagnose import diagnose
from gradfuga._observe import observe
from gradfuga.analysis.build import build_case

ACTIVATIONS = {
    "relu": torch.relu,
    "tanh": torch.tanh,
    "sigmoid": torch.sigmoid,
    "gelu": F.gelu,
    "silu": F.silu,
    "elu": F.elu,
    "leaky": F.leaky_relu,
    "none": lambda x: x,
}


class Random(nn.Module):
    """Blocks of a layer, perhaps a norm, an activation, and perhaps a skip."""

    def __init__(self, blocks, width, gain):
        super().__init__()
        self.stem = nn.Linear(6, width)
        self.layers = nn.ModuleList(nn.Linear(width, width) for _ in blocks)
        self.norms = nn.ModuleList(_norm(norm, width) for _, norm, _ in blocks)
        self.head = nn.Linear(width, 3)
        self.blocks = blocks
        for layer in self.layers:
            nn.init.normal_(layer.weight, std=gain / math.sqrt(width))

    def forward(self, x):
        h = self.stem(x)
        for (name, _, skip), layer, norm in zip(self.blocks, self.layers, self.norms, strict=True):
            new = ACTIVATIONS[name](norm(layer(h)))
            h = h + skip * new if skip else new
        return self.head(h)


def _norm(name, width):
    return {"batch": nn.BatchNorm1d, "layer": nn.LayerNorm}.get(name, nn.Identity)(width)


BLOCKS = st.lists(
    st.tuples(
        st.sampled_from(sorted(ACTIVATIONS)),
        st.sampled_from(["none", "none", "batch", "layer"]),
        st.sampled_from([0.0, 0.0, 1.0, 0.3]),
    ),
    min_size=1,
    max_size=9,
)


def run(blocks, width, gain, seed, *, observed=True, factor=1.0, steps=3):
    torch.manual_seed(seed)
    model = Random(blocks, width, gain)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01 / factor)
    x, y = torch.randn(16, 6), torch.arange(16) % 3
    observer = observe(model, optimizer, every=1) if observed else None
    if observer is not None:
        observer.__enter__()
    try:
        for _ in range(steps):
            optimizer.zero_grad()
            (factor * F.cross_entropy(model(x), y)).backward()
            optimizer.step()
    finally:
        if observer is not None:
            observer.close()
    return model, observer.readings if observer is not None else None


NETWORKS = {
    "blocks": BLOCKS,
    "width": st.integers(2, 24),
    "gain": st.floats(0.3, 3.0),
    "seed": st.integers(0, 1000),
}
SOME = settings(max_examples=20, suppress_health_check=[HealthCheck.too_slow])


@SOME
@given(**NETWORKS)
def test_the_claims_add_up_to_the_reach_and_the_shares_to_one(blocks, width, gain, seed):
    _, readings = run(blocks, width, gain, seed)
    case = build_case(readings)
    for account in (case.start, case.late):
        assert math.isfinite(account.total)
        claimed = sum(claim.decades for claim in account.claims)
        assert math.isclose(claimed, account.total, rel_tol=1e-9, abs_tol=1e-9)
        shares = account.shares()
        if shares:
            assert math.isclose(sum(shares.values()), 1.0, abs_tol=1e-9)
            assert all(share >= 0.0 for share in shares.values())
    diagnosis = diagnose(readings)
    if diagnosis.causes:
        total = sum(cause.share for cause in diagnosis.causes) + diagnosis.unexplained
        assert math.isclose(total, 1.0, abs_tol=1e-9)


@SOME
@given(**NETWORKS)
def test_the_gains_multiply_to_the_gradient_that_autograd_gives(blocks, width, gain, seed):
    """|dL/d stem's output| over |dL/d output|, by a float64 loop without gradfuga."""
    _, readings = run(blocks, width, gain, seed, steps=1)
    torch.manual_seed(seed)
    model = Random(blocks, width, gain)
    x, y = torch.randn(16, 6), torch.arange(16) % 3
    model = model.double()
    seen = {}

    def keep(name):
        return lambda _module, _inputs, out: (out.retain_grad(), seen.__setitem__(name, out))[0]

    for name in ("stem", "head"):
        getattr(model, name).register_forward_hook(keep(name))
    F.cross_entropy(model(x.double()), y).backward()
    stem, head = (float(seen[name].grad.norm()) for name in ("stem", "head"))
    read = {
        name: float(readings.series(name, "activation_grad", "norm")[1][0])
        for name in ("stem", "head")
    }
    # norms of float32 gradients: rounding grows with depth and cancels in batch norms
    np.testing.assert_allclose(read["head"], head, rtol=1e-4)
    np.testing.assert_allclose(read["stem"], stem, rtol=2e-3, atol=1e-6 * head)


@SOME
@given(**NETWORKS)
def test_observing_changes_no_weight_and_the_scale_of_the_loss_no_reach(blocks, width, gain, seed):
    bare, _ = run(blocks, width, gain, seed, observed=False)
    watched, readings = run(blocks, width, gain, seed)
    for one, other in zip(bare.parameters(), watched.parameters(), strict=True):
        assert torch.equal(one, other)
    _, scaled = run(blocks, width, gain, seed, factor=2.0**20)  # a power of two: no rounding
    one, other = build_case(readings), build_case(scaled)
    np.testing.assert_allclose(one.reach[0], other.reach[0], atol=1e-12)
    assert diagnose(readings).verdict is diagnose(scaled).verdict
