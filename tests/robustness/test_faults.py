"""Whatever of ours breaks, the training goes on bit-equal, and it is said once."""

import errno
import logging
import shutil

import jsonschema
import pytest
import torch
import torch.nn.functional as F
from torch import nn

from gradfuga._catalog import collect
from gradfuga._contracts import AbstractRule, AbstractSink, AbstractStatistic
from gradfuga._diagnose import diagnose
from gradfuga._observe import observe
from gradfuga._torch import parameter_rows, strand, tape_rows, training
from gradfuga._torch.cadence import Cadence
from gradfuga._torch.recorder import Recorder
from gradfuga._torch.spies import ForwardSpies
from gradfuga._torch.tape import Tape
from gradfuga._torch.training import Training
from gradfuga.readings import Readings
from gradfuga.report.document import document, schema
from gradfuga.report.text import render_text

STEPS = 12
X = torch.randn(12, 5, generator=torch.Generator().manual_seed(3))
LABELS = torch.arange(12) % 3


class Net(nn.Module):
    """Ops of most kinds that a statistic looks at."""

    def __init__(self):
        super().__init__()
        self.stem, self.norm, self.head = nn.Linear(5, 8), nn.LayerNorm(8), nn.Linear(8, 3)
        self.attend = nn.MultiheadAttention(8, 2, batch_first=True)

    def forward(self, x):
        h = torch.relu(self.norm(self.stem(x)))
        h = h + self.attend(h[None], h[None], h[None])[0][0]
        return self.head(torch.tanh(h))


def train(*, observed=False, at_step=None, **settings):
    """Train, and return the weights; `at_step` is called with the number before each step."""
    torch.manual_seed(5)
    model = Net()
    optimizer = torch.optim.Adam(model.parameters(), lr=0.01)
    observer = observe(model, optimizer, every=1, **settings) if observed else None
    if observer is not None:
        observer.__enter__()
    try:
        for step in range(STEPS):
            if at_step is not None:
                at_step(step)
            optimizer.zero_grad()
            F.cross_entropy(model(X), LABELS).backward()
            optimizer.step()
    finally:
        if observer is not None:
            observer.close()
    return [p.detach().clone() for p in model.parameters()], observer


def broken(*_args, **_kwargs):
    raise RuntimeError("broken on purpose")


def unharmed(caplog, **settings):
    """Train bare and observed; return the observer, and what was said."""
    bare, _ = train()
    with caplog.at_level(logging.WARNING, logger="gradfuga"):
        watched, observer = train(observed=True, **settings)
    assert all(torch.equal(one, other) for one, other in zip(bare, watched, strict=True))
    return observer, [record.getMessage() for record in caplog.records]


# Where our own code runs inside the user's: every one of these may break.
PLACES = [
    (Tape, "__init__"),
    (Tape, "_measure"),
    (Tape, "close"),
    (ForwardSpies, "_enter"),
    (ForwardSpies, "_leave"),
    (ForwardSpies, "install"),
    (Training, "before"),
    (Training, "after"),
    (Training, "_look_before"),
    (Training, "_write_parameters"),
    (Cadence, "note"),
    (Cadence, "due"),
    (Recorder, "add_all"),
    (Recorder, "collect"),
    (Recorder, "loss"),
    (Recorder, "flush"),
    (strand, "see_gradients"),
    (strand, "loss_of"),
    (tape_rows, "build_graph"),
    (training, "names_of"),
    (parameter_rows, "attenuation"),
    (parameter_rows, "updates"),
]


@pytest.mark.parametrize(
    ("owner", "name"), PLACES, ids=lambda each: getattr(each, "__name__", each)
)
def test_any_part_of_the_observer_may_break(owner, name, monkeypatch, caplog):
    monkeypatch.setattr(owner, name, broken)
    observer, said = unharmed(caplog)
    assert said
    if observer.trainings:  # and the record says what could not be seen
        assert len(observer.readings.record.warnings) == len(said)
    assert len(set(said)) == len(said)  # each part once
    assert all("broken on purpose" in each for each in said)


@pytest.mark.parametrize(
    "statistic",
    collect("gradfuga.stats", "STATISTIC", of=AbstractStatistic).values(),
    ids=lambda each: each.code,
)
def test_a_statistic_that_raises_is_off_and_the_others_go_on(statistic, monkeypatch, caplog):
    monkeypatch.setattr(type(statistic), "measure", broken)
    observer, said = unharmed(caplog)
    assert len(said) <= 1  # none where this network has no such op
    assert observer.readings.series("stem.weight", "weight_grad", "norm")[0].size == STEPS
    assert observer.readings.series("stem", "activation_grad", "norm")[0].size == STEPS


class Full(AbstractSink):
    """A disk that is full from the third batch on."""

    code = "full"

    def __init__(self):
        self.calls = 0

    def write(self, batch, folder, number):
        self.calls += 1
        if self.calls > 2:
            raise OSError(errno.ENOSPC, "No space left on device")


def test_a_full_disk_is_said_once(monkeypatch, caplog, tmp_path):
    monkeypatch.setattr("gradfuga._torch.recorder._FLUSH_SECONDS", 0.0)
    sink = Full()
    observer, said = unharmed(caplog, out=tmp_path, sinks=[sink])
    assert len(said) == 1
    assert "No space left" in said[0]
    assert sink.calls == 3
    assert "No space left" in observer.readings.record.warnings[0]
    assert observer.readings.record.steps == STEPS


def test_a_folder_that_is_deleted_on_the_way_harms_nothing(monkeypatch, caplog, tmp_path):
    monkeypatch.setattr("gradfuga._torch.recorder._FLUSH_SECONDS", 0.0)

    def delete(step):
        if step == 6 and (tmp_path / "run").exists():
            shutil.rmtree(tmp_path / "run")

    bare, _ = train()
    with caplog.at_level(logging.WARNING, logger="gradfuga"):
        watched, observer = train(observed=True, at_step=delete, out=tmp_path / "run")
    assert all(torch.equal(one, other) for one, other in zip(bare, watched, strict=True))
    assert not caplog.records  # the folder is simply made again
    assert observer.readings.losses[0].tolist() == list(range(STEPS))
    assert Readings.open(tmp_path / "run" / "0").losses[0].tolist() == list(range(6, STEPS))


def test_a_rule_that_raises_is_skipped_with_its_reason_and_the_others_judge(monkeypatch):
    _, observer = train(observed=True)
    whole = diagnose(observer.readings)
    for rule in collect("gradfuga.rules", "RULE", of=AbstractRule).values():
        with monkeypatch.context() as patch:
            patch.setattr(type(rule), "check", broken)
            diagnosis = diagnose(observer.readings)
        skipped = {each.code: each.why for each in diagnosis.skipped}
        if rule.code not in {each.code for each in whole.skipped}:
            assert "broken on purpose" in skipped[rule.code]
        assert diagnosis.verdict is whole.verdict


def test_what_failed_is_in_the_document_and_on_the_page(monkeypatch, caplog, tmp_path):
    monkeypatch.setattr(Tape, "_measure", broken)
    observer, _ = unharmed(caplog, out=tmp_path)
    failed = observer.readings.record.warnings
    assert "RuntimeError: broken on purpose" in failed[0]
    assert Readings.open(tmp_path / "0").record.warnings == failed
    diagnosis = diagnose(observer.readings)
    jsonschema.validate(document(diagnosis), schema())
    assert document(diagnosis)["run"]["warnings"] == list(failed)
    assert "Not everything was seen" in render_text(diagnosis, color=False)
