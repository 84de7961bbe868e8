"""Made-up diagnoses for the remedies: causes with shares, and the findings behind them."""

from __future__ import annotations

from gradfuga._types import (
    Axis,
    Cause,
    DepthProfile,
    Diagnosis,
    Evidence,
    Finding,
    Kind,
    Role,
    RunSummary,
    Severity,
    Verdict,
)


def sick(
    *causes: tuple[str, float],
    verdict: Verdict = Verdict.VANISHING,
    evidence: tuple[Evidence, ...] = (),
    depth: DepthProfile | None = None,
    paths: tuple[str, ...] = (),
) -> Diagnosis:
    """Return a diagnosis that names `causes` with their shares; `evidence` backs the first.

    They act at `paths`, or else each at two of its own.
    """
    findings = tuple(
        Finding(
            code="ABC001",
            name="some-cause",
            role=Role.CAUSE,
            severity=Severity.SERIOUS,
            message="",
            evidence=evidence if place == 0 else (),
            cause=name,
        )
        for place, (name, _share) in enumerate(causes)
    )
    return Diagnosis(
        verdict=verdict,
        severity=Severity.FATAL,
        axis=Axis.DEPTH,
        summary="",
        inconclusive_because=None,
        findings=findings,
        causes=tuple(
            Cause(name, "ABC001", share, paths or (f"{name}.0", f"{name}.1"))
            for name, share in causes
        ),
        unexplained=1.0 - sum(share for _name, share in causes),
        skipped=(),
        prescriptions=(),
        depth=depth or DepthProfile(),
        run=RunSummary("train.py", 100, 10, 0.0, 0.0, 2.0, 2.0, "SGD"),
    )


def reading(statistic: str, observed: float, expected: float) -> Evidence:
    """Return one piece of evidence."""
    return Evidence("layer.0", Kind.WEIGHT, statistic, 0, observed, expected)
