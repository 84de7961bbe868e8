"""Fit the diabetes progression with accumulated gradients, a warm-up and a cosine schedule.

Options come from the command line, as in many a training script.
"""

import argparse
import math

import torch
from sklearn.datasets import load_diabetes
from torch import nn


def parse_arguments():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--steps", type=int, default=200, help="optimizer steps")
    parser.add_argument("--accumulate", type=int, default=4, help="micro-batches per step")
    parser.add_argument("--lr", type=float, default=0.05)
    parser.add_argument("--seed", type=int, default=0)
    return parser.parse_args()


def main():
    options = parse_arguments()
    torch.manual_seed(options.seed)
    features, target = load_diabetes(return_X_y=True)
    x = torch.tensor(features, dtype=torch.float32)
    x = (x - x.mean(0)) / x.std(0)
    y = torch.tensor(target, dtype=torch.float32)
    y = (y - y.mean()) / y.std()
    train, test = torch.randperm(len(x)).split([352, 90])

    model = nn.Sequential(
        nn.Linear(10, 32), nn.ReLU(), nn.Linear(32, 32), nn.ReLU(), nn.Linear(32, 1)
    )
    loss_fn = nn.MSELoss()
    optimizer = torch.optim.SGD(model.parameters(), lr=options.lr, weight_decay=1e-3)
    warmup = max(1, options.steps // 20)
    schedule = torch.optim.lr_scheduler.LambdaLR(
        optimizer,
        lambda step: min((step + 1) / warmup, 0.5 + 0.5 * math.cos(math.pi * step / options.steps)),
    )

    for step in range(1, options.steps + 1):
        optimizer.zero_grad()
        total = 0.0
        for _ in range(options.accumulate):
            batch = train[torch.randint(len(train), (16,))]
            loss = loss_fn(model(x[batch]).squeeze(1), y[batch]) / options.accumulate
            loss.backward()
            total += loss.item()
        optimizer.step()
        schedule.step()
        if step % 50 == 0:
            with torch.no_grad():
                error = loss_fn(model(x[test]).squeeze(1), y[test]) / y[test].var()
            print(f"step {step:3d}  loss {total:.3f}  test R2 {1 - error.item():.2f}")


if __name__ == "__main__":
    main()
