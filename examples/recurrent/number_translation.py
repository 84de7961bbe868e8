"""Translate numbers in words from Portuguese into English, letter by letter.

The encoder hands the decoder one vector, whatever the length of the sentence: a bottleneck.
With attention the decoder looks back at every letter.
"""

import argparse

import torch
from num2words import num2words
from torch import nn
from torch.nn.utils.rnn import pad_sequence

CELLS = {"rnn": nn.RNN, "lstm": nn.LSTM, "gru": nn.GRU}
PAD, START, END = 0, 1, 2


class Translator(nn.Module):
    def __init__(self, cell, hidden, letters, *, attention):
        super().__init__()
        self.embed = nn.Embedding(letters, 32, padding_idx=PAD)
        self.encoder = CELLS[cell](32, hidden, batch_first=True)
        self.decoder = CELLS[cell](32, hidden, batch_first=True)
        self.attention = attention
        self.head = nn.Linear(2 * hidden if attention else hidden, letters)

    def forward(self, source, shifted):
        memory, state = self.encoder(self.embed(source))
        outputs, _ = self.decoder(self.embed(shifted), state)
        if self.attention:
            scores = outputs @ memory.transpose(1, 2) / memory.shape[-1] ** 0.5
            scores = scores.masked_fill((source == PAD)[:, None], -1e9)
            outputs = torch.cat([outputs, scores.softmax(dim=-1) @ memory], dim=-1)
        return self.head(outputs)


def load_pairs(count, generator):
    """Return pairs of letters, the Portuguese reversed so that beginnings are near each other."""
    numbers = torch.randperm(100_000, generator=generator)[:count].tolist()
    pairs = [(num2words(n, lang="pt_BR"), num2words(n, lang="en")) for n in numbers]
    letters = sorted({letter for pair in pairs for text in pair for letter in text})
    number = {letter: place for place, letter in enumerate(letters, start=3)}
    sources = [torch.tensor([number[letter] for letter in a]) for a, _ in pairs]
    wanted = [torch.tensor([START, *(number[letter] for letter in b), END]) for _, b in pairs]
    return (
        pad_sequence(sources, batch_first=True, padding_value=PAD, padding_side="left"),
        pad_sequence(wanted, batch_first=True, padding_value=PAD),
        len(letters) + 3,
    )


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--cell", choices=CELLS, default="rnn")
    parser.add_argument("--cure", action="store_true", help="attend to the source")
    parser.add_argument("--epochs", type=int, default=6)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()

    torch.manual_seed(options.seed)
    source, wanted, letters = load_pairs(2200, torch.Generator().manual_seed(0))
    train, test = torch.arange(2000), torch.arange(2000, 2200)
    model = Translator(options.cell, 96, letters, attention=options.cure)
    optimizer = torch.optim.Adam(model.parameters(), lr=3e-3)
    criterion = nn.CrossEntropyLoss(ignore_index=PAD)

    for epoch in range(1, options.epochs + 1):
        model.train()
        for batch in torch.randperm(len(train)).split(32):
            guessed = model(source[batch], wanted[batch, :-1])
            loss = criterion(guessed.flatten(0, 1), wanted[batch, 1:].flatten())
            optimizer.zero_grad()
            loss.backward()
            nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
        model.eval()
        with torch.no_grad():
            guessed = model(source[test], wanted[test, :-1]).argmax(dim=-1)
        real = wanted[test, 1:] != PAD
        accuracy = (guessed == wanted[test, 1:])[real].float().mean().item()
        print(f"epoch {epoch:2d}  loss {loss.item():.4f}  letters right {accuracy:.1%}")


if __name__ == "__main__":
    main()
