"""The adding problem (Hochreiter & Schmidhuber 1997): add the two numbers that are marked.

A sequence holds random numbers; two of them, one in each half, are marked. A model that forgets
the marks can do no better than the variance of the sum, 0.167.
"""

import argparse
import math

import torch
from torch import nn

CELLS = {"rnn": nn.RNN, "lstm": nn.LSTM, "gru": nn.GRU}


class Adder(nn.Module):
    def __init__(self, cell, hidden):
        super().__init__()
        self.recurrent = CELLS[cell](2, hidden, batch_first=True)
        self.head = nn.Linear(hidden, 1)

    def forward(self, x):
        outputs, _ = self.recurrent(x)
        return self.head(outputs[:, -1]).squeeze(-1)


def long_memory(recurrent, length):
    """Let the cell keep its state for about `length` steps from the start."""
    hidden = recurrent.hidden_size
    with torch.no_grad():
        for bias in (recurrent.bias_ih_l0, recurrent.bias_hh_l0):
            bias.zero_()
        match recurrent:
            case nn.LSTM():  # chrono initialisation (Tallec & Ollivier 2018)
                keep = torch.log(torch.empty(hidden).uniform_(1, length - 1))
                recurrent.bias_ih_l0[hidden : 2 * hidden] = keep
                recurrent.bias_ih_l0[:hidden] = -keep
            case nn.GRU():
                keep = torch.log(torch.empty(hidden).uniform_(1, length - 1))
                recurrent.bias_ih_l0[hidden : 2 * hidden] = keep
            case nn.RNN():  # identity and ReLU (Le, Jaitly & Hinton 2015)
                recurrent.nonlinearity = "relu"
                nn.init.eye_(recurrent.weight_hh_l0)
                nn.init.normal_(recurrent.weight_ih_l0, std=0.001)


def make_batch(size, length):
    values = torch.rand(size, length)
    marks = torch.zeros(size, length)
    rows = torch.arange(size)
    first = torch.randint(0, length // 2, (size,))
    second = torch.randint(length // 2, length, (size,))
    marks[rows, first] = 1.0
    marks[rows, second] = 1.0
    return torch.stack([values, marks], dim=-1), (values * marks).sum(dim=1)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--cell", choices=CELLS, default="rnn")
    parser.add_argument("--cure", action="store_true", help="initialise for a long memory")
    parser.add_argument("--length", type=int, default=100)
    parser.add_argument("--steps", type=int, default=1200)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()

    torch.manual_seed(options.seed)
    model = Adder(options.cell, hidden=32)
    if options.cure:
        long_memory(model.recurrent, options.length)
    optimizer = torch.optim.Adam(model.parameters(), lr=3e-3)

    recent = math.nan
    for step in range(1, options.steps + 1):
        x, y = make_batch(32, options.length)
        loss = nn.functional.mse_loss(model(x), y)
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        recent = loss.item() if math.isnan(recent) else 0.98 * recent + 0.02 * loss.item()
        if step % 200 == 0:
            print(f"step {step:5d}  mean squared error {recent:.4f}")

    model.eval()
    with torch.no_grad():
        x, y = make_batch(1000, options.length)
        error = nn.functional.mse_loss(model(x), y).item()
    print(f"test error {error:.4f}  (a constant: 0.167)")


if __name__ == "__main__":
    main()
