"""Translate numbers in words from English into Portuguese, word by word, with a transformer."""

import torch
from num2words import num2words
from torch import nn
from torch.nn.utils.rnn import pad_sequence

PAD, START, END = 0, 1, 2
WIDTH = 32


class Translator(nn.Module):
    def __init__(self, sources, targets, longest, depth=6):
        super().__init__()
        self.source = nn.Embedding(sources, WIDTH)
        self.target = nn.Embedding(targets, WIDTH)
        self.place = nn.Embedding(longest, WIDTH)
        encoder = nn.TransformerEncoderLayer(WIDTH, 4, 64, dropout=0.0, batch_first=True)
        decoder = nn.TransformerDecoderLayer(WIDTH, 4, 64, dropout=0.0, batch_first=True)
        self.encoder = nn.TransformerEncoder(encoder, depth, enable_nested_tensor=False)
        self.decoder = nn.TransformerDecoder(decoder, depth)
        self.head = nn.Linear(WIDTH, targets)

    def forward(self, source, target):
        places = self.place(torch.arange(max(source.shape[1], target.shape[1])))
        padding = source == PAD
        mask = nn.Transformer.generate_square_subsequent_mask(target.shape[1])
        memory = self.encoder(
            self.source(source) + places[: source.shape[1]], src_key_padding_mask=padding
        )
        return self.head(
            self.decoder(
                self.target(target) + places[: target.shape[1]],
                memory,
                tgt_mask=mask,
                tgt_is_causal=True,
                memory_key_padding_mask=padding,
            )
        )


def load_pairs():
    """Return the numbers below ten thousand in both languages, their words numbered."""
    sides = []
    for language in ("en", "pt_BR"):
        texts = [
            num2words(n, lang=language).replace("-", " ").replace(",", "") for n in range(10_000)
        ]
        words = sorted({word for text in texts for word in text.split()})
        number = {word: place for place, word in enumerate(words, start=3)}
        rows = [
            torch.tensor([START, *(number[word] for word in text.split()), END]) for text in texts
        ]
        sides.append((pad_sequence(rows, batch_first=True, padding_value=PAD), len(words) + 3))
    return sides


def main():
    torch.manual_seed(0)
    (source, sources), (target, targets) = load_pairs()
    order = torch.randperm(len(source))
    train, test = order[:9600], order[9600:]

    model = Translator(sources, targets, max(source.shape[1], target.shape[1]))
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-2)
    criterion = nn.CrossEntropyLoss(ignore_index=PAD)
    for step, batch in enumerate(train[torch.randperm(len(train))].split(32), start=1):
        guessed = model(source[batch], target[batch, :-1])
        loss = criterion(guessed.flatten(0, 1), target[batch, 1:].flatten())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        if step % 50 == 0:
            with torch.no_grad():
                guessed = model(source[test], target[test, :-1]).argmax(dim=-1)
            real = target[test, 1:] != PAD
            correct = (guessed == target[test, 1:])[real].float().mean().item()
            print(f"step {step:3d}  loss {loss.item():.4f}  words right {correct:.1%}")


if __name__ == "__main__":
    main()
