"""Odd ways to run, each beside the same under ``python``: output, exit code and files."""

import hashlib
import re
from textwrap import dedent

import pytest

TRAIN = """
import sys, torch
for _ in range(5):
    torch.step()
print("trained", sys.argv[1:])
"""


def test_os_exit_is_diagnosed_and_saved_and_keeps_its_code(faked):
    """What the script left in the buffer of its output is lost, as under python."""
    faked.write("train.py", TRAIN + "import os; sys.stdout.flush(); print('lost'); os._exit(6)")
    ending = faked.gradfuga("run", "--json", "d.json", "train.py", PYTHONUNBUFFERED="")
    assert (ending.code, ending.out) == (6, "trained []\n")
    assert "after 5 steps" in ending.err
    assert (faked.folder / "d.json").exists()
    assert len(faked.runs) == 1


def test_os_exit_in_a_thread_is_saved_without_a_wait_for_the_diagnosis(faked):
    dog = """
    import os, threading
    sys.stdout.flush()
    threading.Thread(target=lambda: os._exit(5)).start()
    threading.Event().wait()
    """
    faked.write("train.py", TRAIN + dedent(dog))
    ending = faked.gradfuga("run", "train.py")
    assert (ending.code, ending.out) == (5, "trained []\n")
    assert "again: gradfuga diagnose" in ending.err
    assert "HEALTHY" not in ending.err
    assert len(faked.runs) == 1


def test_a_script_on_standard_input_is_diagnosed_and_cannot_be_repaired(faked):
    script = (faked.write("train.py", TRAIN)).read_text()
    process = faked.start("run", "-", "--lr", "1", given=script)
    out, err = process.communicate(script, timeout=120)
    assert (process.returncode, out) == (0, "trained ['--lr', '1']\n")
    assert "after 5 steps" in err
    assert faked.runs[0].name.startswith("stdin-")
    refused = faked.gradfuga("repair", "-")
    assert refused.code == 2
    assert "expected the path of a training script, got '-'" in " ".join(refused.err.split())


# -- real trainings, each an unmodified script ---------------------------------------------------

NETWORK = """
import torch
from torch import nn
torch.manual_seed(0)
X = torch.randn(64, 8)
Y = (X[:, 0] > 0).long()

class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.layer = nn.Linear(8, 2)
    def forward(self, x):
        return self.layer(x)

def train(model, steps=12, look=lambda step: None):
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    for step in range(steps):
        optimizer.zero_grad()
        loss = nn.functional.cross_entropy(model(X.to(model.layer.weight.dtype)), Y)
        loss.backward()
        optimizer.step()
        look(step)
    return loss.item()

def finish(model, *more):
    print(train(model), *more)
    torch.save(model.state_dict(), "weights.pt")
"""

ODD = {
    "exit with a text": "import sys; finish(Net()); sys.exit('bye')",
    "another folder": "import os; os.makedirs('sub'); os.chdir('sub'); finish(Net())",
    "default float64": "torch.set_default_dtype(torch.float64); finish(Net())",
    "deterministic": "torch.use_deterministic_algorithms(True); finish(Net())",
    "its own source": """
        import inspect, sys
        print(len(open(__file__).read()), inspect.getsource(Net))
        print(len(inspect.getsource(sys.modules['__main__'])))
        finish(Net())
    """,
    "pickled classes of __main__": """
        import pickle
        model = Net()
        train(model)
        copy = pickle.loads(pickle.dumps(model))
        torch.save(copy, "whole.pt")
        again = torch.load("whole.pt", weights_only=False)
        finish(again, type(again) is Net, type(again).__module__)
    """,
    "other arguments": """
        import sys
        sys.argv[1:] = ["a.b=1"]
        finish(Net(), sys.argv)
        sys.argv.clear()
    """,
    "asyncio": """
        import asyncio
        async def main():
            await asyncio.sleep(0)
            finish(Net())
            print(await asyncio.to_thread(train, Net()))
        asyncio.run(main())
    """,
    "inference mode between the steps": """
        model = Net()
        @torch.inference_mode()
        def look(step):
            print(model(X).argmax(1).eq(Y).sum().item())
        train(model, look=look)
        finish(model)
    """,
    "warnings recorded": """
        import warnings
        with warnings.catch_warnings(record=True) as seen:
            warnings.simplefilter("always")
            train(Net())
        finish(Net(), [str(each.message) for each in seen])
    """,
    "faulthandler": "import faulthandler; faulthandler.enable(); finish(Net())",
    "signals of its own": """
        import os, signal
        seen = []
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, lambda number, frame: seen.append(number))
        def look(step):
            if step in (3, 5):
                os.kill(os.getpid(), signal.SIGINT if step == 3 else signal.SIGTERM)
        train(Net(), look=look)
        finish(Net(), seen)
    """,
    "an exception in a hook, caught": """
        model = Net()
        def bad(gradient):
            raise ValueError("in the hook")
        handle = model.layer.weight.register_hook(bad)
        try:
            train(model)
        except ValueError as error:
            print(error)
        handle.remove()
        finish(model)
    """,
    "Ctrl-C in the middle, caught": """
        def look(step):
            if step == 5:
                raise KeyboardInterrupt
        try:
            train(Net(), look=look)
        except KeyboardInterrupt:
            finish(Net())
    """,
    "a training at exit": "import atexit; atexit.register(finish, Net()); print(train(Net()))",
    "processes of every kind": """
        import multiprocessing
        def child(queue):
            queue.put(train(Net()))
        if __name__ == "__main__":
            for how in ("fork", "spawn", "forkserver"):
                context = multiprocessing.get_context(how)
                queue = context.Queue()
                process = context.Process(target=child, args=(queue,))
                process.start()
                print(how, queue.get())
                process.join()
            finish(Net())
    """,
    "a pool of processes": """
        import concurrent.futures, multiprocessing
        def other(steps):
            return train(Net(), steps)
        if __name__ == "__main__":
            context = multiprocessing.get_context("spawn")
            with concurrent.futures.ProcessPoolExecutor(1, mp_context=context) as pool:
                print(list(pool.map(other, [3, 4])))
            finish(Net())
    """,
    "spawned loaders": """
        from torch.utils.data import DataLoader, TensorDataset
        if __name__ == "__main__":
            loader = DataLoader(
                TensorDataset(X, Y), 16, num_workers=2, multiprocessing_context="spawn"
            )
            print(sum(float(x.sum()) for x, _ in loader))
            finish(Net())
    """,
}
ENCODED = {
    "Windows line endings": lambda text: text.replace("\n", "\r\n").encode(),
    "a byte order mark": lambda text: b"\xef\xbb\xbf" + f"# \u00e9\n{text}".encode(),
    "latin-1": lambda text: f"# coding: latin-1\n{text}\nprint('\u00e9')".encode("latin-1"),
}


