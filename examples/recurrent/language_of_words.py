"""Portuguese or English? Tell the language of a word from its letters, read one by one."""

import argparse

import torch
from torch import nn
from wordfreq import top_n_list

LETTERS = "abcdefghijklmnopqrstuvwxyz" + "áâãàçéêíóôõúü"
NUMBER = {letter: place for place, letter in enumerate(LETTERS, start=1)}
LONGEST = 16
CELLS = {"rnn": nn.RNN, "lstm": nn.LSTM, "gru": nn.GRU}


class WordReader(nn.Module):
    def __init__(self, cell, hidden):
        super().__init__()
        self.embed = nn.Embedding(len(LETTERS) + 1, 24, padding_idx=0)
        self.recurrent = CELLS[cell](24, hidden, batch_first=True)
        self.head = nn.Linear(hidden, 2)

    def forward(self, letters, lengths, *, at_the_end):
        outputs, _ = self.recurrent(self.embed(letters))
        # the state after the last letter of the word, or after all of the padding
        last = lengths - 1 if at_the_end else torch.full_like(lengths, outputs.shape[1] - 1)
        return self.head(outputs[torch.arange(len(letters)), last])


def load_words():
    """Return the words of one language only, as numbered letters."""
    portuguese, english = (set(top_n_list(code, 12_000)) for code in ("pt", "en"))
    words, labels = [], []
    for label, only in enumerate((portuguese - english, english - portuguese)):
        for word in sorted(only):
            if 4 <= len(word) <= LONGEST and all(letter in NUMBER for letter in word):
                words.append([NUMBER[letter] for letter in word])
                labels.append(label)
    lengths = torch.tensor([len(word) for word in words])
    letters = torch.zeros(len(words), 40, dtype=torch.long)  # room for the longest words there are
    for row, word in enumerate(words):
        letters[row, : len(word)] = torch.tensor(word)
    return letters, lengths, torch.tensor(labels)


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cell", choices=CELLS, default="rnn")
    parser.add_argument(
        "--cure", action="store_true", help="read the state after the word, not after the padding"
    )
    parser.add_argument("--epochs", type=int, default=3)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()

    letters, lengths, labels = load_words()
    torch.manual_seed(options.seed)
    order = torch.randperm(len(labels))
    train, test = order[:8000], order[8000:10000]
    model = WordReader(options.cell, hidden=48)
    optimizer = torch.optim.Adam(model.parameters(), lr=2e-3)

    for epoch in range(1, options.epochs + 1):
        model.train()
        for batch in train[torch.randperm(len(train))].split(64):
            guessed = model(letters[batch], lengths[batch], at_the_end=options.cure)
            loss = nn.functional.cross_entropy(guessed, labels[batch])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        model.eval()
        with torch.no_grad():
            guessed = model(letters[test], lengths[test], at_the_end=options.cure).argmax(dim=1)
        accuracy = (guessed == labels[test]).float().mean().item()
        print(f"epoch {epoch}  loss {loss.item():.4f}  test accuracy {accuracy:.1%}")


if __name__ == "__main__":
    main()
