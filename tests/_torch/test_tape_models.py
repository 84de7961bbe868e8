"""The tape beside `torch.autograd.grad`: attention, recurrence, several ways in and out."""

import time
from dataclasses import dataclass

import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torch.utils.checkpoint import checkpoint

from _tape_oracle import complete, norms_by_path, observed, reference_norms
from gradfuga._observe import observe
from gradfuga.analysis.build import build_case
from gradfuga.flow import OpRole

TOLERANCE = 1e-12  # float64 on both sides; only the order of the sums differs


class Block(nn.Module):
    """A pre-LN transformer block."""

    def __init__(self, attention):
        super().__init__()
        self.attention = attention
        self.norm1, self.norm2 = nn.LayerNorm(8), nn.LayerNorm(8)
        self.up, self.down = nn.Linear(8, 16), nn.Linear(16, 8)

    def forward(self, x):
        x = x + self.attention(self.norm1(x))
        return x + self.down(F.gelu(self.up(self.norm2(x))))


class MultiHead(nn.Module):
    def __init__(self, *, weights):
        super().__init__()
        self.inner = nn.MultiheadAttention(8, 2, batch_first=True)
        self.weights = weights

    def forward(self, x):
        return self.inner(x, x, x, need_weights=self.weights)[0]


class Fused(nn.Module):
    def __init__(self):
        super().__init__()
        self.qkv, self.out = nn.Linear(8, 24), nn.Linear(8, 8)

    def forward(self, x):
        q, k, v = (
            part.view(*x.shape[:2], 2, 4).transpose(1, 2) for part in self.qkv(x).chunk(3, -1)
        )
        mixed = F.scaled_dot_product_attention(q, k, v, is_causal=True)
        return self.out(mixed.transpose(1, 2).reshape(x.shape))


class Transformer(nn.Module):
    def __init__(self, make):
        super().__init__()
        self.embed = nn.Embedding(11, 8)
        self.blocks = nn.ModuleList([Block(make()) for _ in range(2)])
        self.norm, self.head = nn.LayerNorm(8), nn.Linear(8, 3)

    def forward(self, tokens):
        x = self.embed(tokens)
        for block in self.blocks:
            x = block(x)
        return self.head(self.norm(x).mean(1))


TOKENS = torch.arange(30).view(5, 6) % 11
LABELS = torch.tensor([0, 1, 2, 0, 1])
SEQUENCE = torch.randn(5, 20, 6, generator=torch.Generator().manual_seed(1), dtype=torch.float64)


def of_tokens(model):
    return F.cross_entropy(model(TOKENS), LABELS)


def compare(model, loss_of, readings, paths):
    seen = norms_by_path(readings)
    for path, expected in reference_norms(model, loss_of, paths).items():
        assert seen[path] == pytest.approx(expected, rel=TOLERANCE), path


@pytest.mark.parametrize(
    "make", [lambda: MultiHead(weights=False), lambda: MultiHead(weights=True), Fused]
)
def test_on_a_pre_ln_transformer_the_main_line_is_the_residual_stream(make):
    torch.manual_seed(0)
    model = Transformer(make).double()
    readings = observed(model, of_tokens)
    complete(readings)
    graph = readings.graph
    line = [graph.ops[index] for index in graph.main_line]
    assert [op.role for op in line] == [
        OpRole.LINEAR, OpRole.STRUCTURAL, OpRole.NORMALIZATION,
        OpRole.MERGE, OpRole.MERGE, OpRole.MERGE, OpRole.MERGE, OpRole.EMBEDDING,
    ]  # fmt: skip
    assert all(op.name == "add" for op in line[3:7])
    compare(model, of_tokens, readings, ["head", "norm", "embed", "blocks.0.norm1"])
    assert {op.path for op in graph.ops} >= {"blocks.1.up", "blocks.1.down", "blocks.0.down"}


class Tied(nn.Module):
    def __init__(self):
        super().__init__()
        self.embed, self.middle = nn.Embedding(11, 6), nn.Linear(6, 6)
        self.out = nn.Linear(6, 11, bias=False)
        self.out.weight = self.embed.weight

    def forward(self, tokens):
        return self.out(torch.tanh(self.middle(self.embed(tokens))).mean(1))


def test_a_tied_weight_is_one_layer_with_two_uses_led_by_the_last():
    torch.manual_seed(0)
    model = Tied().double()
    readings = observed(model, of_tokens)
    graph = readings.graph
    tied = graph.uses[[graph.ops[i].path for i in graph.layers].index("embed")]
    assert [graph.ops[i].role for i in tied] == [OpRole.LINEAR, OpRole.EMBEDDING]
    assert graph.layers[graph.uses.index(tied)] == tied[0]
    reference = reference_norms(model, of_tokens, ["embed", "out"])
    seen = norms_by_path(readings)
    assert seen[graph.ops[tied[0]].path] == pytest.approx(reference["out"], rel=TOLERANCE)
    assert seen[graph.ops[tied[1]].path] == pytest.approx(reference["embed"], rel=TOLERANCE)
    record = next(p for p in readings.record.parameters if p.path == "embed.weight")
    assert record.aliases == ("out.weight",)


