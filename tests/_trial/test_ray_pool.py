"""Trials on a Ray cluster: the same runs, what is canceled ends, and a worker that dies."""

import os
import re
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

import pytest

from _trial.conftest import HEALED, SICK, patched
from gradfuga import trial
from gradfuga._errors import UsageError
from gradfuga._trial.request import Request
from gradfuga._trial.scratch import Place

ray = pytest.importorskip("ray", reason="ray is an extra")

# The training tells where it runs: in a file of its own behind the script's argument.
TELLING = SICK.replace("import torch\n", "import os, sys, torch\n"
    "open(f'{sys.argv[1]}/{os.getpid()}', 'w').close()\n", 1)  # fmt: skip
ENDLESS = TELLING.replace("range(120)", "range(10**9)")
PATIENCE = 120.0  # seconds; a busy machine starts a worker in ten


@pytest.fixture(scope="module")
def cluster():
    """A cluster of two cores on this machine, and its address."""
    context = ray.init(address="local", num_cpus=2, include_dashboard=False, log_to_driver=False)
    yield context.address_info["address"]
    ray.shutdown()


@pytest.fixture
def ray_pool(cluster):
    from gradfuga._trial.ray_pool import RayPool

    pool = RayPool(cluster)
    yield pool
    pool.close()


@pytest.fixture
def place(tmp_path):
    (tmp_path / "project").mkdir()
    (tmp_path / "told").mkdir()

    def of(source):
        (tmp_path / "project" / "train.py").write_text(source, "utf-8")
        return Place.of("train.py", tmp_path / "project")

    return of


def request(place, *arguments, seed=0, steps=40):
    return Request(place, arguments, None, seed, steps, None, PATIENCE)


def pids(folder):
    return [int(each.name) for each in Path(folder).iterdir()]


def is_running(pid):
    with suppress(ProcessLookupError, FileNotFoundError):
        return Path(f"/proc/{pid}/stat").read_text().split(") ")[1][0] != "Z"
    return False


def until(true, seconds=PATIENCE):
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end, "it did not come about"
        time.sleep(0.1)


def test_a_run_on_the_cluster_is_the_one_of_this_machine(ray_pool, pool, place):
    assert ray_pool.jobs == 2
    asked = [request(place(SICK), seed=seed) for seed in (0, 1)]
    there = [future.result() for future in [ray_pool.submit(each) for each in asked]]
    here = [future.result() for future in [pool.submit(each) for each in asked]]
    assert [run.failed for run in there] == ["", ""]
    assert [run.start for run in there] == [run.start for run in here]
    assert there[0].start != there[1].start


def test_a_trial_runs_on_a_cluster_that_is_there_and_leaves_it(
    cluster, ray_pool, place, monkeypatch
):
    at = place(SICK)
    monkeypatch.chdir(at.root)
    found = trial(
        "train.py",
        budget="120steps",
        seeds=3,
        treatments=[patched(HEALED, "healed")],
        pool=ray_pool,
        patch=False,
    )
    assert found.treated.treatment.title == "healed", found.because
    assert found.treated.score > 0.5
    ray_pool.close()
    assert ray.is_initialized()
    assert ray.cluster_resources()["CPU"] == 2


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_what_is_canceled_ends_with_its_training(ray_pool, place, tmp_path):
    told = tmp_path / "told"
    asked = request(place(ENDLESS), str(told), steps=None)
    futures = [ray_pool.submit(asked) for _ in range(3)]  # the third waits for room
    until(lambda: len(pids(told)) == 2)
    assert all(map(is_running, pids(told)))
    ray_pool.close()
    assert futures[2].cancelled()
    assert all("lost with its Ray worker" in each.result().failed for each in futures[:2])
    until(lambda: not any(map(is_running, pids(told))), seconds=10.0)
    assert len(pids(told)) == 2


@pytest.mark.skipif(sys.platform != "linux", reason="a training ends with its parent there only")
def test_a_worker_that_dies_fails_its_run_alone(ray_pool, place, tmp_path):
    told = tmp_path / "told"
    killing = ENDLESS.replace("model = ", "os.kill(os.getppid(), 9)\nmodel = ", 1)
    lost = ray_pool.submit(request(place(killing), str(told), steps=None)).result()
    assert "lost with its Ray worker" in lost.failed
    assert len(pids(told)) == 2  # it was run once more
    until(lambda: not any(map(is_running, pids(told))), seconds=10.0)
    assert ray_pool.submit(request(place(SICK))).result().failed == ""


@pytest.mark.parametrize("address", ["127.0.0.1:9", "ray://127.0.0.1:9"])
def test_an_address_without_a_cluster_is_an_error_of_three_parts(address):
    """In a process of its own: this one has joined a cluster."""
    code = f"from gradfuga._trial.ray_pool import RayPool\nRayPool({address!r})"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert UsageError.__name__ in done.stderr
    assert f"expected a Ray cluster at '{address}'" in done.stderr


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_ctrl_c_ends_a_trial_on_its_own_cluster_and_everything_that_it_started(place, tmp_path):
    at, told = place(ENDLESS), tmp_path / "told"
    command = [sys.executable, "-m", "gradfuga", "repair", "--budget", "40steps", "--ray", "local"]
    process = subprocess.Popen(
        [*command, "--jobs", "2", "train.py", str(told)],
        cwd=at.root,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,  # a terminal sends Ctrl-C to the whole group
    )
    until(lambda: len(pids(told)) >= 3)  # the first was observed here
    os.killpg(process.pid, signal.SIGINT)
    said, _ = process.communicate(timeout=PATIENCE)
    assert process.returncode == 130, said
    assert re.search("[Ii]nterrupted", said)
    until(lambda: not any(map(is_running, pids(told))), seconds=10.0)
    left = subprocess.run(
        ["pgrep", "-s", str(process.pid)], capture_output=True, text=True, check=False
    )
    assert left.stdout == ""
