"""Several processes train one model: what is recorded is the whole gradient's, in float64."""

import functools
import math

import pytest
import torch
from torch import nn

from distributed._job import trained
from distributed._worker import CLIP, RATE, STEPS, batches, network

JOBS = {
    2: ["ddp", "ddp, accumulation", "fsdp", "tensor parallel"],
    4: ["hsdp", "fsdp and tensor parallel"],
}
SETUPS = [pytest.param(size, name, id=name) for size, names in JOBS.items() for name in names]
job = functools.cache(lambda size: trained(size, JOBS[size]))


@functools.cache
def reference():
    """Train a float64 copy on whole batches in one process: loss, norms and clip coefficient."""
    model = network().double()
    out = {}
    for step, (x, y) in enumerate(batches()):
        model.zero_grad()
        loss = nn.functional.mse_loss(model(x.double()), y.double())
        loss.backward()
        out[step, "loss", "loss", "value"] = loss.item()
        total = math.hypot(*(p.grad.norm().item() for p in model.parameters()))
        clip = min(1.0, CLIP / (total + 1e-6))  # as torch clips
        out[step, "optimizer", "weight_grad", "clip_coefficient"] = clip
        with torch.no_grad():
            for name, parameter in model.named_parameters():
                out[step, name, "weight_grad", "norm"] = parameter.grad.norm().item()
                out[step, name, "weight", "norm"] = parameter.norm().item()
                out[step, name, "update", "norm"] = (RATE * clip * parameter.grad).norm().item()
                out[step, name, "weight_grad", "nonfinite"] = 0.0
                parameter.sub_(RATE * clip * parameter.grad)
    return out


@pytest.mark.parametrize(("size", "name"), SETUPS)
def test_what_is_recorded_is_of_the_whole_batch_and_the_whole_parameters(size, name):
    found = job(size)[name]
    rows = {(r["step"], r["path"], r["kind"], r["statistic"]): r["value"] for r in found["rows"]}
    assert found["steps"] == STEPS
    assert found["sampled"] == list(range(STEPS))
    for key, value in reference().items():
        expected = value
        if key[1] == "loss" and name.endswith("accumulation"):
            expected /= 2  # the mean of two halves, each divided already
        # updates are differences of float32 weights: 1e-3 of them, known to 6e-8
        assert rows[key] == pytest.approx(expected, rel=1e-4 if key[2] == "update" else 2e-6)


@pytest.mark.parametrize(("size", "name"), SETUPS)
def test_the_weights_are_the_same_bits_as_unobserved(size, name):
    assert job(size)[name]["same"]


@pytest.mark.parametrize(("size", "name"), SETUPS)
def test_layers_and_parameters_have_the_users_names(size, name):
    found = job(size)[name]
    assert found["layers"] == ["c", "b", "a"]
    assert found["model"] == "Net"
    assert len(found["reached"]) == 6
