"""Copy memory (Hochreiter & Schmidhuber 1997): repeat ten symbols after a long pause.

Ten symbols out of eight, then a pause, then a signal to write them down. Without a memory nothing
but the pause can be predicted: a loss of 10 ln 8 / (pause + 20) on average over all positions.
"""

import argparse
import math

import torch
from torch import nn

SYMBOLS, COPIED = 8, 10
BLANK, GO = SYMBOLS, SYMBOLS + 1
CELLS = {"rnn": nn.RNNCell, "lstm": nn.LSTMCell, "gru": nn.GRUCell}


class Copier(nn.Module):
    """A loop over a cell, as many write it."""

    def __init__(self, cell, hidden):
        super().__init__()
        self.hidden = hidden
        self.embed = nn.Embedding(SYMBOLS + 2, 16)
        self.cell = CELLS[cell](16, hidden)
        self.head = nn.Linear(hidden, SYMBOLS + 1)

    def forward(self, tokens):
        batch, length = tokens.shape
        x = self.embed(tokens)
        h = x.new_zeros(batch, self.hidden)
        c = torch.zeros_like(h)
        outputs = []
        for t in range(length):
            if isinstance(self.cell, nn.LSTMCell):
                h, c = self.cell(x[:, t], (h, c))
            else:
                h = self.cell(x[:, t], h)
            outputs.append(self.head(h))
        return torch.stack(outputs, dim=1)


def long_memory(cell, length):
    """Let the cell keep its state for about `length` steps from the start."""
    hidden = cell.hidden_size
    with torch.no_grad():
        for bias in (cell.bias_ih, cell.bias_hh):
            bias.zero_()
        if isinstance(cell, nn.RNNCell):
            nn.init.orthogonal_(cell.weight_hh)
            return
        keep = torch.log(torch.empty(hidden).uniform_(1, length - 1))
        cell.bias_ih[hidden : 2 * hidden] = keep
        if isinstance(cell, nn.LSTMCell):
            cell.bias_ih[:hidden] = -keep


def make_batch(size, pause):
    symbols = torch.randint(0, SYMBOLS, (size, COPIED))
    blank = torch.full((size, pause + COPIED), BLANK)
    tokens = torch.cat([symbols, blank], dim=1)
    tokens[:, pause + COPIED - 1] = GO
    wanted = torch.full_like(tokens, BLANK)
    wanted[:, -COPIED:] = symbols
    return tokens, wanted


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--cell", choices=CELLS, default="rnn")
    parser.add_argument("--cure", action="store_true", help="initialise for a long memory")
    parser.add_argument("--pause", type=int, default=20)
    parser.add_argument("--steps", type=int, default=800)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()

    torch.manual_seed(options.seed)
    model = Copier(options.cell, hidden=64)
    if options.cure:
        long_memory(model.cell, options.pause + 2 * COPIED)
    optimizer = torch.optim.Adam(model.parameters(), lr=3e-3)
    memoryless = COPIED * math.log(SYMBOLS) / (options.pause + 2 * COPIED)

    for step in range(1, options.steps + 1):
        tokens, wanted = make_batch(32, options.pause)
        loss = nn.functional.cross_entropy(model(tokens).flatten(0, 1), wanted.flatten())
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        if step % 100 == 0:
            print(f"step {step:5d}  loss {loss.item():.4f}  (without memory: {memoryless:.4f})")

    model.eval()
    with torch.no_grad():
        tokens, wanted = make_batch(500, options.pause)
        loss = nn.functional.cross_entropy(model(tokens).flatten(0, 1), wanted.flatten()).item()
    print(f"test loss {loss:.4f}  (without memory: {memoryless:.4f})")


if __name__ == "__main__":
    main()
