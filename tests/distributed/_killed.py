"""One process of a job in which one dies or stops in mid-run: the others train on alone."""

import os
import signal
import sys
from contextlib import suppress
from datetime import timedelta

import torch
import torch.distributed as dist
from torch import nn

from gradfuga import observe
from gradfuga._torch import collective, recorder

STEPS, LAST_TOGETHER = 8, 3
LONG = timedelta(minutes=2)


def main():
    victim, how, folder = int(sys.argv[1]), sys.argv[2], sys.argv[3]
    recorder._FLUSH_SECONDS = 0.0
    collective.PATIENCE = LONG
    dist.init_process_group("gloo", timeout=LONG)
    rank = dist.get_rank()
    pids = [0] * dist.get_world_size()
    dist.all_gather_object(pids, os.getpid())
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(4, 4), nn.Tanh(), nn.Linear(4, 1))
    called = nn.parallel.DistributedDataParallel(model)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    steps = []

    def end(*_):
        """After the gradients were averaged, before what was measured is exchanged."""
        steps.append(None)
        if len(steps) <= LAST_TOGETHER:
            return
        if rank == victim:
            os.kill(os.getpid(), signal.SIGKILL if how == "killed" else signal.SIGSTOP)
        elif how == "stopped":
            collective.PATIENCE = timedelta(seconds=1)

    optimizer.register_step_post_hook(end)
    with observe(every=1, out=folder) as observer:
        for step in range(STEPS):
            network = called if step <= LAST_TOGETHER else model
            optimizer.zero_grad()
            network(torch.ones(8, 4)).square().mean().backward()
            optimizer.step()
    readings = observer.readings
    sampled = sorted({r["step"] for r in readings.table.to_pylist() if r["path"] == "0.weight"})
    print(readings.record.steps, readings.losses[0].tolist(), sampled, flush=True)
    if how == "stopped":
        with suppress(ProcessLookupError):  # another one was faster
            os.kill(pids[victim], signal.SIGKILL)
    os._exit(0)  # no farewell: the job's group has lost a member


if __name__ == "__main__":
    main()
