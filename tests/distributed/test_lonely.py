"""A process that is observed alone, or left by the others, neither hangs nor says a part is all."""

from pathlib import Path

import pytest

from distributed._job import start

LONELY = Path(__file__).with_name("_lonely.py")


@pytest.mark.parametrize(
    ("how", "kind", "sampled"),
    [
        # under DDP each process holds the whole gradient; of shards only wholes are recorded
        ("alone", "ddp", "[0, 1, 2, 3, 4, 5]"),
        ("alone", "fsdp", "[]"),
        ("leaves", "fsdp", "[0, 1, 2]"),
    ],
)
def test_the_training_goes_on_and_nothing_wrong_is_recorded(how, kind, sampled):
    codes, outs, errs = start(2, str(LONELY), how, kind)
    assert codes == [0, 0], errs
    assert outs[0].strip() == f"6 6 {sampled}"
    assert "the exchange between processes" in errs[0]
