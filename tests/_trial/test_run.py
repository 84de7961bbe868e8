"""One training of a trial in its child process: what it reports, and what bad input does."""

import math
import os
from pathlib import Path

import numpy as np
import pytest

from _trial.conftest import HEALED, SCRIPT, SICK, patched
from gradfuga._edits import Initialize, SwapActivation, UseLogits
from gradfuga._trial.reasons import limits
from gradfuga._types import Prescription, Safety
from gradfuga.experiment import Arm, Treatment

BARE = """
import torch
torch.manual_seed(0)
generator = torch.Generator().manual_seed(0)
"""


# what is there and a quarter of a GB, as a queue of a cluster or a container allows it
CROWDED = """import resource
held = int(open('/proc/self/statm').read().split()[0]) * resource.getpagesize() + 2**28
resource.setrlimit(resource.RLIMIT_AS, (held, held))
hoard = [torch.ones(2**24) for _ in range(64)]
"""


def plain(source: str) -> list[float]:
    """Return the losses of a script that keeps them in `losses`, run in this process."""
    names: dict[str, object] = {}
    exec(source, names)  # noqa: S102
    return names["losses"]


def test_a_run_reports_its_slice(run):
    found = run(SICK, steps=40)
    assert (found.steps, found.ended, found.failed) == (40, False, "")
    assert found.known
    assert abs(found.score) < 0.2
    assert len(found.curve) == 40
    assert found.parameters == 6 * (16 * 16 + 16) + 16 * 4 + 4
    assert found.step_seconds > 0
    assert found.peak_bytes > 2**20
    assert found.depth.path[0] == "12"
    assert found.depth.reach[-1] < -1.3


def test_a_run_without_a_limit_ends_with_the_script(run):
    found = run(HEALED, steps=None)
    assert (found.steps, found.ended) == (120, True)
    assert found.score > 0.5


def test_steps_that_a_gradient_scaler_skips_are_steps(run):
    skipping = SICK.replace("loss.backward()", "scaler.scale(loss * float('inf')).backward()")
    skipping = skipping.replace(
        "    optimizer.step()", "    scaler.step(optimizer)\n    scaler.update()"
    )
    skipping = skipping.replace(
        "\nfor _ in range(120)", "\nscaler = torch.amp.GradScaler('cpu')\nfor _ in range(120)"
    )
    found = run(skipping, steps=40)
    assert (found.steps, found.ended, found.failed) == (40, False, "")
    sound = skipping.replace(" * float('inf')", "")
    assert run(sound, steps=40).steps == 40  # and each step counts once


def test_the_patched_source_runs_and_the_users_file_stays(run, tmp_path):
    assert run(SICK, treatment=patched(HEALED), steps=120).score > 0.5
    assert (tmp_path / "train.py").read_text() == SICK


def test_one_seed_gives_the_same_run_and_another_one_another(run):
    first, again, other = run(SICK), run(SICK), run(SICK, seed=1)
    assert first.start == again.start
    assert first.start != other.start
    assert first.own_seeds


def test_a_script_without_seeds_is_seeded_from_outside(run):
    source = SCRIPT.format(seeding="import random\nimport numpy as np\nRATE = 0.05 + "
                           "0.01 * (random.random() + np.random.rand() "
                           "+ np.random.default_rng().random())")  # fmt: skip
    first, again, other = run(source), run(source), run(source, seed=1)
    assert first.start == again.start
    assert first.start != other.start
    assert not first.own_seeds


def test_a_treatment_that_draws_more_gets_the_same_data(run):
    """The batches of two sources that draw different weights, told by their inputs."""
    source = SICK.replace(
        "optimizer.zero_grad()", "optimizer.zero_grad(); print(pick.tolist(), file=log, flush=True)"
    ).replace("import torch\n", "import torch, sys\nlog = open(sys.argv[1], 'a')\n", 1)
    draws_more = source.replace("optimizer = torch", "torch.randn(7)\noptimizer = torch")
    logs = []
    for text in (source, draws_more):
        folder = Path(os.environ.get("TMPDIR", "/tmp"))
        log = folder / f"gradfuga-batches-{os.getpid()}-{len(logs)}"
        run(text, str(log), steps=5)
        logs.append(log.read_text())
        log.unlink()
    assert logs[0] == logs[1] != ""


def test_the_scripts_arguments_arrive(run):
    source = SICK.replace("RATE = 0.1", "import sys\nRATE = float(sys.argv[2])")
    assert run(source, "--rate", "0.5").failed == ""
    assert "IndexError" in run(source).failed


def test_the_loss_of_the_scripts_own_evaluation_is_the_score(run):
    source = (
        HEALED.replace("for _ in range(120):", "for step in range(120):")
        + """
    if step % 20 == 19:
        with torch.no_grad():
            held = nn.functional.cross_entropy(model(x) * 0.0, y)
"""
    )
    found = run(source, steps=120)
    assert found.held_out == pytest.approx(math.log(4), rel=1e-5)  # all logits are zero
    assert found.score < 0.1  # although the training loss is far below


def test_a_loss_that_is_not_finite_counts_as_the_worst(run):
    found = run(HEALED.replace("RATE = 0.1", "RATE = 1e6"))
    assert (found.score, found.failed) == (-1.0, "")


