"""What is compiled and cannot be run again stays closed, untouched, and is said."""

import copy
import pickle

import pytest
import torch
import torch._dynamo
import torch.nn.functional as F
from torch import nn

from _compiled import (
    Net,
    Trained,
    batch,
    compile_in_place,
    compile_whole,
    opaque,
    plain_step,
    same_training,
)
from gradfuga._observe import observe

# torch's own, while it compiles
pytestmark = [
    pytest.mark.filterwarnings("ignore:The .grad attribute of a Tensor that is not a leaf"),
    pytest.mark.filterwarnings("ignore:`torch.jit.script_method` is deprecated"),
]


def test_hooks_of_the_program_on_its_modules_are_not_run_twice():
    calls = []

    def how(model):
        calls.append([])
        model.head.register_forward_hook(lambda *_: calls[-1].append(1))
        return compile_whole(model)

    opaque(Net, how, told="hooks of the program's own")
    assert len(calls[0]) == len(calls[1])


def test_inputs_changed_in_place_are_not_at_hand_any_more():
    class Changing(nn.Sequential):
        def __init__(self):
            super().__init__(nn.Linear(6, 8), nn.ReLU(), nn.Linear(8, 3))

        def forward(self, x):
            return super().forward(x.mul_(2.0))

    opaque(Changing, compile_whole, told="changes its inputs in place")


def test_a_gradient_that_comes_in_at_the_side():
    class Aside(Net):
        def forward(self, x):
            out = super().forward(x)
            self.penalty = out.square().mean()
            return out

    def step(model, optimizer, number):
        x, y = batch(number)
        optimizer.zero_grad()
        out = model(x)
        (F.cross_entropy(out, y) + model.penalty).backward()
        optimizer.step()

    def last(model):
        return compile_whole(model)

    opaque(Aside, last, step, told="compiled")


def test_a_module_that_computes_something_else_when_it_is_run_again():
    class Moody(Net):
        def forward(self, x):
            out = super().forward(x)
            return out if torch.compiler.is_compiling() else 2.0 * out

    opaque(Moody, compile_whole, told="its eager pass differs")


def test_compiled_functions_and_training_steps_stay_closed():
    def forward_loss(model):
        @torch.compile(backend="aot_eager")
        def loss_of(x, y):
            return F.cross_entropy(model(x), y)

        return loss_of

    def step(loss_of, optimizer, number):
        optimizer.zero_grad()
        loss_of(*batch(number)).backward()
        optimizer.step()

    def whole_step(loss_of, optimizer, number):
        compiled = torch.compile(step, backend="aot_eager")
        compiled(loss_of, optimizer, number)

    told = "the inside of what is compiled, except for modules"
    opaque(Net, forward_loss, step, told=told)
    # hooks of optimizers break what is compiled around a step: its graphs are the same all the same
    seen = opaque(
        Net,
        lambda model: lambda x, y: F.cross_entropy(model(x), y),
        whole_step,
        told=told,
        compiled=("stats", "aot_autograd"),
    )
    assert not any(each.opened for each in seen.readings.record.parameters)


def test_a_compiled_function_beside_a_compiled_module():
    def step(model, optimizer, number):
        x, y = batch(number)
        optimizer.zero_grad()
        F.cross_entropy(model(x), y).backward()
        doubled(x)
        optimizer.step()

    doubled = torch.compile(lambda x: 2.0 * x, backend="aot_eager")
    seen = Trained(Net, compile_whole, step)
    same_training(Trained(Net, compile_whole, step, observed=False), seen)
    assert not seen.readings.record.warnings
    assert all(each.opened for each in seen.readings.record.parameters)
    assert seen.readings.graph.layers


def test_an_exception_of_the_program_stays_its_own():
    class Failing(Net):
        def forward(self, x):
            if x.shape[0] == 5:
                raise ValueError("five")
            return super().forward(x)

    def step(model, optimizer, number):
        with pytest.raises(ValueError, match="five"):
            model(batch(number, 5)[0])
        plain_step(model, optimizer, number)

    bare = Trained(Failing, compile_whole, step, observed=False)
    seen = Trained(Failing, compile_whole, step)
    same_training(bare, seen)
    assert all(each.opened for each in seen.readings.record.parameters)


def test_copies_and_pickles_of_an_observed_compiled_model():
    def step(model, optimizer, number):
        plain_step(model, optimizer, number)
        copy.deepcopy(model)(batch(0)[0])
        assert pickle.loads(pickle.dumps(model.state_dict())).keys() == model.state_dict().keys()

    for how in (compile_whole, compile_in_place):
        bare = Trained(Net, how, step, observed=False)
        same_training(bare, Trained(Net, how, step))


def test_everything_is_put_back():
    model = compile_in_place(Net())
    compiled, call = model._compiled_call_impl, torch._dynamo.OptimizedModule.__call__
    original = torch.compile
    with observe(every=1):
        assert model._compiled_call_impl is not compiled
        assert torch._dynamo.OptimizedModule.__call__ is not call
        other = compile_in_place(Net())
    assert torch.compile is original
    assert torch._dynamo.OptimizedModule.__call__ is call
    assert model._compiled_call_impl is compiled
    assert other._compiled_call_impl.__name__ == compiled.__name__
