"""An activation that a script writes out is blamed as the one that torch has."""

import pytest
import torch
from torch import nn

from gradfuga import diagnose, observe

WRITTEN = {
    "sigmoid": (torch.sigmoid, lambda x: 1 / (1 + torch.exp(-x))),
    "sigmoid, otherwise": (torch.sigmoid, lambda x: (1 + (-x).exp()).pow(-1)),
}


def trained(phi, *, layers=8, steps=40):
    torch.manual_seed(0)
    net = nn.ModuleList([nn.Linear(20, 32), *(nn.Linear(32, 32) for _ in range(layers))])
    out = nn.Linear(32, 3)
    optimizer = torch.optim.SGD([*net.parameters(), *out.parameters()], lr=0.1)
    with observe(nn.ModuleList([*net, out]), optimizer) as observer:
        for _ in range(steps):
            x = torch.randn(64, 20)
            z = x
            for layer in net:
                z = phi(layer(z))
            optimizer.zero_grad()
            nn.functional.cross_entropy(out(z), x[:, :3].argmax(dim=1)).backward()
            optimizer.step()
    return diagnose(observer.readings)


def share(diagnosis, name="contracting_activation"):
    return sum(cause.share for cause in diagnosis.causes if cause.name == name)


@pytest.mark.parametrize("name", WRITTEN)
def test_it_has_the_share_of_the_one_that_torch_has(name):
    given, written = (trained(phi) for phi in WRITTEN[name])
    assert written.verdict == given.verdict
    assert share(written) > 0.5
    # what alignment takes or adds is not told apart from the slope of a run
    assert share(written) == pytest.approx(share(given), abs=0.12)
    assert sum(c.share for c in written.causes) + written.unexplained == pytest.approx(1.0)
    blamed = next(each for each in written.findings if each.code == "ACT001")
    assert any("test_written_out" in line.file for line in blamed.source)


def test_a_change_of_scale_alone_is_no_activation():
    assert share(trained(lambda x: torch.relu(x) * 0.1)) == 0.0


def test_what_an_output_is_put_through_is_not_blamed_as_an_activation():
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(4, 8), nn.Tanh(), nn.Linear(8, 1))
    optimizer = torch.optim.SGD(net.parameters(), lr=0.01)
    with observe(net, optimizer) as observer:
        for _ in range(40):
            optimizer.zero_grad()
            rate = 1 / (1 + torch.exp(-(net(torch.randn(32, 4)) - 12.0)))
            (rate - torch.rand(32, 1)).square().mean().backward()
            optimizer.step()
    assert share(diagnose(observer.readings)) == 0.0
