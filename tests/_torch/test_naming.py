"""Names and source lines: what the user called a thing, and where the user wrote it."""

import sys
from textwrap import dedent

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from gradfuga._observe import observe
from gradfuga._torch.launch import Program, launch
from gradfuga._torch.naming import names_of, owners
from gradfuga._torch.spies import Span

SCRIPT = dedent(
    """\
    import torch
    import torch.nn.functional as F
    from torch import nn

    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.first = nn.Linear(5, 8)
            self.act = nn.Sigmoid()
            self.stack = nn.Sequential(
                nn.Linear(8, 8),
                nn.Tanh(),
            )
            self.head = nn.Linear(8, 3)

        def forward(self, x):
            x = self.act(self.first(x))
            x = self.stack(x)
            x = torch.relu(x) + x
            return self.head(x)

    def main():
        torch.manual_seed(0)
        model = Net()
        optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
        for _ in range(3):
            optimizer.zero_grad()
            loss = F.cross_entropy(model(torch.ones(6, 5)), torch.zeros(6).long())
            loss.backward()
            optimizer.step()

    if __name__ == "__main__":
        main()
    """
)
LINE = {line.strip(): number for number, line in enumerate(SCRIPT.splitlines(), start=1)}
WANTED = {
    "first": "x = self.act(self.first(x))",
    "act": "x = self.act(self.first(x))",
    "relu": "x = torch.relu(x) + x",
    "add": "x = torch.relu(x) + x",
    "head": "return self.head(x)",
    "stack.0": "nn.Linear(8, 8),",  # where the module was built: the call names the container
    "stack.1": "nn.Tanh(),",
    "nll_loss": "loss = F.cross_entropy(model(torch.ones(6, 5)), torch.zeros(6).long())",
}


@pytest.mark.parametrize("elsewhere", [False, True], ids=["file", "temporary file"])
def test_every_op_knows_the_line_that_the_user_wrote(tmp_path, monkeypatch, elsewhere):
    folder = tmp_path / "somewhere else" if elsewhere else tmp_path
    folder.mkdir(exist_ok=True)
    script = folder / "train.py"
    script.write_text(SCRIPT)
    for name in ("argv", "path"):
        monkeypatch.setattr(sys, name, list(getattr(sys, name)))
    monkeypatch.setitem(sys.modules, "__main__", sys.modules["__main__"])
    with observe(every=1) as observer:
        outcome = launch(
            Program(str(script), ()), torch_imported=lambda: None, terminated=lambda: None
        )
    assert outcome.exit_code == 0
    graph = observer.readings.graph
    for path, text in WANTED.items():
        source = graph.op(path).source
        assert source is not None, path
        assert (source.file, source.line, source.text) == (str(script), LINE[text], text), path
    assert observer.readings.record.model == "Net"


def seen(model, loss_of, **named):
    optimizer = torch.optim.SGD(model if isinstance(model, list) else model.parameters(), lr=0.1)
    with observe(every=1, **named) as observer:
        loss_of().backward()
        optimizer.step()
    return observer.readings


X = torch.randn(6, 5, generator=torch.Generator().manual_seed(2))


def test_the_names_are_those_of_the_root_module_whatever_variable_holds_a_part():
    network = nn.Sequential(nn.Linear(5, 8), nn.Sequential(nn.Tanh(), nn.Linear(8, 3)))
    part = network[1]  # a smaller module in a variable of the same frame
    readings = seen(network, lambda: network(X).square().mean())
    assert part is network[1]
    assert [p.path for p in readings.record.parameters] == [
        "0.weight", "0.bias", "1.1.weight", "1.1.bias",
    ]  # fmt: skip
    assert [op.path for op in readings.graph.ops][-3:] == ["1.1", "1.0", "0"]


def test_two_modules_without_a_common_one_are_named_by_their_variables():
    encoder, decoder = nn.Linear(5, 4), nn.Linear(4, 3)
    readings = seen(
        [*encoder.parameters(), *decoder.parameters()], lambda: decoder(encoder(X)).sum()
    )
    assert {p.path for p in readings.record.parameters} == {
        "encoder.weight", "encoder.bias", "decoder.weight", "decoder.bias",
    }  # fmt: skip
    assert {op.path for op in readings.graph.ops} >= {"encoder", "decoder"}


