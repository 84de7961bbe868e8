"""Edits in source against edits in memory: the same weights, outputs and trainings."""

import pytest
import torch

from gradfuga._edits import (
    AddSkip,
    Calibrate,
    ClipGradient,
    Initialize,
    InsertNormalization,
    MoveNormalization,
    ReplaceRecurrent,
    ReviveUnits,
    ScaleBranch,
    SetBias,
    SetGateBias,
    SetLayerRates,
    SetPrecision,
    StandardizeInput,
)
from gradfuga._torch.surgery import apply
from gradfuga._torch.transplant import Transplant
from gradfuga.patch.source import patch_source
from patch.styles import HEAD, TAIL, applied, run, script
from remedies.sick_scripts import SCRIPTS

HE = Initialize("fan_in", 2**0.5)


@pytest.mark.parametrize("kind", ["LSTM", "GRU"])
@pytest.mark.parametrize(
    "edit",
    [
        SetGateBias(1.0),
        SetGateBias(horizon=50),
        Initialize("orthogonal", recurrent=True),
        Initialize("orthogonal", 4.0, recurrent=True, inputs=True, paths=("weight_ih_l1",)),
    ],
)
def test_a_recurrent_layer_gets_the_weights_that_the_edit_in_memory_draws(kind, edit):
    text = HEAD + f"model = nn.{kind}(3, 4, num_layers=2)\n"
    torch.manual_seed(0)
    expected = run(text)["model"]
    apply(expected, None, [edit])
    end = "optimizer = torch.optim.SGD(model.parameters(), lr=1)\n"
    found = run(patch_source(text + end, "t.py", [edit]).source)["model"]
    for name, value in expected.state_dict().items():
        assert torch.equal(found.state_dict()[name], value), name


LOOP = """class Loop(nn.Module):
    def __init__(self):
        super().__init__()
        self.feed = nn.Linear(3, 4)
        self.again = nn.Linear(4, 4)
        self.matrix = nn.Parameter(torch.zeros(4, 4))

    def forward(self, x):
        h = torch.zeros(4)
        for one in self.feed(x):
            h = torch.tanh(one + self.again(h) + h @ self.matrix)
        return h


model = Loop()
"""


@pytest.mark.parametrize("path", ["again.weight", "matrix"])
def test_the_weight_of_a_loop_is_drawn_in_the_source(path):
    edit = Initialize("orthogonal", 0.9, recurrent=True, paths=(path,))
    torch.manual_seed(0)
    expected = run(HEAD + LOOP)["model"]
    apply(expected, None, [edit])
    end = "optimizer = torch.optim.SGD(model.parameters(), lr=1)\n"
    found = run(patch_source(HEAD + LOOP + end, "t.py", [edit]).source)["model"]
    assert torch.allclose(found.get_parameter(path).norm(), torch.tensor(1.8))
    for name, value in expected.state_dict().items():
        assert torch.equal(found.state_dict()[name], value), name


@pytest.mark.parametrize("style", ["sequential", "module_list", "factory"])
@pytest.mark.parametrize(
    "edit",
    [
        HE,
        Initialize("orthogonal", 5 / 3),
        Initialize("fan_average", 1.3),
        Initialize("identity", 0.5),
        Initialize("normal", 0.1 + 0.2),
        SetBias(0.1),
    ],
)
def test_under_one_seed_the_source_draws_the_weights_of_the_edit_in_memory(style, edit):
    text = script(style).replace("range(20)", "range(0)")
    expected = run(text.partition("optimizer = ")[0])["model"]
    apply(expected, None, [edit])
    drawn = patch_source(text, "t.py", [edit]).source.partition("optimizer = ")[0]
    found = run(drawn)["model"]
    for name, value in expected.state_dict().items():
        assert torch.equal(found.state_dict()[name], value), name


@pytest.mark.parametrize(
    "edit",
    [
        Calibrate(),
        Calibrate(paths=("2",)),
        Calibrate(two_sided=True),
        Calibrate(two_sided=True, paths=("2",)),
        ReviveUnits(),
        StandardizeInput(),
        AddSkip(0.0, learned=True),
        ClipGradient("agc", 0.01),
        ClipGradient("quantile", 0.1),
        ClipGradient("norm", 0.1),
        ClipGradient("zclip", 0.5),
        SetLayerRates((3.0, 0.25), ("0", "2")),
        InsertNormalization("layer"),
        InsertNormalization("rms", paths=("0", "2")),
    ],
    ids=str,
)
def test_the_patched_program_trains_as_the_edit_in_memory_to_the_last_bit(edit, tmp_path):
    source = (
        script("sequential")
        .replace("nn.Sigmoid", "nn.ReLU")
        .replace("randn(64, 8)", "randn(64, 8) * 3 + 1")
        .replace("range(20)", "range(40)")
    )
    trains_alike(source, edit, tmp_path)


def trains_alike(source, edit, folder, lines=()):
    torch.manual_seed(0)
    with Transplant([edit]) as transplant:
        expected = run(source)["model"]
    assert transplant.placed
    patch = patch_source(source, "train.py", [edit], lines=lines)
    assert patch.placed == (edit,)
    assert applied(source, patch, folder) == patch.source
    found = run(patch.source)["model"]
    theirs = list(expected.parameters())
    assert len(list(found.parameters())) == len(theirs)
    for ours in found.parameters():  # a learned factor is registered at another place
        assert any(torch.equal(ours, each) for each in theirs)


BLOCKS = tuple(f"{number}/add" for number in range(16))
FUNCTIONS = script("module_list").replace("torch.sigmoid", "torch.relu")


@pytest.mark.parametrize(
    ("source", "edit"),
    [
        (SCRIPTS["residual"], ScaleBranch(paths=BLOCKS)),
        (SCRIPTS["residual"], ScaleBranch(0.0, learned=True, paths=BLOCKS)),
        (SCRIPTS["transformer"], MoveNormalization("deepnorm")),
        (SCRIPTS["transformer"], MoveNormalization("pre")),
        (SCRIPTS["half"], SetPrecision("scaled")),
        (SCRIPTS["half"], SetPrecision("bfloat16")),
        (SCRIPTS["bfloat16"].replace("range(400)", "range(40)"), SetPrecision("float32_weights")),
        (FUNCTIONS, AddSkip(0.5)),
        (FUNCTIONS, AddSkip(0.5, learned=True)),
        (FUNCTIONS, InsertNormalization("layer")),
    ],
    ids=str,
)
def test_other_scripts_train_alike_to_the_last_bit(source, edit, tmp_path):
    trains_alike(source, edit, tmp_path)


@pytest.mark.parametrize("to", ["gru", "lstm"])
@pytest.mark.parametrize(
    "use", ["out, _ = self.rnn(x)\n", "_, h = self.rnn(x)\n        out = h.movedim(0, 1)\n"]
)
def test_a_gated_layer_hands_on_its_hidden_state(to, use):
    source = (
        HEAD
        + f"""class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.rnn = nn.RNN(1, 16, batch_first=True)
        self.head = nn.Linear(16, 2)

    def forward(self, x):
        {use}        return self.head(out[:, -1])


model = Net()
"""
        + TAIL.replace("model(x)", "model(x[:, :, None])")
    )
    edit = ReplaceRecurrent(to)
    with Transplant([edit]):
        expected = run(source)["model"]
    found = run(patch_source(source, "t.py", [edit]).source)["model"]
    found.load_state_dict(expected.state_dict())  # they were drawn at another moment
    x = torch.randn(3, 5, 1)
    assert torch.equal(found(x), expected(x))
