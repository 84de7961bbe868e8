"""Made-up diagnoses and cases that the tests of the report share."""

from __future__ import annotations

import math
import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from gradfuga._edits import Advise
from gradfuga._types import (
    Axis,
    Cause,
    DepthProfile,
    Diagnosis,
    Evidence,
    Finding,
    Kind,
    Prescription,
    Role,
    RunSummary,
    Safety,
    Severity,
    Skipped,
    SourceLine,
    Verdict,
)
from gradfuga.analysis.account import UNEXPLAINED, Account, Claim
from gradfuga.analysis.case import Case, Layer
from gradfuga.analysis.progress import Progress
from gradfuga.flow import Edge, FlowGraph, Op, OpRole
from gradfuga.readings import Reading, Readings, RunRecord

GOLDENS = Path(__file__).parent / "goldens"

SIGMOID = SourceLine("train.py", 14, "        layers += [nn.Linear(64, 64), nn.Sigmoid()]")
STACK = SourceLine("train.py", 17, "        self.net = nn.Sequential(*layers)")


@pytest.fixture
def golden() -> Callable[[str, str], None]:
    """Compare a text with its golden; GRADFUGA_UPDATE_GOLDENS=1 writes it anew."""

    def compare(name: str, text: str) -> None:
        path = GOLDENS / name
        if os.environ.get("GRADFUGA_UPDATE_GOLDENS"):
            path.parent.mkdir(exist_ok=True)
            path.write_text(text, "utf-8")
        assert text == path.read_text("utf-8")

    return compare


def _sick(depth: int = 20, prefix: str = "net.", **changed: object) -> Diagnosis:
    paths = tuple(f"{prefix}{2 * (depth - 1 - i)}" for i in range(depth))
    reach = tuple(-0.4 * i for i in range(depth))
    deepest = paths[-1]
    fields = {
        "verdict": Verdict.VANISHING,
        "severity": Severity.FATAL,
        "axis": Axis.DEPTH,
        "summary": f"The gradient shrinks 40 million times on its way from the output to {deepest},"
        " so 16 of 20 layers starve, and the loss stays where guessing leaves it.",
        "inconclusive_because": None,
        "findings": (
            Finding(
                code="GRD001",
                name="vanishing-over-depth",
                role=Role.SYMPTOM,
                severity=Severity.FATAL,
                axis=Axis.DEPTH,
                message="16 of 20 layers get less than a twentieth of the output's gradient.",
                paths=paths[4:],
                source=(STACK,),
                evidence=(
                    Evidence(
                        deepest, Kind.ACTIVATION_GRAD, "reach", 190, reach[-1], -1.3, "decades"
                    ),
                    Evidence(deepest, Kind.UPDATE, "update_ratio", 190, 3.1e-11, 1e-3),
                    Evidence("loss", Kind.LOSS, "progress", 199, 0.004, 0.05),
                ),
            ),
            Finding(
                code="ACT001",
                name="contracting-activation",
                role=Role.CAUSE,
                severity=Severity.SERIOUS,
                message="The slope of Sigmoid where it works is 0.21 at most; 1 would keep the"
                " gradient's size.",
                paths=paths[1:],
                source=(SIGMOID,),
                evidence=(Evidence("net.1", Kind.ACTIVATION, "mean_squared_slope", 0, 0.045, 1.0),),
                log_gain=-4.9,
                cause="contracting_activation",
            ),
            Finding(
                code="INI001",
                name="small-init",
                role=Role.CAUSE,
                severity=Severity.MILD,
                message="The weights are 1.7 times smaller than Xavier initialisation makes them.",
                paths=paths[1:4],
                source=(SIGMOID,),
                log_gain=-2.4,
                cause="small_init",
            ),
            Finding(
                code="NRM001",
                name="no-normalization",
                role=Role.NOTE,
                severity=Severity.NONE,
                message="No layer normalises its signal.",
            ),
        ),
        "causes": (
            Cause("contracting_activation", "ACT001", 0.645, paths[1:]),
            Cause("small_init", "INI001", 0.3155, paths[1:4]),
        ),
        "unexplained": 0.0395,
        "skipped": (
            Skipped("REC001", "no recurrent op was recorded"),
            Skipped("ACT004", "no statistic 'dead_share' was recorded"),
        ),
        "prescriptions": (
            Prescription(
                "RX001",
                "Swap Sigmoid for ReLU in 19 places",
                ("contracting_activation",),
                Safety.UNSAFE,
                (Advise("swap_activation", paths[1:]),),
            ),
            Prescription(
                "RX002",
                "Initialise the linear layers after He (2015)",
                ("small_init",),
                Safety.UNSAFE,
                (Advise("reinitialize", paths),),
            ),
        ),
        "depth": DepthProfile(paths, reach, tuple(0.02 * i for i in range(depth))),
        "run": RunSummary("train.py", 200, 24, 0.0093, 0.4, 2.3026, 2.3014, "SGD"),
        "model": "DeepNet",
    }
    return Diagnosis(**{**fields, **changed})  # type: ignore[arg-type]


