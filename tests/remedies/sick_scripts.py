"""Small sick trainings as a user could have written them: one script for each illness.

Each builds `model` and `optimizer`, trains for some dozens of steps, and knows nothing of gradfuga.
The tasks are learned by a sound network of the same kind.
"""

from __future__ import annotations

HEAD = """import torch
import torch.nn.functional as F
from torch import nn

torch.manual_seed(0)
x = torch.randn(512, 32)
y = (x @ torch.randn(32, 4)).argmax(1)
"""
LOOP = """
for step in range({steps}):
    pick = torch.randint(len(x), (64,))
    optimizer.zero_grad()
    loss = F.cross_entropy(model(x[pick]), y[pick])
    loss.backward()
    optimizer.step()
"""


def classifier(
    model: str, optimizer: str, *, before: str = "", steps: int = 60, loop: str = LOOP
) -> str:
    """Return a script that trains `model`: the class is the largest of four sums of the inputs."""
    return f"{HEAD}{before}\n{model}\noptimizer = {optimizer}\n{loop.format(steps=steps)}"


def plain(depth: int, activation: str, *, width: int = 32) -> str:
    """Return the building of a plain stack."""
    return f"""layers = []
for _ in range({depth}):
    layers += [nn.Linear({width}, {width}), nn.{activation}()]
model = nn.Sequential(*layers, nn.Linear({width}, 4))
"""


def drawn(std: str) -> str:
    """Return statements that draw every weight with one standard deviation."""
    return f"""for p in model.parameters():
    nn.init.normal_(p, std={std}) if p.dim() > 1 else nn.init.zeros_(p)
"""


HE = drawn("(2 / 32) ** 0.5")
SGD = "torch.optim.SGD(model.parameters(), lr={})"
ADAM = "torch.optim.Adam(model.parameters(), lr={})"

RESIDUAL = """class Block(nn.Module):
    def __init__(self):
        super().__init__()
        self.first = nn.Linear(32, 32)
        self.second = nn.Linear(32, 32)

    def forward(self, x):
        return x + self.second(torch.relu(self.first(x)))


model = nn.Sequential(*[Block() for _ in range(16)], nn.Linear(32, 4))
"""
TRANSFORMER = """class Reader(nn.Module):
    def __init__(self):
        super().__init__()
        layer = nn.TransformerEncoderLayer(16, 2, 32, dropout=0.0, batch_first=True)
        self.encoder = nn.TransformerEncoder(layer, 12, enable_nested_tensor=False)
        self.head = nn.Linear(16, 4)

    def forward(self, x):
        return self.head(self.encoder(x.view(-1, 2, 16)).mean(1))


model = Reader()
"""
EMBEDDING = """class Words(nn.Module):
    def __init__(self):
        super().__init__()
        self.embed = nn.Embedding(40, 32)
        nn.init.normal_(self.embed.weight, std={std})
        self.norm = nn.LayerNorm(32)
        self.hidden = nn.Linear(32, 32)
        self.head = nn.Linear(32, 4)

    def forward(self, words):
        x = self.norm(self.embed(words))
        return self.head(torch.relu(self.hidden(x)).mean(1))


model = Words()
"""
RECALL = """class Recall(nn.Module):
    def __init__(self):
        super().__init__()
        self.embed = nn.Embedding(8, 16)
        self.rnn = nn.{cell}(16, 32, batch_first=True)
        self.head = nn.Linear(32, 8)

    def forward(self, tokens):
        states, _ = self.rnn(self.embed(tokens))
        return self.head(states[:, -1])


model = Recall()
"""
TRUNCATED = """class Recall(nn.Module):
    def __init__(self):
        super().__init__()
        self.embed = nn.Embedding(8, 16)
        self.rnn = nn.GRU(16, 32, batch_first=True)
        self.head = nn.Linear(32, 8)

    def forward(self, tokens):
        z, state = self.embed(tokens), None
        for start in range(0, z.shape[1], 8):
            states, state = self.rnn(z[:, start : start + 8], state)
            state = state.detach()
        return self.head(states[:, -1])


model = Recall()
with torch.no_grad():  # gates that are open: nothing but the cut is in the way
    model.rnn.bias_ih_l0[32:64] = 4.0
"""
ATTENTION = """class Chooser(nn.Module):
    def __init__(self):
        super().__init__()
        self.query, self.key, self.value = (nn.Linear(16, 16) for _ in range(3))
        self.head = nn.Linear(16, 4)

    def forward(self, x):
        q, k, v = self.query(x), self.key(x), self.value(x)
        attention = (q @ k.transpose(1, 2)).softmax(dim=-1)
        return self.head((attention @ v).mean(1))


model = Chooser()
for layer in (model.query, model.key):
    nn.init.normal_(layer.weight, std=3.0)
"""
TOKENS = """def batch():
    tokens = torch.randint(0, 8, (32, {steps}))
    return tokens, tokens[:, 0]

"""
RECALLING = """
for step in range({steps}):
    tokens, first = batch()
    optimizer.zero_grad()
    loss = F.cross_entropy(model(tokens), first)
    loss.backward()
    optimizer.step()
"""
WORDS = """words = torch.randint(40, (512, 6))
y = (words[:, 0] // 10)
x = words
"""
UNZEROED = LOOP.replace("    optimizer.zero_grad()\n", "")
WIPED = LOOP.replace("    optimizer.zero_grad()\n", "").replace(
    "    loss.backward()\n", "    loss.backward()\n    optimizer.zero_grad()\n"
)
CLIPPED = LOOP.replace(
    "    optimizer.step()\n",
    "    nn.utils.clip_grad_norm_(model.parameters(), 1e-6)\n    optimizer.step()\n",
)
TINY_LOSS = LOOP.replace("loss = F.cross", "loss = 1e-8 * F.cross")
FADING = LOOP.replace("optimizer.step()\n", "optimizer.step()\n    scheduler.step()\n")
SQUARED = LOOP.replace("F.cross_entropy", "F.mse_loss")
REVERSED = LOOP.replace("F.cross", "-F.cross")
ROOTED = """
scaler = torch.amp.GradScaler("cpu")
for step in range({steps}):
    pick = torch.randint(len(x), (64,))
    optimizer.zero_grad()
    out = model(x[pick])
    far = torch.sqrt((out - out.detach()).square().sum(1))
    loss = F.cross_entropy(out, y[pick]) + 0.01 * far.mean()
    scaler.scale(loss).backward()
    scaler.step(optimizer)
    scaler.update()
"""
SPIKE = """
for step in range({steps}):
    optimizer.zero_grad()
    loss = F.cross_entropy(model(x), y)
    (1e5 * loss if step == 0 else loss).backward()
    optimizer.step()
"""
HALF = """
for step in range({steps}):
    pick = torch.randint(len(x), (64,))
    optimizer.zero_grad()
    with torch.autocast("cpu", dtype=torch.float16):
        loss = 3e-6 * F.cross_entropy(model(x[pick]), y[pick])
    loss.backward()
    optimizer.step()
"""

