"""A loop of Accelerate: its optimizer is a wrapper that takes no hooks."""

import pytest
import torch
from accelerate import Accelerator
from torch import nn

from gradfuga._types import Kind
from gradfuga.integrations.accelerate import observe

pytestmark = pytest.mark.filterwarnings("ignore")


@pytest.mark.parametrize("accumulate", [1, 2])
def test_the_gradient_is_that_of_the_whole_step_before_clipping(accumulate):
    torch.manual_seed(0)
    accelerator = Accelerator(cpu=True, gradient_accumulation_steps=accumulate)
    plain = nn.Sequential(nn.Linear(4, 8), nn.Tanh(), nn.Linear(8, 1))
    model, optimizer = accelerator.prepare(plain, torch.optim.SGD(plain.parameters(), lr=0.05))
    x, y = torch.randn(4 * accumulate, 16, 4), torch.randn(4 * accumulate, 16, 1)
    kept = []
    with observe(model, optimizer, every=1) as observer:
        for inputs, targets in zip(x, y, strict=True):
            with accelerator.accumulate(model):
                kept.append({name: p.detach().clone() for name, p in plain.named_parameters()})
                loss = nn.functional.mse_loss(model(inputs), targets)
                accelerator.backward(loss)
                if accelerator.sync_gradients:
                    accelerator.clip_grad_norm_(model.parameters(), 0.01)
                optimizer.step()
                optimizer.zero_grad()
    readings = observer.readings
    assert readings.record.steps == 4
    for step in range(4):
        twin = nn.Sequential(nn.Linear(4, 8), nn.Tanh(), nn.Linear(8, 1)).double()
        twin.load_state_dict(kept[step * accumulate])
        taken = range(step * accumulate, (step + 1) * accumulate)
        sum((twin(x[i].double()) - y[i].double()).square().mean() for i in taken).div(
            accumulate
        ).backward()
        for name, parameter in twin.named_parameters():
            norms = readings.series(name, Kind.WEIGHT_GRAD, "norm")[1]
            assert norms[step] == pytest.approx(float(parameter.grad.norm()), rel=1e-5)