def files(folder):
    """Return what a script has written, by name."""
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and not {"gradfuga-runs", "__pycache__"} & set(path.parts)
    }


def compare(shell, source):
    """Run a script both ways in fresh folders; both must come to the same."""
    endings = []
    for run in (shell.python, lambda name: shell.gradfuga("run", name)):
        script = shell.folder / "train.py"
        script.write_bytes(source)
        ending = run("train.py")
        endings.append((ending.code, ending.out, files(shell.folder)))
        for path in sorted(shell.folder.rglob("*"), reverse=True):
            if "gradfuga-runs" not in path.parts:
                path.rmdir() if path.is_dir() else path.unlink()
    assert endings[0] == endings[1]
    return ending


@pytest.mark.slow  # two real trainings each
@pytest.mark.parametrize("name", ODD)
def test_an_odd_script_does_what_it_does_under_python(shell, name):
    ending = compare(shell, (NETWORK + dedent(ODD[name])).encode())
    assert re.search(r"train\.py: (12|24) steps", ending.err)  # the same weights may train twice
    assert shell.runs


@pytest.mark.slow
@pytest.mark.parametrize("name", ENCODED)
def test_a_file_of_any_encoding_does_what_it_does_under_python(shell, name):
    ending = compare(shell, ENCODED[name](NETWORK + "finish(Net())\n"))
    assert "12 steps" in ending.err


@pytest.mark.slow
def test_warnings_that_are_errors_meet_none_of_ours(shell):
    source = "import warnings; warnings.simplefilter('error')\n" + NETWORK + "finish(Net())\n"
    assert "12 steps" in compare(shell, source.encode()).err


def test_a_script_that_fails_before_its_first_step_is_told_so(shell):
    shell.write(
        "empty.py",
        "import torch\nnet = torch.nn.GRU(4, 8)\n"
        "optimizer = torch.optim.SGD(net.parameters(), 0.1)\n"
        "net(torch.randn(0, 3, 4))[0].sum().backward()\noptimizer.step()\n",
    )
    ending = shell.gradfuga("run", "empty.py")
    assert ending.code == 1
    assert "RuntimeError" in ending.err
    assert "failed before the first one" in ending.err


def test_an_option_of_ours_that_stands_after_the_script_is_pointed_out(shell):
    shell.write("plain.py", "import sys; print(sys.argv[1:])")
    shell.write("knows.py", "import argparse, sys; print('--report' in sys.argv)")
    ending = shell.gradfuga("run", "plain.py", "--report", "a.html", "--lag=3", "--lr")
    assert "['--report', 'a.html', '--lag=3', '--lr']" in ending.out
    assert "gradfuga run --report ... plain.py" in ending.err
    assert "gradfuga run --lag ... plain.py" in ending.err
    assert "--lr stands" not in ending.err
    assert "stands after" not in shell.gradfuga("run", "knows.py", "--report", "x").err
