"""Edits in source: the diff applies, the patched program runs and does what the edit says."""

import pytest
import torch
from torch import nn

from gradfuga._edits import (
    AddSkip,
    Calibrate,
    ClearGradients,
    ClipGradient,
    HoldRate,
    Initialize,
    InsertNormalization,
    LoosenClipping,
    MoveNormalization,
    ReplaceRecurrent,
    ScaleBranch,
    SetBias,
    SetGateBias,
    SetOptimizer,
    SetPrecision,
    SwapActivation,
    UseLogits,
    WarmUp,
)
from gradfuga.patch.source import patch_source
from patch.styles import HEAD, STYLES, TAIL, applied, run, script

SWAP = SwapActivation("relu", of="sigmoid")
GELU = SwapActivation("gelu", of="sigmoid")
NORMALIZED = SwapActivation("sigmoid", of="sigmoid", normalized=True)
HE = Initialize("fan_in", 2**0.5)


@pytest.mark.parametrize("style", STYLES)
@pytest.mark.parametrize(
    "edits",
    [
        (SWAP,),
        (SWAP, HE),
        (NORMALIZED, Initialize("fan_in", 1.0)),
        (GELU,),
        (SetOptimizer("lr", 0.1, relative=True), ClipGradient("norm", 1.0), WarmUp(5)),
    ],
    ids=["swap", "swap-he", "normalized", "gelu", "training"],
)
def test_a_diff_applies_and_the_patched_program_runs(style, edits, tmp_path):
    source = script(style)
    patch = patch_source(source, "train.py", edits)
    if style == "config" and edits[0] in (GELU, NORMALIZED):
        assert patch.unplaced[0][0] is edits[0]  # its table has no such name
        return
    assert patch.placed == edits
    assert not patch.unplaced
    assert applied(source, patch, tmp_path) == patch.source
    assert "# odd   spacing, kept" in patch.source
    assert torch.isfinite(run(patch.source)["loss"])


def calls_of(model, x):
    """Return the names of the functions that a forward pass calls."""
    seen = []

    class Spy(torch.overrides.TorchFunctionMode):
        def __torch_function__(self, func, types, args=(), kwargs=None):
            seen.append(getattr(func, "__name__", ""))
            return func(*args, **(kwargs or {}))

    with Spy():
        model(x)
    return seen


@pytest.mark.parametrize("style", STYLES)
def test_no_hidden_sigmoid_is_left_after_a_swap(style):
    before, after = (
        calls_of(run(source)["model"], torch.randn(3, 8))
        for source in (script(style), patch_source(script(style), "t.py", [SWAP]).source)
    )
    assert "sigmoid" in before
    assert "sigmoid" not in after
    assert "relu" in after


@pytest.mark.parametrize("style", STYLES)
@pytest.mark.parametrize("kind", ["batch", "layer", "rms", "group"])
def test_each_hidden_layer_is_normalized_and_the_output_is_not(style, kind, tmp_path):
    source = script(style)
    patch = patch_source(source, "train.py", [InsertNormalization(kind)])
    assert patch.placed
    assert applied(source, patch, tmp_path) == patch.source
    scope = run(patch.source)
    norms = [m for m in scope["model"].modules() if "Norm" in type(m).__name__]
    layers = [m for m in scope["model"].modules() if isinstance(m, nn.Linear)]
    assert len(norms) == len(layers) - 1


def test_weights_are_drawn_where_they_stand_after_normalizations_have_moved_them():
    source = script("sequential")
    edits = (Initialize("fan_in", 0.0, paths=("2", "0")), InsertNormalization("layer"))
    patch = patch_source(source, "train.py", edits)
    assert set(patch.placed) == set(edits)
    model = run(patch.source.replace("range(20)", "range(0)"))["model"]
    drawn = [not m.weight.any() for m in model if isinstance(m, nn.Linear)]
    assert drawn == [True, True, False]


@pytest.mark.parametrize(
    ("given", "found"),
    [
        ("[p for p in model.parameters() if p.requires_grad]", True),
        ('[{"params": model.parameters()}]', True),
        ("[*model[0].parameters(), *model[2].parameters()]", False),
    ],
)
def test_the_model_is_the_one_whose_parameters_the_optimizer_gets(given, found):
    source = script("sequential").replace("model.parameters()", given)
    patch = patch_source(source, "train.py", [ClipGradient("norm", 1.0)])
    assert bool(patch.placed) is found
    assert ("clip_grad_norm_(model.parameters(), 1)" in patch.source) is found


@pytest.mark.parametrize("style", ["sequential", "module_list"])
def test_a_skip_goes_around_layers_that_keep_the_shape(style, tmp_path):
    source = script(style)
    patch = patch_source(source, "train.py", [AddSkip(0.5)])
    assert applied(source, patch, tmp_path) == patch.source
    model = run(patch.source)["model"]
    x = torch.randn(3, 8)
    h = x
    layers = [m for m in model.modules() if isinstance(m, nn.Linear)]
    for layer in layers[:-1]:
        out = torch.sigmoid(layer(h))
        h = h + 0.5 * out if out.shape == h.shape else out
    assert torch.allclose(model(x), layers[-1](h), atol=1e-6)


