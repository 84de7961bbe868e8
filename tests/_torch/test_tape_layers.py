"""The tape beside `torch.autograd.grad`: layers, normalisations, convolutions, functional ops."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from _tape_oracle import complete, norms_by_path, observed, reference_norms
from gradfuga.flow import OpRole

# Both sides are sums of squares in float64 of the same numbers: only the order may differ.
TOLERANCE = 1e-12


class Functional(nn.Module):
    """A ModuleList with an activation between that no module owns."""

    def __init__(self, activation, *, residual=False):
        super().__init__()
        self.layers = nn.ModuleList([nn.Linear(6, 6) for _ in range(4)])
        self.head = nn.Linear(6, 3)
        self.activation, self.residual = activation, residual

    def forward(self, x):
        for layer in self.layers:
            new = self.activation(layer(x))
            x = x + new if self.residual else new
        return self.head(x)


class DenselyConnected(nn.Module):
    def __init__(self):
        super().__init__()
        self.a, self.b, self.c = nn.Linear(6, 4), nn.Linear(10, 4), nn.Linear(14, 3)

    def forward(self, x):
        x = torch.cat([x, torch.relu(self.a(x))], 1)
        x = torch.cat([x, torch.relu(self.b(x))], 1)
        return self.c(x)


class Einsum(nn.Module):
    def __init__(self):
        super().__init__()
        self.w = nn.Parameter(torch.randn(6, 8) / 3)
        self.head = nn.Linear(8, 3)

    def forward(self, x):
        return self.head(torch.tanh(torch.einsum("bi,ij->bj", x, self.w)))


class Square(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x):
        ctx.save_for_backward(x)
        return x * x

    @staticmethod
    def backward(ctx, gradient):
        (x,) = ctx.saved_tensors
        return 2 * x * gradient


class Custom(nn.Module):
    def __init__(self):
        super().__init__()
        self.a, self.b = nn.Linear(6, 8), nn.Linear(8, 3)

    def forward(self, x):
        return self.b(Square.apply(self.a(x)))


def conv_net(n):
    conv, up = getattr(nn, f"Conv{n}d"), getattr(nn, f"ConvTranspose{n}d")
    return nn.Sequential(
        conv(2, 4, 3, padding=1),
        getattr(nn, f"BatchNorm{n}d")(4),
        nn.ReLU(inplace=True),
        conv(4, 4, 3, padding=1, groups=4),  # depthwise
        nn.GroupNorm(2, 4),
        nn.SiLU(),
        getattr(nn, f"AvgPool{n}d")(2),
        up(4, 3, 2, stride=2),
        getattr(nn, f"MaxPool{n}d")(2),
        getattr(nn, f"AdaptiveAvgPool{n}d")(1),
        nn.Flatten(),
        nn.Linear(3, 3),
    )


def plain(*between):
    layers, width = [], 6
    for each in between:
        layers += [nn.Linear(width, 8), each]
        width = 8
    return nn.Sequential(*layers, nn.Linear(8, 3))


NETS = {
    "sequential": (lambda: plain(nn.Sigmoid(), nn.Tanh()), 0, ["4", "2", "0"]),
    "module list with functional tanh": (
        lambda: Functional(torch.tanh),
        0,
        ["head", "layers.3", "layers.2", "layers.1", "layers.0"],
    ),
    "in-place relu": (
        lambda: plain(nn.ReLU(inplace=True), nn.ReLU(inplace=True)),
        0,
        ["4", "2", "0"],
    ),
    "functional in-place relu": (
        lambda: Functional(F.relu_),
        0,
        ["head", "layers.3", "layers.2", "layers.1", "layers.0"],
    ),
    "residual": (
        lambda: Functional(F.relu, residual=True),
        0,
        ["head", "layers.3", "layers.2", "layers.1", "layers.0"],
    ),
    "dense connections": (DenselyConnected, 0, ["c", "b", "a"]),
    "layer norm and rms norm": (
        lambda: plain(nn.LayerNorm(8), nn.RMSNorm(8)),
        0,
        ["4", "2", "0"],
    ),
    "batch norm and dropout": (
        lambda: plain(nn.BatchNorm1d(8), nn.Dropout(0.3)),
        0,
        ["4", "2", "0"],
    ),
    "norm of the data": (
        lambda: nn.Sequential(nn.LayerNorm(6), nn.Linear(6, 8), nn.ReLU(), nn.Linear(8, 3)),
        0,
        ["3", "1"],
    ),
    "prelu, elu, gelu": (
        lambda: plain(nn.PReLU(), nn.ELU(), nn.GELU()),
        0,
        ["6", "4", "2", "0"],
    ),
    "weight norm": (
        lambda: nn.Sequential(
            nn.utils.parametrizations.weight_norm(nn.Linear(6, 8)), nn.Tanh(), nn.Linear(8, 3)
        ),
        0,
        ["2", "0"],
    ),
    "einsum": (Einsum, 0, ["head", "w"]),
    "custom function": (Custom, 0, ["b", "a"]),
    "convolutions 1-D": (lambda: conv_net(1), 1, ["11", "7", "3", "0"]),
    "convolutions 2-D": (lambda: conv_net(2), 2, ["11", "7", "3", "0"]),
    "convolutions 3-D": (lambda: conv_net(3), 3, ["11", "7", "3", "0"]),
}


def net(name):
    torch.manual_seed(0)
    build, dimensions, layers = NETS[name]
    model = build().double()
    x = torch.randn(5, 2, *[6] * dimensions) if dimensions else torch.randn(5, 6)
    x, y = x.double(), torch.randint(0, 3, (5,))
    return model, lambda m: F.cross_entropy(m(x), y), layers


@pytest.mark.parametrize("name", NETS)
def test_the_gradient_of_every_op_is_the_one_autograd_gives(name):
    model, loss_of, layers = net(name)
    readings = observed(model, loss_of)
    graph = readings.graph
    complete(readings)
    assert [graph.ops[index].path for index in graph.layers] == layers
    seen = norms_by_path(readings)
    modules = dict(model.named_modules())
    paths = [path for path in seen if path in modules]
    reference = reference_norms(model, loss_of, paths)
    assert len(reference) >= len([path for path in layers if path in modules]) >= 1
    for path, expected in reference.items():
        assert seen[path] == pytest.approx(expected, rel=TOLERANCE), path


@pytest.mark.parametrize("name", NETS)
def test_every_parameter_enters_the_op_of_its_layer(name):
    model, loss_of, layers = net(name)
    readings = observed(model, loss_of)
    named = {name for name, _ in model.named_parameters()}
    entering = [(name, op) for op in readings.graph.ops for name in op.parameters]
    assert {name for name, _ in entering} == named
    for path in layers:
        owned = {name for name in named if name == path or name.startswith(f"{path}.")}
        assert owned - {n for n, op in entering if op.path == path} <= {
            # a bias that einsum or a norm adds apart
            n
            for n, op in entering
            if op.module == path
        }
    assert {record.path for record in readings.record.parameters} == named
    assert all(record.reached and record.optimized for record in readings.record.parameters)


def test_an_op_that_cannot_be_opened_is_opaque_and_has_a_gain():
    model, loss_of, _ = net("custom function")
    readings = observed(model, loss_of)
    opaque = [op for op in readings.graph.ops if op.role is OpRole.OPAQUE]
    assert [op.path for op in opaque] == ["square"]
    seen = norms_by_path(readings)
    assert seen["a"] > 0.0
    assert seen["square"] > 0.0


def test_the_norm_of_the_data_is_an_op_of_its_own():
    model, loss_of, _ = net("norm of the data")
    graph = observed(model, loss_of).graph
    assert graph.op("0").parameters == ("0.weight", "0.bias")
    assert set(graph.op("1").parameters) == {"1.weight", "1.bias"}


def test_the_norm_along_an_edge_is_recorded_where_branches_meet():
    model, loss_of, _ = net("residual")
    readings = observed(model, loss_of)
    graph = readings.graph
    shared = [
        edge
        for edge in graph.edges
        if sum(other.producer == edge.producer for other in graph.edges) > 1
    ]
    assert shared
    for edge in shared:
        path = graph.ops[edge.consumer].path
        _, values = readings.series(path, "activation_grad", f"input_norm.{edge.slot}")
        assert values.shape == (1,)
        assert values[0] >= 0.0


@pytest.mark.parametrize("name", ["sequential", "convolutions 2-D", "weight norm"])
def test_on_a_plain_network_the_main_line_is_the_network(name):
    model, loss_of, _ = net(name)
    graph = observed(model, loss_of).graph
    below = [op.index for op in graph.ops if op.index >= graph.outputs[0]]
    assert list(graph.main_line) == below
