"""One sick network in six styles of writing; each script prints the classes of its activations."""

import subprocess

HEAD = """import torch
import torch.nn.functional as F
from torch import nn

torch.manual_seed(0)

"""
TAIL = """
x = torch.randn(64, 8)   # odd   spacing, kept
y = x[:, 0] > 0
optimizer = torch.optim.SGD(model.parameters(), lr=0.5)
for step in range(20):
    optimizer.zero_grad()
    out = model(x)
    loss = F.cross_entropy(out, y.long())
    loss.backward()
    optimizer.step()
"""
STYLES = {
    "sequential": """model = nn.Sequential(
    nn.Linear(8, 16), nn.Sigmoid(),
    nn.Linear(16, 16), nn.Sigmoid(),  # the middle
    nn.Linear(16, 2),
)
""",
    "module_list": """class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.layers = nn.ModuleList([nn.Linear(8 if i == 0 else 16, 16) for i in range(4)])
        self.head = nn.Linear(16, 2)

    def forward(self, x):
        for layer in self.layers:
            x = torch.sigmoid(layer(x))
        return self.head(x)


model = Net()
""",
    "functional": """class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.a = nn.Linear(8, 16)
        self.b = nn.Linear(16, 16)
        self.c = nn.Linear(16, 2)

    def forward(self, x):
        x = F.sigmoid(self.a(x))
        x = self.b(x).sigmoid()
        return self.c(x)


model = Net()
""",
    "factory": """def block(inputs, outputs, activation=nn.Sigmoid):
    return [nn.Linear(inputs, outputs), activation()]


def build(depth=3):
    layers = block(8, 16)
    for _ in range(depth):
        layers += block(16, 16)
    return nn.Sequential(*layers, nn.Linear(16, 2))


model = build()
""",
    "config": """ACTIVATIONS = {"relu": nn.ReLU, "sigmoid": nn.Sigmoid, "tanh": nn.Tanh}
CONFIG = {"width": 16, "depth": 3, "activation": "sigmoid"}


def build(config):
    act, width = ACTIVATIONS[config["activation"]], config["width"]
    layers = [nn.Linear(8, width), act()]
    for _ in range(config["depth"]):
        layers.extend([nn.Linear(width, width), act()])
    layers.append(nn.Linear(width, 2))
    return nn.Sequential(*layers)


model = build(CONFIG)
""",
    "attribute": """class Net(nn.Module):
    activation = nn.Sigmoid

    def __init__(self):
        super().__init__()
        self.act = self.activation()
        self.first = nn.Linear(8, 16)
        self.second = nn.Linear(16, 16)
        self.head = nn.Linear(16, 2)

    def forward(self, x):
        x = self.act(self.first(x))
        x = self.act(self.second(x))
        return self.head(x)


model = Net()
""",
}


def script(style: str) -> str:
    """Return the whole program of a style."""
    return HEAD + STYLES[style] + TAIL


def applied(source, patch, folder):
    """Return what `git apply` makes of the diff."""
    file = folder / "train.py"
    file.write_text(source, "utf-8")
    subprocess.run(["git", "init", "-q"], cwd=folder, check=True)
    done = subprocess.run(
        ["git", "apply", "-"],
        cwd=folder,
        input=patch.diff,
        text=True,
        capture_output=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return file.read_text("utf-8")


def run(source):
    scope = {"__name__": "__main__"}
    exec(compile(source, "train.py", "exec"), scope)  # noqa: S102 (programs of our own)
    return scope
