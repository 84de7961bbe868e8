"""Several processes train one model: what is recorded is the whole gradient's, in float64."""

import functools
import math

import pytest
import torch
from torch import nn

from conformance._page import COLUMNS, settle, status
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
                out[step, name, "weight_grad", "max_abs"] = parameter.grad.abs().max().item()
                out[step, name, "weight", "max_abs"] = parameter.abs().max().item()
                update = RATE * clip * parameter.grad.abs().max().item()
                out[step, name, "update", "max_abs"] = update
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


# What a user should know of each, and what it is called.
KNOW = {
    "ddp": ("DDP", "depth is that of the first process's share of the batch, in every row"),
    "ddp, accumulation": ("DDP, accumulation under `no_sync`", ""),
    "fsdp": ("FSDP2 (`fully_shard`)", ""),
    "hsdp": ("HSDP", "shards are counted once, whatever the replicas"),
    "tensor parallel": (
        "tensor parallel by DTensor",
        "depth at tensors that lie whole in a process",
    ),
    "fsdp and tensor parallel": ("FSDP2 and tensor parallel", "likewise"),
}


def row(size, name):
    """Return the line of the conformance page: the largest relative errors in words."""
    rows = {
        (r["step"], r["path"], r["kind"], r["statistic"]): r["value"]
        for r in job(size)[name]["rows"]
    }
    worst = {"norm": 0.0, "update": 0.0, "clip_coefficient": 0.0}
    for (step, path, kind, statistic), value in reference().items():
        name_of = {"update": "update", "weight_grad": statistic}.get(kind)
        if statistic != "max_abs" and name_of in worst:
            error = abs(rows[step, path, kind, statistic] - value) / value
            worst[name_of] = max(worst[name_of], error)
    deep = {
        step
        for step, _, kind, statistic in rows
        if (kind, statistic) == ("activation_grad", "norm")
    }
    words = [status(worst[each], 0.0) for each in ("norm", "update", "clip_coefficient")]
    title, know = KNOW[name]
    depth = "yes" if deep == set(range(STEPS)) else "opaque"
    return "| " + " | ".join([f"{title}, {size} processes", *words, depth, know]).rstrip() + " |"


def test_the_page_is_what_the_tests_find(write_matrix):
    lines = [row(size, name) for size, names in JOBS.items() for name in names]
    found = "\n".join(["", COLUMNS, *lines, ""])
    assert settle(found, last=True, write=write_matrix) == found
