"""The line that built a module is the one that its name, its target or its place tells of."""

import pytest
import torch
from torch import nn

from gradfuga import observe
from gradfuga._torch.sources import built_at

SOURCE = """\
def build():
    first = Dense(4, name="entry")
    for i in range(9):
        deep = Dense(4, activation="sigmoid", name=f"dense_{i}")
    return Dense(2, name="dense_out"), Other(1)
"""


@pytest.mark.parametrize(
    ("kind", "path", "line"),
    [
        ("Dense", "model/entry", 2),
        ("Dense", "dense_3", 4),
        ("Dense", "functional/dense_out", 5),
        ("Other", "anything", 5),
        ("Missing", "entry", None),
    ],
)
def test_a_layer_is_found_by_its_name(tmp_path, kind, path, line):
    file = tmp_path / "model.py"
    file.write_text(SOURCE)
    found = built_at(kind, path, (str(file),))
    assert (found.line if found is not None else None) == line


def test_calls_that_nothing_tells_apart_are_not_guessed_at(tmp_path):
    file = tmp_path / "model.py"
    file.write_text("x = Dense(4)(x)\nx = Dense(4)(x)\n")
    assert built_at("Dense", "dense_1", (str(file),)) is None


def test_a_program_that_switches_anomaly_mode_off_at_its_start_has_its_lines_later():
    """As Lightning does around its whole fit."""
    torch.manual_seed(0)
    model = nn.Linear(3, 1)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    with observe(every=1) as observer, torch.autograd.set_detect_anomaly(False):
        for _ in range(3):
            optimizer.zero_grad()
            torch.sigmoid(model(torch.ones(4, 3))).sum().backward()
            optimizer.step()
    graph = observer.readings.graph
    assert all(op.source is not None for op in graph.ops)
    assert any("torch.sigmoid(model" in op.source.text for op in graph.ops)
