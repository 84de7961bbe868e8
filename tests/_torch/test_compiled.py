"""A compiled model is read as the same model is that is not compiled, and nothing is changed."""

import pytest
import torch
import torch._dynamo
import torch.nn.functional as F
from torch import nn
from torch.utils.checkpoint import checkpoint

from _compiled import (
    STEPS,
    Block,
    Net,
    Trained,
    batch,
    check,
    compile_blocks,
    compile_blocks_in_place,
    compile_in_place,
    compile_whole,
    plain_step,
    readings_of,
    same_training,
)
from gradfuga._types import Kind

# torch's own, while it compiles
pytestmark = [
    pytest.mark.filterwarnings("ignore:The .grad attribute of a Tensor that is not a leaf"),
    pytest.mark.filterwarnings("ignore:`torch.jit.script_method` is deprecated"),
]

WAYS = [compile_whole, compile_in_place, compile_blocks, compile_blocks_in_place]


@pytest.mark.parametrize("attach_first", [True, False], ids=["attached before", "attached after"])
@pytest.mark.parametrize("how", WAYS)
def test_it_is_read_like_a_model_that_is_not_compiled(how, attach_first):
    check(Net, how, attach_first=attach_first)


def with_the_loss(kind=Net):
    class WithLoss(kind):
        def forward(self, x, target=None):
            logits = super().forward(x)
            return {"logits": logits, "loss": F.cross_entropy(logits, target)}

    return WithLoss


def step_of_the_loss_inside(model, optimizer, number):
    x, y = batch(number)
    optimizer.zero_grad()
    model(x, target=y)["loss"].backward()
    optimizer.step()


def test_a_loss_inside_is_read_too():
    seen = check(with_the_loss(), compile_whole, step_of_the_loss_inside)
    assert readings_of(seen.readings, Kind.LOSS) > {"value"}  # its targets too


def test_batch_normalization_and_other_state_stay_those_of_one_pass():
    class Counting(nn.Sequential):
        def __init__(self):
            super().__init__(nn.Linear(6, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Linear(8, 3))
            self.register_buffer("seen", torch.zeros(()))
            self.history, self.calls = [], torch.zeros(())

        def forward(self, x):
            self.seen = self.seen + x.shape[0]
            self.calls.add_(1.0)
            self.history.append(1)
            self.last = x.detach().mean()
            return super().forward(x) + 0.0 * self.seen

    seen = check(Counting, compile_whole)
    assert seen.model[1].num_batches_tracked == STEPS
    assert seen.model.seen == STEPS * 12
    assert seen.model.calls == STEPS
    assert len(seen.model.history) == STEPS
    assert torch.equal(seen.model.last, batch(STEPS - 1)[0].mean())


def test_the_masks_of_dropout_are_those_of_the_call():
    # aot_eager draws what eager mode draws
    for how in (compile_whole, compile_blocks):
        check(lambda: Net(drop=0.5), how)


def test_autocast_around_and_inside():
    class Inside(Net):
        def forward(self, x):
            with torch.autocast("cpu", torch.bfloat16):
                return super().forward(x).float()

    def around(model, optimizer, number):
        x, y = batch(number)
        optimizer.zero_grad()
        with torch.autocast("cpu", torch.bfloat16):
            loss = F.cross_entropy(model(x), y)
        loss.backward()
        optimizer.step()

    check(Inside, compile_whole)
    check(Net, compile_whole, around)
    # the edge between two compiled blocks is rounded alike
    check(Net, compile_blocks, around)


def test_accumulation_and_several_passes_over_one_graph():
    def accumulated(model, optimizer, number):
        optimizer.zero_grad()
        for part in range(3):
            x, y = batch(3 * number + part)
            (F.cross_entropy(model(x), y) / 3).backward()
        optimizer.step()

    def twice(model, optimizer, number):
        x, y = batch(number)
        optimizer.zero_grad()
        out = model(x)
        F.cross_entropy(out, y).backward(retain_graph=True)
        out.square().mean().backward()
        optimizer.step()

    def forward_first(model, optimizer, number):
        x, y = batch(number)
        optimizer.zero_grad()
        one, other = model(x), model(-x)
        F.cross_entropy(one, y).backward()
        F.cross_entropy(other, y.flip(0)).backward()
        optimizer.step()

    for how in (compile_whole, compile_blocks):
        check(Net, how, accumulated)
        check(Net, how, twice)
        check(Net, how, forward_first)


def test_checkpoints_around_and_inside():
    class Around(Net):
        def forward(self, x):
            h = torch.tanh(self.stem(x))
            for block in self.blocks:
                h = checkpoint(block, h, use_reentrant=False)
            return self.head(h)

    # what a checkpoint has packed cannot be read in eager mode
    check(Around, compile_blocks, more=True)
    check(Around, compile_whole, more=True)


def test_graph_breaks_inside():
    class Broken(Net):
        def forward(self, x):
            h = torch.tanh(self.stem(x))
            torch._dynamo.graph_break()
            for block in self.blocks:
                h = block(h)
            return self.head(h)

    check(Broken, compile_whole)


def test_compiled_in_compiled():
    def both(model):
        return compile_whole(compile_blocks_in_place(model))

    def wrapped(model):
        return compile_whole(compile_blocks(model))

    check(Net, both)
    check(Net, wrapped)


def test_inputs_that_learn_and_weights_that_are_tied():
    class Tied(nn.Module):
        def __init__(self):
            super().__init__()
            self.embed, self.head = nn.Embedding(9, 8), nn.Linear(8, 9, bias=False)
            self.head.weight = self.embed.weight
            self.blocks = nn.ModuleList([Block()])

        def forward(self, tokens):
            return self.head(self.blocks[0](self.embed(tokens)))

    def step(model, optimizer, number):
        tokens = torch.randint(9, (4, 5), generator=torch.Generator().manual_seed(number))
        optimizer.zero_grad()
        F.cross_entropy(model(tokens).flatten(0, 1), tokens.flatten()).backward()
        optimizer.step()

    check(Tied, compile_whole, step)
    check(Tied, compile_blocks, step)


def test_hooks_of_the_program_on_its_parameters_run_once():
    counts = []

    def how(model):
        count = [0]
        counts.append(count)

        def hook(gradient):
            count[0] += 1
            return gradient * (1.0 + 0.001 * count[0])

        model.head.weight.register_hook(hook)
        return compile_whole(model)

    bare = Trained(Net, how, plain_step, observed=False)
    seen = Trained(Net, how, plain_step)
    same_training(bare, seen)
    assert counts[0] == counts[1] == [STEPS]
