"""`gradfuga run` as torchrun starts it: one report, one folder."""

import json
import subprocess
import sys

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
for _ in range(150):
    optimizer.zero_grad()
    nn.functional.mse_loss(model(x[mine]), y[mine]).backward()
    optimizer.step()
dist.destroy_process_group()
"""


def test_two_processes_under_torchrun_give_one_report_and_one_folder(tmp_path):
    (tmp_path / "train.py").write_text(SCRIPT)
    launcher = [sys.executable, "-m", "torch.distributed.run", "--standalone"]
    command = ["--nproc-per-node", "2", "-m", "gradfuga", "run", "--json", "d.json", "train.py"]
    done = subprocess.run(
        [*launcher, *command],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stderr.count("Recorded in") == 1
    assert len(list((tmp_path / "gradfuga-runs").glob("*/"))) == 1
    document = json.loads((tmp_path / "d.json").read_text("utf-8"))
    assert document["verdict"] == "healthy"
    assert document["run"]["steps"] == 150
