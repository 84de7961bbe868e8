"""One process of a small job: trains each set-up it is given, prints what was recorded.

Started by `_job.py` as torchrun starts its processes: by RANK and WORLD_SIZE in the environment.
"""

import json
import os
import sys

import torch
import torch.distributed as dist
from torch import nn
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import fully_shard
from torch.distributed.tensor import Replicate
from torch.distributed.tensor.parallel import (
    ColwiseParallel,
    RowwiseParallel,
    parallelize_module,
)

from gradfuga import observe
from gradfuga._diagnose import diagnose

STEPS, CLIP, RATE = 4, 0.05, 0.1


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.a = nn.Linear(6, 8)
        self.b = nn.Linear(8, 8)
        self.c = nn.Linear(8, 3)

    def forward(self, x):
        return self.c(torch.tanh(self.b(torch.tanh(self.a(x)))))


def network():
    torch.manual_seed(0)
    return Net()


def batches(steps=STEPS):
    generator = torch.Generator().manual_seed(1)
    return [
        (torch.randn(16, 6, generator=generator), torch.randn(16, 3, generator=generator))
        for _ in range(steps)
    ]


def ddp(model):
    return nn.parallel.DistributedDataParallel(model)


def fsdp(model):
    for layer in (model.a, model.b, model.c):
        fully_shard(layer)
    return fully_shard(model)


def hsdp(model):
    mesh = init_device_mesh("cpu", (2, 2), mesh_dim_names=("replicate", "shard"))
    for layer in (model.a, model.b, model.c):
        fully_shard(layer, mesh=mesh)
    return fully_shard(model, mesh=mesh)


def tensor_parallel(model, mesh=None):
    mesh = mesh or init_device_mesh("cpu", (dist.get_world_size(),))
    last = ColwiseParallel(output_layouts=Replicate())
    plan = {"a": ColwiseParallel(), "b": RowwiseParallel(), "c": last}
    return parallelize_module(model, mesh, plan)


def fsdp_and_tensor_parallel(model):
    mesh = init_device_mesh("cpu", (2, 2), mesh_dim_names=("data", "tensor"))
    tensor_parallel(model, mesh["tensor"])
    plan = {"mesh": mesh["data"]}
    for layer in (model.a, model.b, model.c):
        fully_shard(layer, **plan)
    return fully_shard(model, **plan)


SETUPS = {
    "ddp": (ddp, None),
    "ddp, accumulation": (ddp, None),
    "fsdp": (fsdp, None),
    "hsdp": (hsdp, None),
    "tensor parallel": (tensor_parallel, 1),
    "fsdp and tensor parallel": (fsdp_and_tensor_parallel, 2),
}


def steps_of(wrapped, optimizer, name, data_ranks):
    rank, size = dist.get_rank(), data_ranks or dist.get_world_size()
    place = rank // (dist.get_world_size() // size)
    for x, y in batches():
        mine, target = x.chunk(size)[place], y.chunk(size)[place]
        optimizer.zero_grad()
        if name.endswith("accumulation"):
            halves = zip(mine.chunk(2), target.chunk(2), strict=True)
            for number, (part, wanted) in enumerate(halves):
                wrapped.require_backward_grad_sync = number == 1  # what no_sync() does
                (nn.functional.mse_loss(wrapped(part), wanted) / 2).backward()
        else:
            nn.functional.mse_loss(wrapped(mine), target).backward()
        nn.utils.clip_grad_norm_(wrapped.parameters(), CLIP)
        optimizer.step()


def train(name, *, observed=True):
    wrap, data_ranks = SETUPS[name]
    wrapped = wrap(network())
    optimizer = torch.optim.SGD(wrapped.parameters(), lr=RATE)
    if not observed:
        steps_of(wrapped, optimizer, name, data_ranks)
        return wrapped, None
    with observe(every=1) as observer:
        steps_of(wrapped, optimizer, name, data_ranks)
    return wrapped, observer


def values(model):
    held = [getattr(p, "_local_tensor", p).detach() for p in model.parameters()]
    return torch.cat([p.reshape(-1) for p in held])


def main():
    dist.init_process_group("gloo")
    torch.manual_seed(0)
    for name in json.loads(sys.argv[1]):
        wrapped, observer = train(name)
        bare, _ = train(name, observed=False)
        same = torch.tensor(int(torch.equal(values(wrapped), values(bare))))
        dist.all_reduce(same, dist.ReduceOp.MIN)
        if dist.get_rank() == 0:
            readings = observer.readings
            print(
                json.dumps(
                    {
                        "name": name,
                        "same": bool(same),
                        "steps": readings.record.steps,
                        "sampled": list(readings.record.sampled),
                        "rows": readings.table.to_pylist(),
                        "layers": [readings.graph.ops[i].path for i in readings.graph.layers],
                        "reached": [p.path for p in readings.record.parameters if p.reached],
                        "model": readings.record.model,
                        "verdict": diagnose(observer.trainings).verdict.value,
                    }
                ),
                flush=True,
            )
    dist.barrier()
    dist.destroy_process_group()


if __name__ == "__main__":
    assert os.environ["RANK"].isdecimal()
    main()
