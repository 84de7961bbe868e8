"""`gradfuga run` from end to end: real torch, real observer, real diagnosis."""

import json
import signal

import pytest

from gradfuga.readings import Readings

SETUP = """
import hashlib, sys, torch
from torch import nn

torch.manual_seed(0)
torch.set_num_threads(1)
layers = []
for _ in range(6):
    layers += [nn.Linear(8, 8), nn.Sigmoid()]
model = nn.Sequential(*layers, nn.Linear(8, 2))
optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
x = torch.randn(32, 8)
y = (x[:, 0] > 0).long()

def step():
    optimizer.zero_grad()
    loss = nn.functional.cross_entropy(model(x), y)
    loss.backward()
    optimizer.step()
    return loss.item()

def fingerprint():
    weights = b"".join(p.detach().numpy().tobytes() for p in model.parameters())
    return hashlib.sha256(weights + torch.get_rng_state().numpy().tobytes()).hexdigest()
"""


def recorded(shell):
    [run] = shell.runs
    return [Readings.open(each) for each in sorted(run.glob("[0-9]*")) or [run]]


def test_an_unmodified_script_is_diagnosed_recorded_and_unchanged(shell):
    pytest.importorskip("bokeh")
    shell.write("train.py", SETUP + "for _ in range(40):\n    step()\nprint(fingerprint())\n")
    plain = shell.python("train.py")
    ending = shell.gradfuga("run", "--json", "d.json", "--report", "p.html", "train.py")
    assert (ending.code, ending.out) == (plain.code, plain.out)
    assert "warning" not in ending.err
    assert "Traceback" not in ending.err
    document = json.loads((shell.folder / "d.json").read_text("utf-8"))
    assert document["run"]["steps"] == 40
    assert document["run"]["script"] == "train.py"
    assert document["summary"].split()[0] in ending.err
    assert "<html" in (shell.folder / "p.html").read_text("utf-8")
    [readings] = recorded(shell)
    assert readings.record.steps == 40
    again = shell.gradfuga("diagnose", str(shell.runs[0]), "--json", "again.json")
    assert again.code == 0
    assert json.loads((shell.folder / "again.json").read_text("utf-8")) == document


def test_an_error_inside_the_backward_pass_shows_the_traceback_of_python(shell):
    shell.write(
        "train.py",
        SETUP
        + """
class Broken(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x):
        return x.clone()

    @staticmethod
    def backward(ctx, g):
        raise ValueError("broken backward")

for _ in range(12):
    step()
Broken.apply(model(x)).sum().backward()
""",
    )
    plain = shell.python("train.py")
    ending = shell.gradfuga("run", "train.py")
    assert ending.code == plain.code == 1
    assert "broken backward" in plain.err
    assert ending.err.startswith(plain.err)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_training_that_is_ended_from_outside_is_diagnosed_and_saved(shell, number):
    shell.write(
        "train.py",
        SETUP + "for n in range(10**9):\n    step()\n    if n == 20: print('ready', flush=True)\n",
    )
    process = shell.start("run", "--json", "d.json", "train.py")
    assert process.stdout.readline() == "ready\n"
    process.send_signal(number)
    out, err = process.communicate(timeout=60)
    assert (process.returncode, out) == (-number, "")
    assert "gradfuga/" not in err  # none of our frames
    assert "warning" not in err
    assert json.loads((shell.folder / "d.json").read_text("utf-8"))["run"]["steps"] > 20
    [readings] = recorded(shell)
    assert readings.record.interrupted


def test_workers_and_forked_trainings_leave_the_record_alone(shell):
    shell.write(
        "train.py",
        SETUP
        + """
import os
from torch.utils.data import DataLoader, TensorDataset

if __name__ == "__main__":
    for _ in range(4):
        step()
    child = os.fork()
    if child == 0:
        for _ in range(30):
            step()
        sys.exit(0)
    os.waitpid(child, 0)
    loader = DataLoader(TensorDataset(x, y), batch_size=8, num_workers=2)
    for _, _ in loader:
        step()
    print(fingerprint())
""",
    )
    ending = shell.gradfuga("run", "train.py")
    assert ending.out == shell.python("train.py").out
    assert ending.err.count("Recorded in") == 1
    [readings] = recorded(shell)
    assert readings.record.steps == 8
