"""A training that is killed at any moment leaves a run that can be read."""

import random
import subprocess
import sys
import time

import pytest

from gradfuga._diagnose import diagnose
from gradfuga.readings import Readings

# Every sampled step is flushed, so that the kill falls into a flush as often as possible; a line is
# printed when a step is over, its flush included.
PROGRAM = """
import sys
import torch
import gradfuga._torch.recorder as recorder
from gradfuga import observe

recorder._FLUSH_SECONDS = 0.0
torch.manual_seed(0)
model = torch.nn.Sequential(torch.nn.Linear(5, 8), torch.nn.Tanh(), torch.nn.Linear(8, 3))
optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
x, y = torch.randn(6, 5), torch.tensor([0, 1, 2, 0, 1, 2])
with observe(model, optimizer, every=1, out=sys.argv[1]):
    for step in range(10_000):
        optimizer.zero_grad()
        torch.nn.functional.cross_entropy(model(x), y).backward()
        optimizer.step()
        print(step, flush=True)
"""


def killed(folder, seconds):
    """Kill the program `seconds` after its first step; return the last step that it told of."""
    process = subprocess.Popen(
        [sys.executable, "-c", PROGRAM, str(folder)],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    with process:
        assert process.stdout.readline() == "0\n"
        time.sleep(seconds)
        process.kill()
        said = process.stdout.read().rsplit("\n", 1)[0]  # the last line may be cut
    return int(said.splitlines()[-1]) if said else 0


def check(tmp_path, seed):
    last = killed(tmp_path, random.Random(seed).uniform(0.0, 0.4))
    readings = Readings.open(tmp_path / "0")
    steps = readings.losses[0].tolist()
    assert steps == list(range(len(steps)))  # whole, up to where it ends
    assert last <= steps[-1] + 1  # at most the step that ran is lost
    assert readings.record.sampled == tuple(steps)
    assert diagnose(readings).run.steps == len(steps)


@pytest.mark.parametrize("seed", range(4))
def test_a_killed_run_can_be_read_and_has_lost_one_flush_at_most(tmp_path, seed):
    check(tmp_path, seed)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(100, 150))
def test_fifty_killed_runs_can_be_read(tmp_path, seed):
    check(tmp_path, seed)
