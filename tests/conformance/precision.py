"""Precision: half formats, autocast, and gradient scalers."""

from __future__ import annotations

from functools import partial

import torch
from torch import Tensor, nn
from torch.amp import GradScaler
from torch.nn.utils import clip_grad_norm_

from ._cell import Cell
from ._reference import Batch, Log, Weights, clip_by_norm, weights_of
from ._task import STEPS, batch, cross_entropy, net

BOUND = 0.1
# Products and sums in a format with 8 or 11 significant bits; measured .0086 and .0010.
BF16, FP16 = 0.03, 0.004


def autocast(log: Log, *, dtype: torch.dtype) -> Weights:
    model = net()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    for step in range(STEPS):
        with log.step(model, batch(step)):
            optimizer.zero_grad()
            with torch.autocast("cpu", dtype=dtype):
                loss = cross_entropy(model, batch(step))
            loss.backward()
            log.hold(model)
            optimizer.step()
    return weights_of(model)


def scaled(
    log: Log,
    *,
    fused: bool = False,
    unscaled: bool = False,
    dtype: torch.dtype | None = None,
    parts: int = 1,
) -> Weights:
    """A scaler whose scale grows on the way."""
    model = net()
    optimizer = torch.optim.AdamW(model.parameters(), lr=0.01, fused=fused)
    scaler = GradScaler("cpu", init_scale=2.0**10, growth_interval=2)
    for step in range(STEPS):
        batches = [batch(10 * step + part) for part in range(parts)]
        with log.step(model, *batches):
            optimizer.zero_grad()
            for given in batches:
                with torch.autocast("cpu", dtype=dtype, enabled=dtype is not None):
                    loss = log.loss(model, given)
                scaler.scale(loss).backward()
            log.hold(model, scaler.get_scale())
            if unscaled:
                scaler.unscale_(optimizer)
                clip_grad_norm_(model.parameters(), BOUND)
            scaler.step(optimizer)
            scaler.update()
    return weights_of(model)


def half(model: nn.Module, given: Batch) -> Tensor:
    return 0.5 * cross_entropy(model, given)


def skipping(log: Log, *, fused: bool) -> Weights:
    """Every second step overflows: the scaler keeps it from the optimizer."""
    model = net()
    optimizer = torch.optim.AdamW(model.parameters(), lr=0.01, fused=fused)
    scaler = GradScaler("cpu", init_scale=2.0**10)
    for step in range(STEPS):
        x, y = batch(step)
        given = (x, y) if step % 2 == 0 else (torch.full_like(x, torch.nan), y)
        with log.step(model, given):
            optimizer.zero_grad()
            scaler.scale(cross_entropy(model, given)).backward()
            scaler.step(optimizer)
            scaler.update()
    return weights_of(model)


def weights_in(log: Log, *, dtype: torch.dtype) -> Weights:
    model = net().to(dtype)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    for step in range(STEPS):
        x, y = batch(step)
        with log.step(model, (x.to(dtype), y)):
            optimizer.zero_grad()
            cross_entropy(model, (x.to(dtype), y)).backward()
            log.hold(model)
            optimizer.step()
    return weights_of(model)


GROUP = "Precision"
PRECISION = (
    Cell(GROUP, "float64 weights", partial(weights_in, dtype=torch.float64)),
    Cell(GROUP, "bfloat16 weights", partial(weights_in, dtype=torch.bfloat16), within=BF16),
    Cell(GROUP, "float16 weights", partial(weights_in, dtype=torch.float16), within=FP16),
    Cell(GROUP, "autocast to bfloat16", partial(autocast, dtype=torch.bfloat16), within=BF16),
    Cell(GROUP, "autocast to float16", partial(autocast, dtype=torch.float16), within=FP16),
    Cell(GROUP, "`GradScaler`", scaled, note="unscaled, whatever the scale does on the way"),
    Cell(GROUP, "`GradScaler`, fused optimizer", partial(scaled, fused=True)),
    Cell(
        GROUP,
        "`GradScaler`, `unscale_`, then clipping",
        partial(scaled, unscaled=True),
        clip=clip_by_norm(BOUND),
    ),
    Cell(
        GROUP,
        "`GradScaler`, `unscale_`, clipping, fused optimizer",
        partial(scaled, unscaled=True, fused=True),
        clip=clip_by_norm(BOUND),
    ),
    Cell(GROUP, "`GradScaler`, gradient accumulation", partial(scaled, parts=2), loss=half),
    Cell(
        GROUP,
        "`GradScaler`, autocast to float16",
        partial(scaled, dtype=torch.float16),
        within=FP16,
    ),
    Cell(
        GROUP,
        "`GradScaler` that skips steps",
        partial(skipping, fused=False),
        note="a skipped step is a step with an update of zero, and counted",
    ),
    Cell(GROUP, "`GradScaler` that skips steps, fused", partial(skipping, fused=True)),
)
