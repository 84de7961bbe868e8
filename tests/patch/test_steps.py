"""What is written beside an optimizer's steps: clipping, warm-up, a loss scale, a number format."""

import pytest
import torch

from gradfuga._edits import ClipGradient, SetPrecision, WarmUp
from gradfuga._torch.transplant import Transplant
from gradfuga.patch.source import patch_source
from patch.styles import applied, run


def test_clipping_stands_before_the_step_of_a_scaler_too():
    text = "o = SGD(net.parameters(), lr=1)\nfor b in d:\n    scaler.step(o)\n"
    patched = patch_source(text, "t.py", [ClipGradient("norm", 2.0)]).source
    assert patched.splitlines()[2:] == [
        "    scaler.unscale_(o)",
        "    torch.nn.utils.clip_grad_norm_(net.parameters(), 2)",
        "    scaler.step(o)",
    ]


def test_gradients_that_are_unscaled_already_are_not_unscaled_twice():
    text = (
        "o = SGD(net.parameters(), lr=1)\nfor b in d:\n    scaler.unscale_(o)\n    scaler.step(o)\n"
    )
    patched = patch_source(text, "t.py", [ClipGradient("norm", 2.0)]).source
    assert patched.count("unscale_") == 1


APART = """import torch
from torch import nn


def train(optimizer, model, loss_of):
    for step in range(20):
        optimizer.zero_grad()
        loss_of(model).backward()
        optimizer.step()


def main():
    net = nn.Linear(3, 1)
    optimizer = torch.optim.SGD(net.parameters(), lr=1.0)
    x = torch.randn(8, 3)
    train(optimizer, net, lambda model: model(x).square().mean())
    return optimizer, net


torch.manual_seed(0)
optimizer, net = main()
"""


@pytest.mark.parametrize("edit", [ClipGradient("norm", 0.01), WarmUp(10)], ids=str)
def test_steps_in_a_function_that_knows_no_names_of_ours_are_reached_by_a_hook(edit, tmp_path):
    patch = patch_source(APART, "train.py", [edit])
    assert patch.placed == (edit,)
    assert applied(APART, patch, tmp_path) == patch.source
    with Transplant([edit]):
        expected = run(APART)["net"]
    assert torch.allclose(run(patch.source)["net"].weight, expected.weight, atol=1e-6)
    assert not torch.allclose(run(APART)["net"].weight, expected.weight, atol=1e-4)


def test_a_loss_scale_has_no_place_where_the_steps_do_not_know_it():
    patch = patch_source(APART, "train.py", [SetPrecision("scaled")])
    assert (patch.diff, patch.placed) == ("", ())


def test_what_a_class_keeps_lives_beside_its_optimizer():
    text = """class Trainer:
    def __init__(self, net):
        self.opt = torch.optim.SGD(net.parameters(), lr=1)

    def step(self, loss):
        loss.backward()
        nn.utils.clip_grad_norm_(self.net.parameters(), 1.0)
        self.opt.step()
"""
    patched = patch_source(text, "t.py", [WarmUp(9), SetPrecision("scaled")]).source
    assert patched.splitlines()[2:] == [
        "        self.opt = torch.optim.SGD(net.parameters(), lr=1)",
        "        self.scaler = torch.amp.GradScaler(next(net.parameters()).device.type)",
        "        self.warm_up = torch.optim.lr_scheduler.LinearLR(self.opt, 1 / 9, total_iters=8)",
        "",
        "    def step(self, loss):",
        "        self.scaler.scale(loss).backward()",
        "        self.scaler.unscale_(self.opt)",
        "        nn.utils.clip_grad_norm_(self.net.parameters(), 1.0)",
        "        self.scaler.step(self.opt)",
        "        self.scaler.update()",
        "        self.warm_up.step()",
    ]


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (
            'with torch.autocast("cuda", dtype=torch.float16):\n    pass\n',
            'with torch.autocast("cuda", dtype=torch.bfloat16):\n    pass\n',
        ),
        (
            "with torch.cuda.amp.autocast():\n    pass\n",
            "with torch.cuda.amp.autocast(dtype=torch.bfloat16):\n    pass\n",
        ),
        (
            'kind = torch.half\nwith torch.autocast("cuda", kind):\n    pass\n',
            'kind = torch.bfloat16\nwith torch.autocast("cuda", kind):\n    pass\n',
        ),
    ],
)
def test_autocast_gets_the_wider_format_however_it_is_told(before, after):
    head = "import torch\n"
    assert patch_source(head + before, "t.py", [SetPrecision("bfloat16")]).source == head + after
