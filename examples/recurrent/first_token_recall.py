"""First-token recall: name the first token of a sequence after reading all of it."""

import argparse

import torch
from torch import nn

TOKENS = 4
CELLS = {"rnn": nn.RNN, "lstm": nn.LSTM, "gru": nn.GRU}


class Recaller(nn.Module):
    def __init__(self, cell, hidden, *, attention):
        super().__init__()
        self.embed = nn.Embedding(TOKENS + 8, 16)
        self.recurrent = CELLS[cell](16, hidden)
        self.query = nn.Linear(hidden, hidden) if attention else None
        self.place = nn.Embedding(256, hidden) if attention else None
        self.head = nn.Linear(hidden, TOKENS)

    def forward(self, tokens):
        outputs, _ = self.recurrent(self.embed(tokens.T))
        last = outputs[-1]
        if self.query is not None:  # look back at every step instead of remembering it
            steps = torch.arange(len(outputs))
            keys = outputs + self.place(steps)[:, None]
            scores = torch.einsum("bh,tbh->bt", self.query(last), keys) / keys.shape[-1] ** 0.5
            last = torch.einsum("bt,tbh->bh", scores.softmax(dim=1), outputs)
        return self.head(last)


def make_batch(size, length):
    tokens = torch.randint(TOKENS, TOKENS + 8, (size, length))
    tokens[:, 0] = torch.randint(0, TOKENS, (size,))
    return tokens, tokens[:, 0]


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cell", choices=CELLS, default="rnn")
    parser.add_argument("--cure", action="store_true", help="attend to the earlier steps")
    parser.add_argument("--length", type=int, default=60)
    parser.add_argument("--steps", type=int, default=400)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()

    torch.manual_seed(options.seed)
    model = Recaller(options.cell, hidden=48, attention=options.cure)
    optimizer = torch.optim.Adam(model.parameters(), lr=2e-3)

    for step in range(1, options.steps + 1):
        tokens, first = make_batch(64, options.length)
        loss = nn.functional.cross_entropy(model(tokens), first)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        if step % 100 == 0:
            print(f"step {step:4d}  loss {loss.item():.4f}")

    model.eval()
    with torch.no_grad():
        tokens, first = make_batch(1000, options.length)
        accuracy = (model(tokens).argmax(dim=1) == first).float().mean().item()
    print(f"test accuracy {accuracy:.1%}  (guessing: 25.0%)")


if __name__ == "__main__":
    main()