def test_the_drawn_weights_are_those_of_the_edit():
    text = script("sequential").replace("range(20)", "range(0)").replace("16", "400")
    model = run(patch_source(text, "t.py", [HE, SetBias(0.25)]).source)["model"]
    assert float(model[2].weight.detach().std()) == pytest.approx((2 / 400) ** 0.5, rel=0.01)
    assert (model[2].bias == 0.25).all()
    assert float(model[4].weight.detach().std()) == pytest.approx((1 / 1200) ** 0.5, rel=0.1)


def test_named_layers_are_drawn_by_name():
    text = script("module_list").replace("range(20)", "range(0)")
    edit = Initialize("orthogonal", 1.0, paths=("layers.2",))
    model = run(patch_source(text, "t.py", [edit]).source)["model"]
    square = model.layers[2].weight @ model.layers[2].weight.T
    assert torch.allclose(square, torch.eye(16), atol=1e-5)


def test_lines_tell_hidden_sigmoids_from_a_gate():
    source = (
        "def f(self, x):\n    gate = torch.sigmoid(self.g(x))\n"
        "    return gate * self.b(torch.sigmoid(self.a(x)))\n"
    )
    patch = patch_source(source, "t.py", [SWAP], lines=[3])
    assert "gate = torch.sigmoid" in patch.source
    assert "torch.relu(self.a(x))" in patch.source


def test_the_outputs_sigmoid_stays():
    text = "m = nn.Sequential(nn.Linear(2, 2), nn.Sigmoid(), nn.Linear(2, 1), nn.Sigmoid())\n"
    expected = "m = nn.Sequential(nn.Linear(2, 2), nn.ReLU(), nn.Linear(2, 1), nn.Sigmoid())\n"
    assert patch_source(text, "t.py", [SWAP]).source == expected


def test_the_loss_and_the_output_change_together(tmp_path):
    text = (
        HEAD
        + "model = nn.Sequential(nn.Linear(8, 1), nn.Sigmoid())\n"
        + TAIL.replace("F.cross_entropy(out, y.long())", "nn.MSELoss()(out, y.float()[:, None])")
    )
    patch = patch_source(text, "train.py", [UseLogits()])
    assert applied(text, patch, tmp_path) == patch.source
    assert "nn.BCEWithLogitsLoss()(out" in patch.source
    assert isinstance(run(patch.source)["model"][-1], nn.Linear)


@pytest.mark.parametrize(
    ("edit", "before", "after"),
    [
        (SWAP, 'ACT = "Sigmoid"', 'ACT = "ReLU"'),
        (
            SWAP,
            'p.add_argument("--act", default="sigmoid", type=str)',
            'p.add_argument("--act", default="relu", type=str)',
        ),
        (SetOptimizer("eps", 1e-15), "o = Adam(p)", "o = Adam(p, eps=1e-15)"),
        (SetOptimizer("lr", 0.1, relative=True), "o = SGD(p, 0.5)", "o = SGD(p, 0.05)"),
        (
            SetOptimizer("lr", 10.0, relative=True),
            "o = SGD(p, lr=args.lr)",
            "o = SGD(p, lr=args.lr * 10)",
        ),
        (
            SetOptimizer("weight_decay", 1e-4),
            "o = SGD(p, lr=1, weight_decay=9)",
            "o = SGD(p, lr=1, weight_decay=0.0001)",
        ),
        (
            ReplaceRecurrent("gru"),
            'r = nn.RNN(3, 4, nonlinearity="relu", batch_first=True)',
            "r = nn.GRU(3, 4, batch_first=True)",
        ),
        (
            MoveNormalization("pre"),
            "l = nn.TransformerEncoderLayer(8, 2)",
            "l = nn.TransformerEncoderLayer(8, 2, norm_first=True)",
        ),
        (
            LoosenClipping(1e5),
            "nn.utils.clip_grad_norm_(m.parameters(), 1e-6)",
            "nn.utils.clip_grad_norm_(m.parameters(), 0.1)",
        ),
        (
            LoosenClipping(1e5),
            "clip_grad_value_(m.parameters(), clip_value=a or b)",
            "clip_grad_value_(m.parameters(), clip_value=(a or b) * 100000)",
        ),
        (
            HoldRate(),
            "s = lr_scheduler.StepLR(o, step_size=30)  # epochs",
            "s = lr_scheduler.ConstantLR(o, factor=1.0)  # epochs",
        ),
        (
            ClearGradients(moved=True),
            "if b:\n    loss.backward()\n    o.zero_grad()  # too soon\n    clip()\n    o.step()",
            "if b:\n    loss.backward()\n    clip()\n    o.step()\n    o.zero_grad()  # too soon",
        ),
        (
            ClearGradients(),
            "o = SGD(m.parameters(), 1)\nfor b in d:\n    o.step()",
            "o = SGD(m.parameters(), 1)\nfor b in d:\n    o.step()\n    o.zero_grad()",
        ),
    ],
)
def test_an_argument_or_a_line_is_changed_and_nothing_else(edit, before, after):
    assert patch_source(before + "\n", "t.py", [edit]).source == after + "\n"


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("return x + self.f(x)", "return x + 0.5 * self.f(x)"),
        ("return self.norm(self.f(x) + x)", "return self.norm(0.5 * self.f(x) + x)"),
        ("return F.relu(out + self.shortcut(x))", "return F.relu(0.5 * out + self.shortcut(x))"),
        ("x = x + self.f(x) * self.g", "x = x + 0.5 * (self.f(x) * self.g)"),
        ("out += identity", "out = 0.5 * out + identity"),
        ("h += self.f(h)", "h += 0.5 * self.f(h)"),
        ("return x + self.a(x) + self.b(x)", "return x + 0.5 * self.a(x) + 0.5 * self.b(x)"),
        ("return x + self.position(t)", "return x + self.position(t)"),
        ("n = n + 1", "n = n + 1"),
    ],
)
def test_a_branch_is_told_from_what_goes_around_it(before, after):
    text = "class Block(nn.Module):\n    def forward(self, x):\n        {}\n"
    edit = ScaleBranch(0.5)
    assert patch_source(text.format(before), "t.py", [edit]).source == text.format(after)


