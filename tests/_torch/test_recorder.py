"""The recorder: bounded in memory, whole on disk, and never in the way of the training."""

import errno
import logging
import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn

from gradfuga._contracts import AbstractSink
from gradfuga._observe import observe
from gradfuga._torch.recorder import MOST_LOSSES, MOST_SAMPLES, Recorder
from gradfuga._types import Kind
from gradfuga.flow import FlowGraph
from gradfuga.readings import Readings, RunRecord
from gradfuga.sinks.parquet import ParquetSink

GRAPH, RECORD = FlowGraph(), RunRecord()
LABELS = torch.tensor([0, 1, 2, 0, 1, 2])
X = torch.randn(6, 5, generator=torch.Generator().manual_seed(2))


def trained(*, steps=8, dropout=0.2, **settings):
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(5, 8), nn.Dropout(dropout), nn.Tanh(), nn.Linear(8, 3))
    optimizer = torch.optim.Adam(model.parameters(), lr=0.01)
    observer = observe(model, optimizer, **settings) if settings else None
    if observer:
        observer.__enter__()
    for _ in range(steps):
        optimizer.zero_grad()
        F.cross_entropy(model(X), LABELS).backward()
        optimizer.step()
    if observer:
        observer.close()
    return model, observer


def values(readings):
    """Every reading, without those that are times."""
    return {(row.step, row.path, row.kind, row.statistic): row.value for row in readings.rows()}


def test_samples_are_thinned_and_the_first_and_last_ones_stay():
    recorder, sampled = Recorder(None), []
    for step in range(5 * MOST_SAMPLES):
        recorder.add(step, "a", Kind.WEIGHT, "norm", float(step))
        sampled.append(step)
        sampled = recorder.thin(sampled)
        recorder.collect()
        assert len(sampled) <= MOST_SAMPLES
    assert sampled[:16] == list(range(16))
    last = 5 * MOST_SAMPLES - 1
    assert sampled[-32:] == list(range(last - 31, last + 1))
    assert sampled == sorted(set(sampled))
    steps, seen = recorder.readings(GRAPH, RECORD).series("a", Kind.WEIGHT, "norm")
    assert steps.tolist() == sampled
    assert np.array_equal(seen, steps)
    # an even cover, as good as 3 in 8 of the places allow: nowhere a hole
    assert max(np.diff(sampled)) <= 3 * last / (3 * MOST_SAMPLES / 4 - 80)


@pytest.mark.parametrize("value", [1.0, math.nan])
def test_losses_are_bounded_also_when_none_of_them_is_finite(value):
    recorder = Recorder(None)
    for step in range(3 * MOST_LOSSES):
        recorder.loss(step, value)
    steps, losses = recorder.readings(GRAPH, RECORD).losses
    assert len(steps) <= MOST_LOSSES + 256
    assert steps[:16].tolist() == list(range(16))
    assert steps[-1] == 3 * MOST_LOSSES - 1
    assert len(losses) == len(steps)


def test_the_first_losses_that_are_not_finite_stay():
    recorder = Recorder(None)
    broken = {1001, 1003, 1005}
    for step in range(4 * MOST_LOSSES):
        recorder.loss(step, math.inf if step in broken else 1.0)
    steps, losses = recorder.readings(GRAPH, RECORD).losses
    assert set(steps[~np.isfinite(losses)]) == broken
    assert recorder.nonfinite_loss


def test_observing_twice_gives_the_same_readings():
    one, two = (trained(every=3, steps=20)[1].readings for _ in range(2))
    assert values(one) == values(two)
    assert one.graph == two.graph
    assert one.record.sampled == two.record.sampled
    assert one.record.parameters == two.record.parameters


def test_what_is_on_disk_is_what_was_in_memory(tmp_path):
    _, observer = trained(every=1, steps=20, out=tmp_path)
    opened = Readings.open(tmp_path / "0")
    assert values(opened) == values(observer.readings)
    assert opened.graph == observer.readings.graph
    assert opened.record == observer.readings.record


