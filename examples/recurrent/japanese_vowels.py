"""Who says "ae"? Nine speakers, real recordings of different lengths (Kudo et al. 1999).

Each utterance is 7 to 29 frames of 12 linear-prediction coefficients. Batches are packed.
"""

import argparse

import torch
from sktime.datasets import load_japanese_vowels
from torch import nn
from torch.nn.utils.rnn import pack_sequence

CELLS = {"rnn": nn.RNN, "lstm": nn.LSTM, "gru": nn.GRU}


class SpeakerNet(nn.Module):
    def __init__(self, cell, hidden):
        super().__init__()
        self.recurrent = CELLS[cell](12, hidden, num_layers=2, bidirectional=True)
        self.head = nn.Linear(2 * hidden, 9)

    def forward(self, packed):
        _, state = self.recurrent(packed)
        if isinstance(state, tuple):
            state = state[0]
        return self.head(torch.cat([state[-2], state[-1]], dim=1))


def load(split):
    frame, speakers = load_japanese_vowels(split=split, return_type="nested_univ")
    utterances = []
    for _, row in frame.iterrows():
        utterance = torch.tensor([series.to_numpy() for series in row], dtype=torch.float32).T
        utterances.append(utterance[~utterance.isnan().any(dim=1)])
    return utterances, torch.tensor([int(speaker) - 1 for speaker in speakers])


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--cell", choices=CELLS, default="rnn")
    parser.add_argument("--cure", action="store_true", help="standardise the coefficients")
    parser.add_argument("--epochs", type=int, default=12)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()

    torch.manual_seed(options.seed)
    train, speakers = load("train")
    test, test_speakers = load("test")
    if options.cure:
        together = torch.cat(train)
        mean, deviation = together.mean(dim=0), together.std(dim=0)
        train = [(utterance - mean) / deviation for utterance in train]
        test = [(utterance - mean) / deviation for utterance in test]

    model = SpeakerNet(options.cell, hidden=32)
    optimizer = torch.optim.Adam(model.parameters(), lr=3e-3)
    for epoch in range(1, options.epochs + 1):
        model.train()
        for batch in torch.randperm(len(train)).split(30):
            packed = pack_sequence([train[i] for i in batch], enforce_sorted=False)
            loss = nn.functional.cross_entropy(model(packed), speakers[batch])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        model.eval()
        with torch.no_grad():
            guessed = model(pack_sequence(test, enforce_sorted=False)).argmax(dim=1)
        accuracy = (guessed == test_speakers).float().mean().item()
        print(f"epoch {epoch:2d}  loss {loss.item():.4f}  test accuracy {accuracy:.1%}")


if __name__ == "__main__":
    main()