def test_the_forget_gate_opens_in_source_as_in_the_model():
    text = HEAD + "model = nn.LSTM(3, 4)\noptimizer = torch.optim.SGD(model.parameters(), lr=1)\n"
    model = run(patch_source(text, "t.py", [SetGateBias(1.0)]).source)["model"]
    both = model.bias_ih_l0 + model.bias_hh_l0
    assert torch.equal(both[4:8], torch.ones(4))


def test_modules_beside_one_another_are_treated_as_one():
    text = HEAD + "one, two = nn.LSTM(3, 4), nn.LSTM(4, 4)\n"
    text += "o = torch.optim.SGD([*one.parameters(), *two.parameters()], lr=1)\n"
    patched = run(patch_source(text, "t.py", [SetGateBias(1.0)]).source)
    for model in (patched["one"], patched["two"]):
        assert torch.equal((model.bias_ih_l0 + model.bias_hh_l0)[4:8], torch.ones(4))


def test_torch_is_imported_where_the_change_needs_its_name():
    text = "from torch import nn\nfrom torch.optim import SGD\n\nm = nn.GRU(2, 3)\n"
    text += "o = SGD(m.parameters(), 1)\n"
    patched = patch_source(text, "t.py", [Initialize("orthogonal", recurrent=True)]).source
    head = (
        "import torch\nfrom torch import nn\nfrom torch.optim import SGD\n\n\ndef draw_recurrence"
    )
    assert patched.startswith(head)
    run(patched)
    assert "import torch\n" not in patch_source(text, "t.py", [SetGateBias(1.0)]).source


def test_a_definition_stands_apart_behind_the_first_imports_that_bring_torch():
    text = "import torch\nfrom torch import nn\nm = nn.LSTM(2, 3)\n"
    text += "o = torch.optim.SGD(m.parameters(), 1)\nimport os\n"
    patched = patch_source(text, "t.py", [SetGateBias(horizon=9)]).source
    assert "nn\n\n\ndef open_gates" in patched
    assert "(-blocks[1])\n\n\nm = nn.LSTM(2, 3)\nopen_gates(m, 8)\n" in patched
    run(patched)


def test_of_several_statements_on_one_line_each_gets_its_own():
    text = "m = Net(); o = SGD(m.parameters(), 1)  # both\nfor b in d:\n    loss(b); o.step()\n"
    patched = patch_source(text, "t.py", [SetBias(0.5), ClearGradients()]).source
    assert patched.startswith("m = Net()\nhidden_layers = ")
    assert "\no = SGD(m.parameters(), 1)  # both\n" in patched
    assert patched.endswith("    loss(b)\n    o.step()\n    o.zero_grad()\n")


@pytest.mark.parametrize(
    ("source", "edit"),
    [
        ("x = 1\n", SWAP),
        ("x = 1\n", HE),
        ("x = = 1\n", HE),
        (HEAD + STYLES["functional"] + TAIL, Calibrate(two_sided=True)),
        (HEAD + STYLES["sequential"] + TAIL, SetPrecision("bfloat16")),
        (HEAD + STYLES["sequential"] + TAIL, ScaleBranch(0.5)),
        ("act = nn.Tanh\nout = nn.ReLU\n", SwapActivation("elu")),
        ("o = SGD(p, **options)\n", SetOptimizer("lr", 0.1, relative=True)),
    ],
)
def test_what_cannot_be_placed_is_said_and_changes_nothing(source, edit):
    patch = patch_source(source, "t.py", [edit])
    assert (patch.source, patch.diff, patch.placed) == (source, "", ())
    assert patch.unplaced[0][0] is edit
    assert patch.unplaced[0][1]


def test_a_file_without_a_last_newline_gets_a_diff_that_applies(tmp_path):
    source = "optimizer = SGD(p, lr=0.5)"
    patch = patch_source(source, "train.py", [SetOptimizer("lr", 0.1, relative=True)])
    assert applied(source, patch, tmp_path) == "optimizer = SGD(p, lr=0.05)"
