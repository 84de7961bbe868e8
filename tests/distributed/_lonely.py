"""One process of a job whose processes are not all observed to the end: none may hang."""

import os
import sys
from contextlib import nullcontext
from datetime import timedelta

import torch
import torch.distributed as dist
from torch import nn
from torch.distributed.fsdp import fully_shard

from gradfuga import observe
from gradfuga._torch import collective

LEFT_AT = 3
HOW, SHARDED = sys.argv[1], sys.argv[2] == "fsdp"


def main():
    dist.init_process_group("gloo")
    first = os.environ["RANK"] == "0"
    # no wait for a process that is only slow, and a short one for one that never comes
    collective.PATIENCE = timedelta(minutes=2) if HOW == "leaves" else timedelta(seconds=2)
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(4, 4), nn.Tanh(), nn.Linear(4, 1))
    model = fully_shard(model) if SHARDED else nn.parallel.DistributedDataParallel(model)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    watched = observe(every=1) if first or HOW != "alone" else nullcontext()
    with watched as observer:
        for step in range(6):
            if HOW == "leaves" and step == LEFT_AT:
                collective.PATIENCE = timedelta(seconds=2)
                if not first:
                    observer.close()  # its program trains on
            optimizer.zero_grad()
            model(torch.ones(8, 4)).square().mean().backward()
            optimizer.step()
    if first:
        readings = observer.readings
        steps = {r["step"] for r in readings.table.to_pylist() if r["path"] == "0.weight"}
        print(readings.record.steps, len(readings.losses[0]), sorted(steps))
    dist.barrier()
    dist.destroy_process_group()


if __name__ == "__main__":
    main()
