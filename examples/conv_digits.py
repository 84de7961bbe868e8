"""Train a small convolutional network with batch normalisation on 8x8 digits."""

import torch
from sklearn.datasets import load_digits
from torch import nn
from torch.utils.data import DataLoader, TensorDataset, random_split


def block(channels_in, channels_out, stride=1):
    return nn.Sequential(
        nn.Conv2d(channels_in, channels_out, 3, stride=stride, padding=1, bias=False),
        nn.BatchNorm2d(channels_out),
        nn.ReLU(inplace=True),
    )


def build_model():
    return nn.Sequential(
        block(1, 16),
        block(16, 32, stride=2),
        block(32, 32),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Dropout(0.1),
        nn.Linear(32, 10),
    )


def main(epochs=5):
    torch.manual_seed(0)
    digits = load_digits()
    images = torch.tensor(digits.images / 16.0, dtype=torch.float32).unsqueeze(1)
    dataset = TensorDataset(images, torch.tensor(digits.target))
    train, test = random_split(dataset, [1440, len(dataset) - 1440])

    model = build_model()
    criterion = nn.CrossEntropyLoss(label_smoothing=0.05)
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3, weight_decay=0.01)

    for epoch in range(1, epochs + 1):
        model.train()
        for x, y in DataLoader(train, batch_size=64, shuffle=True):
            loss = criterion(model(x), y)
            optimizer.zero_grad(set_to_none=True)
            loss.backward()
            optimizer.step()

        model.eval()
        right = 0
        with torch.inference_mode():
            for x, y in DataLoader(test, batch_size=256):
                right += (model(x).argmax(1) == y).sum().item()
        print(f"epoch {epoch}  loss {loss.item():.4f}  test accuracy {right / len(test):.1%}")


if __name__ == "__main__":
    main()
