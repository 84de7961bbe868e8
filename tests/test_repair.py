"""The verb repair: a copy with consent, and the model as it was."""

import pytest
import torch
from torch import nn

import gradfuga
from gradfuga._edits import Initialize, Safety, SetOptimizer, SwapActivation
from gradfuga._errors import ConsentError, SurgeryError
from gradfuga._types import Prescription

SWAP = Prescription("RX001", "", (), Safety.UNSAFE, (SwapActivation("relu"),))
RATE = Prescription("RX009", "", (), Safety.SAFE, (SetOptimizer("lr", 0.1, relative=True),))


def net():
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(3, 4), nn.Sigmoid(), nn.Linear(4, 2))


def test_an_unsafe_repair_asks_for_consent():
    with pytest.raises(ConsentError, match="unsafe=True"):
        gradfuga.repair(net(), SWAP)


def test_the_copy_is_edited_and_the_model_is_not():
    model, x = net(), torch.randn(5, 3)
    before = model(x)
    repaired = gradfuga.repair(model, SWAP, unsafe=True)
    assert torch.equal(model(x), before)
    assert torch.equal(repaired(x), model[2](model[0](x).relu()))


def test_a_safe_repair_leaves_the_outputs_equal():
    model, x = net(), torch.randn(5, 3)
    assert torch.allclose(gradfuga.repair(model, RATE)(x), model(x), atol=1e-6, rtol=0.0)


def test_a_model_without_a_place_for_the_edits_is_said():
    layer = Prescription("RX002", "", (), Safety.UNSAFE, (Initialize("fan_in", paths=("gone",)),))
    with pytest.raises(SurgeryError, match="RX002"):
        gradfuga.repair(net(), layer, unsafe=True)


def test_a_model_that_cannot_be_copied_is_said():
    model = net()
    model.stream = (n for n in range(3))
    with pytest.raises(SurgeryError, match="can be copied"):
        gradfuga.repair(model, RATE)