class Breaking(AbstractSink):
    """A sink that works for a while and then raises `error`."""

    code = "breaking"

    def __init__(self, error, *, after=0):
        self.error, self.after, self.calls = error, after, 0

    def write(self, batch, folder, number):
        self.calls += 1
        if self.calls > self.after:
            raise self.error


@pytest.mark.parametrize(
    "error",
    [OSError(errno.ENOSPC, "No space left on device"), PermissionError("no"), ValueError("odd")],
)
def test_a_sink_that_raises_is_switched_off_with_one_warning(tmp_path, caplog, monkeypatch, error):
    monkeypatch.setattr("gradfuga._torch.recorder._FLUSH_SECONDS", 0.0)
    bare, _ = trained()
    breaking = Breaking(error, after=2)
    with caplog.at_level(logging.WARNING, logger="gradfuga"):
        model, observer = trained(every=1, out=tmp_path, sinks=[breaking, ParquetSink()])
    (said,) = caplog.records
    assert "the sink 'breaking'" in said.getMessage()
    assert "the training goes on unchanged" in said.getMessage()
    assert breaking.calls == 3
    for one, other in zip(bare.parameters(), model.parameters(), strict=True):
        assert torch.equal(one, other)
    assert values(Readings.open(tmp_path / "0")) == values(observer.readings)  # the other went on


def test_a_disk_that_is_full_loses_only_what_came_after(tmp_path, caplog, monkeypatch):
    monkeypatch.setattr("gradfuga._torch.recorder._FLUSH_SECONDS", 0.0)
    import gradfuga.sinks.parquet as sink

    whole, written = sink.write_part, []

    def full(batch, folder, number):
        if number == 3:
            (folder / "part-00003.tmp").write_bytes(b"PAR1 half of it")
            raise OSError(errno.ENOSPC, "No space left on device")
        written.append(len(batch))
        whole(batch, folder, number)

    monkeypatch.setattr(sink, "write_part", full)
    _, observer = trained(every=1, out=tmp_path)
    assert len(caplog.records) == 1
    assert "No space left" in caplog.records[0].getMessage()
    opened = values(Readings.open(tmp_path / "0"))
    kept = values(observer.readings)
    assert len(opened) == sum(written) > 0
    assert {step for step, *_ in opened} == {0, 1, 2}
    assert all(kept[key] == value for key, value in opened.items())


def test_a_folder_that_cannot_be_made_does_not_stop_the_training(tmp_path, caplog):
    (tmp_path / "file").write_text("no folder")
    _, observer = trained(every=1, out=tmp_path / "file" / "run")
    assert observer.readings.record.steps == 8
    assert len(caplog.records) == 1


def test_a_run_that_breaks_keeps_what_was_flushed(tmp_path, monkeypatch):
    monkeypatch.setattr("gradfuga._torch.recorder._FLUSH_SECONDS", 0.0)
    model = nn.Linear(5, 3)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)

    def interrupted():
        with observe(model, optimizer, every=1, out=tmp_path):
            for _ in range(4):
                optimizer.zero_grad()
                F.cross_entropy(model(X), LABELS).backward()
                optimizer.step()
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    opened = Readings.open(tmp_path / "0")
    assert opened.losses[0].tolist() == [0, 1, 2, 3]
    assert opened.record.interrupted
    assert opened.record.sampled == (0, 1, 2, 3)


def test_losses_reach_the_disk_between_samples_too(tmp_path, monkeypatch):
    monkeypatch.setattr("gradfuga._torch.recorder._FLUSH_SECONDS", 0.0)
    model = nn.Linear(5, 3)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    with observe(model, optimizer, every=10_000, out=tmp_path):
        for _ in range(130):
            optimizer.zero_grad()
            F.cross_entropy(model(X), LABELS).backward()
            optimizer.step()
        assert Readings.open(tmp_path / "0").losses[0].tolist() == list(range(129))
