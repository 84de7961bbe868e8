"""Layers built in loops, by functions, as blocks: edited in source as they are in memory."""

import dataclasses

import pytest
import torch

from gradfuga._edits import AddSkip, InsertNormalization, SwapActivation
from gradfuga._torch.transplant import Transplant
from gradfuga.patch.source import patch_source
from patch.styles import HEAD, TAIL, applied, run

NET = """class Net(nn.Module):
    def __init__(self):
        super().__init__()
        {build}

    def forward(self, x):
        {use}


model = Net()
"""
BLOCK = """class Block(nn.Module):
    def __init__(self, a, b):
        super().__init__()
        self.fc = nn.Linear(a, b)
        self.act = nn.Tanh()

    def forward(self, x):
        return self.act(self.fc(x))


"""


def net(build, use):
    return NET.format(build="\n        ".join(build), use="\n        ".join(use))


# name: (source, paths of the hidden layers, paths of the activations)
ROWS = {
    "loop": (
        """layers = []
for a, b in zip([8, 16, 16], [16, 16, 16]):
    layers += [nn.Linear(a, b), nn.Tanh()]
model = nn.Sequential(*layers, nn.Linear(16, 2))
""",
        ("0", "2", "4"),
        ("1", "3", "5"),
    ),
    "output in the loop": (
        """sizes = [8, 16, 16, 2]
layers = []
for a, b in zip(sizes, sizes[1:]):
    layers += [nn.Linear(a, b), nn.Tanh()]
model = nn.Sequential(*layers[:-1])
""",
        ("0", "2"),
        ("1", "3"),
    ),
    "appended apart": (
        """layers = []
for i in range(3):
    layers.append(nn.Linear(8 if i == 0 else 16, 16))
    layers.append(nn.Tanh())
layers.append(nn.Linear(16, 2))
model = nn.Sequential(*layers)
""",
        ("0", "2", "4"),
        ("1", "3", "5"),
    ),
    "comprehension": (
        """model = nn.Sequential(
    *[nn.Sequential(nn.Linear(i, 16), nn.Tanh()) for i in (8, 16, 16)],
    nn.Linear(16, 2),
)
""",
        ("0.0", "1.0", "2.0"),
        ("0.1", "1.1", "2.1"),
    ),
    "function": (
        """def block(a, b):
    return nn.Sequential(nn.Linear(a, b), nn.Tanh())


model = nn.Sequential(block(8, 16), block(16, 16), nn.Linear(16, 2))
""",
        ("0.0", "1.0"),
        ("0.1", "1.1"),
    ),
    "named": (
        """model = nn.Sequential()
for i in range(3):
    model.add_module(f"fc{i}", nn.Linear(8 if i == 0 else 16, 16))
    model.add_module(f"act{i}", nn.Tanh())
model.add_module("out", nn.Linear(16, 2))
""",
        ("fc0", "fc1", "fc2"),
        ("act0", "act1", "act2"),
    ),
    "self.layers.append": (
        net(
            [
                "self.head = nn.Linear(16, 2)",
                "self.layers = nn.ModuleList()",
                "for i in range(3):",
                "    self.layers.append(nn.Linear(8 if i == 0 else 16, 16))",
                "    self.layers.append(nn.Tanh())",
            ],
            ["for layer in self.layers:", "    x = layer(x)", "return self.head(x)"],
        ),
        ("layers.0", "layers.2", "layers.4"),
        ("layers.1", "layers.3", "layers.5"),
    ),
    "calls": (
        net(
            [
                "self.head = nn.Linear(16, 2)",
                "self.layers = nn.ModuleList([nn.Linear(i, 16) for i in (8, 16, 16)])",
            ],
            ["for layer in self.layers:", "    x = torch.tanh(layer(x))", "return self.head(x)"],
        ),
        ("layers.0", "layers.1", "layers.2"),
        ("tanh#1", "tanh#2", "tanh#3"),
    ),
    "blocks": (
        BLOCK
        + net(
            [
                "self.head = nn.Linear(16, 2)",
                "self.blocks = nn.ModuleList([Block(i, 16) for i in (8, 16, 16)])",
            ],
            ["for block in self.blocks:", "    x = block(x)", "return self.head(x)"],
        ),
        ("blocks.0.fc", "blocks.1.fc", "blocks.2.fc"),
        ("blocks.0.act", "blocks.1.act", "blocks.2.act"),
    ),
    "features": (
        net(
            [
                "self.features = nn.Sequential(",
                "    nn.Linear(8, 16), nn.Tanh(), nn.Linear(16, 16), nn.Tanh()",
                ")",
                "self.head = nn.Linear(16, 2)",
            ],
            ["return self.head(self.features(x))"],
        ),
        ("features.0", "features.2"),
        ("features.1", "features.3"),
    ),
}
EDITS = (
    SwapActivation("relu", of="tanh"),
    InsertNormalization("layer"),
    InsertNormalization("batch"),
    InsertNormalization("group"),
    AddSkip(0.5),
    AddSkip(0.5, learned=True),
)


@pytest.mark.parametrize("row", ROWS)
@pytest.mark.parametrize("edit", EDITS, ids=str)
def test_layers_in_a_row_are_edited_as_in_memory_to_the_last_bit(row, edit, tmp_path):
    text, layers, activations = ROWS[row]
    source = HEAD + text + TAIL
    edit = dataclasses.replace(
        edit, paths=activations if isinstance(edit, SwapActivation) else layers
    )
    with Transplant([edit]) as transplant:
        expected = run(source)
    assert [operation.left for operation in transplant.operations] == [[]]
    patch = patch_source(source, "train.py", [edit])
    assert patch.placed == (edit,), patch.unplaced
    assert applied(source, patch, tmp_path) == patch.source
    found = run(patch.source)
    assert torch.equal(found["loss"], expected["loss"])
    assert not torch.equal(found["loss"], run(source)["loss"])
    theirs = list(expected["model"].parameters())
    ours = list(found["model"].parameters())
    assert len(ours) == len(theirs)
    for each in ours:  # a wrapped layer is registered at another place
        assert any(torch.equal(each, other) for other in theirs)
