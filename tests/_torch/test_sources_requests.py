"""Source lines are asked for a few times, not for ever."""

import torch
from torch import nn

from gradfuga import observe


def test_weights_without_a_gradient_do_not_keep_anomaly_mode_on():
    torch.manual_seed(0)
    trunk, head = nn.Linear(4, 8), nn.Linear(8, 3)
    optimizers = [torch.optim.SGD(part.parameters(), lr=0.1) for part in (trunk, head)]
    inputs, labels = torch.randn(16, 4), torch.randint(0, 3, (16,))
    seen = 0
    with observe():
        for _ in range(60):
            seen += torch.is_anomaly_enabled()
            for optimizer in optimizers:
                optimizer.zero_grad()
            nn.functional.cross_entropy(head(trunk(inputs).detach()), labels).backward()
            for optimizer in optimizers:
                optimizer.step()
    assert seen <= 6