class Recurrent(nn.Module):
    def __init__(self, kind):
        super().__init__()
        self.memory, self.head = kind(6, 7, batch_first=True), nn.Linear(7, 3)

    def forward(self, x):
        return self.head(self.memory(x)[0][:, -1])


class Unrolled(nn.Module):
    def __init__(self):
        super().__init__()
        self.cell, self.head = nn.RNNCell(6, 7), nn.Linear(7, 3)

    def forward(self, x):
        state = x.new_zeros(x.shape[0], 7)
        for moment in range(x.shape[1]):
            state = self.cell(x[:, moment], state)
        return self.head(state)


def of_sequence(model):
    return F.cross_entropy(model(SEQUENCE.to(next(model.parameters()).dtype)), LABELS)


@pytest.mark.parametrize("kind", [nn.RNN, nn.LSTM, nn.GRU])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])  # fused, and op by op
def test_a_recurrent_layer_is_read_whole(kind, dtype):
    torch.manual_seed(0)
    model = Recurrent(kind).to(dtype)
    readings = observed(model, of_sequence)
    complete(readings)
    case = build_case(readings)
    # norms of float32 values: 20 steps of rounding, far below what anyone reads off a reach
    tolerance = TOLERANCE if dtype is torch.float64 else 1e-4
    seen, expected = norms_by_path(readings), reference_norms(model, of_sequence, ["head"])
    assert seen["head"] == pytest.approx(expected["head"], rel=tolerance)
    heavy = {layer.weight for layer in case.layers}
    assert heavy & {"memory.weight_hh_l0", "memory.weight_ih_l0"}
    assert all(not weight.rpartition(".")[2].startswith("bias") for weight in heavy)
    assert all(record.reached for record in readings.record.parameters)


def test_an_unrolled_cell_is_one_layer_used_at_every_moment():
    torch.manual_seed(0)
    model = Unrolled().double()
    readings = observed(model, of_sequence)
    graph = readings.graph
    places = {graph.ops[i].path: k for k, i in enumerate(graph.layers)}
    uses = graph.uses[places["cell.weight_hh"]]
    assert len(uses) == 20
    assert uses[0] == min(uses)  # the last use runs backward first
    # by hand: the gradient at the pre-activation of every moment
    state, states = SEQUENCE.new_zeros(5, 7), []
    cell = model.cell
    for moment in range(20):
        first = SEQUENCE[:, moment] @ cell.weight_ih.T + cell.bias_ih
        second = state @ cell.weight_hh.T + cell.bias_hh
        states.append(second)
        state = torch.tanh(first + second)
    loss = F.cross_entropy(model.head(state), LABELS)
    gradients = torch.autograd.grad(loss, states)
    seen = norms_by_path(readings)
    for use, gradient in zip(uses, reversed(gradients), strict=True):
        assert seen[graph.ops[use].path] == pytest.approx(gradient.norm().item(), rel=TOLERANCE)


def test_two_hundred_moments_are_read_in_reasonable_time():
    torch.manual_seed(0)
    model, long = Unrolled(), torch.randn(5, 200, 6)
    started = time.perf_counter()
    readings = observed(model, lambda m: F.cross_entropy(m(long), LABELS), steps=2)
    build_case(readings)
    assert time.perf_counter() - started < 20.0  # measured: 0.9 s
    assert max(len(group) for group in readings.graph.uses) == 200


@dataclass
class Both:
    a: torch.Tensor
    b: torch.Tensor


class Several(nn.Module):
    """Two inputs, two outputs."""

    def __init__(self, give):
        super().__init__()
        self.left, self.right, self.trunk = nn.Linear(6, 8), nn.Linear(6, 8), nn.Linear(8, 8)
        self.a, self.b, self.give = nn.Linear(8, 3), nn.Linear(8, 2), give

    def forward(self, u, v):
        h = torch.tanh(self.trunk(torch.tanh(self.left(u)) + self.right(v)))
        return self.give(self.a(h), self.b(h))


X = SEQUENCE[:, 0]


def of_both(model):
    out = model(X, X.flip(0))
    match out:
        case (a, b) | {"a": a, "b": b} | Both(a, b):
            pass
    return F.cross_entropy(a, LABELS) + 0.5 * F.mse_loss(b, torch.ones_like(b))