def _healthy(**changed: object) -> Diagnosis:
    fields = {
        "verdict": Verdict.HEALTHY,
        "severity": Severity.NONE,
        "axis": None,
        "summary": "The gradient reaches every layer and the loss falls.",
        "inconclusive_because": None,
        "findings": (),
        "causes": (),
        "unexplained": 1.0,
        "skipped": (Skipped("REC001", "no recurrent op was recorded"),),
        "prescriptions": (),
        "depth": DepthProfile(("net.4", "net.2", "net.0"), (0.0, -0.1, -0.31), (0.0, 0.1, 0.1)),
        "run": RunSummary("train.py", 200, 24, 0.0041, 0.2, 2.31, 0.082, "Adam"),
        "model": "Sequential",
    }
    return Diagnosis(**{**fields, **changed})  # type: ignore[arg-type]


def _case(
    layers: int = 20,
    samples: int = 24,
    steps: int = 200,
    *,
    name: Callable[[int], str] = "net.{}".format,
    script: str = "train.py",
    source: SourceLine = SIGMOID,
    slope: float = -0.4,
) -> Case:
    rng = np.random.default_rng(7)
    ops: list[Op] = []
    for i in range(layers):
        deep = layers - 1 - i
        path = name(2 * deep)
        ops.append(
            Op(
                2 * i,
                "AddmmBackward0",
                path,
                OpRole.LINEAR,
                path,
                "Linear",
                (f"{path}.weight",),
                source,
                (32, 64),
                2 * deep + 1,
            )
        )
        act = name(2 * deep - 1)
        ops.append(
            Op(
                2 * i + 1,
                "SigmoidBackward0",
                f"{act}/act",
                OpRole.ACTIVATION,
                act,
                "Sigmoid",
                (),
                source,
                (32, 64),
                2 * deep,
            )
        )
    ops = ops[:-1]
    graph = FlowGraph(
        tuple(ops),
        tuple(Edge(i, 0, i + 1) for i in range(len(ops) - 1)),
        (0,),
        tuple(range(0, len(ops), 2)),
        tuple((i,) for i in range(0, len(ops), 2)),
    )
    sampled = tuple(sorted({int(s) for s in np.linspace(0, steps - 1, samples)} | {0, 1, 2, 4, 8}))
    losses = 2.3 + 0.02 * rng.standard_normal(steps)
    rows = [Reading(i, "loss", Kind.LOSS, "value", float(v)) for i, v in enumerate(losses)]
    record = RunRecord(
        script=script, model="DeepNet", optimizer="SGD", steps=steps, sampled=sampled, overhead=0.01
    )
    depth = np.arange(layers)
    drift = np.linspace(1.0, 1.3, len(sampled))[:, None]
    reach = slope * depth * drift + 0.05 * rng.standard_normal((len(sampled), layers))
    line = slope / 2 * np.arange(len(ops)) * drift
    total = float(reach[0, -1])
    claims = [
        Claim("contracting_activation", o.index, o.path, total * 0.65 / (layers - 1))
        for o in ops
        if o.role is OpRole.ACTIVATION
    ]
    claims += [
        Claim("small_init", o.index, o.path, total * 0.40 / layers)
        for o in ops
        if o.role is OpRole.LINEAR
    ]
    claims += [Claim("large_init", 0, ops[0].path, -total * 0.09)]
    claims += [Claim(UNEXPLAINED, 0, ops[0].path, total * 0.04)]
    account = Account(0, total, tuple(claims))
    update = 1e-3 * 10.0**reach
    return Case(
        readings=Readings(rows, graph=graph, record=record),
        graph=graph,
        record=record,
        steps=sampled,
        layers=tuple(Layer(i, ops[i].path, f"{ops[i].path}.weight", False) for i in graph.layers),
        reach=reach,
        line=graph.main_line,
        line_reach=line,
        update_ratio=update,
        turnovers=np.cumsum(update, axis=0),
        dead_layers=((),) * len(sampled),
        progress=Progress(
            known=True,
            moving=False,
            baseline=2.302585,
            u=0.001,
            error=0.002,
            reference=math.nan,
            reference_error=math.nan,
            gain=math.nan,
            gain_error=math.nan,
            most=0.02,
            weak=False,
            lags=False,
            nothing=True,
            half_step=0,
            falling=False,
            trend=0.1,
            nonfinite_step=None,
            first=2.30,
            last=2.30,
            informed=False,
            poor=False,
            open=False,
        ),
        start=account,
        late=account,
        blamed=account,
    )


@pytest.fixture
def make_sick() -> Callable[..., Diagnosis]:
    """Make a diagnosis of a deep sigmoid network, with some fields changed."""
    return _sick


@pytest.fixture
def make_healthy() -> Callable[..., Diagnosis]:
    """Make a diagnosis of a healthy network, with some fields changed."""
    return _healthy


@pytest.fixture
def make_case() -> Callable[..., Case]:
    """Make the case of a deep network whose reach falls by `slope` decades a layer."""
    return _case
