"""The page of statistics names every one that a training records."""

from pathlib import Path

import torch
from torch import nn

from gradfuga._observe import observe

PAGE = Path(__file__).parents[1] / "docs" / "readings.md"


def rows():
    """Return the statistics that a few steps of a network with many kinds of op record."""
    torch.manual_seed(0)
    block = nn.TransformerEncoderLayer(8, 2, 16, batch_first=True, norm_first=True)
    model = nn.Sequential(nn.Embedding(20, 8), block, nn.Linear(8, 4), nn.Tanh(), nn.Flatten())
    words, labels = torch.randint(20, (6, 5)), torch.randint(20, (6,))
    found = set()
    for optimizer in (
        torch.optim.Adam(model.parameters()),
        torch.optim.Adagrad(model.parameters()),
    ):
        with observe(model, optimizer, every=1) as observer:
            for _ in range(3):
                optimizer.zero_grad()
                nn.functional.cross_entropy(model(words), labels).backward()
                optimizer.step()
        found |= {(row["kind"], row["statistic"]) for row in observer.readings.table.to_pylist()}
    return found


def written(statistic):
    """Return the statistic as the page writes it: one that is numbered ends in N."""
    name, dot, _ = statistic.rpartition(".")
    return f"{name}.N" if dot else statistic


def test_every_statistic_that_a_training_records_is_on_the_page():
    text = PAGE.read_text("utf-8")
    recorded = rows()
    assert ("weight", "max_abs") in recorded
    assert len(recorded) > 25
    assert not sorted(name for _, name in recorded if f"`{written(name)}`" not in text)