@pytest.mark.parametrize("give", [lambda a, b: (a, b), lambda a, b: {"a": a, "b": b}, Both])
def test_several_inputs_outputs_and_losses_are_one_graph(give):
    torch.manual_seed(0)
    model = Several(give).double()
    readings = observed(model, of_both)
    complete(readings)
    graph = readings.graph
    assert {graph.ops[i].path for i in graph.outputs} == {"a", "b"}
    paths = ["a", "b", "trunk", "left", "right"]
    assert {graph.ops[i].path for i in graph.layers} == set(paths)
    compare(model, of_both, readings, paths)
    # reach is measured against all outputs together
    reference = reference_norms(model, of_both, paths)
    whole = (reference["a"] ** 2 + reference["b"] ** 2) ** 0.5
    case = build_case(readings)
    for layer, reach in zip(case.layers, case.reach[0], strict=True):
        assert 10**reach == pytest.approx(reference[layer.path] / whole, rel=1e-9)


def test_a_model_called_several_times_before_one_backward_is_read_in_every_call():
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(6, 8), nn.Tanh(), nn.Linear(8, 3)).double()

    def loss_of(m):
        return (m(X) - m(X.flip(0))).square().sum() + F.cross_entropy(m(2 * X), LABELS)

    readings = observed(model, loss_of)
    complete(readings)
    assert [len(group) for group in readings.graph.uses] == [3, 3]
    assert len(readings.graph.outputs) == 3
    compare(model, loss_of, readings, ["0", "2"])  # the last call carries the plain path


class Checkpointed(nn.Module):
    def __init__(self, *, reentrant):
        super().__init__()
        self.first, self.head, self.reentrant = nn.Linear(6, 6), nn.Linear(6, 3), reentrant
        self.blocks = nn.ModuleList(
            [nn.Sequential(nn.Linear(6, 6), nn.Tanh(), nn.Dropout(0.2)) for _ in range(3)]
        )

    def forward(self, x):
        x = self.first(x)
        for block in self.blocks:
            x = checkpoint(block, x, use_reentrant=self.reentrant)
        return self.head(x)


@pytest.mark.parametrize("reentrant", [True, False])
def test_checkpointing_is_read_or_opaque_and_the_gradients_stay_bit_equal(reentrant, caplog):
    def trained(watched):
        torch.manual_seed(3)
        model = Checkpointed(reentrant=reentrant).double()
        optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
        observer = observe(model, optimizer, every=1) if watched else None
        if observer:
            observer.__enter__()
        for _ in range(3):
            optimizer.zero_grad()
            F.cross_entropy(model(X), LABELS).backward()
            optimizer.step()
        if observer:
            observer.close()
        return model, observer

    (plain, _), (model, observer) = trained(False), trained(True)
    for one, other in zip(plain.parameters(), model.parameters(), strict=True):
        assert torch.equal(one, other)
        assert torch.equal(one.grad, other.grad)
    assert not caplog.records
    readings = observer.readings
    complete(readings)
    assert all(record.reached for record in readings.record.parameters)
    opaque = [op for op in readings.graph.ops if op.role is OpRole.OPAQUE]
    assert len(opaque) == (3 if reentrant else 0)
    assert len(readings.graph.layers) == (2 if reentrant else 5)
    for path in ("blocks.1.0.weight", "first.weight"):
        assert readings.series(path, "weight_grad", "norm")[1].min() > 0.0


def test_a_training_without_modules_takes_its_names_from_the_variables():
    generator = torch.Generator().manual_seed(0)
    w1 = (torch.randn(6, 8, generator=generator).double() / 2).requires_grad_()
    b1 = torch.zeros(8, dtype=torch.float64, requires_grad=True)
    w2 = torch.randn(8, 3, generator=generator).double().requires_grad_()
    optimizer = torch.optim.SGD([w1, b1, w2], lr=0.1)
    kept = {}
    with observe(every=1) as observer:
        kept["z"] = X @ w1
        kept["out"] = torch.tanh(kept["z"] + b1) @ w2
        loss = -kept["out"].log_softmax(1)[torch.arange(5), LABELS].mean()
        wanted = torch.autograd.grad(loss, list(kept.values()), retain_graph=True)
        loss.backward()
        optimizer.step()
    readings = observer.readings
    complete(readings)
    graph, seen = readings.graph, norms_by_path(readings)
    assert [graph.ops[i].path for i in graph.outputs] == ["w2"]
    assert [graph.ops[i].path for i in graph.main_line] == ["w2", "tanh", "add", "w1"]
    assert graph.op("add").parameters == ("b1",)
    assert seen["w1"] == pytest.approx(wanted[0].norm().item(), rel=TOLERANCE)
    assert seen["w2"] == pytest.approx(wanted[1].norm().item(), rel=TOLERANCE)
