"""`gradfuga run` as torchrun starts it: one report, one folder."""

import json
import subprocess
import sys

from gradfuga.readings import Readings

SCRIPT = """
import torch
import torch.distributed as dist
from torch import nn

dist.init_process_group("gloo")
torch.manual_seed(0)
model = nn.parallel.DistributedDataParallel(
    nn.Sequential(nn.Linear(6, 16), nn.Tanh(), nn.Linear(16, 16), nn.Tanh(), nn.Linear(16, 1))
)
optimizer = torch.optim.Adam(model.parameters(), lr=1e-2)
x = torch.randn(256, 6)
y = x @ torch.randn(6, 1)
mine = slice(dist.get_rank(), None, 2)
for step in range(150):
    {}
    optimizer.zero_grad()
    nn.functional.mse_loss(model(x[mine]), y[mine]).backward()
    optimizer.step()
dist.destroy_process_group()
"""


def torchrun(folder, at_step="pass"):
    (folder / "train.py").write_text(SCRIPT.format(at_step))
    launcher = [sys.executable, "-m", "torch.distributed.run", "--standalone"]
    command = ["--nproc-per-node", "2", "-m", "gradfuga", "run", "--json", "d.json", "train.py"]
    return subprocess.run(
        [*launcher, *command],
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )


def test_two_processes_under_torchrun_give_one_report_and_one_folder(tmp_path):
    done = torchrun(tmp_path)
    assert done.returncode == 0, done.stderr
    assert done.stderr.count("Recorded in") == 1
    assert len(list((tmp_path / "gradfuga-runs").glob("*/"))) == 1
    document = json.loads((tmp_path / "d.json").read_text("utf-8"))
    assert document["verdict"] == "healthy"
    assert document["run"]["steps"] == 150


def test_the_death_of_one_process_ends_the_job_with_a_diagnosis_of_what_was_seen(tmp_path):
    died = "if step == 90 and dist.get_rank() == 1: import os; os.kill(os.getpid(), 9)"
    done = torchrun(tmp_path, died)
    assert done.returncode == 1
    assert "exitcode  : -9" in done.stderr
    assert json.loads((tmp_path / "d.json").read_text("utf-8"))["run"]["steps"] == 90
    [folder] = (tmp_path / "gradfuga-runs").glob("*/0")
    assert Readings.open(folder).losses[0].tolist() == list(range(90))
