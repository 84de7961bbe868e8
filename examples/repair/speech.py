"""Tell nine speakers apart by how they say "ae" (Japanese vowels, Kudo et al. 1999)."""

import torch
from sktime.datasets import load_japanese_vowels
from torch import nn
from torch.nn.utils.rnn import pack_sequence


class SpeakerNet(nn.Module):
    def __init__(self, hidden=48):
        super().__init__()
        self.recurrent = nn.RNN(12, hidden)
        self.head = nn.Linear(hidden, 9)
        for weight in self.parameters():
            nn.init.normal_(weight)

    def forward(self, packed):
        _, state = self.recurrent(packed)
        return self.head(state[-1])


def load(split):
    """Return utterances of 7 to 29 frames, 12 linear-prediction coefficients each."""
    frame, speakers = load_japanese_vowels(split=split, return_type="nested_univ")
    utterances = []
    for _, row in frame.iterrows():
        utterance = torch.tensor([series.to_numpy() for series in row], dtype=torch.float32).T
        utterances.append(utterance[~utterance.isnan().any(dim=1)])
    return utterances, torch.tensor([int(speaker) - 1 for speaker in speakers])


def main():
    torch.manual_seed(0)
    train, speakers = load("train")
    test, test_speakers = load("test")

    model = SpeakerNet()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05)
    for epoch in range(1, 31):
        model.train()
        for batch in torch.randperm(len(train)).split(27):
            packed = pack_sequence([train[i] for i in batch], enforce_sorted=False)
            loss = nn.functional.cross_entropy(model(packed), speakers[batch])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        model.eval()
        with torch.no_grad():
            guessed = model(pack_sequence(test, enforce_sorted=False)).argmax(dim=1)
        correct = (guessed == test_speakers).float().mean().item()
        print(f"epoch {epoch:2d}  loss {loss.item():.4f}  test accuracy {correct:.1%}")


if __name__ == "__main__":
    main()