def test_a_script_that_stops_at_a_broken_loss_has_a_result(run):
    source = (
        HEALED.replace("RATE = 0.1", "RATE = 1e6")
        + """
    if not torch.isfinite(loss):
        raise FloatingPointError("loss")
"""
    )
    assert (run(source).score, run(source).failed) == (-1.0, "")


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ("raise RuntimeError('no such layer')", "RuntimeError: no such layer"),
        ("torch.empty(10**15)", "out of memory: it asked for 4000000000000000 bytes"),
        (CROWDED, "out of memory: it asked for"),
        (
            "raise torch.OutOfMemoryError('CUDA out of memory. Tried to allocate 2.00 GiB.')",
            "out of memory: it asked for 2.00 GiB",
        ),
        ("raise MemoryError", "out of memory"),
        ("import os; os.kill(os.getpid(), 9)", "memory runs out"),
        ("import os; os._exit(3)", "exit code 3"),
        ("raise SystemExit", "no step"),
    ],
)
def test_a_run_that_fails_fails_alone_and_says_why(run, change, why):
    found = run(SICK.replace("optimizer = ", f"{change}\noptimizer = "))
    assert why in found.failed
    assert math.isnan(found.score)


def test_a_model_that_cannot_be_copied_is_treated_all_the_same(run):
    edits = (SwapActivation("relu"), Initialize("fan_in", 2**0.5))
    swap = Treatment("swap", (Prescription("RX001", "", (), Safety.UNSAFE, edits),))
    lock = "import threading; model.lock = threading.Lock()\n"
    found = run(SICK.replace("optimizer = ", f"{lock}optimizer = "), treatment=swap, steps=120)
    assert found.failed == ""
    assert found.score > 0.2


def test_a_loss_on_a_saturated_output_is_taken_on_its_logits(run):
    source = """
    import torch
    from torch import nn
    torch.manual_seed(0)
    x = torch.randn(128, 10)
    y = (x[:, :1] > 0).float()
    model = nn.Sequential(nn.Linear(10, 20), nn.Tanh(), nn.Linear(20, 1), nn.Sigmoid())
    nn.init.constant_(model[2].bias, 25.0)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.5)
    for _ in range(100):
        optimizer.zero_grad()
        loss = nn.MSELoss()(model(x), y)
        loss.backward()
        optimizer.step()
    """
    logits = Prescription("RX012", "", (), Safety.SAFE, (UseLogits(),))
    stuck = run(source, steps=100)
    found = run(source, steps=100, treatment=Treatment("logits", (logits,)))
    assert found.failed == ""
    assert stuck.score < 0.0
    assert found.score > 0.5


def test_randomness_that_no_seed_reaches_is_told(run, tmp_path_factory):
    count = tmp_path_factory.mktemp("outside") / "count"  # of runs: it differs in each, for sure
    count.touch()
    drawn = (
        f"from pathlib import Path; count = Path({str(count)!r})\n"
        "count.write_text(count.read_text() + '.'); x += 0.3 * len(count.read_text())\n"
    )
    source = HEALED.replace("optimizer = ", f"{drawn}optimizer = ")
    first, again = run(source, steps=20), run(source, steps=20)
    assert "no seed reaches" in " ".join(limits(first, Arm(Treatment(""), (again,))))
    # behind thirty sigmoids the loss does not tell one input from another, in no digit
    deep = SICK.replace("range(6)", "range(30)").replace("optimizer = ", f"{drawn}optimizer = ")
    first, again = run(deep, steps=20), run(deep, steps=20)
    assert first.start == again.start
    assert "no seed reaches" in " ".join(limits(first, Arm(Treatment(""), (again,))))
    same = run(SICK, steps=20)
    assert "no seed reaches" not in " ".join(limits(same, Arm(Treatment(""), (same,))))


def test_a_run_that_never_comes_to_a_step_is_ended(run):
    found = run("import time\ntime.sleep(600)\n", patience=1.0)
    assert "no end within 1 s" in found.failed


def test_what_a_script_writes_is_thrown_away(run, tmp_path):
    source = SICK.replace(
        "optimizer = ",
        "import os\nfrom pathlib import Path\n"
        "os.mkdir('out'); torch.save(model, 'out/model.pt')\n"
        "Path(__file__).with_name('log.txt').write_text('x')\noptimizer = ",
    )
    assert run(source).failed == ""
    assert os.listdir(tmp_path) == ["train.py"]


def test_a_script_that_writes_into_its_folder_by_an_absolute_path_is_stopped(run, tmp_path):
    source = SICK.replace("optimizer = ", f"open({str(tmp_path / 'x')!r}, 'w')\noptimizer = ")
    assert "must not change" in run(source).failed
    assert os.listdir(tmp_path) == ["train.py"]


def test_an_absolute_path_in_the_arguments_leads_into_the_copy(run, tmp_path):
    source = SICK.replace("optimizer = ", "import sys\nopen(sys.argv[1], 'w')\noptimizer = ")
    assert run(source, str(tmp_path / "x")).failed == ""
    assert os.listdir(tmp_path) == ["train.py"]


def test_the_curve_is_that_of_the_bare_script(run):
    """Observed in a child, seeded again at the optimizer: the same losses to the last bit."""
    source = SICK.replace("for _ in", "losses = []\ntorch.manual_seed(0)\nfor _ in")
    source = source.replace(
        "    optimizer.step()\n", "    optimizer.step()\n    losses.append(loss.item())\n"
    )
    import torch

    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    expected = plain(source)[:16]
    torch.set_num_threads(threads)
    np.testing.assert_array_equal(run(source).start, expected)
