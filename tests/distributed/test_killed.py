"""A process that dies or stops in mid-run costs the others its company, nothing else."""

import signal
from pathlib import Path

import pytest

from distributed._job import start
from distributed._killed import LAST_TOGETHER, STEPS
from gradfuga.readings import Readings

KILLED = Path(__file__).with_name("_killed.py")


@pytest.mark.parametrize(
    ("size", "victim", "how"), [(2, 1, "killed"), (3, 0, "killed"), (3, 1, "stopped")]
)
def test_the_others_train_on_with_one_warning_and_what_was_written_can_be_read(
    tmp_path, size, victim, how
):
    codes, outs, errs = start(size, str(KILLED), str(victim), how, str(tmp_path))
    every = list(range(STEPS))
    for rank in range(size):
        if rank == victim:
            assert codes[rank] == -signal.SIGKILL
            continue
        assert codes[rank] == 0, errs[rank]
        assert outs[rank].strip() == f"{STEPS} {every} {every}"
        assert errs[rank].count("gradfuga:") == 1, errs[rank]
        assert "the exchange between processes" in errs[rank]
    # only the first process writes; killed before the exchange of its last step, it loses that
    written = Readings.open(tmp_path / "0").losses[0].tolist()
    assert written == (list(range(LAST_TOGETHER)) if victim == 0 else every)
