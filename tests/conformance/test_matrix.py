"""Every set-up of the matrix is read as its page says, and the page says what the tests find."""

import pytest
import torch
from torch import nn

from conformance import CELLS
from conformance._cell import EXACT, measure
from conformance._page import page, settle
from gradfuga._diagnose import diagnose
from gradfuga._errors import UsageError
from gradfuga._observe import observe

# torch's own: on complex modules, and while it compiles
pytestmark = [
    pytest.mark.filterwarnings("ignore:Complex modules are a new feature:UserWarning"),
    pytest.mark.filterwarnings("ignore:The .grad attribute of a Tensor that is not a leaf"),
    pytest.mark.filterwarnings("ignore:`torch.jit.script_method` is deprecated"),
]
SEEN = [cell for cell in CELLS if cell.seen]


@pytest.mark.parametrize("cell", SEEN, ids=str)
def test_the_gradient_is_the_unscaled_pre_clip_accumulated_one(cell):
    outcome = measure(cell)
    assert outcome.gradient <= cell.within
    assert outcome.held <= EXACT  # whatever the format does to it, the reading is of it


@pytest.mark.parametrize("cell", SEEN, ids=str)
def test_the_update_is_what_the_weights_moved_by(cell):
    assert measure(cell).update <= EXACT


@pytest.mark.parametrize("cell", SEEN, ids=str)
def test_the_clip_coefficient_is_what_clipping_left(cell):
    assert measure(cell).clip <= EXACT


@pytest.mark.parametrize("cell", CELLS, ids=str)
def test_depth_is_read_where_the_page_says_so(cell):
    assert measure(cell).tape == cell.tape


@pytest.mark.parametrize("cell", CELLS, ids=str)
def test_observing_changes_nothing_and_counts_every_step(cell):
    outcome = measure(cell)
    assert outcome.untouched
    assert outcome.counted


def test_what_is_not_seen_is_said():
    with observe(every=1) as observer:
        pass
    diagnosis = diagnose(observer.trainings)
    assert diagnosis.verdict.value == "inconclusive"
    assert "No training step with a loss was seen" in diagnosis.inconclusive_because


def test_data_parallel_over_devices_is_refused():
    model = nn.DataParallel(nn.Linear(2, 2))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    observe(model, optimizer)  # without an accelerator it runs its module as it is
    model.device_ids = [0, 1]
    with pytest.raises(UsageError, match=r"DataParallel over 2 devices.*DistributedDataParallel"):
        observe(model, optimizer)


def test_the_page_is_what_the_tests_find(write_matrix):
    found = page(CELLS)
    assert settle(found, last=False, write=write_matrix) == found