SCRIPTS: dict[str, str] = {
    # the path over depth
    "sigmoid": classifier(plain(10, "Sigmoid"), SGD.format("0.03, momentum=0.9")),
    "relu": classifier(plain(12, "ReLU"), SGD.format("0.02, momentum=0.9")),
    "tanh": classifier(plain(12, "Tanh"), SGD.format(0.1)),
    "mild tanh": classifier(plain(7, "Tanh"), SGD.format(0.03)),
    "silu": classifier(plain(16, "SiLU") + drawn("(3.3 / 32) ** 0.5"), SGD.format(0.02)),
    "large relu": classifier(plain(12, "ReLU") + drawn("0.6"), SGD.format(0.02)),
    "large tanh": classifier(plain(12, "Tanh") + drawn("1.0"), SGD.format(0.05)),
    "raw inputs": classifier(plain(3, "Tanh"), SGD.format(0.05), before="x = 300 * x\n"),
    "raw inputs, high rate": classifier(plain(3, "ReLU"), SGD.format(0.05), before="x = 300 * x\n"),
    "residual": classifier(RESIDUAL + HE, SGD.format(0.05)),
    "transformer": classifier(TRANSFORMER, ADAM.format("1e-2")),
    "embedding": classifier(EMBEDDING.format(std=1e-3), SGD.format(0.1), before=WORDS, steps=120),
    "attention": classifier(
        ATTENTION,
        ADAM.format("3e-3"),
        before="x = x.view(512, 2, 16)\ny = (x.sum(1) @ torch.randn(16, 4)).argmax(1)\n",
        steps=100,
    ),
    # units
    "dead": classifier(
        plain(3, "ReLU") + "nn.init.constant_(model[2].bias, -20.0)\n", SGD.format(0.1)
    ),
    "flat output": classifier(
        """model = nn.Sequential(nn.Linear(32, 32), nn.ReLU(), nn.Linear(32, 1), nn.Sigmoid())
nn.init.constant_(model[2].bias, -14.0)
""",
        SGD.format(0.2),
        before="y = (x[:, :1] > 0).float()\n",
        loop=SQUARED,
        steps=120,
    ),
    "double softmax": classifier(
        """model = nn.Sequential(nn.Linear(32, 32), nn.ReLU(), nn.Linear(32, 4), nn.Softmax(-1))
nn.init.normal_(model[2].weight, std=30.0)
""",
        SGD.format(0.02),
        steps=120,
    ),
    # the steps
    "high rate": classifier(plain(3, "ReLU") + HE, SGD.format(2.0)),
    "high rate, Adam": classifier(plain(4, "ReLU"), ADAM.format(1.0)),
    "low rate": classifier(plain(1, "ReLU"), SGD.format("1e-6"), steps=120),
    "faded rate": classifier(
        plain(1, "ReLU"),
        ADAM.format("1e-3")
        + "\nscheduler = torch.optim.lr_scheduler.ExponentialLR(optimizer, 0.5)",
        loop=FADING,
        steps=120,
    ),
    "spike": classifier(
        plain(1, "Tanh"), "torch.optim.Adagrad(model.parameters(), lr=0.05)", loop=SPIKE, steps=120
    ),
    "decay": classifier(
        plain(2, "ReLU"), SGD.format("0.05, momentum=0.9, weight_decay=1.0"), steps=120
    ),
    "epsilon": classifier(plain(1, "ReLU"), ADAM.format("3e-3"), loop=TINY_LOSS, steps=120),
    "not zeroed": classifier(plain(2, "Tanh"), SGD.format(0.3), loop=UNZEROED, steps=200),
    "wiped": classifier(plain(1, "ReLU"), ADAM.format("1e-2"), loop=WIPED),
    "clipped": classifier(plain(1, "ReLU"), SGD.format(0.1), loop=CLIPPED, steps=120),
    "frozen": classifier(
        plain(2, "ReLU") + "for p in list(model.parameters())[:-1]:\n    p.requires_grad = False\n",
        "torch.optim.Adam([p for p in model.parameters() if p.requires_grad], lr=1e-2)",
    ),
    "half": classifier(plain(3, "ReLU"), ADAM.format("3e-3"), loop=HALF, steps=80),
    "bfloat16": classifier(
        plain(1, "ReLU") + "model = model.to(torch.bfloat16)\n",
        ADAM.format("2e-5"),
        before="x = x.to(torch.bfloat16)\n",
        steps=400,
    ),
    "scaler": classifier(plain(1, "ReLU"), ADAM.format("3e-3"), loop=ROOTED, steps=80),
    # the data
    "large targets": classifier(
        "model = nn.Sequential(nn.Linear(32, 64), nn.ReLU(), nn.Linear(64, 1))\n",
        ADAM.format("1e-2"),
        before="y = 1e6 * (x[:, :1] + 1.0)\n",
        loop=SQUARED,
        steps=120,
    ),
    "reversed loss": classifier(plain(1, "ReLU"), SGD.format(0.1), loop=REVERSED),
    "broken inputs": classifier(plain(1, "ReLU"), SGD.format(0.1), before="x[3, 5] = torch.nan\n"),
    # the path over time
    "recall, RNN": classifier(
        RECALL.format(cell="RNN"), ADAM.format("3e-3"), before=TOKENS.format(steps=60),
        loop=RECALLING, steps=100,
    ),
    "recall, LSTM": classifier(
        RECALL.format(cell="LSTM"), ADAM.format("3e-3"), before=TOKENS.format(steps=60),
        loop=RECALLING, steps=100,
    ),
    "near recall, RNN": classifier(
        RECALL.format(cell="RNN"), ADAM.format("3e-3"), before=TOKENS.format(steps=24),
        loop=RECALLING, steps=100,
    ),
    "near recall, LSTM": classifier(
        RECALL.format(cell="LSTM"), ADAM.format("3e-3"), before=TOKENS.format(steps=24),
        loop=RECALLING, steps=100,
    ),
    "expanding": classifier(
        RECALL.format(cell="RNN") + "nn.init.orthogonal_(model.rnn.weight_hh_l0, 2.0)\n",
        SGD.format(0.1), before=TOKENS.format(steps=40), loop=RECALLING, steps=80,
    ),
    "deep lstm": classifier(
        """class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.lstm = nn.LSTM(4, 24, num_layers=7, batch_first=True)
        self.head = nn.Linear(24, 4)

    def forward(self, x):
        return self.head(self.lstm(x.view(-1, 8, 4))[0][:, -1])


model = Net()
""",
        SGD.format(0.1), steps=120,
    ),
    "truncated": classifier(
        TRUNCATED, ADAM.format("3e-3"), before=TOKENS.format(steps=40), loop=RECALLING, steps=100
    ),
}  # fmt: skip
