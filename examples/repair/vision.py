"""Read handwritten digits with a deep convolutional network of sigmoids."""

import torch
from sklearn.datasets import load_digits
from torch import nn

CHANNELS = 12
DEPTH = 10


def build():
    layers = [nn.Conv2d(1, CHANNELS, 3, padding=1), nn.Sigmoid()]
    for _ in range(DEPTH - 1):
        layers += [nn.Conv2d(CHANNELS, CHANNELS, 3, padding=1), nn.Sigmoid()]
    return nn.Sequential(*layers, nn.Flatten(), nn.Linear(CHANNELS * 8 * 8, 10))


def main():
    torch.manual_seed(0)
    pixels, labels = load_digits(return_X_y=True)
    images = torch.tensor(pixels / 8 - 1, dtype=torch.float32).view(-1, 1, 8, 8)
    labels = torch.tensor(labels)
    order = torch.randperm(len(images))
    train, test = order[:1400], order[1400:]

    model = build()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.03, momentum=0.9)
    for epoch in range(1, 9):
        model.train()
        for batch in train[torch.randperm(len(train))].split(32):
            loss = nn.functional.cross_entropy(model(images[batch]), labels[batch])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        model.eval()
        with torch.no_grad():
            correct = (model(images[test]).argmax(dim=1) == labels[test]).float().mean().item()
        print(f"epoch {epoch}  loss {loss.item():.4f}  test accuracy {correct:.1%}")


if __name__ == "__main__":
    main()
