"""Train a GAN on points from eight Gaussians on a ring: two models, two optimizers."""

import math

import torch
from torch import nn


def real_points(count):
    angle = torch.randint(8, (count,)) * (2 * math.pi / 8)
    centre = torch.stack([angle.cos(), angle.sin()], dim=1)
    return centre + 0.05 * torch.randn(count, 2)


generator = nn.Sequential(
    nn.Linear(8, 64), nn.LeakyReLU(0.2), nn.Linear(64, 64), nn.LeakyReLU(0.2), nn.Linear(64, 2)
)
discriminator = nn.Sequential(
    nn.Linear(2, 64), nn.LeakyReLU(0.2), nn.Linear(64, 64), nn.LeakyReLU(0.2), nn.Linear(64, 1)
)


def main(steps=600, batch=128):
    torch.manual_seed(0)
    for layer in (*generator, *discriminator):
        if isinstance(layer, nn.Linear):
            nn.init.kaiming_normal_(layer.weight, a=0.2)
            nn.init.zeros_(layer.bias)

    loss_fn = nn.BCEWithLogitsLoss()
    g_optimizer = torch.optim.Adam(generator.parameters(), lr=1e-3, betas=(0.5, 0.999))
    d_optimizer = torch.optim.Adam(discriminator.parameters(), lr=1e-3, betas=(0.5, 0.999))
    ones, zeros = torch.ones(batch, 1), torch.zeros(batch, 1)

    for step in range(1, steps + 1):
        fake = generator(torch.randn(batch, 8))

        d_loss = loss_fn(discriminator(real_points(batch)), ones)
        d_loss = d_loss + loss_fn(discriminator(fake.detach()), zeros)
        d_optimizer.zero_grad()
        d_loss.backward()
        d_optimizer.step()

        g_loss = loss_fn(discriminator(fake), ones)
        g_optimizer.zero_grad()
        g_loss.backward()
        g_optimizer.step()

        if step % 100 == 0:
            radius = fake.detach().norm(dim=1).mean().item()
            print(
                f"step {step:3d}  discriminator {d_loss.item():.3f}  "
                f"generator {g_loss.item():.3f}  mean radius {radius:.2f}"
            )


if __name__ == "__main__":
    main()
