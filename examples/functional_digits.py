"""Train a digit classifier written with plain tensors: no nn.Module, no DataLoader."""

from itertools import pairwise

import torch
import torch.nn.functional as F
from sklearn.datasets import load_digits

STEPS = 400
BATCH_SIZE = 64
SIZES = [64, 96, 96, 10]


def make_parameters(generator):
    parameters = []
    for fan_in, fan_out in pairwise(SIZES):
        weight = torch.randn(fan_in, fan_out, generator=generator) * (2.0 / fan_in) ** 0.5
        parameters.append((weight.requires_grad_(), torch.zeros(fan_out, requires_grad=True)))
    return parameters


def predict(parameters, x):
    for weight, bias in parameters[:-1]:
        x = torch.relu(x @ weight + bias)
    weight, bias = parameters[-1]
    return x @ weight + bias


def main():
    generator = torch.Generator().manual_seed(0)
    images, labels = load_digits(return_X_y=True)
    x = torch.tensor(images / 16.0, dtype=torch.float32)
    y = torch.tensor(labels)
    order = torch.randperm(len(x), generator=generator)
    train, test = order[:1440], order[1440:]

    parameters = make_parameters(generator)
    optimizer = torch.optim.Adam([p for layer in parameters for p in layer], lr=1e-3)

    for step in range(STEPS):
        batch = train[torch.randint(len(train), (BATCH_SIZE,), generator=generator)]
        loss = F.cross_entropy(predict(parameters, x[batch]), y[batch])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        if step % 100 == 99:
            with torch.no_grad():
                right = (predict(parameters, x[test]).argmax(1) == y[test]).float().mean()
            print(f"step {step + 1:3d}  loss {loss.item():.4f}  test accuracy {right.item():.1%}")


if __name__ == "__main__":
    main()
