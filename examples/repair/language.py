"""Portuguese or English? Tell the language of a word from its letters, read one by one."""

import torch
from torch import nn
from wordfreq import top_n_list

LETTERS = "abcdefghijklmnopqrstuvwxyz" + "áâãàçéêíóôõúü"
NUMBER = {letter: place for place, letter in enumerate(LETTERS, start=1)}
ROOM = 32  # letters, for the longest words there are


class WordReader(nn.Module):
    def __init__(self, hidden=32):
        super().__init__()
        self.embed = nn.Embedding(len(LETTERS) + 1, 16)
        self.recurrent = nn.LSTM(16, hidden, batch_first=True)
        self.head = nn.Linear(hidden, 2)

    def forward(self, letters):
        states, _ = self.recurrent(self.embed(letters))
        return self.head(states[:, -1])


def load_words():
    """Return the words of one language only, as numbered letters with zeros behind them."""
    portuguese, english = (set(top_n_list(code, 8_000)) for code in ("pt", "en"))
    words, labels = [], []
    for label, only in enumerate((portuguese - english, english - portuguese)):
        for word in sorted(only):
            if 4 <= len(word) <= ROOM and all(letter in NUMBER for letter in word):
                words.append([NUMBER[letter] for letter in word])
                labels.append(label)
    letters = torch.zeros(len(words), ROOM, dtype=torch.long)
    for row, word in enumerate(words):
        letters[row, : len(word)] = torch.tensor(word)
    return letters, torch.tensor(labels)


def main():
    torch.manual_seed(0)
    letters, labels = load_words()
    order = torch.randperm(len(labels))
    train, test = order[:6400], order[6400:7400]

    model = WordReader()
    optimizer = torch.optim.Adam(model.parameters(), lr=3e-3)
    for epoch in range(1, 4):
        model.train()
        for batch in train[torch.randperm(len(train))].split(64):
            loss = nn.functional.cross_entropy(model(letters[batch]), labels[batch])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        model.eval()
        with torch.no_grad():
            correct = (model(letters[test]).argmax(dim=1) == labels[test]).float().mean().item()
        print(f"epoch {epoch}  loss {loss.item():.4f}  test accuracy {correct:.1%}")


if __name__ == "__main__":
    main()