def test_modules_of_a_trainer_object_are_named_by_its_attributes():
    class Trainer:
        def __init__(self):
            self.policy, self.value = nn.Linear(5, 4), nn.Linear(5, 1)
            both = [*self.policy.parameters(), *self.value.parameters()]
            self.optimizer = torch.optim.SGD(both, lr=0.1)

        def fit(self):
            (self.policy(X).sum() + self.value(X).square().sum()).backward()
            self.optimizer.step()

    with observe(every=1) as observer:
        Trainer().fit()
    assert {p.path for p in observer.readings.record.parameters} == {
        "policy.weight", "policy.bias", "value.weight", "value.bias",
    }  # fmt: skip


def test_wrappers_leave_no_trace_in_the_names():
    inner = nn.Sequential(nn.Linear(5, 3))
    wrapped = nn.Module()
    wrapped.add_module("_orig_mod", inner)
    names = names_of(list(wrapped.parameters()), [("", wrapped)], frames=False)
    assert [name for (name,) in names.parameters.values()] == ["0.weight", "0.bias"]


def test_two_parameters_never_share_a_name():
    first = [nn.Linear(5, 4), nn.Linear(4, 3)]
    names = names_of(
        [p for each in first for p in each.parameters()], [("", each) for each in first],
        frames=False,
    )  # fmt: skip
    assert [name for (name,) in names.parameters.values()] == [
        "linear.weight", "linear.bias", "linear_2.weight", "linear_2.bias",
    ]  # fmt: skip

    def make():
        w = torch.ones(5, 3, requires_grad=True)
        return w, lambda: X @ w

    (one, go), (other, on) = make(), make()
    optimizer = torch.optim.SGD([one, other], lr=0.1)
    with observe(every=1) as observer:
        (go() + on()).sum().backward()
        optimizer.step()
    paths = [p.path for p in observer.readings.record.parameters]
    assert len(set(paths)) == 2


def test_a_tensor_nobody_can_name_still_has_a_path_of_its_own():
    held = [torch.ones(5, 3, requires_grad=True), torch.ones(3, requires_grad=True)]
    names = names_of(held, [], frames=False)
    assert sorted(names.parameters.values()) == [("parameter_0",), ("parameter_1",)]


def test_paths_are_unique_and_repeats_are_counted_in_forward_order():
    class Twice(nn.Module):
        def __init__(self):
            super().__init__()
            self.a, self.b = nn.Linear(5, 5), nn.Linear(5, 5)

        def forward(self, x):
            x = torch.tanh(self.a(x))
            x = torch.tanh(self.b(x))
            return self.a(x)

    torch.manual_seed(0)
    model = Twice()
    graph = seen(model, lambda: model(X).square().mean()).graph
    inside = [op.path for op in graph.ops if op.index >= graph.outputs[0]]
    assert inside == ["a", "tanh#2", "b", "tanh#1", "a#1"]


def test_observing_leaves_no_variable_of_the_program_alive():
    import gc
    import weakref

    def train():
        model = nn.Linear(5, 3)
        big = torch.ones(1000)
        optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
        F.cross_entropy(model(X), torch.zeros(6).long()).backward()
        optimizer.step()
        seen = weakref.ref(big)
        del big
        return seen() is None, weakref.ref(model)

    with observe(every=1):
        freed, model = train()
        gc.collect()
        assert freed  # as soon as the program lets go, in the middle of its function
    gc.collect()
    assert model() is None


def test_an_op_belongs_to_the_innermost_module_call_that_made_it():
    a, b = nn.Tanh(), nn.Tanh()
    spans = [Span(a, 0, 10, 0), Span(b, 3, 6, 1), Span(b, 7, 8, 1)]
    found = owners([0, 2, 3, 5, 6, 7, 9, 10, 42], spans)
    assert [span and (span.module is b, span.first) for span in found] == [
        (False, 0), (False, 0), (True, 3), (True, 3), (False, 0), (True, 7), (False, 0), None, None,
    ]  # fmt: skip


def test_frozen_weights_around_what_is_trained_belong_to_the_model():
    body, head = nn.Sequential(nn.Linear(5, 8), nn.ReLU()), nn.Linear(8, 3)
    body.requires_grad_(False)
    whole = nn.Sequential(body, head)
    names = names_of([head.weight, head.bias], [("head", head), ("whole", whole)], frames=False)
    assert names.model == "Sequential"
    assert names.parameters[id(head.weight)] == ("1.weight",)
    assert names.parameters[id(body[0].weight)] == ("0.0.weight",)
    # weights that another optimizer may train do not
    body.requires_grad_(True)
    names = names_of([head.weight, head.bias], [("head", head), ("whole", whole)], frames=False)
    assert names.model == "Linear"
